"""The weights of an ONNX export back in the module that it was made of: names were kept, batch norms were folded away."""

from collections.abc import Mapping
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from smear.errors import ModelError

FOLDED_BIAS = ("bias", "weight_bias")  # what the tracing and the newer exporter call the bias that a folded batch norm leaves
_COUNTER = "num_batches_tracked"  # of a batch norm in training; no part of what it computes


def restore(module: nn.Module, stored: Mapping[str, NDArray]) -> None:
    """Fill `module` in place with the initialisers of its own ONNX export.

    A batch norm that the exporter folded into the convolution before it becomes an identity, and the convolution gets the
    folded bias: the same arithmetic as the ONNX file's, one layer cheaper.

    Args:
        module: the architecture as the training code builds it; a norm follows its convolution in order of registration.
        stored: as `smear.compress.stored_weights` reads them.

    Raises:
        ModelError: a tensor of the module is not in the file or has another shape, or the file has weights left over.
    """
    _fold_norms(module, stored)
    wanted = {name: tensor for name, tensor in module.state_dict().items() if not name.endswith(_COUNTER)}
    fitting = {n: stored.get(n, stored.get(_alias(n))) for n in wanted}
    misfits = [n for n, tensor in wanted.items() if fitting[n] is None or fitting[n].shape != tuple(tensor.shape)]  # type: ignore[union-attr]
    if misfits:
        came = fitting[misfits[0]]
        found = "no such tensor" if came is None else list(came.shape)
        raise ModelError(f"{misfits[0]} must be {list(wanted[misfits[0]].shape)}, got {found} ({len(misfits)} tensors differ)")
    left = [n for n, array in stored.items() if array.dtype.kind == "f" and array.ndim >= 2 and n not in wanted]
    if left:
        raise ModelError(f"{left[0]} is not a tensor of this architecture ({len(left)} are not)")
    module.load_state_dict({n: torch.from_numpy(np.array(array)) for n, array in fitting.items()}, strict=False)


def _fold_norms(module: nn.Module, stored: Mapping[str, NDArray]) -> None:
    leaves = [(name, leaf) for name, leaf in module.named_modules() if not list(leaf.children())]
    for (before, convolution), (name, norm) in pairwise(leaves):
        if not isinstance(norm, nn.BatchNorm2d) or not isinstance(convolution, nn.Conv2d) or f"{name}.weight" in stored:
            continue
        bias = next((stored[f"{before}.{end}"] for end in FOLDED_BIAS if f"{before}.{end}" in stored), None)
        if bias is None or bias.shape != (norm.num_features,):
            continue  # said by `restore`: the tensors of the norm are missing
        convolution.bias = nn.Parameter(torch.from_numpy(np.array(bias)), requires_grad=False)
        parent, _, own = name.rpartition(".")
        setattr(module.get_submodule(parent), own, nn.Identity())


def _alias(name: str) -> str:
    """A folded bias by the name that the newer exporter gives it."""
    return f"{name.removesuffix('.bias')}.weight_bias" if name.endswith(".bias") else name
