"""From a trained network to a bundle: ONNX + safetensors + card, and the ONNX is compared with torch before it counts."""

import copy
import tempfile
from pathlib import Path

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from safetensors.torch import save

from classification.classifier import BundleClassifier, normalise
from classification.networks import Network
from smear.bundles import save_bundle
from smear.compress import MIN_ELEMENTS, halve_weights
from smear.errors import MissingExtra, ModelError
from smear.models import ModelCard, open_bundle
from smear.runtimes import open_runtime
from smear.types import Image

OPSET = 18  # the lowest that torch's exporter writes without converting
MAX_PROBABILITY_ERROR = {False: 1e-4, True: 5e-3}  # half weights or not: more than rounding explains means a broken export


def write_bundle(folder: Path, network: Network, card: ModelCard, probe: Image, *, half: bool, safetensors: bool) -> ModelCard:
    """Export, compare on the `probe` crops, and save; the card comes back with the largest differences in its metrics.

    Args:
        network: trained, on any device; it is not changed.
        probe: (N, S, S, 3) uint8 real crops, N ≥ 1.

    Raises:
        ModelError: the ONNX file says something else than the network.
        MissingExtra: onnxscript, which writes ONNX, is not installed.
    """
    twin = _evaluation_copy(network)
    data = to_onnx(twin, card.input_px)
    files = {"weights.onnx": halve_weights(data) if half else data}
    with tempfile.TemporaryDirectory() as scratch:
        draft = save_bundle(Path(scratch), card, files)
        classifier = BundleClassifier(open_runtime(open_bundle(Path(scratch)), runtime="onnx", device="cpu"), draft)
        found = classifier.logits(probe)
        p_found = classifier(probe)
    expected = _logits(twin, probe, card.normalise)
    p_expected = BundleClassifier(lambda batch: (_run(twin, batch),), card)(probe)
    logit_error, p_error = float(np.abs(found - expected).max()), float(np.abs(p_found - p_expected).max())
    if half and not p_error <= MAX_PROBABILITY_ERROR[half]:  # 16 bits only where they cost nothing
        return write_bundle(folder, network, card, probe, half=False, safetensors=safetensors)
    if not p_error <= MAX_PROBABILITY_ERROR[half]:
        raise ModelError(f"{folder}: the ONNX file differs from torch by {p_error:.2g} in probability; not saved")
    checked = {"onnx_max_abs_logit_error": logit_error, "onnx_max_abs_probability_error": p_error, "onnx_half_weights": half}
    if safetensors:
        files["weights.safetensors"] = save({name: _stored(tensor, half) for name, tensor in twin.state_dict().items()})
    return save_bundle(folder, card.model_copy(update={"metrics": {**card.metrics, **checked}}), files)


def to_onnx(network: torch.nn.Module, size: int) -> bytes:
    """One ONNX file, weights inside: "images" (B, 3, size, size) float32 → "logits", B dynamic; no trace of where it was made.

    Raises:
        MissingExtra: onnxscript is not installed.
    """
    example = torch.zeros(2, 3, size, size)
    dynamic = ({0: torch.export.Dim("batch")},)
    names = {"input_names": ["images"], "output_names": ["logits"]}
    try:
        program = torch.onnx.export(network, (example,), dynamo=True, dynamic_shapes=dynamic, opset_version=OPSET, verbose=False, **names)
    except ModuleNotFoundError as error:
        raise MissingExtra("writing ONNX", error.name or "onnxscript", "onnx") from error
    if program is None:
        raise ModelError("torch.onnx.export gave nothing; check the torch version")
    model = program.model_proto
    for part in (
        *model.graph.node,
        *model.graph.value_info,
        *model.graph.initializer,
        *model.graph.input,
        *model.graph.output,
        model.graph,
        model,
    ):
        part.ClearField("metadata_props")  # stack traces with paths of the machine that trained
        part.ClearField("doc_string")
    onnx.checker.check_model(model)
    return model.SerializeToString()


def _evaluation_copy(network: Network) -> Network:
    return copy.deepcopy(network).to("cpu", torch.float32, memory_format=torch.contiguous_format).eval()


def _stored(tensor: torch.Tensor, half: bool) -> torch.Tensor:
    """As in the ONNX file: with `half`, large weights in 16 bits, statistics and biases in 32."""
    narrow = half and tensor.is_floating_point() and tensor.ndim >= 2 and tensor.numel() >= MIN_ELEMENTS
    return (tensor.half() if narrow else tensor).contiguous()


def _logits(network: Network, crops: Image, kind: str) -> NDArray[np.float32]:
    return np.concatenate([_run(network, normalise(crops[i : i + 64], kind)) for i in range(0, len(crops), 64)])


def _run(network: Network, batch: NDArray[np.float32]) -> NDArray[np.float32]:
    with torch.inference_mode():
        return network(torch.from_numpy(batch)).numpy()
