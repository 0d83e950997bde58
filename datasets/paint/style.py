"""How one painted slide looks: stain, white balance, optics and camera, drawn once per slide and never tied to a class.

Stains are optical densities (Beer-Lambert): a pixel is background * exp(-density). The ranges of the absorber colours were set by
looking at public fields of Wright, Giemsa, Leishman and May-Grünwald-Giemsa smears; no pixel of them is used.
"""

from dataclasses import dataclass

import numpy as np

RGB = tuple[float, float, float]

# Optical density per channel, as a ratio to green. Blue may be negative: some cameras show a nucleus bluer than the background.
NUCLEUS_COLOURS: tuple[RGB, ...] = (
    (0.60, 1.0, 0.20),  # deep violet
    (0.35, 1.0, 0.22),  # magenta
    (0.47, 1.0, -0.13),  # vivid blue-violet
    (0.74, 1.0, 0.04),  # blue
    (0.54, 1.0, 0.06),  # pale pink-violet
    (0.95, 1.0, 0.25),  # navy
)
CYTOPLASM_COLOURS: tuple[RGB, ...] = (
    (1.15, 0.85, 0.20),  # light blue
    (0.75, 1.0, 0.10),  # violet-blue
    (0.95, 1.0, 0.45),  # grey-blue
    (0.60, 1.0, 0.20),  # lilac
)
RED_COLOURS: tuple[RGB, ...] = (
    (0.42, 1.0, 0.60),  # pinkish tan
    (0.68, 1.0, 0.60),  # greyish pink
    (0.73, 1.0, 0.50),  # violet-grey
    (0.60, 1.0, 0.15),  # violet
    (0.15, 1.0, 0.45),  # strong pink
    (0.25, 1.0, 0.85),  # orange
    (1.10, 1.0, 0.30),  # slate
    (0.95, 1.0, 0.50),  # grey
)
RED_WEIGHTS = (0.22, 0.14, 0.14, 0.11, 0.12, 0.08, 0.12, 0.07)
BACKGROUNDS: tuple[RGB, ...] = (
    (196, 198, 193),  # greenish grey
    (253, 228, 203),  # cream
    (217, 186, 171),  # tan
    (247, 252, 248),  # near white
    (236, 221, 226),  # pinkish white
    (214, 221, 238),  # bluish
    (206, 205, 207),  # grey
    (236, 231, 214),  # pale yellow
)


@dataclass(frozen=True)
class SlideStyle:
    """What all fields of one painted slide share. Densities are of green light; lengths are in red-cell diameters unless named px."""

    background: RGB  # 0-255, before illumination
    nucleus: RGB  # density ratios to green
    cytoplasm: RGB
    pink: RGB  # eosinophilic granules and neutrophil cytoplasm
    red: RGB
    platelet: RGB
    white_density: float  # mean green density of a white cell of ANY kind: the class cannot be read from the strength of the stain
    cytoplasm_share: float  # how strongly the cytoplasm takes the stain, relative to the nucleus
    red_density: float
    platelet_density: float
    pallor: float  # 0 no central pallor, 1 the centre is empty
    pallor_radius: float  # relative to the cell's radius
    pallor_softness: float
    rim: float  # refraction: dark line inside the edge of a red cell
    halo: float  # bright line outside it
    anisocytosis: float  # standard deviation of log diameter
    poikilocytosis: float  # amplitude of shape changes
    crenated: float  # share of red cells with spicules
    refractile: float  # share of red cells with a drying artefact
    coverage: float  # area of red cells over area of field
    cohesion: float  # chance that a red cell is laid against another
    hiding: float  # how much an upper red cell hides a lower one: 0 their densities add, 1 only the upper is seen
    closest: float  # smallest centre distance of two red cells, in sums of their radii
    white_rate: float  # white cells per red-cell-diameter square of field
    white_cohesion: float  # share of white cells laid against another one
    white_closest: float  # centre distance at which two white cells stop, in sums of radii: below 1 they overlap
    blast_share: float  # ALL among the white cells
    platelet_rate: float
    smudge_rate: float
    debris_rate: float
    vignette: float
    gradient: float
    plasma: float  # density of stained protein between the cells
    defocus: float  # sigma, red-cell diameters
    fringe: float  # lateral shift of red against blue, red-cell diameters
    sharpen: float
    gamma: float
    saturation: float
    noise: float  # sigma, grey levels
    jpeg_quality: int


