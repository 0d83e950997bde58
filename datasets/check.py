"""Find twins in prepared sets: the same field twice, in one set, across splits or across sets."""

import argparse
import json
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from datasets import convert
from datasets.twins import Twin, find_twins
from smear import annotations
from smear.annotations import IMAGE_SUFFIXES
from smear.errors import AnnotationError, SmearError

__all__ = ["Twin", "find_twins", "main", "splits_of", "twin_rows"]


def splits_of(folder: Path) -> dict[Path, str]:
    """Every image below a folder with its split, from `data.yaml` when there is one; without, the split is empty.

    Raises:
        AnnotationError: not a folder, or no image in it.
    """
    if not folder.is_dir():
        raise AnnotationError(f"{folder}: no such folder")
    if (folder / "data.yaml").is_file():
        prepared = annotations.read_data_yaml(folder / "data.yaml")
        return {path: split for split, paths in prepared.splits.items() for path in paths}
    found = sorted(p for p in folder.rglob("*") if p.suffix.lower() in IMAGE_SUFFIXES)
    if not found:
        raise AnnotationError(f"{folder}: no images in it")
    return dict.fromkeys(found, "")


def twin_rows(found: Sequence[Twin], splits: dict[Path, str]) -> list[dict[str, Any]]:
    """Twins as plain rows: `a`, `b`, `kind`, `transform`, `distance`, `splits` (of a and of b)."""
    return [{**asdict(t), "a": str(t.a), "b": str(t.b), "splits": [splits[t.a], splits[t.b]]} for t in found]


def check(folder: Path, against: Sequence[Path], *, progress: bool = False) -> dict[str, Any]:
    """Twins within `folder` and between it and each of `against`; `leaks` counts pairs with one image in train and one in val or test."""
    splits = splits_of(folder)
    rows = twin_rows(find_twins(list(splits), progress=progress), splits)
    for other in against:
        other_splits = splits_of(other)
        rows += twin_rows(find_twins(list(splits), list(other_splits), progress=progress), splits | other_splits)
    n_leaks = sum("train" in row["splits"] and bool({"val", "test"} & set(row["splits"])) for row in rows)
    return {"folder": str(folder), "against": [str(p) for p in against], "n_images": len(splits), "leaks": n_leaks, "twins": rows}


def main(argv: Sequence[str] | None = None) -> int:
    made = argparse.ArgumentParser(prog="python -m datasets.check", description=__doc__)
    made.add_argument("folder", type=Path, help="a prepared set, or any folder of images")
    made.add_argument("--against", type=Path, nargs="*", default=[], metavar="DIR", help="further sets to look for twins in")
    made.add_argument("--out", type=Path, metavar="DIR", help="where check.json goes")
    made.add_argument("--quiet", action="store_true", help="no progress bar")
    arguments = made.parse_args(argv)
    try:
        report = check(arguments.folder, arguments.against, progress=not arguments.quiet)
        if arguments.out:
            text = json.dumps(report, indent=1, ensure_ascii=False) + "\n"
            convert.write_changed(arguments.out / "check.json", text.encode())
    except SmearError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"error: {error.filename}: {error.strerror}", file=sys.stderr)
        return 2
    print(_table(report))
    return 1 if report["leaks"] else 0


def _table(report: dict[str, Any]) -> str:
    counts = Counter((row["kind"], " - ".join(s or "no split" for s in row["splits"])) for row in report["twins"])
    lines = [f"{report['n_images']} images, {len(report['twins'])} pairs of twins, {report['leaks']} of them a leak out of train"]
    lines += [f"{n:6d}  {kind:5s}  {parts}" for (kind, parts), n in sorted(counts.items())]
    return "\n".join(lines)


if __name__ == "__main__":
    raise SystemExit(main())
