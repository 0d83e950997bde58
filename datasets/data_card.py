"""The card of a prepared set, `card.json` and `card.html` beside its manifest: what it holds, where from, how split, what is not known.

Written with the set, from its files alone; `python -m datasets.check DIR --card` adds what the audit found. Preparing the same set
again keeps that, until the manifest changes.
"""

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from datasets import claim, leaks, page
from datasets.listing import Item, Listing, list_images
from datasets.set_files import write_changed
from smear import annotations, boxes, images
from smear.audit import distributions
from smear.errors import AnnotationError

SCHEMA = 1
LIMITS = {
    "patient": "Patients are unknown for {n} of {N} images: no split of them can be said to keep patients apart.",
    "slide": "Slides are unknown for {n} of {N} images: intervals over slides cannot be given for them.",
}


def write_card(root: Path, *, audit: Mapping[str, Any] | None = None) -> Path:
    """Write both files into the folder of a prepared set; returns the path of card.json.

    Args:
        audit: the report of `datasets.audit`, if there is one.

    Raises:
        AnnotationError: no manifest (not a prepared set), or a label file is wrong.
    """
    card = describe(list_images(root))
    found = _findings(audit, card["manifest_sha256"]) if audit else _found_before(root, card["manifest_sha256"])
    card |= {"audit": found}
    write_changed(root / "card.json", (json.dumps(card, indent=1, ensure_ascii=False) + "\n").encode("utf-8", "replace"))
    write_changed(root / "card.html", page.render("card.html.j2", card=card).encode())
    return root / "card.json"


def describe(listing: Listing) -> dict[str, Any]:
    """The card without an audit, as plain values; diameters in pixels of the files as they lie there.

    Raises:
        AnnotationError: no manifest, or a label file is wrong.
    """
    manifest, root = listing.manifest, listing.root
    if not manifest:
        raise AnnotationError(f"{root}: no manifest.json; only a prepared set has a card, make one with datasets.yolo or datasets.voc")
    shapes: Counter[str] = Counter()
    rows: list[tuple[str, tuple[str, ...]]] = []
    diameters: defaultdict[str, list[float]] = defaultdict(list)
    for item in listing.items:
        height, width = images.header(item.path.read_bytes(), name=str(item.path)).shape_hw
        shapes[f"{width}×{height}"] += 1
        names, sizes = _boxes(item, (height, width), listing.classes)
        rows.append((item.split, names))
        for name, size in zip(names, sizes, strict=False):
            diameters[name].append(size)
    groups = leaks.shared_groups(listing.items)
    return {
        "schema": SCHEMA,
        "name": manifest.get("name") or root.name,
        "kind": "crops of cells" if listing.kind == "crops" else "fields with boxes",
        "source": manifest.get("source"),
        "licence": manifest.get("licence"),
        "sets": [{key: s.get(key) for key in ("name", "source", "licence")} for s in manifest.get("sets", ())],
        "painted": bool(manifest.get("painted")),
        "manifest_sha256": hashlib.sha256((root / "manifest.json").read_bytes()).hexdigest(),
        "n_images": len(listing.items),
        "image_sizes": dict(sorted(shapes.items(), key=lambda pair: (-pair[1], pair[0]))),
        "distributions": {
            "classes": distributions.class_counts(rows, listing.classes),
            "diameter_px": distributions.size_summary(diameters),
        },
        "groups": groups,
        "split": manifest.get("split"),
        "twins_left_out": len(manifest.get("dropped") or ()),
        "repairs": {note: len(files) for note, files in (manifest.get("notes") or {}).items()},
        "limits": _limits(manifest, groups, len(listing.items)),
        "claim": claim.items(manifest, groups),
    }


def _boxes(item: Item, shape_hw: tuple[int, int], classes: tuple[str, ...]) -> tuple[tuple[str, ...], list[float]]:
    """The classes that an image shows, and the diameters of their boxes, pixels; a crop has a class and no box."""
    if item.label_file is None:
        return ((item.label,) if item.label else ()), []
    truth = annotations.read_labels(item.label_file, shape_hw, len(classes))
    return tuple(classes[i] for i in truth.labels), boxes.diameters(truth.boxes).tolist()


def _limits(manifest: Mapping[str, Any], groups: Mapping[str, Mapping[str, Any]], n_images: int) -> list[str]:
    said = [str(line) for line in manifest.get("limits", ())]
    said += [f"{s.get('name')}: {line}" for s in manifest.get("sets", ()) for line in s.get("limits", ())]
    if manifest.get("painted"):
        said.append("Painted by code: what a model reaches here says nothing about blood.")
    else:
        unknown = {key: groups[key]["n_images_unknown"] for key in LIMITS}
        said += [LIMITS[key].format(n=n, N=n_images) for key, n in unknown.items() if n]
    return said


def _findings(audit: Mapping[str, Any], manifest_sha256: str) -> dict[str, Any]:
    suspects = audit["suspects"]
    return {
        "manifest_sha256": manifest_sha256,
        "against": [Path(p).name for p in audit["against"]],
        "twins": len(audit["twins"]),
        "leaks": audit["leaks"],
        "leaks_by": audit["leaks_by"],
        "problems": dict(sorted(Counter(p["problem"] for part in ("images", "labels") for p in audit[part]["problems"]).items())),
        "suspected_labels": None if suspects["found"] is None else len(suspects["found"]),
        "suspected_labels_by": suspects["method"] if suspects["found"] is not None else suspects["why_not"],
    }


def _found_before(root: Path, manifest_sha256: str) -> dict[str, Any] | None:
    """What an audit of exactly this set found earlier; None when there was none, or the set has changed since."""
    path = root / "card.json"
    try:
        found = json.loads(path.read_text(encoding="utf-8")).get("audit") if path.is_file() else None
    except (ValueError, AttributeError):
        return None
    return found if isinstance(found, dict) and found.get("manifest_sha256") == manifest_sha256 else None
