"""A bundle opens only when every file is there, unchanged, plainly named and of a safe format."""

import hashlib
import io
import json
import math
import os
import pickle
import zipfile

import numpy as np
import onnx
import pytest
import safetensors.numpy
from onnx import TensorProto, helper, numpy_helper

from smear.bundles import record_metrics, record_statistics, save_bundle
from smear.errors import ModelError
from smear.models import CropContract, ModelCard, Variant, open_bundle

WEIGHTS = safetensors.numpy.save({"w": np.arange(6, dtype=np.float32)})


def card(**changes) -> ModelCard:
    base = {"name": "m", "task": "detect", "architecture": "yolov8n", "classes": ("WBC", "RBC"), "white_classes": ("WBC",)}
    return ModelCard(**{**base, "red_class": "RBC", "input_px": 640, "normalise": "unit", "head": "yolo", "rbc_px": 48.0, **changes})


def onnx_model(weight=None) -> onnx.ModelProto:
    weight = numpy_helper.from_array(np.ones((2, 2), np.float32), "w") if weight is None else weight
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 2])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 2])],
        [weight],
    )
    return helper.make_model(graph)


def external_tensor() -> onnx.TensorProto:
    tensor = onnx.TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[2, 2], data_location=TensorProto.EXTERNAL)
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", "../../secret.bin"
    return tensor


@pytest.fixture
def folder(tmp_path):
    save_bundle(tmp_path / "m", card(), {"weights.onnx": onnx_model().SerializeToString(), "weights.safetensors": WEIGHTS})
    return tmp_path / "m"


def edit_card(folder, **changes):
    path = folder / "model.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_what_was_saved_is_what_is_opened(tmp_path):
    full = card(
        crop=CropContract(unit="box", width=1.5, background="black"),
        thresholds={"WBC": 0.4},
        metrics={"map50": 0.9, "ap50": {"WBC": 1.0}},
        training={"seed": 0, "command": "python -m detection.train"},
        data=({"name": "bccd", "licence": "MIT"},),
    )
    saved = save_bundle(tmp_path / "a/b", full, {"w.safetensors": WEIGHTS})
    bundle = open_bundle(tmp_path / "a/b")
    assert bundle.card == saved == full.model_copy(update={"files": {"w.safetensors": hashlib.sha256(WEIGHTS).hexdigest()}})
    assert bundle.read("w.safetensors") == WEIGHTS
    assert sorted(os.listdir(bundle.root)) == ["card.html", "card.json", "model.json", "w.safetensors"]


def test_a_source_file_is_copied(tmp_path):
    (tmp_path / "src").write_bytes(WEIGHTS)
    save_bundle(tmp_path / "m", card(), {"w.safetensors": tmp_path / "src"})
    assert open_bundle(tmp_path / "m").read("w.safetensors") == WEIGHTS


def test_saving_twice_gives_the_same_bytes(tmp_path):
    for name in "ab":
        save_bundle(tmp_path / name, card(), {"w.safetensors": WEIGHTS})
    assert (tmp_path / "a/model.json").read_bytes() == (tmp_path / "b/model.json").read_bytes()


def test_undefined_metrics_become_null(tmp_path):
    save_bundle(tmp_path / "m", card(metrics={"auc": math.nan, "per": {"x": math.inf}}), {"w.safetensors": WEIGHTS})
    assert open_bundle(tmp_path / "m").card.metrics == {"auc": None, "per": {"x": None}}


def test_a_changed_file_is_refused(folder):
    (folder / "weights.onnx").write_bytes(b"changed")
    with pytest.raises(ModelError, match=r"model\.json: sha256 of weights\.onnx is \w{4}…, the card says \w{4}…; the file was changed"):
        open_bundle(folder)


def test_a_missing_file_is_named(folder):
    (folder / "weights.onnx").unlink()
    with pytest.raises(ModelError, match=r"weights\.onnx: cannot read it \(No such file.*the bundle is incomplete"):
        open_bundle(folder)


def test_one_file_is_asked_for_by_suffix(folder):
    bundle = open_bundle(folder)
    assert bundle.file(".onnx") == "weights.onnx"
    with pytest.raises(ModelError, match=r"exactly one \.json file for this runtime, has 0"):
        bundle.file(".json")


def test_a_variant_brings_its_own_file_or_takes_the_float32_one(tmp_path):
    variants = {"openvino-int8": Variant(file="model.int8.onnx", accepted=True), "openvino-bf16": Variant(accepted=True)}
    weights = onnx_model().SerializeToString()
    save_bundle(tmp_path, card(variants=variants), {"model.onnx": weights, "model.int8.onnx": weights})
    bundle = open_bundle(tmp_path)
    assert bundle.card.variants == variants
    assert [bundle.file(".onnx", v) for v in (None, "openvino-bf16", "openvino-int8")] == ["model.onnx", "model.onnx", "model.int8.onnx"]


