"""The dyes of a field, in optical density: what light they take away, along which directions, and how much of each.

Optical density is -ln(I / 255): dyes add up in it. Sources: Ruifrok & Johnston, Anal. Quant. Cytol. Histol. 23 (2001) 291; Macenko et
al., ISBI 2009, 1107 (stain vectors as the extreme angles in the plane of the two largest principal directions); Liao et al., J. Inf. Sci.
Eng. 17 (2001) 713 (multi-level Otsu threshold).
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from smear.types import Image

SMALL_PX = 112  # colours need no detail: they are measured on fields shrunk to this side
OTSU_BINS = 64
OD_FLOOR = 0.15  # decadic optical density below which a pixel is background (Macenko's beta)
EXTREME_PERCENT = 1.0  # the angle percentile that stands for a pure dye (Macenko's alpha)

# Rows: haematoxylin, eosin and DAB in optical density, unit length. Source: Ruifrok & Johnston 2001, as printed in scikit-image.
_HED = np.array([[0.65, 0.70, 0.29], [0.07, 0.99, 0.11], [0.27, 0.57, 0.78]], np.float32)
_HED /= np.linalg.norm(_HED, axis=1, keepdims=True)
_RGB_TO_HED = np.linalg.inv(_HED).astype(np.float32)
_DENSITY = -np.log((np.arange(256) + 1) / 256).astype(np.float32)  # natural, of each grey level


def shrink(image: Image) -> Image:
    """The field at `SMALL_PX` × `SMALL_PX`, RGB uint8, each pixel the mean of what it covers."""
    return np.asarray(cv2.resize(image, (SMALL_PX, SMALL_PX), interpolation=cv2.INTER_AREA), np.uint8)


def density(image: Image) -> NDArray[np.float32]:
    """Natural optical density of RGB uint8 (…, 3), float32 from 0 (white) to 5.5 (black)."""
    return _DENSITY[image]


def light(densities: NDArray[np.floating]) -> Image:
    """The RGB uint8 image of natural optical densities (…, 3), the inverse of `density`."""
    return np.rint(256 * np.exp(-densities) - 1).clip(0, 255).astype(np.uint8)


def jitter_stain(rng: np.random.Generator, image: Image, *, gain: float = 0.3, offset: float = 0.03) -> Image:
    """Scale and shift the three stains in optical density: alpha in 1 ± gain, beta in ± offset (Tellez et al. 2018)."""
    alpha, beta = (rng.uniform(low, high, 3).astype(np.float32) for low, high in ((1 - gain, 1 + gain), (-offset, offset)))
    return light((density(image) @ _RGB_TO_HED * alpha + beta) @ _HED)


def change_dyes(image: Image, *, blue: float, red: float) -> Image:
    """The same field with `blue` times its basic dye (azure: nuclei) and `red` times its acid dye (eosin: red cells).

    The dyes are the field's own Macenko vectors; what they do not explain stays as it is. Factors of 1, and fields without
    stain, give the same image.
    """
    vectors = dye_vectors(shrink(image))  # (2, 3)
    if not vectors.any():
        return image
    amounts = density(image) @ np.linalg.pinv(vectors).astype(np.float32)  # (H, W, 2)
    more = np.array([[blue - 1], [red - 1]], np.float32) * vectors  # (2, 3)
    return light(density(image) + amounts @ more)


def two_thresholds(channel: NDArray[np.uint8]) -> tuple[float, float]:
    """The two grey levels that part a channel into three classes of least spread (Otsu, two levels)."""
    counts, edges = np.histogram(channel, bins=OTSU_BINS, range=(0, 256))
    weight = np.concatenate([[0], np.cumsum(counts)]).astype(float)  # (B + 1,)
    moment = np.concatenate([[0], np.cumsum(counts * edges[1:])])

    def between(start: NDArray, stop: NDArray) -> NDArray:
        mass = weight[stop] - weight[start]
        return np.divide((moment[stop] - moment[start]) ** 2, mass, out=np.zeros(mass.shape), where=mass > 0)

    low, high = np.triu_indices(OTSU_BINS + 1, k=0)
    zero, end = np.zeros_like(low), np.full_like(low, OTSU_BINS)
    best = int(np.argmax(between(zero, low) + between(low, high) + between(high, end)))
    return float(edges[low[best]]), float(edges[high[best]])


def dye_vectors(image: Image) -> NDArray[np.float32]:
    """The two stain directions of a field, (2, 3) unit vectors of optical density, the bluer absorber (more red light lost) first.

    Zeros when fewer than three pixels are stained. Give it a small image (`shrink`).
    """
    decadic = -np.log10((image.reshape(-1, 3).astype(np.float32) + 1) / 256)  # (P, 3)
    decadic = decadic[(decadic > OD_FLOOR).any(axis=1)]
    if len(decadic) < 3:
        return np.zeros((2, 3), np.float32)
    plane = np.linalg.eigh(np.cov(decadic.T))[1][:, 1:]  # (3, 2), the two largest principal directions
    plane = plane * np.where(plane.sum(axis=0) < 0, -1, 1)
    flat = decadic @ plane
    angles = np.arctan2(flat[:, 0], flat[:, 1])
    extreme = np.percentile(angles, [EXTREME_PERCENT, 100 - EXTREME_PERCENT])
    vectors = np.stack([np.sin(extreme), np.cos(extreme)], axis=1) @ plane.T  # (2, 3)
    vectors = vectors * np.where(vectors.sum(axis=1, keepdims=True) < 0, -1, 1)
    return np.asarray(vectors[np.argsort(-vectors[:, 0], kind="stable")], np.float32)
