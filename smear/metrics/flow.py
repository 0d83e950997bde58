"""Where the cells went, as nodes and links that a Sankey figure can draw."""

from collections.abc import Mapping
from typing import Any

LOST = {"loose": "box too loose", "doubled": "counted twice", "missed": "missed"}
ENDS = {"right": "right", "review": "to review", "wrong": "wrong"}
ALL_EXTRAS = "extra detections"


def cell_flow(counts: Mapping[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """Nodes and links from what is true, over what the detector did, to what the classifier said.

    Column 0: the true kinds (and white cells of unknown kind, and the extra detections); column 1: found, box too loose, counted twice,
    missed (and what the extra detections are); column 2, of the found cells of known kind: right, to review, wrong.
    Counts of 0 are left out. What leaves a node is at most what comes in; found cells of unknown kind end in column 1.

    Args:
        counts: what `owner_counts` returned.

    Returns:
        `nodes`: `id`, `column`, `label`, `kind` (an owner, one of `EXTRAS`, `found`, `class`, `unknown` or `extra`), `n`.
        `links`: `source` and `target` (ids), `n`, all positive.
    """
    links: list[tuple[str, str, int]] = []
    for name, owners in counts["owners_by_class"].items():
        links += [(f"true {name}", "found", sum(owners[end] for end in ENDS))]
        links += [(f"true {name}", lost, owners[lost]) for lost in LOST]
    whole, known = counts["owners_white"], counts["owners"]
    links += [("true unknown", "found", whole["found"] - sum(known[end] for end in ENDS))]
    links += [("true unknown", lost, whole[lost] - known[lost]) for lost in LOST]
    links += [("found", end, known[end]) for end in ENDS]
    links += [("extra", f"extra {name}", n) for name, n in counts["extras"].items()]
    links = [link for link in links if link[2]]
    return {"nodes": _nodes(links, counts), "links": [{"source": s, "target": t, "n": n} for s, t, n in links]}


def _nodes(links: list[tuple[str, str, int]], counts: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Every node that a link touches, from the top left down; `n` is what comes in, or goes out where nothing comes in."""
    named = [(f"true {name}", 0, name, "class") for name in counts["owners_by_class"]]
    named += [("true unknown", 0, "white cells", "unknown"), ("found", 1, "found", "found")]
    named += [(lost, 1, label, lost) for lost, label in LOST.items()]
    named += [(end, 2, label, end) for end, label in ENDS.items()]
    named += [("extra", 0, ALL_EXTRAS, "extra")] + [(f"extra {name}", 1, name, name) for name in counts["extras"]]
    nodes = []
    for key, column, label, kind in named:
        n = sum(m for _, t, m in links if t == key) or sum(m for s, _, m in links if s == key)
        if n:
            nodes.append({"id": key, "column": column, "label": label, "kind": kind, "n": n})
    return nodes
