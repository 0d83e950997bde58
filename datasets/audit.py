"""The audit of a folder of images: every image is read once, then everything that can be wrong with it, its labels and its splits."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from datasets import image_audit, label_audit, leaks
from datasets.bars import track
from datasets.image_audit import Seen
from datasets.listing import Listing, Problem, list_images
from smear import boxes, images
from smear.audit import distributions, suspects
from smear.audit.linked import connected
from smear.audit.twins import Look, Twin, find_twins, look
from smear.errors import ImageError, MissingExtra

LIMITS = (
    "An image cut to less than half of its twin is not found.",
    "Patients, slides and fields can be checked only where the set tells them.",
    "Only the first page of a multi-page TIFF is looked at.",
)


def audit(folder: Path, against: Sequence[Path] = (), *, probabilities: Path | None = None, progress: bool = False) -> dict[str, Any]:
    """The whole audit as plain values.

    Args:
        against: further folders, searched for twins of this one; twins within them are their own affair.
        probabilities: predictions of a crops table, see `suspects.read_probabilities`.

    Raises:
        AnnotationError: no such folder, no image in it, or a table that cannot be read at all.
    """
    listing = list_images(folder)
    seen, problems = _see(listing, progress=progress)
    looks = {s.item.path: s.look for s in seen}
    items = {item.path: item for item in listing.items}
    classes_of = {s.item.path: Counter(names_of(s)) for s in seen if s.item.label is not None or s.item.label_file is not None}
    found = find_twins(list(looks), looks=looks, watch=partial(track, shown=progress))
    within = leaks.twin_rows(found, items, classes_of)
    across: list[dict[str, Any]] = []
    for other in map(list_images, against):
        more, unread = _looks(other, progress=progress)
        problems += unread
        pairs = find_twins(list(looks), list(more), looks={**looks, **more}, watch=partial(track, shown=progress))
        rows = leaks.twin_rows(pairs, {item.path: item for item in other.items} | items, classes_of)
        across += [{**row, "other": str(other.root)} for row in rows]
    groups = leaks.shared_groups(listing.items)
    counts = leaks.count_leaks(listing, within, across, groups)
    return {
        "folder": str(folder),
        "against": [str(p) for p in against],
        "kind": listing.kind,
        "n_images": len(listing.items),
        "leaks": sum(counts.values()),
        "leaks_by": counts,
        "twins": within + across,
        "groups": groups,
        "images": {"n_readable": len(seen), **image_audit.sizes(seen), "problems": _rows(problems + image_audit.odd_images(seen))},
        "labels": {"n_boxes": sum(len(s.boxes.names) for s in seen), "problems": _rows(_label_problems(listing, seen))},
        "distributions": _distributions(seen, listing.classes),
        "suspects": _suspects(seen, found, listing, probabilities),
        "limits": list(LIMITS),
    }


def names_of(s: Seen) -> tuple[str, ...]:
    """The classes that an image shows: those of its boxes, or its own."""
    return s.boxes.names if s.item.label is None else (s.item.label,)


def _see(listing: Listing, *, progress: bool) -> tuple[list[Seen], list[Problem]]:
    seen, problems = [], []
    for item in track(listing.items, "read", shown=progress):
        try:
            seen.append(image_audit.see(item, listing))
        except ImageError as error:
            problems.append(Problem("unreadable image", str(item.path), str(error).removeprefix(f"{item.path}: ")))
    return seen, problems


def _looks(listing: Listing, *, progress: bool) -> tuple[dict[Path, Look], list[Problem]]:
    looks, problems = {}, []
    for item in track(listing.items, "read", shown=progress):
        try:
            looks[item.path] = look(images.read_image(item.path))
        except ImageError as error:
            problems.append(Problem("unreadable image", str(item.path), str(error).removeprefix(f"{item.path}: ")))
    return looks, problems


def _label_problems(listing: Listing, seen: Sequence[Seen]) -> list[Problem]:
    boxed = [(str(s.item.label_file), s.header.shape_hw, s.boxes) for s in seen if s.item.label_file is not None]
    return [*listing.problems, *(p for s in seen for p in s.boxes.problems), *label_audit.implausible_sizes(boxed)]


def _distributions(seen: Sequence[Seen], classes: Sequence[str]) -> dict[str, Any]:
    diameters: defaultdict[str, list[float]] = defaultdict(list)
    for s in seen:
        for name, diameter in zip(s.boxes.names, boxes.diameters(s.boxes.corners), strict=True):
            diameters[name].append(float(diameter))
    counts = distributions.class_counts([(s.item.split, names_of(s)) for s in seen], classes)
    return {"classes": counts, "diameter_px": distributions.size_summary(diameters)}


def _suspects(seen: Sequence[Seen], found: Sequence[Twin], listing: Listing, probabilities: Path | None) -> dict[str, Any]:
    """Labels in doubt as plain rows; `found` is None where no one could tell, and `why_not` says why."""
    marks = [(s, i, name) for s in seen for i, name in enumerate(names_of(s))]
    n_of = Counter(name for _, _, name in marks)
    classes = sorted(name for name, n in n_of.items() if n >= suspects.MIN_PER_CLASS)
    nothing = {"method": None, "skill": None, "n_looked_at": 0, "found": None}
    if len(classes) < 2:
        return {**nothing, "why_not": f"fewer than two classes with {suspects.MIN_PER_CLASS} labels"}
    rows = np.array([k for k, (_, _, name) in enumerate(marks) if name in classes], np.int64)
    labels = np.array([classes.index(marks[k][2]) for k in rows], np.int64)
    if probabilities is None:
        traits = np.concatenate([s.traits for s in seen])[rows]
        groups = _groups(seen, found)
        stated = suspects.cross_validated(
            traits, labels, np.array([groups[marks[k][0].item.path] for k in rows], np.int64), n_classes=len(classes)
        )
    else:
        files = [marks[k][0].item.path.relative_to(listing.root).as_posix() for k in rows]
        known, stated = suspects.read_probabilities(probabilities, files, classes)
        rows, labels = rows[known], labels[known]
    skill = suspects.skill(labels, stated)
    told = {"method": suspects.FILE_METHOD if probabilities else suspects.TRAITS_METHOD, "skill": round(skill, 4), "n_looked_at": len(rows)}
    if probabilities is None and skill < suspects.MIN_SKILL:
        why_not = f"size, shape and colour tell these classes apart with a balanced accuracy of {skill:.2f} only; give --probabilities"
        return {**nothing, **told, "why_not": why_not}
    try:
        doubted = suspects.find_suspects(labels, stated, classes)
    except MissingExtra as error:
        return {**nothing, "why_not": str(error)}
    return {**told, "found": [_suspect_row(marks[rows[d.row]], d) for d in doubted]}


def _groups(seen: Sequence[Seen], found: Sequence[Twin]) -> dict[Path, int]:
    """What must not be learnt from and judged at once: an image, its twins, and all of one patient, slide or field."""
    paths = [s.item.path for s in seen]
    links = [(t.a, t.b) for t in found]
    first: dict[tuple[str, str], Path] = {}
    for s in seen:
        links += [(first.setdefault(group, s.item.path), s.item.path) for group in s.item.groups.items()]
    return {path: component for path, component in connected(paths, links).items() if isinstance(path, Path)}


def _suspect_row(mark: tuple[Seen, int, str], d: suspects.Suspect) -> dict[str, Any]:
    s, i, _ = mark
    box = {} if s.item.label is not None else {"box": s.boxes.numbers[i], "corners": [round(float(v), 1) for v in s.boxes.corners[i]]}
    stated = {"p_label": round(d.p_label, 4), "p_suggested": round(d.p_suggested, 4)}
    return {"file": str(s.item.path), "split": s.item.split, **box, "label": d.label, "suggested": d.suggested, **stated}


def _rows(problems: Iterable[Problem]) -> list[dict[str, str]]:
    ordered = sorted(problems, key=lambda p: (p.kind, p.file))
    return [{"problem": p.kind, "file": p.file, "detail": p.detail} for p in ordered]
