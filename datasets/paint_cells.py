"""One painted cell at a time: shapes, thickness and texture as small patches of optical density.

Every painter returns patches of size (2r+1, 2r+1) centred on the cell; lengths inside are pixels of the canvas that they are laid on.
"""

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from datasets.paint_style import SlideStyle

Plane = NDArray[np.float32]  # (h, w)
N_ANGLES = 256  # resolution of an outline
GAIN_RANGE = (0.45, 2.4)  # how far a white cell's stain may be corrected towards the slide's mean


@dataclass(frozen=True)
class Patch:
    """A cell ready to be laid on the canvas: density (h, w, 3) float32, cover (h, w) in [0, 1], where 1 hides what lies below."""

    density: NDArray[np.float32]
    cover: Plane


@dataclass(frozen=True)
class Kind:
    """The morphology of one kind of white cell; pairs are ranges, lengths are red-cell diameters.

    diameter is (median, relative standard deviation, low, high); nuclear_share is the area of the nucleus over that of the cell.
    """

    label: str
    diameter: tuple[float, float, float, float]
    nuclear_share: tuple[float, float]
    nucleus: str  # key of NUCLEI
    contour: tuple[float, float]  # irregularity of the nuclear outline
    cleft: float  # chance of a cleft in it
    grain: tuple[float, float]  # size of the chromatin grains
    contrast: tuple[float, float]  # of the chromatin
    clumped: float  # 0 fine and even, 1 hard-edged clumps
    nucleoli: tuple[int, int]
    outline: float  # irregularity of the cell's edge
    cytoplasm: tuple[float, float]  # strength of its stain
    pinkness: float  # 0 basophilic, 1 eosinophilic
    granules: tuple[float, float]  # strength, size; (0, 0) for none
    vacuoles: float  # chance of having some


KINDS: dict[str, Kind] = {
    "blast": Kind(
        "ALL", (1.72, 0.13, 1.35, 2.25), (0.76, 0.95), "round", (0.5, 1.7), 0.40, (0.028, 0.055), (0.10, 0.24), 0.15,
        (0, 3), 1.1, (0.8, 1.5), 0.0, (0, 0), 0.15,
    ),
    "lymphocyte": Kind(
        "HEM", (1.30, 0.13, 1.02, 1.75), (0.64, 0.92), "round", (0.1, 0.7), 0.06, (0.070, 0.130), (0.16, 0.36), 0.7,
        (0, 0), 0.9, (0.6, 1.3), 0.0, (0.12, 0.03), 0.03,
    ),
    "neutrophil": Kind(
        "HEM", (1.75, 0.09, 1.45, 2.1), (0.34, 0.50), "lobes", (0.3, 1.1), 0.0, (0.050, 0.100), (0.14, 0.32), 0.6,
        (0, 0), 0.9, (0.6, 1.1), 0.75, (0.30, 0.022), 0.05,
    ),
    "monocyte": Kind(
        "HEM", (2.0, 0.10, 1.65, 2.5), (0.46, 0.66), "kidney", (0.5, 1.6), 0.0, (0.045, 0.085), (0.14, 0.28), 0.45,
        (0, 0), 2.0, (0.7, 1.2), 0.1, (0.15, 0.02), 0.45,
    ),
    "eosinophil": Kind(
        "HEM", (1.80, 0.08, 1.5, 2.1), (0.30, 0.45), "bilobed", (0.3, 0.9), 0.0, (0.050, 0.100), (0.14, 0.32), 0.6,
        (0, 0), 0.9, (0.9, 1.4), 1.0, (0.55, 0.028), 0.0,
    ),
    "basophil": Kind(
        "HEM", (1.65, 0.09, 1.35, 1.95), (0.60, 0.90), "kidney", (1.0, 2.0), 0.0, (0.022, 0.036), (0.30, 0.45), 0.8,
        (0, 0), 1.1, (0.8, 1.5), 0.2, (0.60, 0.030), 0.0,
    ),
}  # fmt: skip
HEM_SHARES = {"lymphocyte": 0.61, "neutrophil": 0.21, "monocyte": 0.09, "eosinophil": 0.06, "basophil": 0.03}


