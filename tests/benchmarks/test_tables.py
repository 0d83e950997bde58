"""The tables name what was measured, and replace only what stands between the marks."""

from pathlib import Path
from typing import Any

import pytest

from benchmarks.tables import BEGIN, END, render, write_between


def told(median: float, low: float | None = None, high: float | None = None) -> dict[str, Any]:
    return {"median": median, "q25": median, "q75": median, "low": low or median, "high": high or median, "n": 3}


REPORT: dict[str, Any] = {
    "machine": {
        "cores": 2, "processor": "Any CPU", "instructions": ["avx512_bf16"], "memory_gb": 23.5, "gpus": [], "python": "3.11.7",
        "packages": {"numpy": "2.4.6", "sahi": None},
    },
    "rounds": 3,
    "goals": [
        {"name": "as fast", "least": 6.0, "got": 6.25, "reached": True},
        {"name": "start", "most": 3.0, "got": 4.0, "reached": False},
    ],
    "load_before": 0.04,
    "picked": {"detect": "openvino", "classify": "onnx"},
    "auto": {"best": "openvino", "share_of_best": told(0.99)},
    "fields_per_second": {"small": {"ours": told(30)}, "large": {"ours": told(6.5, 6, 7), "script": told(1.1)}},
    "ratio_naive": {"small": {"ours": told(5)}, "large": {"ours": told(6)}},
    "ratio_export": {"large": {"script, onnx export": told(2.2)}},
    "ratio_sahi": {"ours, same windows": told(4.5)},
    "fraction_of_ceiling": {"large": {"slowest": "detect", "ours": told(0.8)}},
    "stages": {"large": {"detect": {"ours_ms": told(110), "bare_ms": told(100)}, "write": {"ours_ms": told(2)}}},
    "startup": {"help": told(0.1)},
    "gpu": {"skipped": "not run: torch sees no CUDA device here"},
}  # fmt: skip


def test_a_row_leaves_out_what_was_not_measured() -> None:
    lines = render(REPORT).splitlines()
    assert "| ours | 30 | 6.5 (6 – 7) |" in lines
    assert "| script |  | 1.1 |" in lines
    assert "| write | 2.0 |  |" in lines


def test_goals_say_what_was_wanted_and_whether_it_was_reached() -> None:
    lines = render(REPORT).splitlines()
    assert "| as fast | ≥ 6 | 6.25 | yes |" in lines
    assert "| start | < 3 | 4 | no |" in lines


def test_the_machine_is_named_by_its_kind() -> None:
    first = render(REPORT).splitlines()[0]
    assert "2 cores of Any CPU (AVX512-BF16)" in first
    assert "sahi" not in first
    assert "picked detect: openvino, classify: onnx; 0.99 of the speed of the best by hand (openvino)" in first


def test_a_skipped_gpu_is_said() -> None:
    assert render(REPORT).endswith("not run: torch sees no CUDA device here.")


def test_a_gpu_is_shown_with_its_share_and_how_busy_it_was() -> None:
    one = {"fields_per_second": {"given": told(300)}, "slowest": "detect", "fraction_of_ceiling": told(0.6), "device_busy": 0.7}
    text = render({**REPORT, "gpu": {"small": one}})
    assert "| small | fields per second, given | 300 |" in text
    assert "| small | share of the bare `detect` | 0.6 |" in text


def test_only_what_stands_between_the_marks_is_replaced(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n", encoding="utf-8")
    write_between(page, "new")
    write_between(page, "newer")
    assert page.read_text(encoding="utf-8") == f"before\n{BEGIN}\n\nnewer\n\n{END}\nafter\n"


def test_a_page_without_marks_is_refused(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("nothing", encoding="utf-8")
    with pytest.raises(ValueError, match="has no"):
        write_between(page, "new")
