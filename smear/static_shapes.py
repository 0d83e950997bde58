"""An ONNX graph that asks its input alone how large things are, not its feature maps.

OpenVINO 2026.4 answers wrongly when a graph with free height and width asks for the shape of a map that it keeps in 8 bits: the
boxes of a quantised YOLO then lie anywhere. Both sides of a feature map follow from those of the picture, so nobody needs to ask.
"""

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper, shape_inference

_TRIALS = ((2, 640, 1280), (3, 1024, 512))  # (batch, height, width) at which the shapes are inferred: no two sizes alike
_BATCH, _HEIGHT, _WIDTH = 0, 2, 3  # axes of the pictures
_OF_INPUT = "__shape_of_input"


def shapes_from_input(onnx_bytes: bytes) -> bytes:
    """Replace every `Gather(Shape(map), axis)` by a constant, the batch, or a side of the picture over the map's stride.

    The strides hold for pictures whose sides are multiples of them, as those of the detector are; what cannot be told stays as it is.

    Args:
        onnx_bytes: a model of one input (B, 3, H, W).
    """
    model = onnx.load_model_from_string(onnx_bytes)
    graph = model.graph
    pictures = graph.input[0].name
    shapes = [_shapes(model, *trial) for trial in _TRIALS]
    maker = {out: node for node in graph.node for out in node.output}
    known = _constants(graph)
    nodes: list[onnx.NodeProto] = []
    for node in graph.node:
        asked = maker.get(node.input[0]) if node.op_type == "Gather" else None
        if asked is None or asked.op_type != "Shape" or asked.input[0] == pictures or node.input[1] not in known:
            nodes.append(node)
            continue
        axes = known[node.input[1]]
        told = _told(node, axes, [found.get(asked.input[0], []) for found in shapes])
        nodes += told or [node]
    if any(_OF_INPUT in node.input for node in nodes):
        nodes.insert(0, helper.make_node("Shape", [pictures], [_OF_INPUT], name=_OF_INPUT))
    del graph.node[:]
    graph.node.extend(_used(nodes, {out.name for out in graph.output}))
    return model.SerializeToString()


def _told(gather: onnx.NodeProto, axes: NDArray[np.int64], shapes: list[list[int]]) -> list[onnx.NodeProto]:
    """Nodes that give what `gather` gives, without the map; none when the shapes do not tell."""
    if axes.size != 1 or not all(-len(shape) <= int(axes.ravel()[0]) < len(shape) for shape in shapes):
        return []
    sizes = [shape[int(axes.ravel()[0])] for shape in shapes]
    if not all(sizes):
        return []
    if len(set(sizes)) == 1:
        return [_constant(gather.output[0], np.full(axes.shape, sizes[0], np.int64))]
    for axis, trial in zip((_BATCH, _HEIGHT, _WIDTH), zip(*_TRIALS, strict=True), strict=True):
        over = [divmod(whole, size) for whole, size in zip(trial, sizes, strict=True)]
        if len(set(over)) == 1 and over[0][1] == 0:
            return _side(gather.output[0], axis, over[0][0], axes.shape)
    return []


def _side(name: str, axis: int, stride: int, shape: tuple[int, ...]) -> list[onnx.NodeProto]:
    whole = f"{name}__whole"
    return [
        _constant(f"{name}__axis", np.full(shape, axis, np.int64)),
        _constant(f"{name}__stride", np.full(shape, stride, np.int64)),
        helper.make_node("Gather", [_OF_INPUT, f"{name}__axis"], [whole], name=whole),
        helper.make_node("Div", [whole, f"{name}__stride"], [name], name=f"{name}__over"),
    ]


def _shapes(model: onnx.ModelProto, *size: int) -> dict[str, list[int]]:
    """Name → shape of every tensor for a batch of that size; 0 where unknown."""
    trial = onnx.ModelProto()
    trial.CopyFrom(model)
    dims = trial.graph.input[0].type.tensor_type.shape.dim
    for axis, length in zip((_BATCH, _HEIGHT, _WIDTH), size, strict=True):
        dims[axis].dim_value = length
    inferred = shape_inference.infer_shapes(trial, data_prop=True).graph
    return {value.name: [d.dim_value for d in value.type.tensor_type.shape.dim] for value in inferred.value_info}


def _constants(graph: onnx.GraphProto) -> dict[str, NDArray[np.int64]]:
    """The integers that the graph holds, by name."""
    stored = {tensor.name: tensor for tensor in graph.initializer}
    stored |= {n.output[0]: a.t for n in graph.node if n.op_type == "Constant" for a in n.attribute if a.name == "value"}
    return {name: numpy_helper.to_array(tensor) for name, tensor in stored.items() if tensor.data_type == TensorProto.INT64}


def _constant(name: str, value: NDArray[np.int64]) -> onnx.NodeProto:
    return helper.make_node("Constant", [], [name], name=f"{name}__value", value=numpy_helper.from_array(value))


def _used(nodes: list[onnx.NodeProto], wanted: set[str]) -> list[onnx.NodeProto]:
    """The nodes that something depends on, in their order."""
    kept = []
    for node in reversed(nodes):
        if wanted & set(node.output):
            wanted = wanted | set(node.input)
            kept.append(node)
    return kept[::-1]
