"""smear.report.records and tables: what is written reads back exactly, and a spreadsheet cannot be tricked."""

import csv
import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from smear.report.records import from_json, jsonable, shortest, to_json
from smear.report.tables import CELL_COLUMNS, cell_columns, cell_rows, write_cells_csv
from smear.types import UNKNOWN_SCALE, Detections, Field, FieldFailure, FieldResult, Scale

FIELD = Field("slide 1/ä b.tif#2", Path("/data/slide 1/ä b.tif"), "slide 1", "p7", 0.065, 2)


def paint(n=3, classes=("ALL", "HEM"), **changes):
    rng = np.random.default_rng(n)
    corner = rng.uniform(0, 400, (n, 2)).astype(np.float32)
    labels = np.arange(n) % 2  # a white cell, then a red one, …
    p = rng.random(n).astype(np.float32)
    probabilities = np.where(labels[:, None] == 0, np.stack([p, 1 - p], axis=1), np.nan).astype(np.float32)[:, : len(classes)]
    values = {
        "field": FIELD,
        "shape_hw": (480, 640),
        "detections": Detections(np.concatenate([corner, corner + 50], axis=1), np.sort(rng.random(n))[::-1], labels),
        "detector_classes": ("WBC", "RBC"),
        "is_white": labels == 0,
        "probabilities": probabilities,
        "classes": classes,
        "review_below": 0.7,
        "scale": Scale(71.3, 0.08, 40, "red cells"),
        "warnings": ("stain is foreign",),
        "cell_warnings": tuple(("cut by the edge",) if i == 0 else () for i in range(n)),
        "seconds": {"decode": 0.012, "detect": 0.1},
        "quality": {"focus": 0.41, "rbc_px": 71.3},
    }
    return FieldResult(**{**values, **changes})


def same(a, b):
    """Equality of results bit by bit, NaN equal to NaN."""
    arrays_equal = all(
        x.dtype == y.dtype and x.shape == y.shape and x.tobytes() == y.tobytes()
        for x, y in (
            *((getattr(a.detections, k), getattr(b.detections, k)) for k in ("boxes", "scores", "labels")),
            (a.is_white, b.is_white),
            (a.probabilities, b.probabilities),
        )
    )
    plain = ("field", "shape_hw", "detector_classes", "classes", "review_below", "warnings", "cell_warnings", "seconds", "quality")
    return arrays_equal and repr(a.scale) == repr(b.scale) and all(getattr(a, k) == getattr(b, k) for k in plain)


def through_json(outcome):
    return from_json(json.loads(json.dumps(to_json(outcome), allow_nan=False)))


@pytest.mark.parametrize(
    "result",
    [paint(0), paint(0, ()), paint(1), paint(5), paint(4, ()), paint(2, scale=UNKNOWN_SCALE, cell_warnings=(), warnings=(), seconds={})],
)
def test_a_result_reads_back_exactly(result):
    assert same(through_json(result), result)


def test_a_record_from_before_there_was_a_quality_is_readable():
    record = to_json(paint())
    del record["quality"]
    assert same(from_json(record), paint(quality={}))


@settings(max_examples=60, deadline=None)
@given(arrays(np.float32, (4, 2), elements=st.floats(0, 1, width=32) | st.just(math.nan)))
def test_every_float32_reads_back_exactly(probabilities):
    result = paint(4, probabilities=probabilities)
    assert same(through_json(result), result)


@given(arrays(np.float32, (3, 2), elements=st.floats(width=32)))
def test_rounding_together_names_each_number_as_one_by_one(values):
    named = [[float(str(v)) if np.isfinite(v) else None for v in row] for row in values]
    assert shortest(values) == named


def test_a_failure_reads_back_exactly():
    failure = FieldFailure(FIELD, "decode", "ä b.tif: not a readable image (0 bytes)")
    assert through_json(failure) == failure


def test_numbers_are_written_short():
    result = paint(1, detections=Detections([[0, 0, 10, 10]], [0.9], [0]))
    assert to_json(result)["scores"] == [0.9]


