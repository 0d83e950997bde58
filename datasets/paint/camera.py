"""From optical density to a photograph: stray light, focus, colour fringes, illumination, contrast, sharpening, noise, JPEG."""

import cv2
import numpy as np
from numpy.typing import NDArray

from datasets.paint.shapes import Plane
from datasets.paint.style import SlideStyle
from smear.types import Image

GLARE = 0.04  # stray light: no stain is black in any channel
LEAST_BLUR_PX = 0.35  # a narrower blur changes nothing


def photograph(rng: np.random.Generator, style: SlideStyle, density: NDArray[np.float32], *, zoom: int, rbc_px: float) -> Image:
    """The picture that the slide's microscope and camera take of a field.

    Args:
        density: (H * zoom, W * zoom, 3) optical density. rbc_px: red-cell diameter in the picture, pixels.

    Returns:
        (H, W, 3) uint8 RGB, with the marks of JPEG in it.
    """
    light = GLARE + (1 - GLARE) * np.exp(-density)
    sigma = style.defocus * rbc_px * zoom * float(np.exp(rng.normal(0, 0.25)))
    if sigma > LEAST_BLUR_PX:
        light = cv2.GaussianBlur(light, (0, 0), sigma)
    shape_hw = (density.shape[0] // zoom, density.shape[1] // zoom)
    if zoom > 1:
        light = cv2.resize(light, (shape_hw[1], shape_hw[0]), interpolation=cv2.INTER_AREA)
    light = _fringe(light, style.fringe * rbc_px) * _illumination(rng, style, shape_hw)[..., None]
    picture = _develop(style, light, rbc_px)
    picture += style.noise * rng.standard_normal(picture.shape, dtype=np.float32)
    raw = np.clip(picture + 0.5, 0, 255).astype(np.uint8)
    ok, coded = cv2.imencode(".jpg", raw[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, style.jpeg_quality])
    assert ok, "OpenCV could not encode a JPEG in memory"
    return np.ascontiguousarray(cv2.imdecode(coded, cv2.IMREAD_COLOR)[..., ::-1])


def _develop(style: SlideStyle, light: NDArray[np.float32], rbc_px: float) -> NDArray[np.float32]:
    """White balance, contrast, saturation and sharpening of the camera; grey levels (H, W, 3)."""
    picture = light * np.array(style.background, np.float32)
    grey = picture.mean(axis=2, keepdims=True)
    white = np.float32(np.mean(style.background))
    picture = white * (grey / white) ** np.float32(style.gamma) + np.float32(style.saturation) * (picture - grey)
    if style.sharpen:
        picture += np.float32(style.sharpen) * (picture - cv2.GaussianBlur(picture, (0, 0), max(0.8, 0.02 * rbc_px)))
    return picture


def _fringe(light: NDArray[np.float32], shift_px: float) -> NDArray[np.float32]:
    """Chromatic aberration: red and blue a little apart."""
    if shift_px < 0.1:
        return light
    shifted = light.copy()
    for channel, sign in ((0, 1.0), (2, -1.0)):
        move = np.array([[1, 0, sign * shift_px], [0, 1, 0.5 * sign * shift_px]], np.float32)
        plane = np.ascontiguousarray(light[..., channel])
        shifted[..., channel] = cv2.warpAffine(plane, move, plane.shape[::-1], borderMode=cv2.BORDER_REFLECT)
    return shifted


def _illumination(rng: np.random.Generator, style: SlideStyle, shape_hw: tuple[int, int]) -> Plane:
    """Vignette about a shifted centre, and a gradient; about 1 where it is brightest, (H, W)."""
    y, x = np.mgrid[-1 : 1 : shape_hw[0] * 1j, -1 : 1 : shape_hw[1] * 1j].astype(np.float32)
    centre, angle = rng.uniform(-0.3, 0.3, 2), rng.uniform(0, 2 * np.pi)
    fall = style.vignette * ((x - centre[0]) ** 2 + (y - centre[1]) ** 2) / 2
    fall += style.gradient * (1 + x * np.cos(angle) + y * np.sin(angle)) / 2
    return np.clip((1 - fall) * rng.uniform(0.97, 1.03), 0.2, None).astype(np.float32)
