"""A small Sankey-like figure: where the cells went, drawn as SVG that takes its colours and its font from the page."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

COLUMN_PX, NODE_PX, LABEL_GAP = 250.0, 12.0, 8.0
LABEL_ROOM = 190.0  # right of the last column
HEIGHT = 180.0  # of the fullest column, without the gaps
LINE_PX, GAP = 20.0, 6.0  # a node has at least this much room, so that two labels never meet
TEXT_DROP = 4.5  # from the middle of a line of text to its baseline


def flow_figure(nodes: Sequence[Mapping[str, Any]], links: Sequence[Mapping[str, Any]]) -> str:
    """Nodes in columns from left to right, joined by bands as wide as their counts; "" without any cell.

    Args:
        nodes: `id`, `column` (0 is leftmost), `label`, `kind` (the CSS class of its colour), `n`; a column is stacked in this order.
        links: `source` and `target` (ids), `n`; a band has the colour of its target.

    Raises:
        ValueError: more leaves or enters a node than it holds.
    """
    shown = [node for node in nodes if node["n"]]
    if not shown:
        return ""
    _check(shown, links)
    columns = 1 + max(node["column"] for node in shown)
    unit = HEIGHT / max(sum(n["n"] for n in shown if n["column"] == c) for c in range(columns))
    tops = _tops(shown, links, unit)
    bottom = max(tops[node["id"]] + max(node["n"] * unit, LINE_PX) for node in shown)
    shapes = [*_bands(shown, links, tops, unit), *(_box(node, tops[node["id"]], unit) for node in shown)]
    spoken = ", ".join(f"{node['label']} {node['n']}" for node in shown)
    width = (columns - 1) * COLUMN_PX + NODE_PX + LABEL_ROOM
    return f'<svg class="flow" viewBox="0 0 {width:g} {bottom + 4:.1f}" role="img" aria-label="{escape(spoken)}">{"".join(shapes)}</svg>'


def _check(nodes: Sequence[Mapping[str, Any]], links: Sequence[Mapping[str, Any]]) -> None:
    for node in nodes:
        for end in ("source", "target"):
            if sum(link["n"] for link in links if link[end] == node["id"]) > node["n"]:
                raise ValueError(f"flow: more than {node['n']} cells at {node['id']!r} ({end})")


def _tops(nodes: Sequence[Mapping[str, Any]], links: Sequence[Mapping[str, Any]], unit: float) -> dict[str, float]:
    """The upper edge of every node: columns are stacked from the top; nodes that no link joins to those above begin below all of them."""
    group = _groups(nodes, links)
    n_columns = 1 + max(node["column"] for node in nodes)
    tops: dict[str, float] = {}
    ends = dict.fromkeys(range(n_columns), 2.0)
    last = None
    for node in sorted(nodes, key=lambda n: group[n["id"]]):  # stable: the order given, group by group
        if group[node["id"]] != last:
            last, ends = group[node["id"]], dict.fromkeys(range(n_columns), max(ends.values()))
        tops[node["id"]] = ends[node["column"]]
        ends[node["column"]] += max(node["n"] * unit, LINE_PX) + GAP
    return tops


def _groups(nodes: Sequence[Mapping[str, Any]], links: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """Which nodes hang together: the place of the first node of each group, by id."""
    group = {node["id"]: i for i, node in enumerate(nodes)}
    for _ in nodes:  # each round joins neighbours; a chain of all nodes needs this many
        for link in links:
            if link["source"] in group and link["target"] in group:
                group[link["source"]] = group[link["target"]] = min(group[link["source"]], group[link["target"]])
    return group


def _bands(nodes: Sequence[Mapping[str, Any]], links: Sequence[Mapping[str, Any]], tops: Mapping[str, float], unit: float) -> list[str]:
    known = {node["id"]: node for node in nodes}
    leaves, enters = dict(tops), dict(tops)  # where the next band leaves and enters each node
    shapes = []
    for link in links:
        source, target = known.get(link["source"]), known.get(link["target"])
        if source is None or target is None:
            continue
        x0, x1 = source["column"] * COLUMN_PX + NODE_PX, target["column"] * COLUMN_PX
        y0, y1, thick, half = leaves[source["id"]], enters[target["id"]], max(link["n"] * unit, 0.8), (x1 - x0) / 2
        path = (
            f"M{x0:g} {y0:.1f}C{x0 + half:g} {y0:.1f} {x1 - half:g} {y1:.1f} {x1:g} {y1:.1f}v{thick:.1f}"
            f"C{x1 - half:g} {y1 + thick:.1f} {x0 + half:g} {y0 + thick:.1f} {x0:g} {y0 + thick:.1f}z"
        )
        shapes.append(f'<path class="band {escape(_css(target["kind"]))}" d="{path}"/>')
        leaves[source["id"]] += link["n"] * unit
        enters[target["id"]] += link["n"] * unit
    return shapes


def _box(node: Mapping[str, Any], top: float, unit: float) -> str:
    x, height = node["column"] * COLUMN_PX, max(node["n"] * unit, 1.5)
    y_text = top + max(height / 2, LINE_PX / 2 - 2) + TEXT_DROP
    return (
        f'<rect class="node {escape(_css(node["kind"]))}" x="{x:g}" y="{top:.1f}" width="{NODE_PX:g}" height="{height:.1f}"/>'
        f'<text x="{x + NODE_PX + LABEL_GAP:g}" y="{y_text:.1f}"><tspan class="count">{node["n"]}</tspan> {escape(node["label"])}</text>'
    )


def _css(kind: str) -> str:
    return kind.replace(" ", "-")