@pytest.mark.parametrize(
    "spoil",
    [
        lambda r: {},
        lambda r: {**r, "schema": 0},
        lambda r: {k: v for k, v in r.items() if k != "boxes"},
        lambda r: {**r, "boxes": r["boxes"][:1]},
        lambda r: {**r, "is_white": []},
        lambda r: {**r, "scale": None},
        lambda r: {**r, "probabilities": [[0.5]]},
        lambda r: {**r, "field": {"id": 1}},
        lambda r: {**r, "scores": ["x", "y", "z"]},
        lambda r: [r],
        lambda r: None,
    ],
)
def test_a_damaged_record_is_refused_so_that_the_field_is_analysed_again(spoil):
    with pytest.raises(ValueError):
        from_json(spoil(to_json(paint(3))))


def test_jsonable_makes_plain_values():
    value = {"a": np.float32(0.5), 1: (np.nan, math.inf), "p": Path("x/y"), "s": {"b", "a"}, "n": np.arange(2), "t": None, "b": np.True_}
    assert jsonable(value) == {"a": 0.5, "1": [None, None], "p": "x/y", "s": ["a", "b"], "n": [0, 1], "t": None, "b": True}


def test_the_columns_are_those_of_the_documentation():
    assert ",".join(CELL_COLUMNS) == ("field,slide,cell,x0,y0,x1,y1,detected_as,detection_score,label,p_ALL,p_HEM,needs_review,warnings")
    assert cell_columns(("Pro", "Pre", "Early"))[10:13] == ("p_Pro", "p_Pre", "p_Early")


def test_rows_are_the_white_cells_with_fixed_decimals():
    result = paint(
        2,
        detections=Detections([[1, 2, 30.127, 40], [5, 5, 9, 9]], [0.98772, 0.5], [0, 1]),
        probabilities=np.array([[0.93, 0.07], [np.nan, np.nan]], np.float32),
    )
    (row,) = cell_rows(result)
    assert ",".join(row) == "slide 1/ä b.tif#2,slide 1,0,1.00,2.00,30.13,40.00,WBC,0.9877,ALL,0.9300,0.0700,false,cut by the edge"


def test_probabilities_follow_their_column_and_stay_empty_without_a_classifier():
    (swapped,) = cell_rows(paint(1, probabilities=np.array([[0.25, 0.75]], np.float32)), ("HEM", "ALL"))
    assert swapped[10:12] == ("0.7500", "0.2500")
    (unlabelled,) = cell_rows(paint(1, ()))
    assert unlabelled[9:13] == ("", "", "", "true")


def test_the_table_reads_back_and_is_the_same_every_time(tmp_path):
    results = [paint(0), paint(5), paint(3, ())]
    assert write_cells_csv(tmp_path / "cells.csv", results) == 5
    assert write_cells_csv(tmp_path / "again.csv", results) == 5
    assert (tmp_path / "cells.csv").read_bytes() == (tmp_path / "again.csv").read_bytes()
    with (tmp_path / "cells.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["cell"] for row in rows] == ["0", "1", "2", "0", "1"]
    assert [tuple(row.values()) for row in rows] == [row for r in results for row in cell_rows(r)]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["again.csv", "cells.csv"]


def test_no_results_give_a_header(tmp_path):
    assert write_cells_csv(tmp_path / "cells.csv", []) == 0
    assert (tmp_path / "cells.csv").read_text() == ",".join(CELL_COLUMNS) + "\n"


@pytest.mark.parametrize("name", ["=1+1.png", "+a.png", "-a.png", "@a.png", '=cmd|"/c calc"!A0,x.png', "\ta.png"])
def test_a_name_that_is_a_formula_is_disarmed(name, tmp_path):
    result = paint(1, field=Field(name, Path("x"), slide=name))
    write_cells_csv(tmp_path / "cells.csv", [result])
    with (tmp_path / "cells.csv").open(encoding="utf-8", newline="") as file:
        (row,) = csv.DictReader(file)
    assert row["field"] == row["slide"] == "'" + name


def test_a_name_that_is_not_unicode_does_not_stop_the_table(tmp_path):
    result = paint(1, field=Field("a\udcff.png", Path("x")))
    assert write_cells_csv(tmp_path / "cells.csv", [result]) == 1
    assert same(through_json(result), result)
