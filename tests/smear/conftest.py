"""Detectors and classifiers that need no training, and fields that they read without error."""

from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from smear.bundles import save_bundle
from smear.images import write_image
from smear.models import ModelCard
from smear.types import Detections, Image

BACKGROUND, RED = (236, 232, 240), (205, 120, 170)
ALL, HEM = (150, 40, 140), (60, 40, 140)  # two kinds of white cells, told apart by their red channel
NORMAL_PX = 48  # red cells at the detectors' scale
WHITE_PX, GRID_PX, INPUT_PX = 84, 8, 32


def paint_discs(
    shape_hw: tuple[int, int], *, rbc_px: float, n_all: int = 1, n_hem: int = 1, n_red: int | None = None, seed: int = 0
) -> Image:
    """Discs on a grid of places, none touching: white cells 1.75 red cells wide, red cells (None: wherever there is room), glass."""
    image = np.full((*shape_hw, 3), BACKGROUND, np.uint8)
    step = 2.4 * rbc_px
    places = [
        (x, y) for y in np.arange(step / 2, shape_hw[0] - step / 2 + 1, step) for x in np.arange(step / 2, shape_hw[1] - step / 2 + 1, step)
    ]
    n_red = len(places) - n_all - n_hem if n_red is None else n_red
    assert len(places) >= n_all + n_hem + n_red, (len(places), "places are too few for these cells")
    order = np.random.default_rng(seed).permutation(len(places))
    kinds = [(ALL, 1.75)] * n_all + [(HEM, 1.75)] * n_hem + [(RED, 1.0)] * n_red
    for (colour, width), i in zip(kinds, order, strict=False):
        centre = tuple(round(v * 16) for v in places[i])
        cv2.circle(image, centre, round(width * rbc_px / 2 * 16), colour, -1, cv2.LINE_AA, shift=4)
    return image


class BlobDetector:
    """Round blobs of any size: very dark ones are WBC, those whose green is below `red_below` RBC; clumps are left out."""

    classes = ("WBC", "RBC")

    def __init__(self, red_below: float = 180) -> None:
        self.red_below = red_below

    def __call__(self, tiles: Sequence[Image]) -> list[Detections]:
        return [self._find(tile) for tile in tiles]

    def _find(self, tile: Image) -> Detections:
        green = tile[:, :, 1].astype(np.int16)
        rows = []
        is_white = cv2.morphologyEx((green < 90).astype(np.uint8), cv2.MORPH_CLOSE, np.ones((3, 3), np.uint8))
        is_red = ((green < self.red_below) & (is_white == 0)).astype(np.uint8)
        for label, mask in enumerate((is_white, is_red)):
            holes, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
            for contour in holes:
                x, y, w, h = cv2.boundingRect(contour)
                filled = cv2.contourArea(contour) + cv2.arcLength(contour, True) / 2 + 1  # its corners are centres of pixels
                roundness = filled / (w * h)
                if min(w, h) >= 5 and max(w, h) < 1.3 * min(w, h) and 0.74 < roundness < 0.86:
                    rows.append((x, y, x + w, y + h, 0.9, label))
        values = np.array(rows, np.float32).reshape(-1, 6)
        return Detections(values[:, :4], values[:, 4], values[:, 5].astype(np.int64))


def colour_detector() -> bytes:
    """A YOLO head by colour (blue above green): places that are most stained within 72 px give a box of 84 px or 48 px (WBC, RBC)."""

    def constant(name: str, value: object, dtype: type = np.float32) -> onnx.TensorProto:
        return numpy_helper.from_array(np.array(value, dtype), name)

    def pooled(kind: str, source: str, out: str, kernel: int, stride: int, pad: int) -> onnx.NodeProto:
        return helper.make_node(kind, [source], [out], kernel_shape=[kernel] * 2, strides=[stride] * 2, pads=[pad] * 4)

    def node(kind: str, inputs: str, out: str, **attributes: object) -> onnx.NodeProto:
        return helper.make_node(kind, inputs.split(), [out], **attributes)

    nodes = [
        node("Slice", "images one two axis", "green"),
        node("Slice", "images two end axis", "blue"),
        node("Sub", "blue green", "stain"),
        node("Mul", "stain double", "dark"),
        pooled("AveragePool", "dark", "near", 40, GRID_PX, 20),
        pooled("AveragePool", "dark", "far", 88, GRID_PX, 44),
        node("Mul", "near seven", "near7"),
        node("Mul", "far three", "far3"),
        node("Add", "near7 far3", "level"),
        pooled("MaxPool", "level", "top", 9, 1, 4),
        node("Equal", "level top", "is_top"),
        node("Cast", "is_top", "peak", to=TensorProto.FLOAT),
        node("Sub", "level white_from", "above_white"),
        node("Mul", "above_white slope", "white_logit"),
        node("Sigmoid", "white_logit", "white"),
        node("Sub", "level red_from", "above_red"),
        node("Mul", "above_red slope", "red_logit"),
        node("Sigmoid", "red_logit", "any"),
        node("Sub", "any white", "red"),
        node("Mul", "white peak", "white_score"),
        node("Mul", "red peak", "red_score"),
        node("Mul", "level zero", "zeros"),
        node("Add", "zeros unit", "ones"),
        node("CumSum", "ones axis_x", "column"),
        node("CumSum", "ones axis_y", "row"),
        node("Sub", "column unit", "column0"),
        node("Sub", "row unit", "row0"),
        node("Mul", "column0 grid", "cx"),
        node("Mul", "row0 grid", "cy"),
        node("Mul", "white extra", "more"),
        node("Add", "more normal", "size"),
        node("Concat", "cx cy size size white_score red_score", "stack", axis=1),
        node("Reshape", "stack flat", "output0"),
    ]
    constants = [
        *(constant(n, v, np.int64) for n, v in (("one", [1]), ("two", [2]), ("end", [3]), ("axis", [1]), ("flat", [0, 6, -1]))),
        *(constant(n, v, np.int64) for n, v in (("axis_x", 3), ("axis_y", 2))),
        *(constant(n, v) for n, v in (("unit", 1), ("seven", 0.7), ("three", 0.3), ("zero", 0), ("slope", 60))),
        *(constant(n, v) for n, v in (("white_from", 0.5), ("red_from", 0.2), ("double", 2))),
        *(constant(n, v) for n, v in (("grid", GRID_PX), ("extra", WHITE_PX - NORMAL_PX), ("normal", NORMAL_PX))),
    ]
    return _onnx(nodes, constants, "images", ["n", 3, "h", "w"], "output0", ["n", 6, "a"])


