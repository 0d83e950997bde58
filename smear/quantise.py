"""INT8: the convolutions of an ONNX graph in 8 bits, calibrated on pictures; the file holds 8-bit weights that every runtime reads."""

import tempfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray

from smear.compress import halve_weights, widen_weights
from smear.errors import ModelError
from smear.quiet import silence
from smear.static_shapes import shapes_from_input

QUANTISED = ("Conv", "Gemm", "MatMul")  # what takes the time; all else stays float
KEPT_FIRST = 6  # layers at the picture that stay float: with three, a YOLOv8n agrees on 0.991 of BCCD's boxes instead of 0.992
MIN_BATCHES = 8  # fewer tell too little of the range of a map


def quantise(onnx_bytes: bytes, batches: Iterable[NDArray[np.float32]], *, keep_first: int = KEPT_FIRST) -> bytes:
    """The same model with 8-bit convolutions and matrix products: weights symmetric and per channel, maps unsigned by their range.

    Nodes before them quantise and dequantise (QDQ), which OpenVINO fuses. What a layer gives stays float until the next one needs it: the
    activation between them would be computed from a map that was rounded once more. What stays float keeps its weights in 16 bits.
    The first layers stay float, and so do those that give the answer (after which no other layer of `QUANTISED` comes).

    Args:
        onnx_bytes: a float32 model of one input, also one of `smear.compress`.
        batches: what the network sees, normalised, (B, 3, H, W) each.
        keep_first: how many layers stay float, counted from the picture.

    Raises:
        ModelError: too few batches, nothing to quantise, or a graph that cannot be run.

    Source: Jacob et al., Quantization and Training of Neural Networks (2018); computed by onnxruntime.quantization.
    """
    silence()
    import onnxruntime
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static

    onnxruntime.disable_telemetry_events()
    model = onnx.load_model_from_string(shapes_from_input(widen_weights(onnx_bytes)))
    layers = [node.name for node in model.graph.node if node.op_type in QUANTISED]
    kept = {*layers[:keep_first], *last_layers(model.graph)}
    if not set(layers) - kept:
        raise ModelError(f"the model has no layer to quantise: all {len(layers)} stay float")
    feed = _Feed(model.graph.input[0].name, batches)
    with tempfile.TemporaryDirectory(prefix="leukofield-int8-") as scratch:
        out = Path(scratch) / "model.int8.onnx"
        try:
            quantize_static(
                model,
                out,
                feed,
                quant_format=QuantFormat.QDQ,
                per_channel=True,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                calibrate_method=CalibrationMethod.MinMax,
                extra_options={"OpTypesToExcludeOutputQuantization": list(QUANTISED)},
                op_types_to_quantize=list(QUANTISED),
                nodes_to_exclude=sorted(kept),
            )
        except Exception as error:  # onnxruntime's own classes derive from Exception directly
            raise ModelError(f"the model cannot be quantised ({' '.join(str(error).split())[:160]})") from error
        if feed.n < MIN_BATCHES:
            raise ModelError(f"calibration needs at least {MIN_BATCHES} pictures of the network's input, got {feed.n}")
        return halve_weights(out.read_bytes())


def last_layers(graph: onnx.GraphProto) -> set[str]:
    """Names of the layers of `QUANTISED` from which an output of the graph is reached without another one.

    What comes after a Softmax decodes an answer (the distances of a YOLO's boxes): it is kept, and the layers before it are last too.
    """
    maker = {out: node for node in graph.node for out in node.output}
    decoding: set[str] = set()  # tensors
    for node in graph.node:
        if node.op_type == "Softmax" or decoding & set(node.input):
            decoding |= set(node.output)
    found: set[str] = set()
    seen: set[str] = set()
    waiting = [out.name for out in graph.output]
    while waiting:
        node = maker.get(waiting.pop())
        if node is None or node.name in seen:
            continue
        seen.add(node.name)
        if node.op_type in QUANTISED:
            found.add(node.name)
        if node.op_type not in QUANTISED or decoding & set(node.output):
            waiting += node.input
    return found


class _Feed:
    """Batches one by one, as the calibration asks for them."""

    def __init__(self, name: str, batches: Iterable[NDArray[np.float32]]) -> None:
        self.n = 0
        self._name, self._batches = name, iter(batches)

    def get_next(self) -> dict[str, NDArray[np.float32]] | None:
        batch = next(self._batches, None)
        self.n += batch is not None
        return None if batch is None else {self._name: np.ascontiguousarray(batch, np.float32)}
