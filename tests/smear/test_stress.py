"""The evaluation under stress: the right fields, the right truth, the right differences."""

import math
from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from smear.analyze import Analyzer
from smear.conditions import CONDITIONS, Condition, zoom
from smear.evaluate import score_detection
from smear.images import read_image, write_image
from smear.labelled import Labelled
from smear.metrics.detection import coco_metrics
from smear.plan import Plan
from smear.scale import Ruler
from smear.stress import SCORES, choose_fields, run_stress, stress_lines
from smear.types import Detections, Field

PLAN = Plan(ruler=Ruler(48, 1, (0,)), letterbox_px=640, contract=None, crop_px=0, confidence=0.25, floor=0.005, iou=0.5, review_below=0.8)
SAME = Condition("nothing", "none", lambda rng, image, rbc_px: image)
DARK = Condition("night", "all", lambda rng, image, rbc_px: image // 8)
LARGER = Condition("larger", "factor 1.5", partial(zoom, factor=1.5), factor=1.5)


@pytest.fixture
def labelled(paint, blobs, tmp_path) -> Labelled:
    fields, truths = [], []
    for i in range(3):
        image = paint((300, 360), rbc_px=36, n_all=1, n_hem=1, seed=i)
        write_image(tmp_path / f"{i}.png", image)
        fields.append(Field(f"{i}.png", tmp_path / f"{i}.png", slide=f"s{i // 2}"))
        truths.append(blobs([image])[0])
    return Labelled(tuple(fields), tuple(truths), ("WBC", "RBC"))


def score(labelled: Labelled, outcomes) -> dict:
    metrics = score_detection(labelled, outcomes, white_class="WBC", detector_classes=("WBC", "RBC"), confidence=0.25, n_resamples=0)
    return {**metrics, "white_recall": metrics["per_class"]["WBC"]["recall"]}


def stress(blobs, labelled, *conditions, **more) -> dict:
    """Red cells of 36 px are told, not measured, which takes long."""
    return run_stress(Analyzer(blobs, None, PLAN, white=(0,)), labelled, score, conditions=conditions, um_per_px=7.5 / 36, **more)


def test_a_condition_that_changes_nothing_changes_no_number(blobs, labelled):
    found = stress(blobs, labelled, SAME)
    assert found["baseline"]["map50"] == pytest.approx(1)
    assert found["conditions"][0]["metrics"]["map50"] == found["baseline"]["map50"]
    assert found["conditions"][0]["breaks"] == []
    assert found["worst"] is None


def test_what_breaks_is_named_with_its_fall(blobs, labelled):
    found = stress(blobs, labelled, SAME, DARK)
    dark = found["conditions"][1]
    assert dark["metrics"]["white_recall"] < 0.5
    assert dark["change"]["white_recall"] == dark["metrics"]["white_recall"] - found["baseline"]["white_recall"]
    assert "white_recall" in dark["breaks"]
    assert (found["worst"]["name"], found["worst"]["metric"] in SCORES) == ("night", True)


def test_enlarging_a_field_enlarges_its_truth_and_its_scale(blobs, labelled):
    found = stress(blobs, labelled, LARGER)
    assert found["conditions"][0]["metrics"]["map50"] == pytest.approx(1, abs=0.02)


def test_a_given_pixel_size_shrinks_when_the_field_grows(labelled):
    seen = []

    def analyze(fields):
        fields = list(fields)
        seen.append([f.um_per_px for f in fields])
        return [None] * len(fields)

    run_stress(analyze, labelled, lambda *_: {}, conditions=(SAME, LARGER), um_per_px=0.3, n_fields=1)
    assert seen == [[0.3], [0.3], [pytest.approx(0.2)]]


def test_the_score_sees_the_changed_fields_while_they_are_there(labelled):
    seen = []

    def peek(given: Labelled, outcomes) -> dict:
        seen.append(read_image(given.fields[0].path).mean())
        return {}

    run_stress(lambda fields: [None for _ in fields], labelled, peek, conditions=(DARK,))
    assert seen[1] < seen[0] / 7
    assert labelled.fields[0].path.exists()


def test_the_same_seed_gives_the_same_table(blobs, labelled):
    noise = [c for c in CONDITIONS if c.name == "stain jitter"]
    first, again = (stress_lines(stress(blobs, labelled, *noise, seed=1)) for _ in range(2))
    assert first == again


def test_what_is_undefined_is_nan_and_breaks_nothing(labelled):
    found = run_stress(lambda fields: [None for _ in fields], labelled, lambda *_: {"accuracy": None}, conditions=(DARK,))
    assert math.isnan(found["baseline"]["accuracy"])
    assert found["conditions"][0]["breaks"] == []
    assert found["worst"] is None
    assert len(stress_lines(found)) == 3


def test_no_fields_give_a_table_without_numbers(blobs):
    nothing = Labelled((), (), ("WBC", "RBC"))
    found = run_stress(
        Analyzer(blobs, None, PLAN, white=(0,)), nothing, lambda given, _: coco_metrics(given.truths, [], ("WBC",)), conditions=(SAME,)
    )
    assert found["n_fields"] == 0
    assert all(math.isnan(v) for v in found["baseline"].values())


class TestChoice:
    @pytest.mark.parametrize("n", [0, 1, 4, 9, 10, 50, None])
    def test_never_more_than_asked_for_in_their_order(self, tmp_path, n):
        fields = tuple(Field(f"{i:02}.png", tmp_path, slide="big" if i < 8 else f"small {i}") for i in range(10))
        labelled = Labelled(fields, (Detections.empty(),) * 10, ("WBC",))
        chosen = choose_fields(labelled, n, seed=2)
        assert len(chosen.fields) == len(chosen.truths) == min(10, 10 if n is None else n)
        assert [f.id for f in chosen.fields] == sorted(f.id for f in chosen.fields)
        assert choose_fields(labelled, n, seed=2) == chosen

    def test_small_slides_are_heard(self, tmp_path):
        fields = tuple(Field(f"{i:02}.png", tmp_path, slide="big" if i < 8 else f"small {i}") for i in range(10))
        chosen = choose_fields(Labelled(fields, (Detections.empty(),) * 10, ("WBC",)), 3)
        assert {f.slide for f in chosen.fields} == {"big", "small 8", "small 9"}


def test_the_text_table_has_a_line_for_each_condition(blobs, labelled):
    lines = stress_lines(stress(blobs, labelled, SAME, DARK))
    assert any(line.startswith("night, all") and line.endswith("breaks") for line in lines)
    assert lines[-1].startswith("worst: night")


def test_the_ground_truth_itself_is_not_changed(blobs, labelled):
    before = [t.boxes.copy() for t in labelled.truths]
    stress(blobs, labelled, LARGER)
    assert all(np.array_equal(t.boxes, b) for t, b in zip(labelled.truths, before, strict=True))
    assert replace(labelled) == labelled