def test_a_variant_of_a_file_that_no_hash_covers_is_a_card_error(folder):
    edit_card(folder, variants={"openvino-int8": {"file": "model.int8.onnx", "accepted": True}})
    with pytest.raises(ModelError, match=r"model\.json: .*variants: openvino-int8: its file 'model\.int8\.onnx' is not one of the files"):
        open_bundle(folder)


def test_a_variant_whose_file_is_left_behind_is_not_saved(tmp_path):
    variants = {"openvino-int8": Variant(file="model.int8.onnx", accepted=True)}
    with pytest.raises(ModelError, match=r"its file 'model\.int8\.onnx' is not one of the files \['model\.onnx'\]"):
        save_bundle(tmp_path, card(variants=variants), {"model.onnx": onnx_model().SerializeToString()})


def test_a_variant_must_say_whether_it_was_accepted(folder):
    edit_card(folder, variants={"openvino-bf16": {"file": None}})
    with pytest.raises(ModelError, match=r"variants.openvino-bf16.accepted"):
        open_bundle(folder)


@pytest.mark.parametrize(
    "name",
    [
        "../w.onnx",
        "/etc/w.onnx",
        "sub/w.onnx",
        "sub\\w.onnx",
        "C:w.onnx",
        "..onnx",
        ".w.onnx",
        "w..onnx",
        "",
        "w.onnx\x00",
        "w.onnx\n",
        "~w.onnx",
    ],
)
def test_names_that_lead_elsewhere_are_refused(folder, tmp_path, name):
    with pytest.raises(ModelError, match="is not a plain file name"):
        save_bundle(tmp_path / "x", card(), {name: WEIGHTS})
    edit_card(folder, files={name: "0" * 64})
    with pytest.raises(ModelError, match="is not a plain file name"):
        open_bundle(folder)


@pytest.mark.parametrize("name", ["w.pt", "w.pth", "w.pkl", "w.bin", "w.engine", "w.ONNX", "w.npy", "w"])
def test_formats_that_can_run_code_are_refused(tmp_path, name):
    with pytest.raises(ModelError, match=rf"{name}: only \.onnx, \.safetensors, \.json may be in a bundle"):
        save_bundle(tmp_path / "x", card(), {name: WEIGHTS})
    assert not (tmp_path / "x").exists()


class Trap:
    def __reduce__(self):
        return os.mkdir, ("trap-was-run",)


def torch_archive() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(Trap()))
    return buffer.getvalue()


