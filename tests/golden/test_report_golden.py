"""The report of fixed outcomes, compared with files that a person has looked at.

After a wanted change: `python tests/golden/test_report_golden.py` writes the files again; read the difference before you commit it.
`outcomes.json` is never written again: it also shows that records of this schema stay readable.
"""

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from smear.models import CropContract, ModelCard
from smear.report.html import render_html
from smear.report.records import from_json, to_json
from smear.report.summary import summarise
from smear.report.tables import write_cells_csv
from smear.types import FieldResult, Outcome

HERE = Path(__file__).parent
CARDS = (
    ModelCard(
        name="finder", task="detect", architecture="yolov8n", classes=("WBC", "RBC", "Platelets"), white_classes=("WBC",), red_class="RBC",
        files={"model.onnx": "0" * 64}, input_px=640, normalise="unit", head="yolo", rbc_px=48.0, thresholds={"confidence": 0.25},
        metrics={"map50": 0.9}, data=({"name": "painted fields", "licence": "AGPL-3.0-or-later"},),
    ),
    ModelCard(
        name="labeller", task="classify", architecture="densenet121", classes=("ALL", "HEM"), files={"model.onnx": "1" * 64},
        input_px=224, normalise="imagenet", head="sigmoid", crop=CropContract(), thresholds={"review": 0.7}, temperature=1.3,
    ),
)  # fmt: skip
CONFIG = {"detector": {"bundle": "models/finder", "tile_px": 640}, "classifier": {"bundle": "models/labeller"}}


def outcomes() -> list[Outcome]:
    return [from_json(record) for record in json.loads((HERE / "outcomes.json").read_text(encoding="utf-8"))]


def report() -> dict:
    return {**summarise(outcomes(), cards=CARDS, config=CONFIG), "versions": {"python": "3"}}  # versions change, and may


def as_text(value: object) -> str:
    rounded = json.loads(
        json.dumps(value, allow_nan=False), parse_float=lambda text: round(float(text), 6)
    )  # scipy may change the last digits
    return json.dumps(rounded, indent=1, ensure_ascii=False) + "\n"


class Visible(HTMLParser):
    """What a reader sees, one line for each element: the tag, its id or class, the text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.path: list[str] = []
        self.lines: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        if tag not in ("meta", "img"):
            named = dict(attributes)
            self.path.append(".".join(filter(None, (tag, named.get("id"), named.get("class")))))

    def handle_endtag(self, tag: str) -> None:
        self.path.pop()

    def handle_data(self, data: str) -> None:
        text = re.sub(r"\s+", " ", data).strip()
        if text and self.path[-1] != "style":
            self.lines.append(f"{self.path[-1]}: {text}\n")


def golden(folder: Path) -> dict[str, str]:
    write_cells_csv(folder / "cells.csv", (o for o in outcomes() if isinstance(o, FieldResult)))
    return {
        "report.json": as_text(report()),
        "report.txt": "".join(Visible(render_html(report())).lines),
        "cells.csv": (folder / "cells.csv").read_text(encoding="utf-8"),
    }


@pytest.mark.parametrize("name", ["report.json", "report.txt", "cells.csv"])
def test_the_report_of_fixed_outcomes_stays_as_it_was_read(name: str, tmp_path: Path) -> None:
    assert golden(tmp_path)[name] == (HERE / name).read_text(encoding="utf-8")


def test_records_of_this_schema_stay_readable() -> None:
    known = json.loads((HERE / "outcomes.json").read_text(encoding="utf-8"))
    written = [to_json(o) for o in outcomes()]
    assert [{key: new[key] for key in old} for old, new in zip(known, written, strict=True)] == known  # later keys may have been added


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as scratch:
        for file_name, content in golden(Path(scratch)).items():
            (HERE / file_name).write_text(content, encoding="utf-8")
