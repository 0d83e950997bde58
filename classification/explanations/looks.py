"""Where a network looks: its heat maps for some cells, how faithful they are beside maps of no knowledge, and what they lie on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from classification.batches import to_tensor
from classification.explanations.cams import METHODS, Layer, find_layer, heat_maps, road_scores
from classification.explanations.heat import ZONES, Heat, Mask, centre_maps, random_maps, rank, zone_shares
from classification.explanations.subject import NetworkPart
from classification.features.segment import segment
from classification.readable import Watch
from classification.systems import Cells
from smear.types import Image

BATCH = 16  # crops whose maps and gradients are in memory at once

Values = NDArray[np.float64]  # (N,), NaN where there is none


@dataclass(frozen=True)
class Look:
    """The maps of one method for N cells. road: of the maps; NaN where a map is empty. chance: of random maps as coarse as these.

    shares: by zone, of the heat.
    """

    layer: Layer
    heat: Heat
    road: Values
    chance: Values
    shares: Mapping[str, Values]


@dataclass(frozen=True)
class Looks:
    """What was found for N cells: crops (N, S, S, 3) as the network gets them, masks (N, S, S), and a `Look` a method.

    centre: ROAD of a spot in the middle. even: by zone, its share of the crop, which a map without knowledge would have.
    """

    crops: Image
    cells: Mask
    nuclei: Mask
    by_method: Mapping[str, Look]
    centre: Values
    even: Mapping[str, Values]


def look_at(part: NetworkPart, cells: Cells, labels: NDArray[np.int64], *, seed: int, watch: Watch = lambda rows, n: rows) -> Looks:
    """Explain the class `labels` (N,) of each of N cells; N may be 0.

    Args:
        seed: of the control maps and of the noise in ROAD. watch: wraps the batches, for a progress bar.

    Raises:
        MissingExtra: the package of the maps is not installed.
        ImageError: a crop cannot be read any more.
    """
    layers = {name: find_layer(part.network, part.size, method.at) for name, method in METHODS.items()}
    starts = list(range(0, len(cells), BATCH))
    done = []
    for start in watch(starts, len(starts)):
        rows = np.arange(start, min(start + BATCH, len(cells)))
        done.append(_look(part, cells.take(rows), labels[rows], layers, seed=seed + start))
    done.append(_look(part, cells.take(np.arange(0)), labels[:0], layers, seed=seed))  # of no cell: every shape is there
    return _joined(done)


def _look(part: NetworkPart, cells: Cells, labels: NDArray[np.int64], layers: Mapping[str, Layer], *, seed: int) -> Looks:
    crops = part.shown(cells)[:]
    whole, nuclei = segment(cells.images(part.size))  # of the crop as it is, also where the network sees less of it
    tensor = to_tensor(crops, part.normalise).to(part.device)
    n, side = len(crops), part.size

    def road(order: Heat) -> Values:
        scored = road_scores(part.network, tensor, labels, rank(order, seed=seed), temperature=part.temperature, seed=seed)
        return scored.astype(np.float64)

    looks = {}
    for name, layer in layers.items():
        heat = heat_maps(part.network, tensor, labels, name, layer)
        has_heat = heat.any(axis=(1, 2))
        chance = road(random_maps(n, side, layer.places, seed=seed))
        looks[name] = Look(layer, heat, np.where(has_heat, road(heat), np.nan), chance, zone_shares(heat, whole, nuclei))
    even = zone_shares(np.ones((n, side, side), np.float32), whole, nuclei)
    return Looks(crops, whole, nuclei, looks, road(centre_maps(n, side)), even)


def _joined(done: Sequence[Looks]) -> Looks:
    looks = {name: _joined_look([each.by_method[name] for each in done]) for name in METHODS}
    crops = np.concatenate([each.crops for each in done])
    whole, nuclei = np.concatenate([each.cells for each in done]), np.concatenate([each.nuclei for each in done])
    return Looks(crops, whole, nuclei, looks, np.concatenate([each.centre for each in done]), _by_zone([each.even for each in done]))


def _joined_look(parts: Sequence[Look]) -> Look:
    heat = np.concatenate([each.heat for each in parts])
    road, chance = np.concatenate([each.road for each in parts]), np.concatenate([each.chance for each in parts])
    return Look(parts[-1].layer, heat, road, chance, _by_zone([each.shares for each in parts]))


def _by_zone(parts: Sequence[Mapping[str, Values]]) -> dict[str, Values]:
    return {zone: np.concatenate([each[zone] for each in parts]) for zone in ZONES}
