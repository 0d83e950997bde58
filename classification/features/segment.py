"""Masks of the white cell in the middle of each crop, and of its nucleus: fuzzy c-means on colours, in two stages, no model.

Stage one tells the leucocyte from glass and red cells, stage two its nucleus from its cytoplasm. The clusters are
found on a grid of pixels and laid over a smaller picture; every crop has its own, so any stain will do.

Sources: J. C. Bezdek, Pattern Recognition with Fuzzy Objective Function Algorithms (1981), for the clustering;
S. Mohapatra, D. Patra, S. Satpathy, Neural Computing and Applications 24 (2014), 1887, for colours in two stages.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from classification.features.clusters import fuzzy_means, memberships
from classification.features.pieces import central, distances, grow, lobes
from smear.types import Image

Mask = NDArray[np.bool_]
Plane = NDArray[np.float32]

_WORK_PX = 112  # side of the picture that is clustered; a pixel of it is a fortieth of a red cell
_STEP = 4  # every fourth pixel of it, both ways, tells the clusters
_BLUR = 1 / 100  # of the side: chromatin grains are smaller, cells and lobes are larger
_CENTRE, _OUTER = 0.18, 0.30  # of the side, radii: mostly in the cell that the crop is centred on; beyond most cells
_NEAR, _FAR_WEIGHT = 0.25, 0.1  # of the side: the cell in the middle counts most, its neighbours a tenth
_MIDDLE, _FILLS = 0.08, 0.35  # of the side, and a share: a colour that fills so much of the very middle is the cell's
_RING = 0.05  # of the side: the rim around a nucleus where cytoplasm would be
_AROUND = 1.3  # a colour that is so much denser around the nucleus than elsewhere is cytoplasm
_REACH = 0.12  # of the side: how far from the nucleus cytoplasm is expected
_MIN_CONTRAST = 9.0  # Lab units between leucocyte and glass; below it there is nothing but glass and noise
_CLEAR = 0.87  # partition coefficient, 0.5 to 1, of nucleus and cytoplasm; chromatin alone has less (painted cells: 0.83, they 0.93)
_PALE = 0.6  # of the nucleus' contrast to glass: what has less is cytoplasm, however the pixels lie
_CUT_OUT = 0.1  # share of a crop in exactly one of the colours below: its cell is cut out already
_PUT_THERE = ((0, 0, 0), (128, 128, 128))  # C-NMC's black; the neutral grey of our crop contract


def segment(crops: Image) -> tuple[Mask, Mask]:
    """The cell in the middle of each crop and its nucleus, two (N, S, S) bool; both empty where no cell can be told.

    A nucleus lies in its cell. Where the cell is cut out on black or neutral grey already, that edge is taken.

    Args:
        crops: (N, S, S, 3) RGB uint8, a white cell in the middle, about 3 red cells wide.
    """
    n, side = crops.shape[:2]
    cells, nuclei = np.zeros((n, side, side), bool), np.zeros((n, side, side), bool)
    if not n or side < 16:
        return cells, nuclei
    work = min(side, _WORK_PX)
    small = np.stack([cv2.resize(crop, (work, work), interpolation=cv2.INTER_AREA) for crop in crops])
    lab, outside = _lab(small), _outside(crops, work)
    shares = _leucocytes(lab, outside)  # (N, W, W)
    whites = np.stack([central(share > 0.5) for share in shares])
    cores = _nuclei(lab, whites)  # (N, W, W)
    for i in np.flatnonzero(whites.any(axis=(1, 2))):
        cells[i] = grow(whites[i], side)
        nuclei[i] = grow(lobes(cores[i] > 0.5, whites[i]), side) & cells[i]
    return cells, nuclei


def _lab(small: Image) -> Plane:
    """CIE L*a*b* of crops (N, W, W, 3) uint8, slightly blurred; float32, L in 0..100."""
    sigma = max(0.6, small.shape[1] * _BLUR)
    blurred = np.concatenate([cv2.GaussianBlur(crop, (0, 0), sigma) for crop in small])  # (N·W, W, 3)
    return np.asarray(cv2.cvtColor(blurred.astype(np.float32) / 255, cv2.COLOR_RGB2Lab), np.float32).reshape(small.shape)


def _outside(crops: Image, work: int) -> Mask:
    """(N, W, W): the background that a program put there; empty in crops that have none."""
    found = np.zeros((len(crops), work, work), bool)
    for i, crop in enumerate(crops):
        for colour in _PUT_THERE:
            same = (cv2.inRange(crop, colour, colour) > 0).astype(np.uint8)
            if same.mean() >= _CUT_OUT:
                found[i] |= cv2.resize(same, (work, work), interpolation=cv2.INTER_NEAREST) > 0
    return found


def _leucocytes(lab: Plane, outside: Mask) -> Plane:
    """Stage one: how far each pixel belongs to the white cell in the middle, (N, W, W) in [0, 1]."""
    n, work = lab.shape[:2]
    radius = distances(work)
    grid = (slice(None), slice(_STEP // 2, None, _STEP), slice(_STEP // 2, None, _STEP))
    points, far = lab[grid].reshape(n, -1, 3), radius[grid[1:]].ravel()
    use = ~outside[grid].reshape(n, -1)
    start = np.stack([_start(p, far, u) for p, u in zip(points, use, strict=True)])
    weights = use * (_FAR_WEIGHT + np.exp(-((far / _NEAR) ** 2)))
    centres = fuzzy_means(points, start, weights.astype(np.float32))  # (N, 4, 3)
    share = memberships(lab.reshape(n, -1, 3), centres).reshape(n, 4, work, work)
    white = np.zeros((n, work, work), np.float32)
    for i in range(n):
        if outside[i].any():
            white[i] = ~outside[i]
        elif np.linalg.norm(centres[i, 0] - centres[i, 2]) >= _MIN_CONTRAST:
            white[i] = _white(share[i], radius)
    return white


def _start(points: Plane, far: Plane, use: Mask) -> Plane:
    """First centres (4, 3) of glass, red cells, nucleus and cytoplasm, from the points (P, 3) of one crop.

    Glass is the brightest, nucleus the darkest in the middle; then, twice, what lies farthest from all that is there
    already: among the outer points for red cells, among the inner ones for cytoplasm.
    """
    if use.sum() < 16:
        use = np.ones_like(use)
    light = points[:, 0]
    middle = use & (far < _CENTRE)
    middle = middle if middle.any() else use
    found = [points[use & (light >= np.quantile(light[use], 0.9))].mean(axis=0)]
    found.append(points[middle & (light <= np.quantile(light[middle], 0.3))].mean(axis=0))
    for zone in (far >= _OUTER, far < _OUTER):
        zone = use & zone if (use & zone).any() else use
        apart = np.min([((points - centre) ** 2).sum(axis=1) for centre in found], axis=0)
        most = zone & (apart >= np.quantile(apart[zone], 0.9))
        found.append(points[most].mean(axis=0))
    return np.asarray([found[0], found[2], found[1], found[3]], np.float32)


def _white(share: Plane, radius: Plane) -> Plane:
    """The cell's own part (W, W) of four clusters (4, W, W): the nucleus', and of those that are denser around it than elsewhere.

    The latter count less and less with the distance from the nucleus: a red cell of the same colour is no cytoplasm.
    """
    middle = share[:, radius < _MIDDLE].mean(axis=1)
    core = [2, *(k for k in (1, 3) if middle[k] > max(_FILLS, middle[2]))]
    dark = central(share[core].sum(axis=0) > 0.5)
    if not dark.any():
        return np.zeros_like(radius)
    away = cv2.distanceTransform((~dark).astype(np.uint8), cv2.DIST_L2, 5) / len(dark)  # in sides
    ring, rest = (away > 0) & (away < _RING), away >= _RING
    if not ring.any() or not rest.any():
        return np.asarray(share[core].sum(axis=0))
    around, elsewhere = share[:, ring].mean(axis=1), share[:, rest].mean(axis=1)
    own = [k for k in (1, 3) if k not in core and around[k] > _AROUND * elsewhere[k]]
    near = np.exp(-((np.maximum(away - _REACH, 0) / _REACH) ** 2))
    return np.asarray(share[core].sum(axis=0) + near * share[own].sum(axis=0), np.float32)


def _nuclei(lab: Plane, whites: Mask) -> Plane:
    """Stage two: how far each pixel of the cells (N, W, W) belongs to a nucleus, (N, W, W) in [0, 1].

    A cell whose pixels mostly lie between the two clusters is all nucleus: that is chromatin, and no border.
    """
    n, work = lab.shape[:2]
    flat, inside = lab.reshape(n, -1, 3), whites.reshape(n, -1)
    start = np.zeros((n, 2, 3), np.float32)
    for i in np.flatnonzero(inside.any(axis=1)):
        own = flat[i][inside[i]]
        order = np.argsort(own[:, 0], kind="stable")
        tenth = max(1, len(own) // 10)
        start[i] = own[order[tenth : 4 * tenth + 1]].mean(axis=0), own[order[-tenth:]].mean(axis=0)
    every = slice(None, None, 5)
    centres = fuzzy_means(flat[:, every], start, inside[:, every].astype(np.float32))
    share = memberships(flat, centres)  # (N, 2, W·W)
    stands = np.linalg.norm(centres - np.quantile(flat, 0.9, axis=1)[:, None], axis=2)  # (N, 2) contrast to glass
    clear = ((share**2).sum(axis=1) * inside).sum(axis=1) / np.maximum(inside.sum(axis=1), 1)  # (N,) partition coefficient
    two = (clear >= _CLEAR) | (stands[:, 1] < _PALE * stands[:, 0])
    return np.where(inside & two[:, None], share[:, 0], inside).reshape(n, work, work)