def grid(reach: int, offset_xy: tuple[float, float] = (0.0, 0.0)) -> tuple[Plane, Plane]:
    """Pixel centres relative to a cell's centre, which lies `offset_xy` from the middle pixel of its patch."""
    axis = np.arange(-reach, reach + 1, dtype=np.float32)
    dx, dy = np.meshgrid(axis - np.float32(offset_xy[0]), axis - np.float32(offset_xy[1]))
    return dx, dy


def outline(rng: np.random.Generator, amplitudes: dict[int, float], *, bump: float = 0.0, spicules: int = 0) -> NDArray[np.float64]:
    """A closed outline: radius at N_ANGLES angles, scaled so that the mean of its width and height is 2."""
    angle = np.linspace(0, 2 * np.pi, N_ANGLES, endpoint=False)
    radius = np.ones(N_ANGLES)
    for order, amplitude in amplitudes.items():
        radius += amplitude * np.cos(order * angle + rng.uniform(0, 2 * np.pi))
    if bump:
        radius += bump * np.exp(-((np.angle(np.exp(1j * (angle - rng.uniform(0, 2 * np.pi)))) / 0.32) ** 2))
    if spicules:
        radius += 0.05 * np.cos(spicules * angle + 1.2 * np.cos(2 * angle + rng.uniform(0, 6)))
    x, y = radius * np.cos(angle), radius * np.sin(angle)
    return radius * 4 / (np.ptp(x) + np.ptp(y))


def relative_radius(dx: Plane, dy: Plane, edge_px: NDArray[np.float64]) -> tuple[Plane, Plane]:
    """Distance from the centre over that of the outline in the same direction, and that outline distance, pixels."""
    index = (np.arctan2(dy, dx) * (N_ANGLES / (2 * np.pi))).astype(np.int32) % N_ANGLES
    edge = edge_px.astype(np.float32)[index]
    return np.hypot(dx, dy) / edge, edge


def smooth_noise(rng: np.random.Generator, shape_hw: tuple[int, int], sigma_px: float) -> Plane:
    """Isotropic noise of mean 0 and standard deviation 1 with grains of about `sigma_px`."""
    step = max(1.0, sigma_px / 1.5)  # coarse noise is drawn small and enlarged
    small = (int(shape_hw[0] / step) + 3, int(shape_hw[1] / step) + 3)
    noise = cv2.GaussianBlur(rng.standard_normal(small, dtype=np.float32), (0, 0), max(sigma_px / step, 0.3))
    if step > 1:
        noise = cv2.resize(noise, (int(small[1] * step) + 1, int(small[0] * step) + 1), interpolation=cv2.INTER_CUBIC)
    noise = noise[: shape_hw[0], : shape_hw[1]]
    return (noise - noise.mean()) / (noise.std() + 1e-6)


def ramp(values: Plane, width: float) -> Plane:
    """0 to 1 over `width` around 0, smooth at both ends."""
    t = np.clip(values / np.float32(width) + np.float32(0.5), 0, 1)
    return t * t * (3 - 2 * t)


