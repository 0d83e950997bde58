"""What another laboratory does to a picture: stain, lamp, camera and focus as plain functions of (generator, image).

Every function takes and returns RGB uint8 (S, S, 3) and draws its strength from `rng`, so the same generator state
gives the same picture. They are made for one purpose: after them colour and sharpness must not tell the class.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from smear.types import Image

_LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601
_GREY_AXIS = np.ones(3, np.float32) / np.sqrt(np.float32(3))


def mix_channels(rng: np.random.Generator, image: Image, *, hue: float = 180.0, noise: float = 0.15) -> Image:
    """Turn all hues by up to ± `hue` degrees about the grey axis, and bend the 3×3 matrix by `noise`; greys stay grey."""
    angle = np.deg2rad(rng.uniform(-hue, hue))
    x, y, z = _GREY_AXIS
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]], np.float32)
    matrix = np.eye(3, dtype=np.float32) * np.cos(angle) + np.sin(angle) * cross + (1 - np.cos(angle)) * np.outer(_GREY_AXIS, _GREY_AXIS)
    matrix = matrix + rng.normal(0, noise, (3, 3))
    matrix = matrix + (1 - matrix.sum(axis=1, keepdims=True)) / 3  # rows sum to 1
    return _bytes(image.astype(np.float32) @ matrix.T.astype(np.float32))


def to_grey(rng: np.random.Generator, image: Image, *, tint: float = 0.0) -> Image:
    """One channel three times: a random mix of R, G and B, and with `tint` > 0 a faint even colour cast over it."""
    weights = rng.dirichlet(np.ones(3)).astype(np.float32)
    grey = (image.astype(np.float32) @ weights)[..., None]
    return _bytes(grey * _uniform(rng, 1 - tint, 1 + tint, 3))


def shift_gamma(rng: np.random.Generator, image: Image, *, low: float = 0.6, high: float = 1.6, each: bool = True) -> Image:
    """Raise the channels to a power, log-uniform in [low, high]; `each` channel its own."""
    gamma = np.exp(rng.uniform(np.log(low), np.log(high), 3 if each else 1))
    table = (np.arange(256, dtype=np.float64)[:, None] / 255) ** gamma * 255  # (256, 3 or 1)
    table = np.broadcast_to(np.rint(table), (256, 3)).astype(np.uint8)
    return cv2.LUT(image, np.ascontiguousarray(table[None]))


def shift_white_balance(rng: np.random.Generator, image: Image, *, gain: float = 0.2) -> Image:
    """Multiply each channel by its own gain in 1 ± `gain`, as another lamp or camera does."""
    return _bytes(image.astype(np.float32) * _uniform(rng, 1 - gain, 1 + gain, 3))


def shift_saturation(rng: np.random.Generator, image: Image, *, low: float = 0.0, high: float = 1.8) -> Image:
    """Move every pixel towards (factor < 1) or away from (> 1) its own luminance."""
    pixels = image.astype(np.float32)
    grey = (pixels @ _LUMA)[..., None]
    return _bytes(grey + (pixels - grey) * np.float32(rng.uniform(low, high)))


def light_unevenly(rng: np.random.Generator, image: Image, *, strength: float = 0.25) -> Image:
    """Brighten one side and darken the other by up to `strength`, in a random direction."""
    size = image.shape[0]
    angle, amount = rng.uniform(0, 2 * np.pi), rng.uniform(0, strength)
    ramp = np.linspace(-1, 1, size, dtype=np.float32)
    plane = np.cos(angle) * ramp[None, :] + np.sin(angle) * ramp[:, None]
    return _bytes(image.astype(np.float32) * (1 + amount * plane[..., None]))


def lose_resolution(rng: np.random.Generator, image: Image, *, low: float = 0.35, high: float = 0.9) -> Image:
    """Shrink to a share in [low, high] and grow back: a smaller objective, or a coarser camera."""
    size = image.shape[0]
    small = max(8, round(size * rng.uniform(low, high)))
    shrunk = cv2.resize(image, (small, small), interpolation=cv2.INTER_AREA)
    return cv2.resize(shrunk, (size, size), interpolation=int(rng.choice((cv2.INTER_LINEAR, cv2.INTER_CUBIC))))


def move(
    rng: np.random.Generator, image: Image, *, scale_low: float = 0.7, scale_high: float = 1.4, shift: float = 0.06, turn: float = 180.0
) -> Image:
    """Scale, turn by ± `turn` degrees, shift by ± `shift` of the side and mirror, in one resampling; edges are reflected."""
    size = image.shape[0]
    scale = np.exp(rng.uniform(np.log(scale_low), np.log(scale_high)))
    angle, flip = np.deg2rad(rng.uniform(-turn, turn)), rng.choice((-1.0, 1.0))
    linear = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) @ np.diag([flip, 1.0])
    centre = np.full(2, (size - 1) / 2)
    offset = centre - linear @ centre + rng.uniform(-shift, shift, 2) * size
    return cv2.warpAffine(image, np.column_stack([linear, offset]), (size, size), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)


def fade_background(rng: np.random.Generator, image: Image, *, inner: float = 0.6, outer: float = 1.0) -> Image:
    """Outside an ellipse whose half axes are in [inner, outer] of half the side, put an even colour, softly.

    The colour is the image's own bright end, any light colour, or mid grey, so that no one of them means a class.
    """
    size = image.shape[0]
    y, x = np.mgrid[-1 : 1 : size * 1j, -1 : 1 : size * 1j].astype(np.float32)
    a, b, angle = rng.uniform(inner, outer), rng.uniform(inner, outer), rng.uniform(0, np.pi)
    along, across = np.cos(angle) * x + np.sin(angle) * y, np.cos(angle) * y - np.sin(angle) * x
    softness = rng.uniform(0.02, 0.2)
    keep = np.clip((1 - np.sqrt((along / a) ** 2 + (across / b) ** 2)) / softness + 0.5, 0, 1)[..., None]  # (S, S, 1)
    own = np.percentile(image.reshape(-1, 3)[:: max(1, size // 16)], 90, axis=0)
    colour = (own, rng.uniform(150, 255, 3), np.full(3, 128.0))[rng.integers(3)]
    pixels = image.astype(np.float32)
    return _bytes(pixels * keep + colour.astype(np.float32) * (1 - keep))


def _uniform(rng: np.random.Generator, low: float, high: float, n: int) -> NDArray[np.float32]:
    return rng.uniform(low, high, n).astype(np.float32)


def _bytes(pixels: NDArray) -> Image:
    return np.clip(np.rint(pixels), 0, 255).astype(np.uint8)
