"""Where a training starts: a named download, a file, a bundle of ours, or nothing; never silently random."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import nn

from detection import yolo
from smear.compress import stored_weights
from smear.errors import ModelError
from smear.models import open_bundle
from smear.quiet import cache_root

MIN_SHARE_LOADED = 0.5  # fewer matching tensors means the file is of another architecture


def load_start(model: nn.Module, weights: str, *, calibration: Sequence[torch.Tensor]) -> str:
    """Fill `model` in place as `weights` asks and say in one line what was loaded.

    Args:
        weights: `none`; a `.pt` or `.safetensors` file; a bundle folder; or a name such as `yolov8n`.
        calibration: float32 (B, 3, H, W) batches in [0, 1] of images to be trained on; folded weights (ONNX bundles and
            folded safetensors) have lost their batch-norm statistics, which are measured again on these.

    Raises:
        ModelError: the file is missing, unsafe, of another architecture, or could not be downloaded.
    """
    if weights == "none":
        return "random start (weights: none)"
    path = Path(weights)
    if path.is_dir():
        bundle = open_bundle(path)
        state = {name: torch.from_numpy(array) for name, array in stored_weights(bundle.read(bundle.file(".onnx"))).items()}
    elif path.suffix == ".safetensors":
        state = _read_safetensors(path)
    else:
        checkpoint = path if path.suffix == ".pt" else yolo.download(weights, cache_root() / "weights")
        state = yolo.load_model(checkpoint).state_dict()
    loaded, wanted = _load(model, state, calibration)
    if loaded < MIN_SHARE_LOADED * wanted:
        raise ModelError(f"{weights}: only {loaded} of {wanted} tensors fit this architecture; is it of another model?")
    return f"{loaded} of {wanted} tensors from {weights}"


def _read_safetensors(path: Path) -> dict[str, torch.Tensor]:
    try:
        return load_file(path)
    except Exception as error:
        raise ModelError(f"{path}: not a readable safetensors file ({error})") from error


def _load(model: nn.Module, state: Mapping[str, torch.Tensor], calibration: Sequence[torch.Tensor]) -> tuple[int, int]:
    """Copy every tensor whose name and shape match; conv biases where the model has a batch norm mean folded weights."""
    own = {name: tensor for name, tensor in model.state_dict().items() if tensor.is_floating_point()}
    fits = {name for name, tensor in own.items() if name in state and state[name].shape == tensor.shape}
    model.load_state_dict({name: state[name].float() for name in fits}, strict=False)
    blocks = {name: module for name, module in model.named_modules() if isinstance(getattr(module, "bn", None), nn.BatchNorm2d)}
    folded = {n: b for n, b in blocks.items() if f"{n}.conv.weight" in fits and f"{n}.conv.bias" in state}
    _unfold(model, {block.bn: state[f"{name}.conv.bias"].float() for name, block in folded.items()}, calibration)
    norms = {f"{name}.bn.{part}" for name in folded for part in ("weight", "bias", "running_mean", "running_var")}
    return len(fits | norms), len(own)


def _unfold(model: nn.Module, biases: Mapping[nn.BatchNorm2d, torch.Tensor], calibration: Sequence[torch.Tensor]) -> None:
    """Give folded convolutions a batch norm again: an identity first, then with the statistics of the calibration images.

    With mean m and variance v of what enters a norm, weight = sqrt(v + eps) and bias = folded bias + m leave its output as it was.
    """
    for norm, bias in biases.items():
        norm.running_mean.zero_()
        norm.running_var.fill_(1)
        norm.weight.data.fill_((1 + norm.eps) ** 0.5)
        norm.bias.data.copy_(bias)
    sums = {norm: [torch.zeros(()), torch.zeros_like(bias), torch.zeros_like(bias)] for norm, bias in biases.items()}

    def record(norm: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        x = inputs[0].detach().float()
        sums[norm][0] += x.numel() // x.shape[1]
        sums[norm][1] += x.sum((0, 2, 3))
        sums[norm][2] += (x**2).sum((0, 2, 3))

    hooks = [norm.register_forward_pre_hook(record) for norm in biases]
    model.eval()
    with torch.no_grad():
        for batch in calibration if biases else ():
            model(batch)
    for hook in hooks:
        hook.remove()
    for norm, (count, total, squares) in sums.items():
        if count:
            mean = total / count
            variance = (squares / count - mean**2).clamp_min(1e-6)
            norm.running_mean.copy_(mean)
            norm.running_var.copy_(variance)
            norm.weight.data.copy_((variance + norm.eps).sqrt())
            norm.bias.data.copy_(biases[norm] + mean)
    model.train()