def draw_style(rng: np.random.Generator) -> SlideStyle:
    """The look of one slide; all choices are independent of each other and of the cells' classes."""
    u = rng.uniform
    strength = float(np.clip(np.exp(rng.normal(0.0, 0.38)), 0.42, 2.1))
    red_ratio, _, blue_ratio = _mix(rng, NUCLEUS_COLOURS)
    nucleus = (red_ratio, 1.0, max(blue_ratio, -0.15 / strength))  # only pale stains let more blue through than the background
    crowding = float(u(2.0, 5.0)) if rng.random() < 0.22 else 1.0  # leukaemic blood and marrow: white cells in clusters
    piled = rng.random() < 0.12  # rouleaux: red cells stacked like coins
    weak_camera = float(min(1.0, strength))  # pale slides are pale in everything
    return SlideStyle(
        background=_background(rng),
        nucleus=nucleus,
        cytoplasm=_mix(rng, CYTOPLASM_COLOURS),
        pink=(float(u(0.15, 0.5)), 1.0, float(u(0.15, 0.6))),
        red=_mix(rng, RED_COLOURS, weights=RED_WEIGHTS),
        platelet=tuple(0.75 * n + 0.25 * c for n, c in zip(nucleus, _mix(rng, CYTOPLASM_COLOURS), strict=True)),  # type: ignore[arg-type]
        white_density=0.82 * strength,
        cytoplasm_share=float(u(0.12, 0.5)),
        red_density=float(np.clip(np.exp(rng.normal(np.log(0.3), 0.38)), 0.13, 0.8)) * (0.6 + 0.4 * weak_camera),
        platelet_density=float(u(0.35, 0.85)) * strength,
        pallor=float(rng.beta(2.0, 1.6)),
        pallor_radius=float(u(0.28, 0.58)),
        pallor_softness=float(np.exp(u(np.log(0.04), np.log(0.16)))),
        rim=float(u(0.0, 0.45)) * float(rng.random() < 0.7),
        halo=float(u(0.0, 0.06)),
        anisocytosis=float(u(0.04, 0.11)),
        poikilocytosis=float(np.exp(u(np.log(0.3), np.log(1.8)))),
        crenated=float(u(0.1, 0.7)) if rng.random() < 0.12 else float(u(0.0, 0.02)),
        refractile=float(u(0.05, 0.5)) if rng.random() < 0.15 else 0.0,
        coverage=float(u(0.18, 0.8)),
        cohesion=float(u(0.75, 0.95)) if piled else float(u(0.0, 0.75)),
        hiding=float(u(0.0, 0.9)),
        closest=float(u(0.3, 0.5)) if piled else float(u(0.5, 0.98)),
        white_rate=float(np.exp(rng.normal(np.log(1 / 38), 0.55))) * crowding,
        white_cohesion=float(u(0.5, 0.85)) if crowding > 1 else 0.25,
        white_closest=float(u(0.82, 0.97)) if crowding > 1 else 0.97,
        blast_share=float(0.15 + 0.7 * rng.beta(1.6, 1.6)),
        platelet_rate=float(np.exp(rng.normal(np.log(1 / 40), 0.8))),
        smudge_rate=float(u(0.002, 0.012)) if rng.random() < 0.12 else 0.0,
        debris_rate=float(np.exp(rng.normal(np.log(0.02), 0.9))),
        vignette=float(u(0.0, 0.32)) if rng.random() < 0.4 else float(u(0.0, 0.08)),
        gradient=float(u(0.0, 0.10)),
        plasma=float(u(0.0, 0.035)),
        defocus=float(np.exp(rng.normal(np.log(0.016), 0.5))),
        fringe=float(u(0.0, 0.02)) if rng.random() < 0.4 else 0.0,
        sharpen=float(u(0.0, 0.9)) if rng.random() < 0.4 else 0.0,
        gamma=float(u(0.85, 1.2)),
        saturation=float(u(0.88, 1.15)),
        noise=float(np.exp(rng.normal(np.log(1.8), 0.5))),
        jpeg_quality=int(rng.integers(62, 98)),
    )


def _mix(rng: np.random.Generator, colours: tuple[RGB, ...], *, weights: tuple[float, ...] | None = None) -> RGB:
    """Mostly one of the colours, tinted by the others."""
    table = np.array(colours)  # (K, 3)
    share = rng.dirichlet(np.full(len(table), 0.25))
    main = np.eye(len(table))[rng.choice(len(table), p=weights)]
    mixed = (0.7 * main + 0.3 * share) @ table + rng.normal(0, 0.05, 3) * (1, 0, 1)
    return float(mixed[0]), float(mixed[1]), float(mixed[2])


def _background(rng: np.random.Generator) -> RGB:
    base = np.array(_mix(rng, BACKGROUNDS)) * rng.uniform(0.90, 1.05) + rng.normal(0, 4, 3)
    return float(base[0]), float(base[1]), float(base[2])
