"""From settings to an analyser: which bundles are opened, refused, and when a result is another one."""

from importlib.util import find_spec

import numpy as np
import pytest

from smear.build import build_analyzer, build_cell_finder, open_models, open_network
from smear.bundles import save_bundle
from smear.errors import ModelError
from smear.models import open_bundle
from smear.settings import AnalyzeSettings
from smear.types import Runtime


def settings(models, **changes) -> AnalyzeSettings:
    return AnalyzeSettings(
        **{"detector": models / "detector", "classifier": models / "classifier", "device": "cpu", "runtime": "onnx", **changes}
    )


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


class Blind:
    """A network in another precision that sees nothing any more."""

    name, device, takes_pixels = "openvino-bf16", "cpu", True

    def __init__(self, whole: Runtime) -> None:
        self._whole = whole

    def __call__(self, batch: np.ndarray) -> tuple[np.ndarray, ...]:
        return tuple(np.concatenate([out[:, :4], 0 * out[:, 4:]], axis=1) for out in self._whole(batch))


@pytest.mark.skipif(find_spec("openvino") is None, reason="needs openvino")
def test_the_scale_is_measured_in_float32_whatever_the_precision_of_the_search(models, paint):
    opened = open_models(settings(models, classifier=None, threads=1))
    image = paint((480, 640), rbc_px=40, n_all=2, n_hem=2, n_red=14)
    _, expected = build_analyzer(opened).find_cells(image)
    found, scale = build_analyzer(opened, networks={"detect": Blind(open_network(opened.detector, opened.settings))}).find_cells(image)
    assert len(found) == 0
    assert scale.is_known
    assert scale.rbc_px == pytest.approx(expected.rbc_px, rel=0.1)
