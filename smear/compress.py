"""Half the size of an ONNX file: weights are stored in 16 bits and cast back, so the arithmetic and the ends stay float32."""

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

HALF = "__half"  # ends the name of a weight stored in 16 bits
MIN_ELEMENTS = 512  # and two axes: biases and batch-norm statistics are small and sensitive, and would save nothing


def halve_weights(onnx_bytes: bytes) -> bytes:
    """Store every large float32 weight as float16 behind a Cast to float32; runtimes fold the cast when they load the file.

    Results differ only by the rounding of the weights to 11 significant bits. A weight that 16 bits cannot hold
    (beyond ±65504) stays as it is. A file already halved comes back unchanged.

    Args:
        onnx_bytes: a whole model, weights inside.
    """
    model = onnx.load_model_from_string(onnx_bytes)
    graph = model.graph
    casts = []
    for tensor in graph.initializer:
        if tensor.data_type != TensorProto.FLOAT or len(tensor.dims) < 2 or np.prod(tensor.dims) < MIN_ELEMENTS:
            continue
        values = numpy_helper.to_array(tensor)
        if np.abs(values).max() > np.finfo(np.float16).max:
            continue
        name, stored = tensor.name, f"{tensor.name}{HALF}"
        tensor.CopyFrom(numpy_helper.from_array(values.astype(np.float16), stored))
        casts.append(helper.make_node("Cast", [stored], [name], name=f"{name}__widen", to=TensorProto.FLOAT))
    nodes = list(graph.node)
    del graph.node[:]
    graph.node.extend([*casts, *nodes])  # ONNX wants the nodes in topological order
    listed = {node.output[0] for node in casts}
    inputs = [value for value in graph.input if value.name not in listed]  # old exporters list weights among the inputs
    del graph.input[:]
    graph.input.extend(inputs)
    return model.SerializeToString()


def stored_weights(onnx_bytes: bytes) -> dict[str, NDArray]:
    """The initialisers of an ONNX file by the names they had before `halve_weights`; floats as float32, others as they are."""
    arrays = {tensor.name: numpy_helper.to_array(tensor) for tensor in onnx.load_model_from_string(onnx_bytes).graph.initializer}
    return {name.removesuffix(HALF): np.array(a, np.float32 if a.dtype.kind == "f" else a.dtype) for name, a in arrays.items()}


def widen_weights(onnx_bytes: bytes) -> bytes:
    """The inverse of `halve_weights`, but for the rounding: weights in float32 under their own names, and no casts."""
    model = onnx.load_model_from_string(onnx_bytes)
    graph = model.graph
    halves = {tensor.name: tensor for tensor in graph.initializer if tensor.name.endswith(HALF)}
    nodes = [node for node in graph.node if not (node.op_type == "Cast" and node.input[0] in halves)]
    for name, tensor in halves.items():
        tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float32), name.removesuffix(HALF)))
    del graph.node[:]
    graph.node.extend(nodes)
    return model.SerializeToString()
