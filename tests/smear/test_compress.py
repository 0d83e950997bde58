import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from smear.compress import halve_weights, stored_weights


def network(scale: float = 1.0) -> bytes:
    """Two large weights and a bias: (B, 64) → (B, 8)."""
    rng = np.random.default_rng(0)
    weights = {"w": rng.normal(0, scale, (64, 128)), "v": rng.normal(0, 1, (128, 8)), "b": np.full(8, 1e-6)}
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["h"]),
        helper.make_node("MatMul", ["h", "v"], ["g"]),
        helper.make_node("Add", ["g", "b"], ["y"]),
    ]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", width]) for name, width in (("x", 64), ("y", 8))]
    stored = [numpy_helper.from_array(values.astype(np.float32), name) for name, values in weights.items()]
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:], stored)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)]).SerializeToString()


def run(data: bytes, x: np.ndarray) -> np.ndarray:
    return ReferenceEvaluator(onnx.load_model_from_string(data)).run(None, {"x": x})[0]


def test_half_the_bytes_say_the_same_to_rounding() -> None:
    whole, x = network(), np.random.default_rng(1).normal(size=(5, 64)).astype(np.float32)
    half = halve_weights(whole)
    onnx.checker.check_model(onnx.load_model_from_string(half), full_check=True)
    assert len(half) < 0.55 * len(whole)
    expected = run(whole, x)
    assert 0 < np.abs(run(half, x) - expected).max() < 1e-3 * np.abs(expected).max()
    assert run(half, x).dtype == np.float32


def test_small_tensors_keep_all_their_bits() -> None:
    kinds = {t.name: t.data_type for t in onnx.load_model_from_string(halve_weights(network())).graph.initializer}
    assert kinds == {"w__half": TensorProto.FLOAT16, "v__half": TensorProto.FLOAT16, "b": TensorProto.FLOAT}


def test_halving_twice_is_halving_once() -> None:
    once = halve_weights(network())
    assert halve_weights(once) == once


@pytest.mark.parametrize("scale", [1e6, np.inf])
def test_a_weight_that_16_bits_cannot_hold_stays(scale: float) -> None:
    names = [t.name for t in onnx.load_model_from_string(halve_weights(network(scale))).graph.initializer]
    assert "w" in names
    assert "v__half" in names


def test_stored_weights_have_their_first_names_and_float32() -> None:
    whole, half = stored_weights(network()), stored_weights(halve_weights(network()))
    assert half.keys() == whole.keys() == {"w", "v", "b"}
    for name, values in half.items():
        assert values.dtype == np.float32
        np.testing.assert_allclose(values, whole[name], rtol=1e-3, atol=1e-6)
