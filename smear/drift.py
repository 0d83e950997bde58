"""How far a field is from those a model was trained on: named warnings, with the number and what was trained.

The statistics stand in the card of the detector (`statistics`, written by `python -m detection.statistics`). A card without them
warns of nothing. Each limit leaves out at most `TAIL` of the training fields.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from smear.errors import ModelError
from smear.quality import COLOURS

BLURRED, BRIGHT, DIM = "out of focus", "over-exposed", "under-exposed"
FOREIGN, MAGNIFIED = "foreign stain", "wrong magnification"
TAIL = 0.004  # share of the training fields outside each limit; the five warnings together below 2 %
LEAST_SATURATED, LEAST_BRIGHT = 0.02, 0.98  # share of pixels without colour, and level of glass, up to which nothing is lost
MARGIN = 0.1  # of the way from the median: a set of training fields seldom holds the extremes of its kind
RULER_TOLERANCE = 1.1  # the ruler of a field may be wrong by this factor
NEIGHBOURS = 5  # training fields that a stain is compared with
MIN_STAINS = 50  # fewer training fields say nothing about the stain of another
DENSITY_FLOOR = 0.6  # in robust deviations: stains nearer than this to each other are one stain
MAX_STAINS = 2000  # of training fields kept in a card
_STAIN_UNIT = 1000  # densities are written as thousandths
_CHUNK = 64  # points whose distances to all others are held at once


@dataclass(frozen=True, eq=False)
class Reference:
    """The training fields as a card describes them.

    limits: measure → (low, high). stains: (N, 8) natural densities over `spread` (8,), in the order of `COLOURS`; crowding: (N,) how far
    each is from its neighbours; stain_limit: the largest `stain_distance` of a known stain.
    """

    limits: Mapping[str, tuple[float, float]]
    stains: NDArray[np.float32]
    crowding: NDArray[np.float32]
    spread: NDArray[np.float32]
    stain_limit: float

    @classmethod
    def from_card(cls, statistics: Mapping[str, Any]) -> Self | None:
        """What `describe` wrote; None for a card without statistics.

        Raises:
            ModelError: a part is missing or malformed.
        """
        if not statistics:
            return None
        try:
            stain = statistics["stain"]
            limits = {name: (float(row["low"]), float(row["high"])) for name, row in statistics["measures"].items()}
            rows = [[float(value) for value in row.split()] for row in stain["fields"]]
            spread = np.array(stain["spread"], np.float32).reshape(len(COLOURS))
            stains = (np.array(rows).reshape(-1, len(COLOURS)) / _STAIN_UNIT / spread).astype(np.float32)
            return cls(limits, stains, _own_distances(stains), spread, float(stain["limit"]))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            said = f"{type(error).__name__}: {error}"
            raise ModelError(f"statistics: not as python -m detection.statistics writes them ({said}); write them again") from error

    def stain_distance(self, quality: Mapping[str, float]) -> float | None:
        """How much farther a field's colours are from the nearest training fields than those are from each other; None if unknown,
        also with fewer than `MIN_STAINS`.

        Source: the local outlier factor of Breunig et al., SIGMOD 2000, with distances instead of reachability and a floor.
        """
        if len(self.stains) < MIN_STAINS or any(name not in quality for name in COLOURS):
            return None
        colours = np.array([[quality[name] for name in COLOURS]], np.float32)
        return float(_outlier_factors(colours / self.spread, self.stains, self.crowding)[0])


def judge(quality: Mapping[str, float], reference: Reference | None) -> tuple[dict[str, float], tuple[str, ...]]:
    """The field's numbers, with `stain_distance` where there is one, and its warnings: a name, a colon, and the numbers."""
    if reference is None:
        return dict(quality), ()
    distance = reference.stain_distance(quality)
    known = {**quality, **({} if distance is None else {"stain_distance": distance})}
    return known, tuple(warning for warning in _warnings(known, reference) if warning)


def describe(fields: Sequence[Mapping[str, float]]) -> dict[str, Any]:
    """The statistics of N training fields, for a card: quantiles of each measure, and the colours of at most `MAX_STAINS` fields.

    Args:
        fields: as `measure_quality` gives them, with `rbc_px` where it is known: the red-cell diameter in the pixels of the camera.
    """
    names = sorted({name for field in fields for name in field})
    measures = {}
    for name in names:
        values = np.array([field[name] for field in fields if name in field])
        low, middle, high = (float(value) for value in np.quantile(values, (TAIL, 0.5, 1 - TAIL)))
        rounding = 1e-3 * max(abs(low), abs(high))
        low, high = low + MARGIN * (low - middle) - rounding, high + MARGIN * (high - middle) + rounding
        measures[name] = {"low": _short(low), "median": _short(middle), "high": _short(high), "n": len(values)}
    stained = [[field[name] for name in COLOURS] for field in fields if all(name in field for name in COLOURS)]
    return {
        "n_fields": len(fields),
        "measures": measures,
        "stain": _describe_stains(np.array(stained, np.float32).reshape(-1, len(COLOURS))),
    }


