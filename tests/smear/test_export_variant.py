"""`python -m smear export BUNDLE --runtime …`: a variant that answers alike is in the card with its numbers, another one is refused."""

import csv
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from smear import annotations, variants
from smear.__main__ import main
from smear.bundles import save_bundle
from smear.images import crop, encode, write_image
from smear.models import open_bundle
from smear.parity import AGREEMENT, AUC, FLIPS, MAP
from smear.types import Detections, Image

RBC_PX, N_FIELDS = 40, 10
GIVEN = ["--um-per-px", str(7.5 / RBC_PX), "--device", "cpu", "--set", "threads=1"]


def kinds_of(image: Image, found: Detections) -> Detections:
    """What the blobs are: 0 ALL, 1 HEM, 2 RBC; white ones by how red their middle is."""
    labels = []
    for box, label in zip(found.boxes.astype(int), found.labels, strict=True):
        red, _, blue = image[(box[1] + box[3]) // 2, (box[0] + box[2]) // 2].astype(int)
        labels.append(2 if label else 0 if red > blue - 40 else 1)
    return Detections(found.boxes, found.scores, labels)


@pytest.fixture(scope="module")
def painted(tmp_path_factory, paint, blobs_of, models) -> Path:
    """A folder with `data.yaml`, ten fields a split of 3 ALL, 3 HEM and 6 red cells, and `crops.csv` of their white cells."""
    root = tmp_path_factory.mktemp("painted")
    contract = open_bundle(models / "classifier").card.crop
    entries, rows = [], []
    for i in range(2 * N_FIELDS):
        split = ("train", "val")[i % 2]
        image = paint((360, 480), rbc_px=RBC_PX, n_all=3, n_hem=3, n_red=6, seed=i)
        truth = kinds_of(image, blobs_of(image)([image])[0])
        file = f"images/{split}/{i}.png"
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).write_bytes(encode(image, ".png"))
        annotations.write_labels(root / "labels" / split / f"{i}.txt", truth, image.shape[:2])
        entries.append(annotations.ManifestEntry(file, annotations.sha256(root / file), split, f"{i}.png", slide=f"s{i}"))
        for k in np.flatnonzero(truth.labels < 2):
            picture, _ = crop(image, truth.boxes[k], contract, rbc_px=RBC_PX, out_px=32)
            noisy = np.clip(picture.astype(int) + np.random.default_rng((i, k)).integers(-9, 10, picture.shape), 0, 255)
            write_image(root / f"crops/{i}_{k}.png", noisy.astype(np.uint8))  # no two are the same picture
            rows.append({"file": f"crops/{i}_{k}.png", "label": ("ALL", "HEM")[truth.labels[k]], "field": f"{i}", "split": split})
    annotations.write_manifest(root, entries, name="painted", crop=contract.model_dump())
    with (root / "crops.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return annotations.write_data_yaml(root, ("ALL", "HEM", "RBC"), ("train", "val"))


def deep_classifier() -> bytes:
    """The classifier by colour behind eight convolutions that change nothing, and the mean of the middle as one logit."""
    size, nodes, before = 32, [], "crops"
    for i in range(8):
        nodes.append(helper.make_node("Conv", [before, "same"], [f"c{i}"], name=f"c{i}"))
        before = f"c{i}"
    nodes += [
        helper.make_node("Slice", [before, "start", "stop", "axes"], ["middle"]),
        helper.make_node("ReduceMean", ["middle"], ["mean"], axes=[2, 3], keepdims=0),
        helper.make_node("Gemm", ["mean", "slope", "offset"], ["logit"], name="logit"),
    ]
    arrays = {
        "same": np.eye(3, dtype=np.float32)[:, :, None, None],
        "slope": np.array([[30], [0], [0]], np.float32),
        "offset": np.array([-0.41 * 30], np.float32),
        "start": np.array([10, 10]),
        "stop": np.array([20, 20]),
        "axes": np.array([2, 3]),
    }
    graph = helper.make_graph(
        nodes,
        "deep",
        [helper.make_tensor_value_info("crops", TensorProto.FLOAT, ["n", 3, size, size])],
        [helper.make_tensor_value_info("logit", TensorProto.FLOAT, ["n", 1])],
        [numpy_helper.from_array(array, name) for name, array in arrays.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9).SerializeToString()


@pytest.fixture(scope="module")
def deep(models, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("deep") / "classifier"
    save_bundle(folder, open_bundle(models / "classifier").card, {"model.onnx": deep_classifier()})
    return folder


@pytest.fixture
def export(models, painted) -> Callable[..., int]:
    def run(bundle: Path, *more: str, data: Path | None = None) -> int:
        beside = models / ("classifier" if bundle.name == "detector" else "detector")
        return main(["export", str(bundle), "--calibrate", str(data or painted), "--beside", str(beside), *GIVEN, *more])

    return run


@pytest.fixture
def quantised(monkeypatch) -> Callable[[Callable[[bytes], bytes]], None]:
    """Puts a change of the graph in the place of quantisation."""
    return lambda change: monkeypatch.setattr(variants, "quantise", lambda data, batches: change(data) if batches else b"")


def blinded(data: bytes) -> bytes:
    """The detector by colour with a threshold that few cells pass."""
    return _with_constant(data, "white_from", 0.95)


def _with_constant(data: bytes, name: str, value: float) -> bytes:
    model = onnx.load_model_from_string(data)
    tensor = next(t for t in model.graph.initializer if t.name == name)
    tensor.CopyFrom(numpy_helper.from_array(np.array(value, np.float32), name))
    return model.SerializeToString()


class TestDetector:
    def test_a_variant_that_answers_alike_is_in_the_new_bundle_with_its_numbers(self, export, models, quantised, tmp_path):
        quantised(lambda data: data)
        assert export(models / "detector", "--runtime", "onnx", "--int8", "--out", str(tmp_path / "out")) == 0
        card = open_bundle(tmp_path / "out").card
        variant = card.variants["onnx-int8"]
        assert variant.accepted
        assert variant.file == "model.int8.onnx"
        assert "onnxruntime" in variant.versions
        assert variant.parity["checks"][AGREEMENT] == {
            "value": 1.0, "limit": 0.99, "at_least": True, "n": 12 * N_FIELDS, "of": "boxes", "passed": True,
        }  # fmt: skip
        assert {name: check["value"] for name, check in variant.parity["checks"].items()} == {AGREEMENT: 1, MAP: 0, FLIPS: 0, AUC: 0}
        assert (variant.parity["n_fields"], variant.parity["labels"]["n"]) == (N_FIELDS, 6 * N_FIELDS)
        assert variant.parity["data"]["split"] == "val"
        assert (variant.parity["calibration"]["split"], variant.parity["calibration"]["n_fields"]) == ("train", N_FIELDS)
        assert open_bundle(models / "detector").card.variants == {}
        page = (tmp_path / "out" / "card.html").read_text()
        told = json.loads((tmp_path / "out" / "card.json").read_text())["variants"]
        assert [(v["name"], v["accepted"], v["judged_on"]["split"], len(v["checks"])) for v in told] == [("onnx-int8", True, "val", 4)]
        assert all(text in page for text in ("Other precisions", "onnx-int8", "1.0000", "≥ 0.99", f"{12 * N_FIELDS} boxes"))

    def test_the_8_bit_file_is_what_runs(self, export, models, quantised, tmp_path, slides, run):
        quantised(lambda data: data)
        export(models / "detector", "--runtime", "onnx", "--int8", "--out", str(tmp_path / "out"))
        counts = {}
        for runtime in ("onnx", "onnx-int8"):
            assert run(slides, tmp_path / runtime, "--runtime", runtime, "--detector", str(tmp_path / "out"), "--classifier", "none") == 0
            counts[runtime] = json.loads((tmp_path / runtime / "report.json").read_text())["total"]["n_white"]
        assert counts == {"onnx": 12, "onnx-int8": 12}
        assert run(slides, tmp_path / "without", "--runtime", "onnx-int8", "--classifier", "none") == 2

    def test_a_broken_variant_is_refused_with_the_numbers_and_nothing_is_written(self, export, models, quantised, tmp_path, capsys):
        bundle = open_bundle(models / "detector")
        save_bundle(tmp_path / "detector", bundle.card, {"model.onnx": bundle.root / "model.onnx"})
        before = {path: path.read_bytes() for path in tmp_path.rglob("*.*")}
        quantised(blinded)
        assert export(tmp_path / "detector", "--runtime", "onnx", "--int8", "--in-place") == 1
        said = capsys.readouterr().out
        assert "FAILED box agreement" in said
        assert f"({12 * N_FIELDS} boxes)" in said
        assert "nothing was written" in said
        assert {path: path.read_bytes() for path in tmp_path.rglob("*.*")} == before

    def test_in_place_and_a_second_runtime_run_the_same_8_bit_file(self, export, models, quantised, tmp_path):
        pytest.importorskip("openvino")
        bundle = open_bundle(models / "detector")
        save_bundle(tmp_path / "detector", bundle.card, {"model.onnx": bundle.root / "model.onnx"})
        quantised(lambda data: data)
        assert export(tmp_path / "detector", "--runtime", "onnx", "--int8", "--in-place") == 0
        quantised(blinded)  # which must not be asked again
        assert export(tmp_path / "detector", "--runtime", "openvino", "--int8", "--in-place") == 0
        card = open_bundle(tmp_path / "detector").card
        assert {name: (v.file, v.accepted) for name, v in card.variants.items()} == {
            "onnx-int8": ("model.int8.onnx", True),
            "openvino-int8": ("model.int8.onnx", True),
        }


class TestClassifier:
    def test_a_real_8_bit_classifier_passes_on_crops(self, export, deep, painted, tmp_path):
        assert export(deep, "--runtime", "onnx", "--int8", "--out", str(tmp_path / "out"), data=painted.parent / "crops.csv") == 0
        card = open_bundle(tmp_path / "out").card
        parity = card.variants["onnx-int8"].parity
        assert set(parity["checks"]) == {FLIPS, AUC}
        assert parity["n_crops"] == 6 * N_FIELDS
        assert parity["calibration"]["n_crops"] == 6 * N_FIELDS
        assert 0 < parity["labels"]["largest_change"] < 0.2
        stored = onnx.load(tmp_path / "out" / "model.int8.onnx").graph.initializer
        assert any(t.data_type == TensorProto.INT8 for t in stored)

    def test_it_is_judged_end_to_end_on_fields(self, export, deep, tmp_path):
        assert export(deep, "--runtime", "onnx", "--int8", "--out", str(tmp_path / "out")) == 0
        parity = open_bundle(tmp_path / "out").card.variants["onnx-int8"].parity
        assert (parity["n_fields"], parity["labels"]["n"], parity["checks"][AUC]["n"]) == (N_FIELDS, 6 * N_FIELDS, 6 * N_FIELDS)
        assert parity["beside"]["name"] == "colour"

    @pytest.mark.parametrize("crops", [False, True])
    def test_a_variant_that_flips_labels_is_refused(self, export, models, quantised, painted, tmp_path, capsys, crops):
        quantised(lambda data: _with_constant(data, "slope", -30.0))
        data = painted.parent / "crops.csv" if crops else painted
        assert export(models / "classifier", "--runtime", "onnx", "--int8", "--out", str(tmp_path / "out"), data=data) == 1
        said = capsys.readouterr().out
        assert "FAILED flips outside review" in said
        assert "FAILED change of AUC" in said
        assert not (tmp_path / "out").exists()


class TestMistakes:
    def error(self, capsys: pytest.CaptureFixture[str]) -> str:
        return capsys.readouterr().err.strip()

    def test_too_few_fields_are_an_error(self, export, models, painted, paint, tmp_path, quantised, capsys):
        few = tmp_path / "few"
        for split in ("train", "val"):
            for i, path in enumerate(sorted((painted.parent / "images" / split).iterdir())[:9]):
                for kind, name in (("images", path.name), ("labels", f"{path.stem}.txt")):
                    (few / kind / split).mkdir(parents=True, exist_ok=True)
                    (few / kind / split / name).write_bytes((painted.parent / kind / split / name).read_bytes())
                assert i < 9
        data = annotations.write_data_yaml(few, ("ALL", "HEM", "RBC"), ("train", "val"))
        quantised(lambda data: data)
        assert export(models / "detector", "--runtime", "onnx", "--int8", "--out", str(tmp_path / "out"), data=data) == 2
        assert "at least 10 fields and 50 boxes found, has 9 and 108" in self.error(capsys)

    def test_a_field_may_not_calibrate_and_judge(self, export, models, painted, tmp_path, capsys):
        twice = tmp_path / "twice.yaml"
        twice.write_text(painted.read_text().replace("images/train", "images/val").replace("path: .", f"path: {painted.parent}"))
        assert export(models / "detector", "--runtime", "onnx", "--int8", "--out", str(tmp_path / "out"), data=twice) == 2
        assert "is in the train split and among the fields that judge" in self.error(capsys)

    @pytest.mark.parametrize(
        ("more", "said"),
        [
            (["--runtime", "onnx"], "needs --bf16, --fp16 or --int8"),
            (["--runtime", "onnx", "--bf16"], "there is no such variant; there are openvino-bf16"),
            (["--int8"], "a model needs --runtime"),
            (["--runtime", "onnx", "--int8", "--to", "coco"], "takes no --to"),
            (["--runtime", "onnx", "--int8", "--out", "OUT"], "exists; choose another folder"),
        ],
    )
    def test_what_does_not_fit_is_one_line(self, export, models, tmp_path, capsys, more, said):
        assert export(models / "detector", *(str(tmp_path) if word == "OUT" else word for word in more)) == 2
        error = self.error(capsys)
        assert said in error
        assert len(error.splitlines()) == 1

    def test_crops_do_not_judge_a_detector(self, export, models, painted, tmp_path, capsys):
        code = export(models / "detector", "--runtime", "onnx", "--int8", "--out", str(tmp_path / "o"), data=painted.parent / "crops.csv")
        assert code == 2
        assert "finds cells in fields; give it a data.yaml" in self.error(capsys)

    def test_an_analysis_still_needs_formats(self, tmp_path, capsys):
        assert main(["export", str(tmp_path)]) == 2
        assert "--to is missing" in self.error(capsys)
