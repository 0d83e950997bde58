"""An 8-bit model answers nearly as the float one, the same on both runtimes, and its weights are 8 bits in the file."""

from importlib.util import find_spec

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from smear.compress import halve_weights, widen_weights
from smear.errors import ModelError
from smear.quantise import last_layers, quantise
from smear.recorder import MAX_SIDE, Recorder
from smear.static_shapes import shapes_from_input

N_LAYERS, WIDTH = 10, 24


def node(kind: str, inputs: str, out: str, **attributes: object) -> onnx.NodeProto:
    return helper.make_node(kind, inputs.split(), [out], name=out, **attributes)


def model(nodes: list, constants: dict[str, np.ndarray], out_shape: list) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["b", 3, "h", "w"])],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, out_shape)],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(made)
    return made


def convolutions(seed: int = 0) -> onnx.ModelProto:
    """Ten convolutions with ReLU between them, the first of stride 2, and the mean of every map."""
    random = np.random.default_rng(seed)
    nodes, weights, before = [], {}, "images"
    for i in range(N_LAYERS):
        n_in, n_out = 3 if i == 0 else WIDTH, 2 if i == N_LAYERS - 1 else WIDTH
        weights[f"w{i}"] = random.normal(0, (2 / (9 * n_in)) ** 0.5, (n_out, n_in, 3, 3)).astype(np.float32)
        nodes.append(node("Conv", f"{before} w{i}", f"conv{i}", pads=[1] * 4, strides=[2, 2] if i == 0 else [1, 1]))
        nodes.append(node("Relu", f"conv{i}", before := f"relu{i}"))
    return model([*nodes, node("ReduceMean", f"conv{N_LAYERS - 1}", "out", axes=[2, 3], keepdims=0)], weights, ["b", 2])


def pictures(n: int, seed: int = 1) -> list[np.ndarray]:
    random = np.random.default_rng(seed)
    return [np.clip(random.normal(v, 0.2, (1, 3, 32, 32)), 0, 1).astype(np.float32) for v in np.linspace(0.2, 0.8, n)]


def run(data: bytes, batch: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: batch})[0]


@pytest.fixture(scope="module")
def float_model() -> bytes:
    return convolutions().SerializeToString()


@pytest.fixture(scope="module")
def int8_model(float_model) -> bytes:
    return quantise(float_model, pictures(12))


