"""An ONNX graph that takes the pixels themselves: normalisation as its first nodes, so that no array of floats is made outside."""

from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from smear.errors import ModelError
from smear.types import Pixels

PREFIX = "pixels__"  # begins every name that is added here


def take_pixels(onnx_bytes: bytes, pixels: Pixels) -> bytes:
    """The same network with (B, H, W, 3) uint8 RGB as its input, (x - mean) / std inside it.

    Args:
        onnx_bytes: a graph whose one input is (B, 3, H, W), float32 or float16.

    Raises:
        ModelError: it has another input.
    """
    model = onnx.load_model_from_string(onnx_bytes)
    graph = model.graph
    weights = {tensor.name for tensor in graph.initializer}
    inputs = [value for value in graph.input if value.name not in weights]
    types = (TensorProto.FLOAT, TensorProto.FLOAT16)
    if len(inputs) != 1 or inputs[0].type.tensor_type.elem_type not in types or len(inputs[0].type.tensor_type.shape.dim) != 4:
        raise ModelError(f"must take one batch of images (B, 3, H, W) in float, takes {[value.name for value in inputs]}")
    (images,) = inputs
    batch, _, height, width = (dim.dim_value or dim.dim_param or None for dim in images.type.tensor_type.shape.dim)
    nodes, constants = _normalising(pixels, images.name, images.type.tensor_type.elem_type)
    rest = list(graph.node)
    del graph.node[:]
    graph.node.extend([*nodes, *rest])
    graph.initializer.extend(constants)
    graph.input.remove(images)
    graph.input.insert(0, helper.make_tensor_value_info(f"{PREFIX}rgb", TensorProto.UINT8, [batch, height, width, 3]))
    data: bytes = model.SerializeToString()
    return data


def _normalising(pixels: Pixels, target: str, dtype: int) -> tuple[list[onnx.NodeProto], list[onnx.TensorProto]]:
    """Nodes from the pixels to the tensor `target`, and their constants; steps that change nothing are left out."""
    # (operator, attributes, its second input a channel); bytes are moved before they grow
    steps: list[tuple[str, dict[str, Any], tuple[float, ...] | None]] = [("Transpose", {"perm": [0, 3, 1, 2]}, None)]
    steps += [("Cast", {"to": TensorProto.FLOAT}, None)]
    steps += [("Sub", {}, pixels.mean)] if any(pixels.mean) else []
    steps += [("Div", {}, pixels.std)]  # no multiplication: x / 255 is then what numpy says to the last bit
    steps += [("Cast", {"to": dtype}, None)] if dtype != TensorProto.FLOAT else []
    nodes, constants, source = [], [], f"{PREFIX}rgb"
    for i, (kind, attributes, values) in enumerate(steps):
        inputs, out = [source], target if i == len(steps) - 1 else f"{PREFIX}{kind.lower()}"
        if values is not None:
            constants.append(numpy_helper.from_array(np.array(values, np.float32).reshape(1, 3, 1, 1), f"{PREFIX}{kind.lower()}_by"))
            inputs.append(constants[-1].name)
        nodes.append(helper.make_node(kind, inputs, [out], **attributes))
        source = out
    return nodes, constants
