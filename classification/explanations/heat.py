"""What a heat map lies on - nucleus, cytoplasm, outside -, what maps without knowledge would say, and how a map looks over its crop."""

import cv2
import numpy as np
from numpy.typing import NDArray

from smear.types import Image

Heat = NDArray[np.float32]  # (N, S, S), 0 or more
Mask = NDArray[np.bool_]  # (N, S, S)

ZONES = ("nucleus", "cytoplasm", "outside")
CENTRE_WIDTH = 0.22  # of the side: deviation of the centre map; a cell in the middle is about as wide
TIE = 1e-4  # of the hottest place: what orders pixels that are alike
TIE_PLACES = 16  # along a side: removed in patches, as those of a map are; single pixels would be filled in without a trace
SHOWN_PX = 168  # side of a picture
MAP_SHARE = 0.6  # of the colours in a picture; the rest is the crop in grey


def zone_shares(heat: Heat, cells: Mask, nuclei: Mask) -> dict[str, NDArray[np.float64]]:
    """The share of each map, (N,), that lies in each of `ZONES`; NaN without heat, or where the zone is not known.

    A crop in which no cell was told apart has no zones; one without a nucleus has only `outside`.
    """
    total = heat.sum(axis=(1, 2), dtype=np.float64)
    has_cell, has_nucleus = cells.any(axis=(1, 2)), nuclei.any(axis=(1, 2))
    zones = {"nucleus": (nuclei, has_nucleus), "cytoplasm": (cells & ~nuclei, has_nucleus), "outside": (~cells, has_cell)}
    found = {}
    for name in ZONES:
        mask, known = zones[name]
        known = known & (total > 0)
        found[name] = np.where(known, (heat * mask).sum(axis=(1, 2), dtype=np.float64) / np.where(total > 0, total, 1), np.nan)
    return found


def random_maps(n: int, side: int, places: tuple[int, int], *, seed: int) -> Heat:
    """n maps (side, side) of chance, as coarse as a map of so many rows and columns: what a method must beat."""
    rng = np.random.default_rng(seed)
    found = np.zeros((n, side, side), np.float32)
    for i in range(n):
        grid = _to_unit(rng.random(places).astype(np.float32))
        found[i] = _to_unit(cv2.resize(grid, (side, side), interpolation=cv2.INTER_LINEAR))
    return found


def centre_maps(n: int, side: int) -> Heat:
    """n times the same round spot in the middle: what anybody says who knows that a crop is centred on its cell."""
    y, x = (np.mgrid[:side, :side] - (side - 1) / 2) / side
    spot = np.exp(-(x**2 + y**2) / (2 * CENTRE_WIDTH**2)).astype(np.float32)
    return np.repeat(spot[None], n, axis=0)


def rank(heat: Heat, *, seed: int) -> Heat:
    """The same order of pixels as evenly spaced numbers in (0, 1), so that every map of a percentile loses as many; ties in patches."""
    n, side = heat.shape[:2]
    patches = random_maps(n, side, (TIE_PLACES, TIE_PLACES), seed=seed)
    flat = (heat + TIE * patches).reshape(n, side * side)
    place = np.argsort(np.argsort(flat, axis=1, kind="stable"), axis=1, kind="stable")
    return ((place + 0.5) / (side * side)).astype(np.float32).reshape(heat.shape)


def overlay(crop: Image, heat: Heat, cell: Mask, nucleus: Mask) -> Image:
    """One map (S, S) over its crop, (`SHOWN_PX`, `SHOWN_PX`, 3) uint8.

    The crop is grey there, so that colour means heat alone, from dark blue (none) to yellow (most): cividis, which colour-blind readers
    and a printer tell apart. White lines are the outlines of the cell and its nucleus.
    """
    grey = cv2.cvtColor(cv2.cvtColor(enlarge(crop), cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    large = cv2.resize(heat, (SHOWN_PX, SHOWN_PX), interpolation=cv2.INTER_LINEAR)
    colours = cv2.applyColorMap(np.round(255 * np.clip(large, 0, 1)).astype(np.uint8), cv2.COLORMAP_CIVIDIS)
    mixed = cv2.addWeighted(cv2.cvtColor(colours, cv2.COLOR_BGR2RGB), MAP_SHARE, grey, 1 - MAP_SHARE, 0)
    for mask in (cell, nucleus):
        area = cv2.resize(mask.astype(np.float32), (SHOWN_PX, SHOWN_PX), interpolation=cv2.INTER_LINEAR) > 0.5
        outlines, _ = cv2.findContours(area.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(mixed, outlines, -1, (255, 255, 255), 1, cv2.LINE_AA)
    return np.asarray(mixed, np.uint8)


def enlarge(crop: Image) -> Image:
    """(S, S, 3) → (`SHOWN_PX`, `SHOWN_PX`, 3) uint8."""
    how = cv2.INTER_AREA if crop.shape[0] > SHOWN_PX else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(crop, (SHOWN_PX, SHOWN_PX), interpolation=how), np.uint8)


def _to_unit(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """From 0 to 1; all 0 where they are alike."""
    low, high = float(values.min()), float(values.max())
    return (values - low) / np.float32(high - low) if high > low else np.zeros_like(values)
