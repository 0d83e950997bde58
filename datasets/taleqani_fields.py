"""The fields of the Taleqani set and what they belong to: pseudo-slide, stain cluster, near-duplicate group, split."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from datasets.groups import split_groups
from datasets.pseudo_slides import pseudo_slides
from smear import annotations
from smear.audit import stain
from smear.audit.linked import connected
from smear.errors import AnnotationError

LABEL_OF = {"Benign": "HEM", "Early": "ALL", "Pre": "ALL", "Pro": "ALL"}


@dataclass(frozen=True)
class FieldFile:
    """One field: its file, its id (`Benign/WBC-Benign-001`), the folder it is in, and its number there."""

    path: Path
    id: str
    folder: str
    number: int


@dataclass(frozen=True)
class Grouping:
    """What each of N fields belongs to, as lists in field order: pseudo-slide, stain cluster, near-duplicate group, split."""

    slides: list[str]
    stains: list[str]
    groups: list[str]
    splits: list[str]


def find_fields(source: Path) -> list[FieldFile]:
    """All fields, by folder and then by number (names without a number come first, by name).

    Raises:
        AnnotationError: a folder has no image.
    """
    found: list[FieldFile] = []
    for folder in LABEL_OF:
        paths = [p for p in (source / folder).rglob("*") if p.suffix.lower() in annotations.IMAGE_SUFFIXES]
        if not paths:
            raise AnnotationError(f"{source / folder}: no images in it")
        fields = [FieldFile(p, f"{folder}/{p.stem}", folder, _number(p.stem)) for p in paths]
        found += sorted(fields, key=lambda f: (f.number, f.id))
    return found


def group_fields(
    fields: Sequence[FieldFile], features: NDArray[np.float32], twins: Sequence[tuple[Path, Path]], *, n_stains: int, seed: int
) -> Grouping:
    """Pseudo-slides (merged where twins join them), stain clusters, near-duplicate groups and splits of N fields.

    Args:
        features: (N, F) of `stain.stain_features`, in field order. twins: pairs of paths that show the same field.
    """
    standard = stain.standardise(features)
    slides: list[str] = []
    for folder in LABEL_OF:  # fields come folder by folder
        rows = [i for i, field in enumerate(fields) if field.folder == folder]
        slides += [f"{folder.lower()}-{k:02d}" for k in pseudo_slides(standard[rows])]
    index = {field.path: i for i, field in enumerate(fields)}
    pairs = [(index[a], index[b]) for a, b in twins]
    merged = _first_of_each(slides, connected(slides, [(slides[i], slides[j]) for i, j in pairs]))
    slides = [merged[slide] for slide in slides]
    numbers = connected(range(len(fields)), pairs)
    first = _first_of_each(range(len(fields)), numbers)
    groups = [fields[first[i]].id for i in range(len(fields))]
    split_of = split_groups(slides, [field.folder for field in fields], seed=seed)
    stains = [f"stain-{k}" for k in stain.stain_clusters(features, n_clusters=n_stains, seed=seed)]
    return Grouping(slides, stains, groups, [split_of[slide] for slide in slides])


def numbers(fields: Sequence[FieldFile], grouping: Grouping, twins: Sequence[tuple[Path, Path]]) -> dict[str, Any]:
    """What the grouping found, for the manifest: how far stain gives the class away, and how many slides and copies there are."""
    folders = [field.folder for field in fields]
    table = Counter(zip(grouping.stains, folders, strict=True))
    stains = sorted(set(grouping.stains))
    return {
        "stain_subtype_alignment": round(stain.alignment(folders, grouping.stains), 3),
        "stain_table": {s: {folder.lower(): table[s, folder] for folder in LABEL_OF} for s in stains},
        "n_slides": len(set(grouping.slides)),
        "n_twin_pairs": len(twins),
        "n_fields": dict(sorted(Counter(grouping.splits).items())),
    }


def _first_of_each(items: Sequence[Any], component: Mapping[Any, int]) -> dict[Any, Any]:
    """item → the first item of its component."""
    first: dict[int, Any] = {}
    return {item: first.setdefault(component[item], item) for item in items}


def _number(stem: str) -> int:
    found = re.search(r"(\d+)\D*$", stem)
    return int(found[1]) if found else -1
