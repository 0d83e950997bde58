"""Painted white cells: what each kind looks like, and how its nucleus, cytoplasm and granules become densities."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from datasets.paint.nuclei import NUCLEI
from datasets.paint.shapes import Frame, Patch, Plane, Spot, bell, frame, outline, ramp, rough, smooth_noise
from datasets.paint.style import SlideStyle

GAIN_RANGE = (0.45, 2.4)  # how far a white cell's stain may be corrected towards the slide's mean
HUE_RANGE = (0.78, 1.28)  # how far one channel's correction may differ from the others'

SQUEEZED = 0.15  # share of white cells, of any kind, that the smear or their neighbours have pulled out of shape


@dataclass(frozen=True)
class Kind:
    """The morphology of one kind of white cell; pairs are ranges, lengths are red-cell diameters."""

    label: str  # ALL or HEM
    diameter: tuple[float, float, float, float]  # median, relative standard deviation, lowest, highest
    nuclear_share: tuple[float, float]  # area of the nucleus over that of the cell
    nucleus: str  # key of NUCLEI
    contour: tuple[float, float]  # irregularity of the nuclear outline
    cleft: float  # chance of a cleft in it
    grain: tuple[float, float]  # size of the chromatin grains
    contrast: tuple[float, float]  # of the chromatin
    clumped: float  # 0 fine and even, 1 hard-edged clumps
    nucleoli: int  # at most
    outline: float  # irregularity of the cell's edge
    cytoplasm: tuple[float, float]  # strength of its stain
    pinkness: float  # 0 basophilic, 1 eosinophilic
    granules: tuple[float, float]  # strength, size; strength 0 for none
    vacuoles: float  # chance of having some


KINDS: dict[str, Kind] = {
    "blast": Kind(
        "ALL", (1.72, 0.13, 1.35, 2.25), (0.76, 0.95), "round", (0.5, 1.7), 0.40, (0.028, 0.055), (0.10, 0.24), 0.15,
        3, 1.1, (0.8, 1.5), 0.0, (0, 0), 0.15,
    ),
    "lymphocyte": Kind(
        "HEM", (1.30, 0.13, 1.02, 1.75), (0.64, 0.92), "round", (0.1, 0.7), 0.06, (0.070, 0.130), (0.16, 0.36), 0.7,
        0, 0.9, (0.6, 1.3), 0.0, (0.12, 0.03), 0.03,
    ),
    "neutrophil": Kind(
        "HEM", (1.75, 0.09, 1.45, 2.1), (0.34, 0.50), "segmented", (0.3, 1.1), 0.0, (0.050, 0.100), (0.14, 0.32), 0.6,
        0, 0.9, (0.6, 1.1), 0.75, (0.30, 0.022), 0.05,
    ),
    "monocyte": Kind(
        "HEM", (2.0, 0.10, 1.65, 2.5), (0.46, 0.66), "kidney", (0.5, 1.6), 0.0, (0.045, 0.085), (0.14, 0.28), 0.45,
        0, 2.0, (0.7, 1.2), 0.1, (0.15, 0.02), 0.45,
    ),
    "eosinophil": Kind(
        "HEM", (1.80, 0.08, 1.5, 2.1), (0.30, 0.45), "bilobed", (0.3, 0.9), 0.0, (0.050, 0.100), (0.14, 0.32), 0.6,
        0, 0.9, (0.9, 1.4), 1.0, (0.55, 0.028), 0.0,
    ),
    "basophil": Kind(
        "HEM", (1.65, 0.09, 1.35, 1.95), (0.60, 0.90), "kidney", (1.0, 2.0), 0.0, (0.022, 0.036), (0.30, 0.45), 0.8,
        0, 1.1, (0.8, 1.5), 0.2, (0.60, 0.030), 0.0,
    ),
}  # fmt: skip
HEM_SHARES = {"lymphocyte": 0.61, "neutrophil": 0.21, "monocyte": 0.09, "eosinophil": 0.06, "basophil": 0.03}


def paint_white(rng: np.random.Generator, style: SlideStyle, kind: Kind, spot: Spot) -> Patch:
    """A white cell of that kind; its mean colour is then set to the slide's, so that only morphology tells the kinds apart."""
    k, rbc_px, radius_px = kind.outline, spot.rbc_px, spot.diameter_px / 2
    if rng.random() < SQUEEZED:
        k *= rng.uniform(1.5, 3.0)
    edge_px = outline(rng, rough(rng, {2: 0.04 * k, 3: 0.02 * k, 4: 0.013 * k, 6: 0.008 * k, 9: 0.005 * k})) * radius_px
    seen = frame(edge_px, border_px=2, offset_xy=spot.offset_xy)
    cover = ramp(seen.depth, max(1.4, 0.035 * rbc_px))
    share, contour = rng.uniform(*kind.nuclear_share), rng.uniform(*kind.contour)
    depth = NUCLEI[kind.nucleus](rng, seen, radius_px, share=share, contour=contour, cleft=kind.cleft)
    nucleus = ramp(depth, max(1.4, rng.uniform(0.03, 0.06) * rbc_px)) * cover
    chromatin = _chromatin(rng, kind, depth, rbc_px)
    body = _cytoplasm(rng, kind, seen.rho, rbc_px) * (1 - nucleus) * cover * np.float32(style.cytoplasm_share)
    if rng.random() < kind.vacuoles:
        holes = _vacuoles(rng, seen, radius_px, rbc_px)
        body *= 1 - holes
        chromatin = chromatin * (1 - 0.5 * holes)
    jitter = np.exp(rng.normal(0, 0.04, (3, 3)))
    colours = (np.array([style.nucleus, style.cytoplasm, style.pink]) * jitter).astype(np.float32)
    planes = np.stack([nucleus * chromatin, body * (1 - kind.pinkness), body * kind.pinkness], axis=-1)  # (h, w, 3)
    return Patch(_level(rng, style, (planes @ colours).astype(np.float32), cover > 0.5), cover)