def paint_red(rng: np.random.Generator, style: SlideStyle, *, diameter_px: float, rbc_px: float, offset_xy: tuple[float, float]) -> Patch:
    """A biconcave red cell: an edge, a rim and a central pallor; sometimes a target, a slit, spicules or a tail."""
    p = style.poikilocytosis
    amplitudes = {
        2: abs(rng.normal(0, 0.055 * p)),
        3: abs(rng.normal(0, 0.018 * p)),
        4: abs(rng.normal(0, 0.009 * p)),
        5: abs(rng.normal(0, 0.006 * p)),
    }
    if rng.random() < 0.04 * p:
        amplitudes[2] = rng.uniform(0.15, 0.32)  # ovalocyte
    tail = rng.uniform(0.3, 0.7) if rng.random() < 0.012 * p else 0.0
    spicules = int(rng.integers(9, 16)) if rng.random() < style.crenated else 0
    edge_px = outline(rng, amplitudes, bump=tail, spicules=spicules) * diameter_px / 2
    reach = int(edge_px.max() + 0.1 * rbc_px) + 3
    dx, dy = grid(reach, offset_xy)
    rho, edge = relative_radius(dx, dy, edge_px)
    inside_px = (1 - rho) * edge
    soft = max(1.4, 0.035 * rbc_px)
    cover = ramp(inside_px, soft)
    thickness = 1 - _pallor(rng, style, dx, dy, diameter_px / 2, rho)
    thickness *= 1 + np.float32(0.05) * smooth_noise(rng, rho.shape, 0.16 * rbc_px)
    line = np.exp(-(((inside_px - 0.03 * rbc_px) / (0.03 * rbc_px)) ** 2))
    density = cover * (thickness + style.rim * line) * style.red_density * np.exp(rng.normal(0, 0.09))
    density -= style.halo * np.exp(-(((inside_px + 0.035 * rbc_px) / (0.03 * rbc_px)) ** 2))
    if rng.random() < style.refractile:
        density += _refractile(rng, dx, dy, rbc_px)
    colour = np.array(style.red) * np.exp(rng.normal(0, 0.035, 3))
    return Patch((density[..., None] * colour).astype(np.float32), cover)


def _pallor(rng: np.random.Generator, style: SlideStyle, dx: Plane, dy: Plane, radius_px: float, rho: Plane) -> Plane:
    depth = float(np.clip(style.pallor + rng.normal(0, 0.14), 0, 0.97))
    width = style.pallor_radius * np.exp(rng.normal(0, 0.16))
    turn, squeeze = rng.uniform(0, np.pi), np.exp(abs(rng.normal(0, 0.18)))
    if rng.random() < 0.03:
        squeeze = rng.uniform(2.0, 3.5)  # stomatocyte: a slit
    shift = rng.normal(0, 0.07, 2) * radius_px
    x, y = dx - shift[0], dy - shift[1]
    a, b = (x * np.cos(turn) + y * np.sin(turn)) / squeeze**0.5, (y * np.cos(turn) - x * np.sin(turn)) * squeeze**0.5
    distance = np.hypot(a, b) / radius_px
    pale = 1 / (1 + np.exp(np.clip((distance - width) / style.pallor_softness, -30, 30)))
    if rng.random() < 0.03:
        pale = pale * (1 - 0.8 * np.exp(-((distance / (0.4 * width)) ** 2)))  # target cell
    dome = np.float32(0.12) * (1 - np.clip(rho, 0, 1) ** 2)  # the disc between rim and pallor is not flat
    return (depth * pale + np.where(depth > 0.3, dome, -dome)).astype(np.float32)


def _refractile(rng: np.random.Generator, dx: Plane, dy: Plane, rbc_px: float) -> Plane:
    total = np.zeros_like(dx)
    for _ in range(rng.integers(1, 3)):
        x, y = rng.normal(0, 0.17, 2) * rbc_px
        size = rng.uniform(0.03, 0.09) * rbc_px
        distance = np.hypot(dx - x, (dy - y) * rng.uniform(0.7, 1.4)) / size
        total += rng.uniform(0.3, 0.9) * np.exp(-(((distance - 1) / 0.35) ** 2)) - rng.uniform(0.15, 0.4) * np.exp(-((distance / 0.7) ** 2))
    return total


def paint_platelet(
    rng: np.random.Generator, style: SlideStyle, *, diameter_px: float, rbc_px: float, offset_xy: tuple[float, float]
) -> Patch:
    """A small purple granular clump with a paler, frayed edge."""
    edge_px = (
        outline(rng, {2: rng.uniform(0, 0.2), 3: rng.uniform(0, 0.1), 5: rng.uniform(0, 0.08), 7: rng.uniform(0, 0.06)}) * diameter_px / 2
    )
    reach = int(edge_px.max()) + 3
    dx, dy = grid(reach, offset_xy)
    rho, edge = relative_radius(dx, dy, edge_px)
    cover = ramp((1 - rho) * edge, max(1.5, 0.22 * diameter_px))
    grains = smooth_noise(rng, rho.shape, max(0.6, 0.025 * rbc_px))
    core = np.exp(-((rho / rng.uniform(0.5, 0.9)) ** 2))
    density = cover * np.clip(0.25 + core * (0.75 + 0.45 * grains), 0.08, None) * style.platelet_density * np.exp(rng.normal(0, 0.2))
    colour = np.array(style.platelet) * np.exp(rng.normal(0, 0.05, 3))
    return Patch((density[..., None] * colour).astype(np.float32), cover * np.float32(0.3))


