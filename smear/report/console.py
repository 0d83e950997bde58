"""The numbers of an evaluation as lines of text, and sorted as `report.json` wants them."""

from collections.abc import Iterator, Mapping
from typing import Any

BESIDE = (  # parts of an evaluation that stand beside `detection` in the report
    *("cells_on_truth", "end_to_end", "pr_curves", "intervals", "errors", "n_errors", "errors_per_owner", "stress"),
)
SHOWN = ("accuracy", "recall", "specificity", "f1", "roc_auc")


def in_report(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """The metrics as the report holds them: those of the detector under `detection`, the others beside it."""
    return {"detection": {k: v for k, v in metrics.items() if k not in BESIDE}, **{k: metrics[k] for k in BESIDE if k in metrics}}


def metric_lines(metrics: Mapping[str, Any]) -> list[str]:
    """The numbers as a table, with their intervals where known, and `-` where undefined."""
    intervals = metrics.get("intervals", {})
    lines = [f"{'mAP@50':>10} {'mAP@50-95':>10} {'precision':>10} {'recall':>10}"]
    lines.append(" ".join(f"{_shown(metrics.get(k)):>10}" for k in ("map50", "map50_95", "precision", "recall")))
    for name, value in metrics.get("ap50", {}).items():
        lines.append(f"  {name}: AP@50 {_shown(value)}, AP@50-95 {_shown(metrics.get('ap50_95', {}).get(name))}")
    if "white_recall" in metrics:
        parts = [f"{k} {_with_interval(metrics[f'white_{k}'], intervals.get(f'white_{k}'))}" for k in ("recall", "precision")]
        lines.append(f"white cells: {', '.join(parts)}")
    found = metrics.get("end_to_end") or {}
    for title, block in (("labels on true boxes", metrics.get("cells_on_truth")), ("labels end to end", found.get("all"))):
        if block:
            spread = block.get("intervals", {})
            lines.append(f"{title}: " + ", ".join(f"{k} {_with_interval(block[k], spread.get(k))}" for k in SHOWN if k in block))
    return lines + list(_owner_lines(found))


def _owner_lines(found: Mapping[str, Any]) -> Iterator[str]:
    owners = found.get("owners") or found.get("owners_white")
    if owners:
        yield f"true white cells: {_counted(owners)}"
        yield f"extra detections: {_counted(found['extras'])}"
    loss = (found.get("oracle") or {}).get("loss")
    if loss:
        parts = ", ".join(f"{name} {_shown(loss[name])}" for name in ("detector", "classifier", "joint"))
        yield f"accuracy lost: {_shown(loss['total'])} ({parts})"


def _counted(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{n} {name}" for name, n in counts.items())


def _with_interval(value: Any, interval: Mapping[str, Any] | None) -> str:
    if not interval or interval["low"] is None or interval["low"] != interval["low"]:
        return _shown(value)
    return f"{_shown(value)} ({interval['low']:.3f} to {interval['high']:.3f})"


def _shown(value: Any) -> str:
    return "-" if value is None or value != value else f"{value:.4f}" if isinstance(value, float) else str(value)