class TestQuantise:
    def test_the_answers_stay_close_and_keep_their_order(self, float_model, int8_model):
        batch = np.concatenate(pictures(16, seed=2))
        before, after = run(float_model, batch), run(int8_model, batch)
        spread = np.ptp(before, axis=0).max()
        assert 0 < np.abs(before - after).max() < 0.05 * spread
        assert np.corrcoef(before[:, 0], after[:, 0])[0, 1] > 0.99

    def test_the_weights_of_the_middle_layers_are_8_bits_in_the_file(self, float_model, int8_model):
        stored = {t.name: t for t in onnx.load_model_from_string(int8_model).graph.initializer}
        in_bytes = [t for t in stored.values() if t.data_type == TensorProto.INT8 and len(t.dims) == 4]
        assert len(in_bytes) == N_LAYERS - 6 - 1  # six at the picture and the last one stay float
        assert not any(t.data_type == TensorProto.FLOAT and np.prod(t.dims) > 1000 for t in stored.values())
        assert len(int8_model) < 0.5 * len(float_model)

    def test_what_a_layer_gives_is_not_rounded_before_its_activation(self, int8_model):
        graph = onnx.load_model_from_string(int8_model).graph
        takers = {name: node.op_type for node in graph.node for name in node.input}
        given = [takers.get(node.output[0]) for node in graph.node if node.op_type == "Conv"]
        assert given == ["Relu"] * (N_LAYERS - 1) + ["ReduceMean"]

    @pytest.mark.skipif(find_spec("openvino") is None, reason="needs openvino")
    def test_both_runtimes_answer_alike(self, int8_model):
        import openvino

        core = openvino.Core()
        compiled = core.compile_model(core.read_model(int8_model), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
        batch = np.concatenate(pictures(4, seed=3))
        expected = run(int8_model, batch)
        assert np.abs(compiled([batch])[0] - expected).max() < 0.02 * np.abs(expected).max()

    def test_the_same_pictures_give_the_same_file(self, float_model, int8_model):
        assert quantise(float_model, pictures(12)) == int8_model

    def test_16_bit_weights_are_widened_first(self, float_model, int8_model):
        batch = np.concatenate(pictures(4))
        assert run(quantise(halve_weights(float_model), pictures(12)), batch) == pytest.approx(run(int8_model, batch), rel=0.05, abs=1e-3)

    def test_few_pictures_are_refused(self, float_model):
        with pytest.raises(ModelError, match="at least 8 pictures of the network's input, got 7"):
            quantise(float_model, pictures(7))

    def test_a_model_without_a_layer_to_quantise_is_refused(self):
        pooled = model([node("ReduceMean", "images", "out", axes=[2, 3], keepdims=0)], {}, ["b", 3])
        with pytest.raises(ModelError, match="no layer to quantise"):
            quantise(pooled.SerializeToString(), pictures(8))


def test_what_decodes_after_a_softmax_is_last_and_so_is_what_comes_before():
    one = np.ones((4, 4, 1, 1), np.float32)
    nodes = [
        node("Conv", "images first", "body"),
        node("Conv", "body w", "distances"),
        node("Conv", "body w", "scores"),
        node("Softmax", "distances", "shares", axis=1),
        node("Conv", "shares w", "boxes"),
        node("Concat", "boxes scores", "out", axis=1),
    ]
    tiny = model(nodes, {"first": np.ones((4, 3, 1, 1), np.float32), "w": one}, ["b", 8, "h", "w"])
    assert last_layers(tiny.graph) == {"boxes", "distances", "scores"}


class TestHalves:
    def test_widening_undoes_halving_but_for_the_rounding(self, float_model):
        back = onnx.load_model_from_string(widen_weights(halve_weights(float_model)))
        before = {t.name: numpy_helper.to_array(t) for t in onnx.load_model_from_string(float_model).graph.initializer}
        after = {t.name: numpy_helper.to_array(t) for t in back.graph.initializer}
        assert not any(n.op_type == "Cast" for n in back.graph.node)
        assert before.keys() == after.keys()
        assert all(np.array_equal(after[k], v.astype(np.float16).astype(np.float32)) for k, v in before.items() if v.size >= 512)

    def test_a_model_that_was_never_halved_stays_as_it_is(self, float_model):
        assert run(widen_weights(float_model), pictures(1)[0]) == pytest.approx(run(float_model, pictures(1)[0]))


class TestShapesFromInput:
    def asking(self) -> onnx.ModelProto:
        """A map of stride 4, flattened by its own batch, channels, height and width."""
        nodes = [
            node("Conv", "images w", "map", strides=[4, 4]),
            node("Shape", "map", "shape"),
            *(node("Gather", f"shape at{i}", f"size{i}") for i in range(4)),
            node("Mul", "size2 size3", "area"),
            node("Concat", "size0 size1 area", "wanted", axis=0),
            node("Reshape", "map wanted", "out"),
        ]
        constants = {f"at{i}": np.array([i], np.int64) for i in range(4)} | {"w": np.ones((5, 3, 4, 4), np.float32)}
        return model(nodes, constants, ["b", 5, "n"])

    @pytest.mark.parametrize("shape", [(1, 3, 64, 64), (3, 3, 128, 64), (2, 3, 64, 192)])
    def test_the_answer_is_the_same_at_every_size(self, shape):
        batch = np.random.default_rng(0).random(shape, np.float32)
        before = self.asking().SerializeToString()
        assert np.array_equal(run(shapes_from_input(before), batch), run(before, batch))

    def test_no_map_is_asked_for_its_shape(self):
        graph = onnx.load_model_from_string(shapes_from_input(self.asking().SerializeToString())).graph
        assert [list(n.input) for n in graph.node if n.op_type == "Shape"] == [["images"]]

    def test_a_side_that_is_no_part_of_the_picture_is_left_alone(self):
        nodes = [
            node("Conv", "images w", "map", pads=[1] * 4, strides=[4, 4]),  # a side of 64 px gives 16, of 640 px 160, of 642 px 161
            node("Shape", "map", "shape"),
            node("Gather", "shape at", "side"),
            node("Cast", "side", "out", to=TensorProto.FLOAT),
        ]
        constants = {"w": np.ones((5, 3, 7, 7), np.float32), "at": np.array([2], np.int64)}
        tiny = model(nodes, constants, [1]).SerializeToString()
        batch = np.zeros((1, 3, 128, 64), np.float32)
        assert run(shapes_from_input(tiny), batch) == run(tiny, batch)


class Doubled:
    name, device, takes_pixels = "onnx", "cpu", False

    def __call__(self, batch: np.ndarray) -> tuple[np.ndarray]:
        return (2 * batch.mean(axis=(1, 2, 3)),)


class TestRecorder:
    def feed(self, n: int, seed: int) -> Recorder:
        recorder = Recorder(Doubled(), n=n, seed=seed)
        for i in range(10):
            recorder(np.full((2, 3, 8, 8), i / 16, np.float32))
        return recorder

    def test_it_passes_on_what_it_sees(self):
        assert Recorder(Doubled(), n=1, seed=0)(np.full((2, 3, 8, 8), 0.25, np.float32))[0].tolist() == [0.5, 0.5]

    def test_it_keeps_so_many_and_the_same_again(self):
        kept = [picture.max() for picture in self.feed(5, seed=1).batches()]
        assert len(kept) == 5
        assert kept == [picture.max() for picture in self.feed(5, seed=1).batches()]
        assert kept != [picture.max() for picture in self.feed(5, seed=2).batches()]

    def test_it_keeps_all_when_they_are_few(self):
        assert sorted(p.max() for p in self.feed(99, seed=0).batches()) == sorted([i / 16 for i in range(10)] * 2)

    def test_late_pictures_are_kept_as_often_as_early_ones(self):
        late = sum(p.max() >= 5 / 16 for seed in range(100) for p in self.feed(4, seed).batches())
        assert 160 < late < 240  # of 400

    def test_of_a_large_window_a_part_is_kept(self):
        recorder = Recorder(Doubled(), n=1, seed=0)
        recorder(np.zeros((1, 3, MAX_SIDE + 64, 128), np.float32))
        assert recorder.batches()[0].shape == (1, 3, MAX_SIDE, 128)