def colour_classifier() -> bytes:
    """One logit of P(ALL): how red the middle third of the crop is."""
    nodes = [
        helper.make_node("Slice", ["crops", "start", "stop", "axes"], ["middle"]),
        helper.make_node("ReduceMean", ["middle"], ["mean"], axes=[2, 3], keepdims=0),
        helper.make_node("Sub", ["mean", "between"], ["over"]),
        helper.make_node("Mul", ["over", "slope"], ["logit"]),
    ]
    third = INPUT_PX // 3
    constants = [
        numpy_helper.from_array(np.array(v, np.int64), n)
        for n, v in (("start", [0, third, third]), ("stop", [1, 2 * third, 2 * third]), ("axes", [1, 2, 3]))
    ]
    constants += [numpy_helper.from_array(np.array(v, np.float32), n) for n, v in (("between", 0.41), ("slope", 30))]
    return _onnx(nodes, constants, "crops", ["n", 3, INPUT_PX, INPUT_PX], "logit", ["n", 1])


def _onnx(nodes: list, constants: list, name_in: str, shape_in: list, name_out: str, shape_out: list) -> bytes:
    graph = helper.make_graph(
        nodes,
        "colour",
        [helper.make_tensor_value_info(name_in, TensorProto.FLOAT, shape_in)],
        [helper.make_tensor_value_info(name_out, TensorProto.FLOAT, shape_out)],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    return model.SerializeToString()


DETECTOR_CARD = ModelCard(
    name="colour", task="detect", architecture="colour", classes=("WBC", "RBC"), white_classes=("WBC",), red_class="RBC", input_px=640,
    normalise="unit", head="yolo", rbc_px=NORMAL_PX, thresholds={"confidence": 0.5, "iou": 0.3},
)  # fmt: skip
CLASSIFIER_CARD = ModelCard(
    name="colour", task="classify", architecture="colour", classes=("ALL", "HEM"), input_px=INPUT_PX, normalise="unit", head="sigmoid",
    crop={"unit": "rbc", "width": 3.0},
)  # fmt: skip


@pytest.fixture(scope="session")
def paint() -> Callable[..., Image]:
    return paint_discs


@pytest.fixture
def blobs() -> BlobDetector:
    return BlobDetector()


@pytest.fixture(scope="session")
def blobs_of() -> Callable[[Image], BlobDetector]:
    """The blob detector for a painted field: red cells are clearly darker than its glass."""
    return lambda image: BlobDetector(red_below=float(np.percentile(image[:, :, 1], 99) - 40))


@pytest.fixture(scope="session")
def models(tmp_path_factory) -> Path:
    """A folder with the bundles `detector` and `classifier`, which work by colour."""
    root = tmp_path_factory.mktemp("models")
    save_bundle(root / "detector", DETECTOR_CARD, {"model.onnx": colour_detector()})
    save_bundle(root / "classifier", CLASSIFIER_CARD, {"model.onnx": colour_classifier()})
    return root


@pytest.fixture
def slides(tmp_path) -> Path:
    """Two slides of two fields, 480×360 px with red cells of 40 px: one ALL and two HEM cells and nine red cells in each."""
    for i, name in enumerate(("a/one.png", "a/two.jpg", "b/one.png", "b/three.png")):
        (tmp_path / "fields" / name).parent.mkdir(parents=True, exist_ok=True)
        write_image(tmp_path / "fields" / name, paint_discs((360, 480), rbc_px=40, n_all=1, n_hem=2, n_red=9, seed=i))
    return tmp_path / "fields"


@pytest.fixture
def run(models) -> Callable[..., int]:
    """`python -m smear analyze FOLDER --out OUT …` in this process, with the models by colour and red cells of 40 px given."""
    from smear.__main__ import main

    def analyze(folder: Path, out: Path, *more: str) -> int:
        bundles = ["--detector", str(models / "detector"), "--classifier", str(models / "classifier")]
        return main(["analyze", str(folder), "--out", str(out), *bundles, "--set", "threads=1", "--set", f"um_per_px={7.5 / 40}", *more])

    return analyze