def paint_white(
    rng: np.random.Generator, style: SlideStyle, kind: Kind, *, diameter_px: float, rbc_px: float, offset_xy: tuple[float, float]
) -> Patch:
    """A white cell of that kind; its mean colour is then set to the slide's, so that only morphology tells the kinds apart."""
    k = kind.outline
    edge_px = outline(rng, {2: abs(rng.normal(0, 0.04 * k)), 3: abs(rng.normal(0, 0.02 * k)), 4: abs(rng.normal(0, 0.013 * k)),
                            6: abs(rng.normal(0, 0.008 * k)), 9: abs(rng.normal(0, 0.005 * k))}) * diameter_px / 2  # fmt: skip
    reach = int(edge_px.max()) + 4
    dx, dy = grid(reach, offset_xy)
    rho, edge = relative_radius(dx, dy, edge_px)
    cover = ramp((1 - rho) * edge, max(1.4, 0.035 * rbc_px))
    inside = cover > 0.5
    depth_px = NUCLEI[kind.nucleus](rng, kind, dx, dy, inside, diameter_px / 2)
    nucleus = ramp(depth_px, max(1.4, rng.uniform(0.03, 0.06) * rbc_px)) * cover
    chromatin = _chromatin(rng, kind, depth_px, rbc_px)
    cytoplasm, pink = _cytoplasm(rng, kind, rho, rbc_px)
    body = cytoplasm * (1 - nucleus) * cover
    if rng.random() < kind.vacuoles:
        holes = _vacuoles(rng, dx, dy, diameter_px / 2, rbc_px)
        body *= 1 - holes
        chromatin = chromatin * (1 - 0.5 * holes)
    jitter = np.exp(rng.normal(0, 0.04, (3, 3)))
    vectors = np.array([style.nucleus, style.cytoplasm, style.pink]) * jitter
    share = np.float32(style.cytoplasm_share)
    planes = np.stack([nucleus * chromatin, share * body * (1 - pink), share * body * pink], axis=-1)  # (h, w, 3)
    density = (planes @ vectors.astype(np.float32)).astype(np.float32)
    return Patch(_level(rng, style, density, inside), cover)


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
    return (density * gain).astype(np.float32)


def _chromatin(rng: np.random.Generator, kind: Kind, depth_px: Plane, rbc_px: float) -> Plane:
    grain, contrast = rng.uniform(*kind.grain) * rbc_px, rng.uniform(*kind.contrast)
    coarse = smooth_noise(rng, depth_px.shape, max(0.7, grain))
    fine = smooth_noise(rng, depth_px.shape, max(0.6, 0.4 * grain))
    clumps = np.tanh(2.2 * (coarse + 0.25 * fine))
    even = 0.7 * coarse + 0.5 * fine
    chromatin = 1 + contrast * (kind.clumped * clumps + (1 - kind.clumped) * even)
    membrane = np.exp(-(((depth_px - 0.02 * rbc_px) / (0.03 * rbc_px)) ** 2))
    chromatin += rng.uniform(0.05, 0.3) * membrane + 0.07 * smooth_noise(rng, depth_px.shape, 0.35 * rbc_px)
    for _ in range(int(rng.integers(kind.nucleoli[0], kind.nucleoli[1] + 1))):
        deep = np.argwhere(depth_px > 0.16 * rbc_px)
        if not len(deep):
            break
        y, x = deep[rng.integers(len(deep))]
        rows, columns = np.mgrid[: depth_px.shape[0], : depth_px.shape[1]]
        distance = np.hypot(rows - y, (columns - x) * rng.uniform(0.75, 1.33)) / (rng.uniform(0.07, 0.15) * rbc_px)
        chromatin *= (
            1 - rng.uniform(0.25, 0.5) * ramp(1 - distance, 0.6) + rng.uniform(0.1, 0.25) * np.exp(-(((distance - 1.15) / 0.3) ** 2))
        )
    return np.clip(chromatin, 0.15, None).astype(np.float32)