def _level(rng: np.random.Generator, style: SlideStyle, density: NDArray[np.float32], inside: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Bring the mean light through a cell to the slide's, channel by channel, with a spread that no kind has a part in."""
    mixed = 0.85 * np.array(style.nucleus) + 0.15 * np.array(style.cytoplasm)
    target = np.exp(-style.white_density * mixed * np.exp(rng.normal(0, 0.13)) * np.exp(rng.normal(0, 0.04, 3)))
    seen = density[inside].astype(np.float64)[::3]  # (n, 3); every third pixel will do
    gain = np.ones(3)
    for _ in range(5):  # Newton's method on mean(exp(-gain * density)) = target
        light = np.exp(-gain * seen)
        slope = -(seen * light).mean(axis=0)
        step = (light.mean(axis=0) - target) / np.where(np.abs(slope) < 0.01, np.inf, slope)  # a channel without stain stays
        gain = np.clip(gain - step, *GAIN_RANGE)
    common = float(np.exp(np.log(gain[:2]).mean()))  # blue hardly absorbs
    return (density * (common * np.clip(gain / common, *HUE_RANGE))).astype(np.float32)


def _chromatin(rng: np.random.Generator, kind: Kind, depth: Plane, rbc_px: float) -> Plane:
    """Density inside the nucleus, about 1: grains or clumps, a darker membrane, paler nucleoli with a dark rim."""
    grain, contrast = rng.uniform(*kind.grain) * rbc_px, rng.uniform(*kind.contrast)
    coarse = smooth_noise(rng, depth.shape, max(0.7, grain))
    fine = smooth_noise(rng, depth.shape, max(0.6, 0.4 * grain))
    clumps, even = np.tanh(2.2 * (coarse + 0.25 * fine)), 0.7 * coarse + 0.5 * fine
    chromatin = 1 + contrast * (kind.clumped * clumps + (1 - kind.clumped) * even)
    chromatin += rng.uniform(0.05, 0.3) * bell(depth - 0.02 * rbc_px, 0.03 * rbc_px)
    chromatin += 0.07 * smooth_noise(rng, depth.shape, 0.35 * rbc_px)
    rows, columns = np.mgrid[: depth.shape[0], : depth.shape[1]].astype(np.float32)
    for _ in range(int(rng.integers(0, kind.nucleoli + 1))):
        deep = np.argwhere(depth > 0.16 * rbc_px)
        if not len(deep):
            break
        y, x = deep[rng.integers(len(deep))]
        distance = np.hypot(rows - y, (columns - x) * rng.uniform(0.75, 1.33)) / (rng.uniform(0.07, 0.15) * rbc_px)
        chromatin *= 1 - rng.uniform(0.25, 0.5) * ramp(1 - distance, 0.6) + rng.uniform(0.1, 0.25) * bell(distance - 1.15, 0.3)
    return np.clip(chromatin, 0.15, None).astype(np.float32)


def _cytoplasm(rng: np.random.Generator, kind: Kind, rho: Plane, rbc_px: float) -> Plane:
    """Strength of the cytoplasm's stain, deeper towards the edge, with its granules."""
    even = 0.75 + 0.4 * np.clip(rho, 0, 1) ** 3 + 0.10 * smooth_noise(rng, rho.shape, 0.07 * rbc_px)
    body = rng.uniform(*kind.cytoplasm) * even
    amount, size = kind.granules
    if amount:
        body = body + amount * np.tanh(1.3 * smooth_noise(rng, rho.shape, max(0.6, size * rbc_px)))
    return np.clip(body, 0.05, None).astype(np.float32)


def _vacuoles(rng: np.random.Generator, seen: Frame, radius_px: float, rbc_px: float) -> Plane:
    """One to six clear holes, 0 to 1."""
    holes = np.zeros_like(seen.dx)
    for _ in range(int(rng.integers(1, 7))):
        angle, distance = rng.uniform(0, 2 * np.pi), rng.uniform(0.4, 0.9) * radius_px
        size = rng.uniform(0.03, 0.08) * rbc_px
        away = np.hypot(seen.dx - distance * np.cos(angle), seen.dy - distance * np.sin(angle))
        holes = np.maximum(holes, rng.uniform(0.5, 0.95) * ramp(size - away, max(1.2, 0.5 * size)))
    return holes
