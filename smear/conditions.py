"""What can happen to a field between the slide and the file, each at a mild and a strong level: for stress tests.

Every function is pure: the same image, generator state and red-cell size give the same picture. Lengths are in red-cell
diameters (7.5 µm), so a condition means the same at every magnification.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import cv2
import numpy as np

from smear.images import decode, encode, resize
from smear.stain import change_dyes, jitter_stain
from smear.types import Image

Change = Callable[[np.random.Generator, Image, float], Image]  # generator, RGB uint8 (H, W, 3), red-cell diameter in pixels


@dataclass(frozen=True)
class Condition:
    """One named change of a field. `factor` is how much it enlarges the field, boxes and pixel size with it."""

    name: str
    level: str
    change: Change
    factor: float = 1.0


def hed_jitter(rng: np.random.Generator, image: Image, _: float, *, sigma: float) -> Image:
    """Random strength of three fixed dyes. Levels: HED-light .05 and HED-strong .2 of Tellez et al., Med. Image Anal. 58 (2019) 101544."""
    return jitter_stain(rng, image, gain=sigma, offset=sigma)


def dyes(_: np.random.Generator, image: Image, __: float, *, blue: float, red: float) -> Image:
    """The field's own two dyes taken up more or less: staining time, pH of the buffer and age of the solution move both.

    Levels ± 20 % and ± 40 %: the median density of red cells in green light is 2.4 times as high in Raabin-WBC as in BCCD (measured).
    """
    return change_dyes(image, blue=blue, red=red)


def white_balance(_: np.random.Generator, image: Image, __: float, *, red: float, blue: float) -> Image:
    """Gains of the red and the blue channel: a lamp of another colour than the camera was set for.

    Levels ± 10 % and ± 25 %: empty glass in BCCD, PBC Barcelona and Raabin-WBC differs by up to 19 % in red over green (measured).
    """
    return _bytes(image * np.array([red, 1, blue], np.float32))


def expose(_: np.random.Generator, image: Image, __: float, *, stops: float) -> Image:
    """2**stops times the light, on the linear scale of IEC 61966-2-1 (sRGB), clipped at white. Levels: half a stop and one stop."""
    encoded = np.arange(256) / 255
    linear = np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4) * 2.0**stops
    table = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * np.minimum(linear, 1) ** (1 / 2.4) - 0.055)
    return _bytes(255 * table)[image]


def light_unevenly(rng: np.random.Generator, image: Image, _: float, *, fall: float) -> Image:
    """Light that falls off from one side to the other by `fall`, in a random direction: a condenser out of centre.

    Levels: 15 % passes unnoticed, 40 % is seen at once.
    """
    height, width = image.shape[:2]
    angle = rng.uniform(0, 2 * np.pi)
    plane = np.cos(angle) * np.linspace(-1, 1, width, dtype=np.float32)[None] + np.sin(angle) * np.linspace(-1, 1, height)[:, None]
    plane = (plane / np.abs(plane).max() + 1) / 2 if plane.any() else plane  # 0 to 1; one pixel has no sides
    return _bytes(image * (1 - fall * plane[..., None]))


def blur(_: np.random.Generator, image: Image, rbc_px: float, *, sigma_rbc: float) -> Image:
    """Gaussian blur: a dirty front lens, a smaller aperture, smoothing in the camera.

    Levels: sigma .03 and .06 of a red cell (.23 and .45 µm), about one and two times the radius that an objective of NA 1.25 resolves.
    """
    return np.asarray(cv2.GaussianBlur(image, (0, 0), sigma_rbc * rbc_px, borderType=cv2.BORDER_REFLECT), np.uint8)


def defocus(_: np.random.Generator, image: Image, rbc_px: float, *, width_rbc: float) -> Image:
    """Every point becomes an even disc, as geometric optics has it out of focus.

    Levels: discs of .1 and .25 red cells (.75 and 1.9 µm). An objective of NA .65 in air, 2·dz·tan(asin(NA)) wide, makes them .4 and
    1.1 µm off its focus; a smear is 2 to 5 µm thick.
    """
    radius = width_rbc * rbc_px / 2
    reach = int(np.ceil(radius))
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    disc = np.clip(radius + 0.5 - np.hypot(x, y), 0, 1)  # its rim is smooth, so that widths between whole pixels differ
    return np.asarray(cv2.filter2D(image, -1, disc / disc.sum(), borderType=cv2.BORDER_REFLECT), np.uint8)


def compress(_: np.random.Generator, image: Image, __: float, *, quality: int) -> Image:
    """JPEG and back. Levels: quality 50 is a picture that was sent as a message, 20 one that was saved for the web."""
    return decode(encode(image, ".jpg", quality=quality), name="stress")


def add_noise(rng: np.random.Generator, image: Image, _: float, *, electrons: float) -> Image:
    """Shot noise of a sensor that holds `electrons` at white, each pixel and channel for itself.

    Levels: 2000 is a small sensor (deviation 5.7 grey levels at white), 400 the same at five times the gain (12.8).
    """
    return _bytes(rng.normal(image, np.sqrt(image * (255.0 / electrons))))


def zoom(_: np.random.Generator, image: Image, __: float, *, factor: float) -> Image:
    """The field photographed at another magnification: ± 30 %, as between a camera adapter of 0.5 and 0.65."""
    return resize(image, factor)


def _both(name: str, change: Callable[..., Image], mild: dict[str, float], strong: dict[str, float]) -> tuple[Condition, Condition]:
    def level(values: dict[str, float]) -> str:
        return ", ".join(f"{key.removesuffix('_rbc')} {value:g}" for key, value in values.items())

    return Condition(name, level(mild), partial(change, **mild)), Condition(name, level(strong), partial(change, **strong))


def _bytes(pixels: np.ndarray) -> Image:
    return np.rint(pixels).clip(0, 255).astype(np.uint8)


CONDITIONS: tuple[Condition, ...] = (
    *_both("stain jitter", hed_jitter, {"sigma": 0.05}, {"sigma": 0.2}),
    *_both("stain pale", dyes, {"blue": 0.8, "red": 0.8}, {"blue": 0.6, "red": 0.6}),
    *_both("stain dark", dyes, {"blue": 1.2, "red": 1.2}, {"blue": 1.4, "red": 1.4}),
    *_both("stain bluer", dyes, {"blue": 1.2, "red": 0.8}, {"blue": 1.4, "red": 0.6}),
    *_both("stain redder", dyes, {"blue": 0.8, "red": 1.2}, {"blue": 0.6, "red": 1.4}),
    *_both("white balance warm", white_balance, {"red": 1.1, "blue": 0.9}, {"red": 1.25, "blue": 0.75}),
    *_both("white balance cold", white_balance, {"red": 0.9, "blue": 1.1}, {"red": 0.75, "blue": 1.25}),
    *_both("blur", blur, {"sigma_rbc": 0.03}, {"sigma_rbc": 0.06}),
    *_both("defocus", defocus, {"width_rbc": 0.1}, {"width_rbc": 0.25}),
    *_both("jpeg", compress, {"quality": 50}, {"quality": 20}),
    *_both("uneven light", light_unevenly, {"fall": 0.15}, {"fall": 0.4}),
    *_both("brighter", expose, {"stops": 0.5}, {"stops": 1.0}),
    *_both("darker", expose, {"stops": -0.5}, {"stops": -1.0}),
    *_both("noise", add_noise, {"electrons": 2000}, {"electrons": 400}),
    Condition("smaller", "factor 0.7", partial(zoom, factor=0.7), factor=0.7),
    Condition("larger", "factor 1.3", partial(zoom, factor=1.3), factor=1.3),
)
