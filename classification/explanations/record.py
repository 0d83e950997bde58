"""A model explained on chosen cells: plain values for explain.json and explain.csv, and the pictures that belong to them."""

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from classification.compare_data import Bench
from classification.explanations import cams, shapley
from classification.explanations.cams import METHODS
from classification.explanations.columns import columns_of, score_columns, top_of_cell, weigh_columns
from classification.explanations.heat import SHOWN_PX, ZONES, enlarge, overlay
from classification.explanations.looks import Looks, look_at
from classification.explanations.scores import cell_scores, score_looks
from classification.explanations.subject import NetworkPart, Part, Subject
from classification.readable import Watch
from classification.systems import Cells
from smear.types import Image

GAP_PX = 4  # between the pictures of a strip
GAP_GREY = 128  # neither the page by day nor by night
Pictures = dict[str, Image]  # by the name of a file in OUT


def require(subject: Subject) -> None:
    """Raises MissingExtra: a package that a part of the model needs is not installed; asked before anything costs time."""
    for _, _, part in subject.parts:
        (cams if isinstance(part, NetworkPart) else shapley).require()


def explain_parts(
    subject: Subject,
    bench: Bench,
    rows: NDArray[np.int64],
    probabilities: NDArray[np.float32],
    *,
    n_resamples: int,
    seed: int,
    watch: Watch,
) -> tuple[dict[str, Any], Pictures]:
    """`parts` and `cells` of explain.json, and the pictures of the cells.

    Every part is asked about the class that the whole model gives, so that the parts of an ensemble can be compared.

    Args:
        rows: (K,) of the bench, K may be 0. probabilities: (N, C) of all its crops, by the whole model.
    """
    cells, predicted = bench.cells.take(rows), probabilities.argmax(axis=1)[rows]
    groups = cells.groups.tolist()
    how: dict[str, Any] = {"n_resamples": n_resamples, "seed": seed, "unit": bench.unit}
    listed = [_cell(subject, bench, int(i), probabilities[i]) for i in rows]
    parts, pictures = [], _crops(cells)
    for name, weight, part in subject.parts:
        own = part.probabilities(cells)[np.arange(len(rows)), predicted]
        if isinstance(part, NetworkPart):
            looks = look_at(part, cells, predicted, seed=seed, watch=watch)
            kind, score, of_cells = "network", score_looks(looks, groups, **how), [cell_scores(looks, i) for i in range(len(rows))]
            strips = _strips(looks, "" if len(subject.parts) == 1 else f"{name}-")
            pictures |= dict(strips)
            of_cells = [scored | {"overlay": strip} for scored, (strip, _) in zip(of_cells, strips, strict=True)]
            score |= {"architecture": part.architecture, "input_px": part.size}
        else:
            kind, (score, of_cells) = "features", _weighed(part, cells, predicted, bench.cells, seed=seed, watch=watch)
        parts.append({"name": name, "weight": weight, "kind": kind, **score})
        for cell, scored, p in zip(listed, of_cells, own, strict=True):
            cell["parts"][name] = {"p": float(p), **scored}
    return {"parts": parts, "cells": listed}, pictures


def explain_csv(found: Mapping[str, Any]) -> str:
    """One row a cell; columns of a part stand behind its name where there are several."""
    prefixes = {part["name"]: f"{part['name']}_" if len(found["parts"]) > 1 else "" for part in found["parts"]}
    rows = []
    for cell in found["cells"]:
        row = {key: cell[key] for key in ("file", "group", "label", "predicted", "right", "p")}
        for part in found["parts"]:
            columns = (_map_columns if part["kind"] == "network" else _feature_columns)(cell["parts"][part["name"]])
            row |= {f"{prefixes[part['name']]}{key}": value for key, value in columns.items()}
        rows.append({key: f"{value:.4f}" if isinstance(value, float) else value for key, value in row.items()})
    text = io.StringIO()
    names = list(rows[0]) if rows else ["file", "group", "label", "predicted", "right", "p"]
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def crop_name(i: int) -> str:
    """The key of a cell's crop among the pictures; the page shows it, no file holds it."""
    return f"crop-{i:03d}"


def _cell(subject: Subject, bench: Bench, row: int, p: NDArray[np.float32]) -> dict[str, Any]:
    label, given = subject.classes[bench.table.labels[row]], subject.classes[int(p.argmax())]
    place = {"file": bench.files[row], "group": str(bench.groups[row])}
    return {**place, "label": label, "predicted": given, "right": label == given, "p": float(p.max()), "parts": {}}


def _weighed(
    part: Part, cells: Cells, predicted: NDArray[np.int64], pool: Cells, *, seed: int, watch: Watch
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    names, families = columns_of(part)
    shap = weigh_columns(part, cells, predicted, pool, seed=seed, watch=watch)
    return score_columns(shap, names, families), [top_of_cell(shap, names, i) for i in range(len(cells))]


def _crops(cells: Cells) -> Pictures:
    return {crop_name(i): enlarge(crop) for i, crop in enumerate(cells.images(SHOWN_PX))}


def _strips(looks: Looks, prefix: str) -> list[tuple[str, Image]]:
    """A cell's crop and, beside it, the map of each method, in the order of `METHODS`."""
    found = []
    for i, crop in enumerate(looks.crops):
        pictures = [enlarge(crop)]
        pictures += [overlay(crop, looks.by_method[name].heat[i], looks.cells[i], looks.nuclei[i]) for name in METHODS]
        found.append((f"overlays/{prefix}{i:03d}.png", _beside(pictures)))
    return found


def _beside(pictures: Sequence[Image]) -> Image:
    gap = np.full((SHOWN_PX, GAP_PX, 3), GAP_GREY, np.uint8)
    return np.concatenate([each for picture in pictures for each in (gap, picture)][1:], axis=1)


def _map_columns(scored: Mapping[str, Any]) -> dict[str, Any]:
    columns: dict[str, Any] = {}
    for name, own in scored["methods"].items():
        columns |= {f"{name}_road": own["road"], f"{name}_chance_road": own["chance"]}
        columns |= {f"{name}_{zone}": own["shares"][zone] for zone in ZONES}
    return columns | {"centre_road": scored["centre"], "overlay": scored["overlay"]}


def _feature_columns(scored: Mapping[str, Any]) -> dict[str, Any]:
    return {"top_features": "; ".join(f"{each['name']} {each['shap']:+.4f}" for each in scored["top"])}