def _describe_stains(colours: NDArray[np.float32]) -> dict[str, Any]:
    if not len(colours):
        return {"names": list(COLOURS), "spread": [1.0] * len(COLOURS), "limit": 0.0, "fields": []}
    spread = np.maximum(1.4826 * np.median(np.abs(colours - np.median(colours, axis=0)), axis=0), 1e-3)
    kept = colours[np.linspace(0, len(colours) - 1, min(len(colours), MAX_STAINS)).round().astype(int)]
    scaled = kept / spread
    own = _own_distances(scaled)
    distances, index = _nearest(scaled, scaled, NEIGHBOURS + 1)  # the first is the field itself
    factors = distances[:, -1] / (own[index[:, 1:]].mean(axis=1) + DENSITY_FLOOR) if len(kept) > 1 else np.zeros(1)
    middle, high = (float(value) for value in np.quantile(factors, (0.5, 1 - TAIL)))
    return {
        "names": list(COLOURS),
        "spread": [_short(float(value)) for value in spread],
        "limit": _short(high + MARGIN * (high - middle)),
        "unit": f"1/{_STAIN_UNIT} of natural optical density",
        "fields": [" ".join(str(round(float(value) * _STAIN_UNIT)) for value in row) for row in kept],
    }


def _outlier_factors(points: NDArray[np.float32], known: NDArray[np.float32], own: NDArray[np.float32]) -> NDArray[np.float32]:
    """(M,) distance of each point to the `NEIGHBOURS`-th nearest of N known ones, over the mean of what those have among themselves."""
    distances, index = _nearest(points, known, NEIGHBOURS)
    return np.asarray(distances[:, -1] / (own[index].mean(axis=1) + DENSITY_FLOOR), np.float32)


def _own_distances(known: NDArray[np.float32]) -> NDArray[np.float32]:
    """(N,) distance of each known point to the `NEIGHBOURS`-th nearest of the others; 0 for a point without others."""
    return np.asarray(_nearest(known, known, NEIGHBOURS + 1)[0][:, -1] if len(known) else np.zeros(0), np.float32)


def _nearest(points: NDArray[np.float32], known: NDArray[np.float32], n: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Distances and indices, (M, n or fewer), of the n nearest known points, nearest first.

    Every pair is looked at: `MAX_STAINS` points take some 50 ms, less than loading a package with a search tree.
    """
    n = min(n, len(known))
    distances, index = np.zeros((len(points), n)), np.zeros((len(points), n), np.int64)
    columns = known.T.astype(np.float64)  # (D, N)
    for start in range(0, len(points), _CHUNK):
        some = points[start : start + _CHUNK].astype(np.float64)
        squared = np.zeros((len(some), len(known)))
        for d, column in enumerate(columns):
            squared += (some[:, d : d + 1] - column) ** 2
        near = np.argpartition(squared, n - 1, axis=1)[:, :n]
        order = np.argsort(np.take_along_axis(squared, near, axis=1), axis=1, kind="stable")
        rows = slice(start, start + len(some))
        index[rows] = np.take_along_axis(near, order, axis=1)
        distances[rows] = np.sqrt(np.take_along_axis(squared, index[rows], axis=1))
    return distances, index


def _warnings(quality: Mapping[str, float], reference: Reference) -> list[str | None]:
    """Too small a field has no fine detail, whatever its focus: it is named by its magnification alone."""
    limits = reference.limits
    low_px, high_px = limits.get("rbc_px", (0.0, np.inf))
    rbc_px, distance = quality.get("rbc_px"), quality.get("stain_distance")
    is_small = rbc_px is not None and rbc_px < low_px / RULER_TOLERANCE
    is_large = rbc_px is not None and rbc_px > high_px * RULER_TOLERANCE
    saturated, bright = (
        (0.0, max(limits.get(name, (0.0, 1.0))[1], least))
        for name, least in (("saturated_share", LEAST_SATURATED), ("background", LEAST_BRIGHT))
    )
    return [
        _below(BLURRED, "sharpness", quality.get("focus"), limits.get("focus")) if not is_small else None,
        _above(BRIGHT, "share without colour", quality.get("saturated_share"), saturated)
        or _above(BRIGHT, "glass", quality.get("background"), bright),
        _below(DIM, "glass", quality.get("background"), limits.get("background")),
        _above(FOREIGN, "distance", distance, (0.0, reference.stain_limit)),
        f"{MAGNIFIED}: red cells {rbc_px:.0f} px, trained {low_px:.0f} to {high_px:.0f} px" if is_small or is_large else None,
    ]


def _below(name: str, what: str, value: float | None, limits: tuple[float, float] | None) -> str | None:
    is_low = value is not None and limits is not None and value < limits[0]
    return f"{name}: {what} {value:.2f}, trained from {limits[0]:.2f}" if is_low and limits else None


def _above(name: str, what: str, value: float | None, limits: tuple[float, float] | None) -> str | None:
    is_high = value is not None and limits is not None and value > limits[1]
    return f"{name}: {what} {value:.2f}, trained up to {limits[1]:.2f}" if is_high and limits else None


def _short(value: float) -> float:
    return float(f"{value:.4g}")
