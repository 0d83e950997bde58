"""Augmentation is the list in the config, step by step, nothing hidden; the only file that knows albumentations.

A step is a mapping: `name`, `p` (how often, default 1), and the arguments of that step. A name is one of ours (`OURS`,
what another laboratory does to a picture) or one of albumentations' (`FROM_ALBUMENTATIONS`). Or a step is a choice:
`one_of: [step, step, …]` with `p`. Every picture has its own generator, made of (seed, epoch, index): the order or number
of workers changes nothing.
"""

import importlib
import random
import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import cv2
import numpy as np

from classification import stain
from smear.errors import ConfigError
from smear.quiet import silence
from smear.stain import jitter_stain
from smear.types import Image

Step = Callable[[np.random.Generator, Image], Image]

OURS: dict[str, Callable[..., Image]] = {
    "move": stain.move,
    "stain": jitter_stain,
    "mix_channels": stain.mix_channels,
    "grey": stain.to_grey,
    "gamma": stain.shift_gamma,
    "white_balance": stain.shift_white_balance,
    "saturation": stain.shift_saturation,
    "light": stain.light_unevenly,
    "resolution": stain.lose_resolution,
    "background": stain.fade_background,
}
FROM_ALBUMENTATIONS = (
    *("HorizontalFlip", "VerticalFlip", "D4", "Rotate", "Affine", "RandomResizedCrop", "RandomCrop", "Resize", "PadIfNeeded"),
    *("RandomBrightnessContrast", "HueSaturationValue", "RGBShift", "ToGray", "CLAHE", "RandomGamma", "ChannelShuffle"),
    *("GaussianBlur", "Defocus", "Sharpen", "GaussNoise", "ISONoise", "ImageCompression", "Downscale", "CoarseDropout"),
)


def build_augmentation(steps: Sequence[Mapping[str, Any]]) -> Step:
    """One function (generator, RGB uint8 image) → RGB uint8 image of the same size, applying the steps in order.

    Raises:
        ConfigError: an unknown name or argument; the message says which step.
    """
    built = [_build(step, f"augment[{i}]") for i, step in enumerate(steps)]

    def apply(rng: np.random.Generator, image: Image) -> Image:
        size = image.shape[0]
        for step in built:
            image = step(rng, image)
        if image.shape[0] != size or image.shape[1] != size:  # a crop or resize among the steps
            image = cv2.resize(image, (size, size), interpolation=cv2.INTER_LINEAR)
        return np.ascontiguousarray(image)

    return apply


def generator(seed: int, epoch: int, index: int) -> np.random.Generator:
    """The random numbers of one picture in one epoch, whoever draws it and whenever."""
    return np.random.default_rng((seed, epoch, index))


def _build(step: Mapping[str, Any], where: str) -> Step:
    arguments = dict(step)
    p = arguments.pop("p", 1.0)
    if not isinstance(p, int | float) or not 0 <= p <= 1:
        raise ConfigError(f"{where}: p: must be a number in [0, 1], got {p!r}")
    if "one_of" in arguments:
        choices = [_build(choice, f"{where}.one_of[{i}]") for i, choice in enumerate(arguments.pop("one_of"))]
        if arguments or not choices:
            raise ConfigError(f"{where}: one_of takes a list of steps and p, nothing else")
        return partial(_sometimes, p, partial(_any_one, choices))
    name = arguments.pop("name", None)
    if name in OURS:
        inner: Step = partial(OURS[name], **arguments)
    elif name in FROM_ALBUMENTATIONS:
        inner = _albumentations(str(name), arguments, where)
    else:
        raise ConfigError(f"{where}: name: must be one of {', '.join([*OURS, *FROM_ALBUMENTATIONS])}, got {name!r}")
    sometimes = partial(_sometimes, p, inner)
    try:
        partial(_sometimes, 1.0, inner)(np.random.default_rng(0), np.full((64, 64, 3), 128, np.uint8))
    except (TypeError, ValueError, OverflowError, cv2.error) as error:
        raise ConfigError(f"{where}: {name}: {' '.join(str(error).split())}") from error
    return sometimes


def _sometimes(p: float, inner: Step, rng: np.random.Generator, image: Image) -> Image:
    return inner(rng, image) if rng.random() < p else image


def _any_one(choices: Sequence[Step], rng: np.random.Generator, image: Image) -> Image:
    return choices[int(rng.integers(len(choices)))](rng, image)


def _albumentations(name: str, arguments: Mapping[str, Any], where: str) -> Step:
    """One albumentations transform, always applied, drawing from our generator; unknown arguments are errors, not warnings."""
    silence()
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)  # its way to say "argument not valid": it would go on with the default
        try:
            transform = getattr(importlib.import_module("albumentations"), name)(**_tuples(arguments), p=1.0)
        except (UserWarning, ValueError, TypeError) as error:
            raise ConfigError(f"{where}: {name}: {' '.join(str(error).split())}") from error

    def apply(rng: np.random.Generator, image: Image) -> Image:
        seed = int(rng.integers(2**32))
        transform.set_random_state(np.random.default_rng(seed), random.Random(seed))
        return transform(image=image)["image"]

    return apply


def _tuples(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """YAML knows lists, albumentations wants tuples."""
    return {key: tuple(value) if isinstance(value, list) else value for key, value in arguments.items()}