@pytest.mark.parametrize("name", ["w.onnx", "w.safetensors"])
@pytest.mark.parametrize("data", [pickle.dumps(Trap(), 2), pickle.dumps(Trap(), 5), torch_archive()])
def test_a_pickle_behind_a_safe_name_is_refused_and_not_run(tmp_path, monkeypatch, name, data):
    """The hashes are right: only the content gives it away."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / name).write_bytes(data)
    text = card(files={name: hashlib.sha256(data).hexdigest()}).model_dump_json()
    (tmp_path / "m/model.json").write_text(text)
    with pytest.raises(ModelError, match=rf"{name}: is a pickle / torch archive, not (ONNX|safetensors); export it again"):
        open_bundle(tmp_path / "m")
    assert not (tmp_path / "trap-was-run").exists()


@pytest.mark.parametrize("data", [b"", b"hello", pickle.dumps([1], 0), b"\x08\x09", WEIGHTS, b"<xml/>", b"\x08", b"\x0a\xff\xff"])
def test_other_content_behind_onnx_is_refused(tmp_path, data):
    with pytest.raises(ModelError, match=r"w\.onnx: not an ONNX file"):
        save_bundle(tmp_path / "m", card(), {"w.onnx": data})


def test_a_truncated_onnx_is_refused(tmp_path):
    with pytest.raises(ModelError, match="it ends too early"):
        save_bundle(tmp_path / "m", card(), {"w.onnx": onnx_model().SerializeToString()[:-5]})


@pytest.mark.parametrize("data", [b"", b"{}", bytes(8) + b"{}", b"\xff" * 8 + b"{}", b"\x02" + bytes(7) + b"xx"])
def test_other_content_behind_safetensors_is_refused(tmp_path, data):
    with pytest.raises(ModelError, match="not a safetensors file"):
        save_bundle(tmp_path / "m", card(), {"w.safetensors": data})


def with_constant(model: onnx.ModelProto) -> onnx.ModelProto:
    model.graph.node.append(helper.make_node("Constant", [], ["c"], value=external_tensor()))
    return model


def with_subgraph(model: onnx.ModelProto) -> onnx.ModelProto:
    inner = helper.make_graph([], "inner", [], [], [external_tensor()])
    model.graph.node.append(helper.make_node("If", ["c"], ["z"], then_branch=inner, else_branch=inner))
    return model


def with_sparse(model: onnx.ModelProto) -> onnx.ModelProto:
    model.graph.sparse_initializer.add().values.CopyFrom(external_tensor())
    return model


@pytest.mark.parametrize("hide", [lambda m: onnx_model(external_tensor()), with_constant, with_subgraph, with_sparse])
def test_weights_outside_the_onnx_file_are_refused_wherever_they_hide(tmp_path, hide):
    with pytest.raises(ModelError, match=r"w\.onnx: keeps weights in another file"):
        save_bundle(tmp_path / "m", card(), {"w.onnx": hide(onnx_model()).SerializeToString()})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"classes": []}, "classes: must have at least 1 entries, got []"),
        ({"classes": ["A", "A"], "white_classes": [], "red_class": None}, "classes: a name is given twice"),
        ({"white_classes": ["ALL"]}, "white_classes: 'ALL' is not one of the classes ['WBC', 'RBC']"),
        ({"red_class": "Red"}, "red_class: 'Red' is not one of the classes"),
        ({"head": "softmax"}, "head: 'softmax' does not fit the task 'detect'"),
        ({"task": "classify", "head": "sigmoid", "classes": ["WBC", "RBC", "x"]}, "head: 'sigmoid' needs two classes, got 3"),
        ({"temperature": 0}, "temperature: must be more than 0"),
        ({"normalise": "z"}, "normalise: must be 'unit', 'imagenet' or 'minmax', got 'z'"),
        ({"input_px": 0}, "input_px: must be at least 8, got 0"),
        ({"crop": {"width": -1}}, "crop.width: must be more than 0"),
        ({"crop": {"widht": 1}}, "crop.widht: unknown key; did you mean 'crop.width'?"),
        ({"clases": []}, "clases: unknown key; did you mean 'classes'?"),
        ({"files": {"w.onnx": "abc"}}, "files: w.onnx: not a SHA-256"),
        ({"files": {}}, "files: is empty"),
    ],
)
def test_a_card_that_does_not_hold_together_is_one_clear_line(folder, changes, message):
    edit_card(folder, **changes)
    with pytest.raises(ModelError) as error:
        open_bundle(folder)
    assert message in str(error.value)
    assert str(error.value).startswith(str(folder / "model.json"))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("text", ["", "[]", "{", "nonsense", "\x00"])
def test_a_card_that_is_not_json_is_one_clear_line(folder, text):
    (folder / "model.json").write_text(text)
    with pytest.raises(ModelError, match=r"model\.json: ") as error:
        open_bundle(folder)
    assert "\n" not in str(error.value)


def test_a_folder_that_is_no_bundle_is_named(tmp_path):
    with pytest.raises(ModelError, match="nowhere: no such folder"):
        open_bundle(tmp_path / "nowhere")
    with pytest.raises(ModelError, match=r"model\.json: cannot read it"):
        open_bundle(tmp_path)


def test_a_weights_file_given_as_a_bundle_is_named(folder):
    with pytest.raises(ModelError, match=r"weights\.onnx: no such folder; a model is a folder"):
        open_bundle(folder / "weights.onnx")


def test_a_bundle_without_files_is_refused(tmp_path):
    with pytest.raises(ModelError, match="needs at least one file"):
        save_bundle(tmp_path / "m", card(), {})


def test_the_card_cannot_be_smuggled_in_as_a_file(tmp_path):
    with pytest.raises(ModelError, match="is written by save_bundle"):
        save_bundle(tmp_path / "m", card(), {"model.json": b"{}"})


def test_a_card_says_research_use_only():
    assert card().limits == "Research use only; not a diagnostic device."


def test_recorded_statistics_stand_in_the_card_and_leave_the_rest(folder):
    before = open_bundle(folder).card
    record_statistics(folder, {"n_fields": 3})
    assert open_bundle(folder).card == before.model_copy(update={"statistics": {"n_fields": 3}})


def test_recorded_metrics_stand_in_the_card_and_leave_the_weights(folder):
    before = open_bundle(folder).card
    record_metrics(folder, "test", {"map50": 0.5})
    after = open_bundle(folder).card
    assert after.metrics == {**before.metrics, "test": {"map50": 0.5}}
    assert after.files == before.files