def _cytoplasm(rng: np.random.Generator, kind: Kind, rho: Plane, rbc_px: float) -> tuple[Plane, Plane]:
    """Strength of the cytoplasm's stain and its pink share, both (h, w)."""
    strength = rng.uniform(*kind.cytoplasm)
    body = strength * (0.75 + 0.4 * np.clip(rho, 0, 1) ** 3 + 0.10 * smooth_noise(rng, rho.shape, 0.07 * rbc_px))
    pink = np.full_like(rho, kind.pinkness)
    amount, size = kind.granules
    if amount:
        grains = np.tanh(1.3 * smooth_noise(rng, rho.shape, max(0.6, size * rbc_px)))
        body = body + amount * grains
    return np.clip(body, 0.05, None).astype(np.float32), pink


def _vacuoles(rng: np.random.Generator, dx: Plane, dy: Plane, radius_px: float, rbc_px: float) -> Plane:
    holes = np.zeros_like(dx)
    for _ in range(int(rng.integers(1, 7))):
        angle, distance = rng.uniform(0, 2 * np.pi), rng.uniform(0.4, 0.9) * radius_px
        size = rng.uniform(0.03, 0.08) * rbc_px
        away = np.hypot(dx - distance * np.cos(angle), dy - distance * np.sin(angle))
        holes = np.maximum(holes, rng.uniform(0.5, 0.95) * ramp(size - away, max(1.2, 0.5 * size)))
    return holes


def _round_nucleus(rng: np.random.Generator, kind: Kind, dx: Plane, dy: Plane, inside: NDArray[np.bool_], radius_px: float) -> Plane:
    """Signed distance to the edge of a round, sometimes cleft nucleus, pixels, positive inside."""
    c = rng.uniform(*kind.contour)
    shape = outline(rng, {2: abs(rng.normal(0, 0.05)), 3: abs(rng.normal(0, 0.025 * c)), 4: abs(rng.normal(0, 0.02 * c)),
                          5: abs(rng.normal(0, 0.015 * c)), 7: abs(rng.normal(0, 0.01 * c))})  # fmt: skip
    share = rng.uniform(*kind.nuclear_share)
    size = radius_px * np.sqrt(share)
    room, angle = (radius_px - size) * rng.uniform(0.1, 0.95), rng.uniform(0, 2 * np.pi)
    x, y = dx - np.float32(room * np.cos(angle)), dy - np.float32(room * np.sin(angle))
    rho, edge = relative_radius(x, y, shape * size)
    depth = (1 - rho) * edge
    if rng.random() < kind.cleft:
        depth = _cleave(rng, depth, x, y, size)
    return depth.astype(np.float32)


def _cleave(rng: np.random.Generator, depth: Plane, x: Plane, y: Plane, size: float) -> Plane:
    """Cut a bent fold or a notch into a nucleus of radius `size`, all pixels; corners are rounded by a smooth minimum of distances."""
    turn, deep, bend = rng.uniform(0, 2 * np.pi), rng.uniform(0.2, 1.0) * size, rng.uniform(-0.6, 0.6)
    along = x * np.cos(turn) + y * np.sin(turn) - (size - deep)  # outward from the blind end
    across = np.abs(y * np.cos(turn) - x * np.sin(turn) - bend * along * np.abs(along) / size)
    opening = rng.uniform(0.0, 0.18 if deep > 0.5 * size else 0.6)
    fold = np.hypot(across, np.minimum(along, 0)) - rng.uniform(0.0, 0.04) * size - opening * np.clip(along, 0, None)
    blend = np.float32(rng.uniform(0.08, 0.2) * size)
    h = np.clip(0.5 + 0.5 * (fold - depth) / blend, 0, 1)
    return (fold * (1 - h) + depth * h - blend * h * (1 - h)).astype(np.float32)


