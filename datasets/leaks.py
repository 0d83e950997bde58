"""What a split lets through: twins, patients, slides and fields that lie in two splits; and twins that are labelled differently."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from datasets.listing import GROUPS, TWO_SPLITS, Item, Listing
from smear.audit.twins import Twin

NAMES = {"patient": "patients", "slide": "slides", "field": "fields", "group": "groups"}


def twin_rows(found: Sequence[Twin], items: Mapping[Path, Item], classes_of: Mapping[Path, Mapping[str, int]]) -> list[dict[str, Any]]:
    """Twins as plain rows: `a`, `b`, `kind`, `transform`, `distance`, `splits` (of a and of b) and `labels` where the two disagree.

    Args:
        classes_of: how many of each class an image holds; images left out have no labels to compare.
    """
    rows = []
    for t in found:
        row = {**asdict(t), "a": str(t.a), "b": str(t.b), "splits": [items[t.a].split, items[t.b].split]}
        a, b = classes_of.get(t.a), classes_of.get(t.b)
        if a is not None and b is not None and dict(a) != dict(b):
            row["labels"] = [_in_words(a), _in_words(b)]
        rows.append(row)
    return rows


def is_leak(splits: Iterable[str]) -> bool:
    """Whether two things that should be kept together lie in two splits; images without a split cannot leak."""
    return len(set(splits) - {""}) > 1


def count_pairs(rows: Sequence[Mapping[str, Any]]) -> list[tuple[str, str, int]]:
    """(kind, splits in words, number of pairs) of twins, sorted; the order of a pair counts only between two sets."""
    counts: Counter[tuple[str, str]] = Counter()
    for row in rows:
        a, b = (split or "no split" for split in row["splits"])
        if "other" in row:
            words = f"{a} - {b} of {Path(row['other']).name}"
        else:
            words = " - ".join(sorted((a, b), key=lambda s: (("train", "val", "test").index(s) if s in ("train", "val", "test") else 3, s)))
        counts[row["kind"], words] += 1
    return [(kind, words, n) for (kind, words), n in sorted(counts.items())]


def shared_groups(items: Sequence[Item]) -> dict[str, dict[str, Any]]:
    """Of each kind of group: for how many images it is known, how many there are, and those in two splits with their images per split."""
    told: dict[str, dict[str, Any]] = {}
    for key in GROUPS:
        splits_of: defaultdict[str, Counter[str]] = defaultdict(Counter)
        for item in items:
            if item.groups.get(key):
                splits_of[item.groups[key]][item.split] += 1
        shared = [{"value": value, "splits": dict(sorted(n.items()))} for value, n in sorted(splits_of.items()) if is_leak(n)]
        n_known = sum(n.total() for n in splits_of.values())
        told[key] = {"n_images_known": n_known, "n_images_unknown": len(items) - n_known, "n": len(splits_of), "in_two_splits": shared}
    return told


def count_leaks(
    listing: Listing, within: Sequence[Mapping[str, Any]], across: Sequence[Mapping[str, Any]], groups: Mapping[str, Any]
) -> dict[str, int]:
    """How many leaks there are of each kind; 0 where there is none.

    Args:
        within: rows of twins within the set. across: rows of twins between the set and others.
    """
    counts = {"images in two splits": sum(p.kind == TWO_SPLITS for p in listing.problems)}
    counts |= {"twins in two splits": sum(is_leak(row["splits"]) for row in within)}
    counts |= {"twins in another split of another set": sum(is_leak(row["splits"]) for row in across)}
    return counts | {f"{NAMES[key]} in two splits": len(told["in_two_splits"]) for key, told in groups.items()}


def _in_words(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{n} {name}" for name, n in sorted(counts.items())) or "nothing"
