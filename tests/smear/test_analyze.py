"""The Analyzer: tiles, crops and failures of many fields together give what each field alone gives."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from datasets.painted import draw_style, paint_field
from smear import boxes, finder, labeller
from smear.analyze import Analyzer, at_confidence
from smear.drift import Reference, describe
from smear.finder import Finder
from smear.images import write_image
from smear.line import Pace
from smear.models import CropContract, ModelCard
from smear.plan import Plan
from smear.scale import Ruler
from smear.settings import AnalyzeSettings
from smear.types import Detections, Field, FieldFailure, FieldResult, Scale

PLAN = Plan(
    ruler=Ruler(48, 1, (0,)), letterbox_px=640, contract=CropContract(), crop_px=16, confidence=0.25, floor=0.25, iou=0.5, review_below=0.8
)  # fmt: skip


class RednessClassifier:
    classes = ("ALL", "HEM")

    def __init__(self) -> None:
        self.sizes: list[int] = []

    def __call__(self, crops):
        self.sizes.append(len(crops))
        p = np.clip(crops[:, 6:10, 6:10, 0].mean(axis=(1, 2)) / 200, 0, 1).astype(np.float32)
        return np.stack([p, 1 - p], axis=1)


def fields_of(folder: Path, pictures: dict[str, np.ndarray]) -> list[Field]:
    for name, picture in pictures.items():
        write_image(folder / name, picture)
    return [Field(name, folder / name) for name in pictures]


def analyzer(detector, classifier=None, plan=PLAN, **hooks) -> Analyzer:
    return Analyzer(detector, classifier, plan, white=(0,), **hooks)


def same(a: FieldResult, b: FieldResult) -> bool:
    return replace(a, seconds={}) == replace(b, seconds={})


class TestOutcomes:
    def test_no_fields_no_outcomes(self, blobs):
        assert list(analyzer(blobs, RednessClassifier())([])) == []

    def test_every_cell_is_found_in_the_pixels_of_the_field(self, blobs, paint, tmp_path):
        image = paint((600, 700), rbc_px=40, n_all=2, n_hem=3, n_red=10)
        (outcome,) = analyzer(blobs, RednessClassifier())(fields_of(tmp_path, {"a.png": image}))
        assert (outcome.count("WBC"), outcome.count("RBC")) == (5, 10)
        assert sorted(c.label for c in outcome.cells()) == ["ALL"] * 2 + ["HEM"] * 3
        for cell in outcome.cells():
            assert boxes.diameters(cell.box[None])[0] == pytest.approx(70, abs=3)
            x, y = boxes.centres(cell.box[None])[0].astype(int)
            assert image[y, x, 1] == 40
        assert set(outcome.seconds) == {"decode", "scale", "quality", "detect", "classify"}

    def test_batches_do_not_change_results_nor_their_order(self, blobs, paint, tmp_path):
        pictures = {f"{i}.png": paint((300 + 40 * i, 400), rbc_px=30, n_red=6, n_hem=i % 3, seed=i) for i in range(5)}
        fields = fields_of(tmp_path, pictures)
        together = list(analyzer(blobs, RednessClassifier(), replace(PLAN, fields_per_batch=4))(fields))
        alone = [o for f in fields for o in analyzer(blobs, RednessClassifier())([f])]
        assert [o.field for o in together] == fields
        assert all(same(a, b) for a, b in zip(together, alone, strict=True))

    @pytest.mark.parametrize("pace", [Pace(1, 0, 0), Pace(0, 1, 0), Pace(0, 0, 1), Pace(1, 2, 1), Pace(3, 4, 2)])
    def test_threads_do_not_change_results_nor_their_order(self, blobs, paint, tmp_path, pace):
        pictures = {f"{i}.png": paint((300 + 40 * i, 400), rbc_px=30, n_red=6, n_hem=i % 3, seed=i) for i in range(7)}
        fields = fields_of(tmp_path, pictures)
        fields[3].path.write_bytes(b"not an image")
        kept = []
        plan = replace(PLAN, fields_per_batch=2)
        threaded = analyzer(blobs, RednessClassifier(), plan, pace=pace, keep=lambda o, _: kept.append(o.field.id))
        for _ in range(2):
            outcomes = list(threaded(fields))
            alone = [o for f in fields for o in analyzer(blobs, RednessClassifier())([f])]
            assert all(a == b if isinstance(a, FieldFailure) else same(a, b) for a, b in zip(outcomes, alone, strict=True))
        assert sorted(kept) == sorted(2 * [f.id for f in fields])

    def test_large_fields_are_not_held_together(self, blobs, paint, tmp_path):
        classifier = RednessClassifier()
        fields = fields_of(tmp_path, {f"{i}.png": paint((300, 300), rbc_px=30, n_red=6, n_hem=2, seed=i) for i in range(4)})
        list(analyzer(blobs, classifier, replace(PLAN, pixels_per_batch=200_000))(fields))
        assert classifier.sizes == [6, 6]

    def test_crops_of_several_fields_go_to_the_classifier_together(self, blobs, paint, tmp_path):
        classifier = RednessClassifier()
        pictures = {f"{i}.png": paint((300, 300), rbc_px=30, n_red=6, n_hem=2, seed=i) for i in range(3)}
        list(analyzer(blobs, classifier)(fields_of(tmp_path, pictures)))
        assert classifier.sizes == [9]

    def test_a_bad_field_is_a_failure_in_its_place(self, blobs, paint, tmp_path):
        fields = fields_of(tmp_path, {f"{i}.png": paint((300, 300), rbc_px=30, n_red=6, seed=i) for i in range(3)})
        fields[1].path.write_bytes(b"not an image")
        fields.append(Field("gone.png", tmp_path / "gone.png"))
        kept = []
        outcomes = list(analyzer(blobs, keep=lambda o, image: kept.append((o.field.id, image is None)))(fields))
        assert [type(o) for o in outcomes] == [FieldResult, FieldFailure, FieldResult, FieldFailure]
        assert [(o.field.id, o.stage) for o in outcomes if isinstance(o, FieldFailure)] == [("1.png", "decode"), ("gone.png", "read")]
        assert kept == [("0.png", False), ("1.png", True), ("2.png", False), ("gone.png", True)]

    def test_a_bug_is_not_a_failure(self, paint, tmp_path):
        class Broken:
            classes = ("WBC", "RBC")

            def __call__(self, tiles):
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            list(analyzer(Broken())(fields_of(tmp_path, {"a.png": paint((300, 300), rbc_px=30, n_red=6)})))

    def test_what_is_recalled_is_neither_analysed_nor_kept_again(self, blobs, paint, tmp_path):
        fields = fields_of(tmp_path, {f"{i}.png": paint((300, 300), rbc_px=30, n_red=6, seed=i) for i in range(2)})
        first = list(analyzer(blobs)(fields))
        kept = []
        again = analyzer(blobs, recall=lambda f, data: first[0] if f.id == "0.png" else None, keep=lambda o, _: kept.append(o.field.id))
        outcomes = list(again(fields))
        assert outcomes[0] is first[0]
        assert same(outcomes[1], first[1])
        assert kept == ["1.png"]

    def test_fields_too_large_to_be_held_together_are_searched_one_by_one(self, blobs, paint, tmp_path, monkeypatch):
        fields = fields_of(tmp_path, {f"{i}.png": paint((300, 300), rbc_px=30, n_red=6, seed=i) for i in range(3)})
        together = list(analyzer(blobs)(fields))
        groups = []
        search = Finder.search
        monkeypatch.setattr(Finder, "search", lambda self, works: (groups.append(len(works)), search(self, works))[1])
        monkeypatch.setattr(finder, "MAX_RESIZED_PIXELS", 600 * 600)
        outcomes = list(analyzer(blobs)(fields))
        assert groups == [1, 1, 1]
        assert all(same(a, b) for a, b in zip(outcomes, together, strict=True))


class TestTiling:
    @pytest.mark.parametrize("seed", [0, 1])
    def test_tiling_does_not_change_the_cells(self, blobs_of, tmp_path, seed):
        rng = np.random.default_rng(seed)
        image = paint_field(rng, draw_style(rng), shape_hw=(900, 1100), rbc_px=40).image
        fields = fields_of(tmp_path, {"a.png": image})
        plan = replace(PLAN, um_per_px=7.5 / 48)  # no resizing: boxes can be compared exactly
        blobs = blobs_of(image)
        (tiled,) = analyzer(blobs, plan=replace(plan, tile_px=512))(fields)
        (whole,) = analyzer(blobs, plan=replace(plan, tile_px=4096))(fields)
        assert len(whole.detections) > 20
        # a cell cut by a tile may be a round blob there, but its centre is owned by another tile, which sees it whole
        assert _rows(tiled) == _rows(whole)

    def test_discs_on_the_seams_are_counted_once(self, blobs, paint, tmp_path):
        image = paint((1500, 1500), rbc_px=48, n_all=20, n_hem=20, n_red=100)
        fields = fields_of(tmp_path, {"a.png": image})
        (tiled,) = analyzer(blobs, plan=replace(PLAN, um_per_px=7.5 / 48))(fields)
        assert (tiled.count("WBC"), tiled.count("RBC")) == (40, 100)


class TestQuality:
    def test_every_field_says_what_it_looks_like(self, blobs, paint, tmp_path):
        (outcome,) = analyzer(blobs)(fields_of(tmp_path, {"a.png": paint((400, 400), rbc_px=40, n_red=10)}))
        assert outcome.quality["rbc_px"] == outcome.scale.rbc_px
        assert outcome.quality["resized"] == pytest.approx(48 / outcome.scale.rbc_px, rel=0.02)  # by the windows, and by all cells
        assert outcome.quality["background"] > 0.8

    def test_a_field_unlike_those_trained_on_is_warned_of_by_name(self, blobs, paint, tmp_path):
        pictures = {f"{i}.png": paint((400, 400), rbc_px=40, n_red=10, seed=i) for i in range(4)}
        known = [outcome.quality for outcome in analyzer(blobs)(fields_of(tmp_path, pictures))]
        plan = replace(PLAN, reference=Reference.from_card(describe(known)))
        dim = {"dim.png": (paint((400, 400), rbc_px=40, n_red=10) * 0.85).astype(np.uint8)}
        alike, unlike = analyzer(blobs, plan=plan)(fields_of(tmp_path, {"0.png": pictures["0.png"], **dim}))
        assert alike.warnings == ()
        assert [w.split(":")[0] for w in unlike.warnings] == ["under-exposed"]

    def test_a_card_without_statistics_warns_of_nothing(self):
        card = ModelCard(name="m", task="detect", architecture="x", classes=("WBC",), input_px=64, normalise="unit", head="yolo")
        assert Plan.for_cards(AnalyzeSettings(), card).reference is None


class TestScale:
    def test_a_field_without_red_cells_says_so(self, blobs, paint, tmp_path):
        (outcome,) = analyzer(blobs)(fields_of(tmp_path, {"a.png": paint((400, 400), rbc_px=40, n_red=0)}))
        assert outcome.warnings == (finder.BY_WHITE_CELLS,)
        assert outcome.count("WBC") == 2

    def test_a_blank_field_is_searched_and_says_that_its_scale_is_unknown(self, blobs, tmp_path):
        (outcome,) = analyzer(blobs)(fields_of(tmp_path, {"a.png": np.full((50, 70, 3), 230, np.uint8)}))
        assert outcome.warnings == (finder.NO_RULER,)
        assert len(outcome.detections) == 0
        assert not outcome.scale.is_known

    def test_few_red_cells_are_an_unsure_ruler(self, blobs, paint, tmp_path):
        (outcome,) = analyzer(blobs)(fields_of(tmp_path, {"a.png": paint((400, 400), rbc_px=40, n_red=5)}))
        assert outcome.warnings == (finder.UNSURE_SCALE,)

    def test_the_pixel_size_of_the_field_comes_before_that_of_the_settings(self, blobs, paint, tmp_path):
        (field,) = fields_of(tmp_path, {"a.png": paint((400, 400), rbc_px=40, n_red=9)})
        plan = replace(PLAN, um_per_px=0.25)
        assert [o.scale.rbc_px for o in analyzer(blobs, plan=plan)([field, replace(field, um_per_px=0.15)])] == [30, 50]

    def test_cells_that_cannot_be_enlarged_enough_are_warned_of(self, blobs, paint, tmp_path, monkeypatch):
        monkeypatch.setattr(finder, "MAX_RESIZED_PIXELS", 300 * 300)
        (outcome,) = analyzer(blobs)(fields_of(tmp_path, {"a.png": paint((300, 300), rbc_px=20, n_red=20)}))
        assert finder.TOO_SMALL in outcome.warnings

    def test_without_a_ruler_the_field_is_letterboxed(self, blobs, paint, tmp_path):
        plan = replace(PLAN, ruler=None, letterbox_px=320)
        (outcome,) = analyzer(blobs, plan=plan)(fields_of(tmp_path, {"a.png": paint((640, 640), rbc_px=40, n_red=9)}))
        assert outcome.count("RBC") == 9
        assert outcome.warnings == ()


class TestCrops:
    def test_without_a_scale_cells_are_cropped_by_their_box_and_say_so(self, blobs, paint, tmp_path):
        plan = replace(PLAN, ruler=None)
        (outcome,) = analyzer(blobs, RednessClassifier(), plan)(fields_of(tmp_path, {"a.png": paint((400, 400), rbc_px=40)}))
        cells = list(outcome.cells())
        assert all(labeller.NO_CONTRACT_SCALE in c.warnings for c in cells)
        assert sorted(c.label for c in cells) == ["ALL", "HEM"]

    def test_a_cell_at_the_edge_is_warned_of_and_others_are_not(self, blobs, paint, tmp_path):
        image = paint((400, 400), rbc_px=40, n_all=2, n_hem=2, n_red=9)
        (whole,) = analyzer(blobs, RednessClassifier())(fields_of(tmp_path, {"a.png": image}))
        assert all("cut by the edge" not in c.warnings for c in whole.cells())

    def test_true_boxes_are_labelled_as_found_ones(self, blobs, paint, tmp_path):
        image = paint((400, 400), rbc_px=40, n_all=2, n_hem=2, n_red=9)
        work = analyzer(blobs, RednessClassifier())
        (outcome,) = work(fields_of(tmp_path, {"a.png": image}))
        again = work.label_boxes(image, outcome.detections.boxes[outcome.is_white], outcome.scale)
        np.testing.assert_array_equal(again, outcome.probabilities[outcome.is_white])
        assert work.label_boxes(image, np.zeros((0, 4), np.float32), outcome.scale).shape == (0, 2)

    def test_find_cells_gives_the_white_cells_of_an_image(self, blobs, paint):
        found, scale = analyzer(blobs).find_cells(paint((400, 400), rbc_px=40, n_all=2, n_hem=2, n_red=9))
        assert len(found) == 4
        assert scale.source == "red cells"
        found, scale = analyzer(blobs).find_cells(paint((400, 400), rbc_px=40), um_per_px=7.5 / 40)
        assert (len(found), scale.source) == (2, "given")


class TestPlan:
    def card(self, **changes) -> ModelCard:
        base = {
            "name": "d",
            "task": "detect",
            "architecture": "y",
            "classes": ("WBC", "RBC"),
            "white_classes": ("WBC",),
            "red_class": "RBC",
        }
        return ModelCard(**{**base, "input_px": 640, "normalise": "unit", "head": "yolo", "red_class": "RBC", "rbc_px": 48, **changes})

    def test_the_card_decides_where_the_settings_are_silent(self):
        card = self.card(thresholds={"confidence": 0.4, "iou": 0.6})
        plan = Plan.for_cards(AnalyzeSettings(), card)
        assert (plan.confidence, plan.iou, plan.floor, plan.lowest_score) == (0.4, 0.6, 0.4, 0.25)
        plan = Plan.for_cards(AnalyzeSettings(confidence=0.7, iou=0.3), card)
        assert (plan.confidence, plan.iou, plan.floor) == (0.7, 0.3, 0.7)
        assert Plan.for_cards(AnalyzeSettings(), card, floor=0.01).lowest_score == 0.01

    def test_tiles_grow_with_the_scale_of_the_detector(self):
        plan = Plan.for_cards(AnalyzeSettings(), self.card(rbc_px=96))
        assert (plan.tile_px, plan.overlap_px) == (3840, 384)

    def test_a_card_without_a_scale_has_no_ruler(self):
        assert Plan.for_cards(AnalyzeSettings(), self.card(rbc_px=None)).ruler is None

    def test_an_overlap_smaller_than_the_largest_cell_is_refused(self):
        with pytest.raises(ValueError, match="overlap_px: must be at least 181"):
            AnalyzeSettings(overlap_px=180)


def test_at_confidence_drops_rows_everywhere():
    n = 3
    found = Detections(np.tile(np.array([[0, 0, 9, 9]], np.float32), (n, 1)), np.array([0.9, 0.5, 0.1], np.float32), np.zeros(n, np.int64))
    scale = Scale(12, 0.1, 9, "red cells")
    full = FieldResult(
        Field("a", Path("a")), (10, 10), found, ("WBC",), np.ones(n, bool), np.full((n, 2), 0.5, np.float32), ("ALL", "HEM"), 0.8, scale,
        cell_warnings=((), ("x",), ("y",)),
    )  # fmt: skip
    kept = at_confidence(full, 0.5)
    assert len(kept.detections) == len(kept.is_white) == len(kept.probabilities) == 2
    assert kept.cell_warnings == ((), ("x",))
    assert at_confidence(full, 0.0) == full


def test_two_classes_on_one_object_count_once():
    pair = Detections(
        np.array([[0, 0, 10, 10], [0, 0, 10, 9.5], [20, 0, 30, 10]], np.float32), np.array([0.6, 0.7, 0.5]), np.array([0, 1, 1])
    )
    kept = boxes.suppress(pair, iou_above=finder.SAME_OBJECT_IOU, across_classes=True)
    assert (kept.labels.tolist(), kept.scores.tolist()) == ([1, 1], pytest.approx([0.7, 0.5]))
    assert len(boxes.suppress(Detections.empty(), iou_above=finder.SAME_OBJECT_IOU, across_classes=True)) == 0


def _rows(result: FieldResult) -> list[list[float]]:
    return sorted(result.detections.boxes.tolist())