def _lobed_nucleus(rng: np.random.Generator, kind: Kind, dx: Plane, dy: Plane, inside: NDArray[np.bool_], radius_px: float,
                   *, n: int, arc: float, spread: float, sizes: tuple[float, float], smooth: float) -> Plane:  # fmt: skip
    """Blobs along an arc, melted together; the level is chosen so that the nucleus has the wanted area."""
    start, turn = rng.uniform(0, 2 * np.pi), arc / max(n - 1, 1)
    field = np.zeros_like(dx)
    for i in range(n):
        angle = start + (i + rng.normal(0, 0.12)) * turn
        distance = spread * radius_px * np.exp(rng.normal(0, 0.12))
        size = rng.uniform(*sizes) * radius_px
        stretch, tilt = np.exp(rng.normal(0, 0.15)), rng.uniform(0, np.pi)
        x, y = dx - np.float32(distance * np.cos(angle)), dy - np.float32(distance * np.sin(angle))
        a, b = (x * np.cos(tilt) + y * np.sin(tilt)) * stretch, (y * np.cos(tilt) - x * np.sin(tilt)) / stretch
        field += np.exp(-((a**2 + b**2) / (2 * (smooth * size) ** 2)))
    field *= 1 + np.float32(0.05 * rng.uniform(*kind.contour)) * smooth_noise(rng, dx.shape, 0.22 * radius_px)
    within = np.where(inside & (np.hypot(dx, dy) < 0.97 * radius_px), field, 0)
    level = np.quantile(within[inside], 1 - rng.uniform(*kind.nuclear_share))
    slope = np.hypot(cv2.Sobel(field, cv2.CV_32F, 1, 0, scale=1 / 8), cv2.Sobel(field, cv2.CV_32F, 0, 1, scale=1 / 8))
    floor = 0.25 * level / radius_px
    return ((within - np.float32(level)) / np.maximum(slope, np.float32(floor))).astype(np.float32)


def _segmented(rng: np.random.Generator, kind: Kind, dx: Plane, dy: Plane, inside: NDArray[np.bool_], radius_px: float) -> Plane:
    shape = {"spread": rng.uniform(0.44, 0.58), "sizes": (0.24, 0.36), "smooth": 0.6}
    if rng.random() < 0.2:  # band form: one long curved rod
        return _lobed_nucleus(rng, kind, dx, dy, inside, radius_px, n=7, arc=rng.uniform(2.6, 4.8), **{**shape, "sizes": (0.24, 0.28)})
    n = int(rng.choice((2, 3, 4, 5), p=(0.12, 0.42, 0.34, 0.12)))
    return _lobed_nucleus(rng, kind, dx, dy, inside, radius_px, n=n, arc=rng.uniform(1.1, 1.5) * (n - 1), **shape)


def _bilobed(rng: np.random.Generator, kind: Kind, dx: Plane, dy: Plane, inside: NDArray[np.bool_], radius_px: float) -> Plane:
    n = int(rng.choice((2, 3), p=(0.8, 0.2)))
    return _lobed_nucleus(rng, kind, dx, dy, inside, radius_px, n=n, arc=rng.uniform(1.6, 3.1), spread=0.5, sizes=(0.34, 0.44), smooth=0.62)


def _kidney(rng: np.random.Generator, kind: Kind, dx: Plane, dy: Plane, inside: NDArray[np.bool_], radius_px: float) -> Plane:
    return _lobed_nucleus(
        rng, kind, dx, dy, inside, radius_px, n=6, arc=rng.uniform(1.8, 3.6), spread=0.38, sizes=(0.36, 0.46), smooth=0.75
    )


NUCLEI: dict[str, Callable[[np.random.Generator, Kind, Plane, Plane, NDArray[np.bool_], float], Plane]] = {
    "round": _round_nucleus,
    "lobes": _segmented,
    "bilobed": _bilobed,
    "kidney": _kidney,
}
