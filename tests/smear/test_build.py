"""From settings to an analyser: which bundles are opened, refused, and when a result is another one."""

import pytest

from smear.build import build_analyzer, build_cell_finder, open_models
from smear.bundles import save_bundle
from smear.errors import ModelError
from smear.models import open_bundle
from smear.settings import AnalyzeSettings


def settings(models, **changes) -> AnalyzeSettings:
    return AnalyzeSettings(**{"detector": models / "detector", "classifier": models / "classifier", "device": "cpu", "runtime": "onnx", **changes})


def copy_with(models, tmp_path, which: str, **changes):
    bundle = open_bundle(models / which)
    save_bundle(tmp_path / which, bundle.card.model_copy(update=changes), {"model.onnx": bundle.root / "model.onnx"})
    return tmp_path / which


class TestKey:
    def test_it_changes_with_what_a_result_depends_on(self, models, tmp_path):
        key = open_models(settings(models)).key()
        others = [
            settings(models, confidence=0.3),
            settings(models, um_per_px=0.1),
            settings(models, classifier=None),
            settings(models, detector=copy_with(models, tmp_path, "detector", thresholds={"confidence": 0.4})),
            settings(models, classifier=copy_with(models, tmp_path, "classifier", temperature=2.0)),
        ]
        keys = [open_models(other).key() for other in others]
        assert len({key, *keys}) == 1 + len(others)

    def test_it_stays_with_what_a_result_does_not_depend_on(self, models, tmp_path):
        key = open_models(settings(models)).key()
        assert open_models(settings(models, threads=1, fields_per_batch=2)).key() == key
        assert open_models(settings(models, detector=copy_with(models, tmp_path, "detector", metrics={"val": 1}))).key() == key


def test_a_detector_must_say_which_classes_are_white(models, tmp_path):
    bare = copy_with(models, tmp_path, "detector", white_classes=())
    with pytest.raises(ModelError, match="white_classes: is empty"):
        build_analyzer(open_models(settings(models, detector=bare)))


def test_a_classifier_must_say_how_cells_are_cut(models, tmp_path):
    bare = copy_with(models, tmp_path, "classifier", crop=None)
    with pytest.raises(ModelError, match="crop: is missing"):
        build_analyzer(open_models(settings(models, classifier=bare)))


def test_a_cell_finder_finds_the_white_cells_of_an_image(models, paint):
    find = build_cell_finder(models / "detector", device="cpu", rbc_px=40)
    found, scale = find(paint((360, 480), rbc_px=40, n_all=1, n_hem=2, n_red=9))
    assert len(found) == 3
    assert scale.rbc_px == pytest.approx(40)
