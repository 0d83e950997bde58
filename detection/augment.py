"""Image augmentations for detection, by name from the config; the only file here that imports albumentations."""

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import cv2
import numpy as np

from smear.errors import ConfigError
from smear.quiet import silence

silence()
import albumentations as A  # noqa: E402  (after silence(): it asks for updates while it is imported)


class StainJitter(A.ImageOnlyTransform):
    """Another laboratory's stain: mixes the optical densities of the channels and scales each, then shifts the white balance.

    od = -ln(I / white); od' = (od @ (1 + mix)) * gain. Works on any channel order.

    Args:
        mix: standard deviation of the off-diagonal mixing terms, 0 to 0.5.
        gain: densities are scaled by exp(N(0, gain)), once for all channels and once for each.
        white: channels of the white point are scaled by exp(N(0, white)).

    Source: colour deconvolution, Ruifrok & Johnston 2001; jitter as in Tellez et al. 2018.
    """

    def __init__(self, mix: float = 0.15, gain: float = 0.2, white: float = 0.08, p: float = 0.5) -> None:
        super().__init__(p=p)
        self.mix, self.gain, self.white = mix, gain, white

    def get_params(self) -> dict[str, Any]:
        draw = self.random_generator.normal
        matrix = np.eye(3) + draw(0, self.mix, (3, 3)) * (1 - np.eye(3))
        matrix = matrix * np.exp(draw(0, self.gain) + draw(0, self.gain, 3))
        return {"matrix": matrix.astype(np.float32), "white": np.exp(draw(0, self.white, 3)).astype(np.float32)}

    def apply(self, img: np.ndarray, matrix: np.ndarray, white: np.ndarray, **_: Any) -> np.ndarray:
        density = cv2.transform(_LOG_DENSITY[img], np.ascontiguousarray(matrix.T))  # (H, W, 3)
        light = cv2.multiply(cv2.exp(density), (*(255 * white).tolist(), 0))
        return light.clip(0, 255).astype(np.uint8)

    def get_transform_init_args_names(self) -> tuple[str, ...]:
        return ("mix", "gain", "white")


_LOG_DENSITY = np.log((np.arange(256) + 1) / 256).astype(np.float32)  # minus the optical density (natural) of each grey level
_OURS = {"StainJitter": StainJitter}


def build_augmentations(wanted: Sequence[Mapping[str, Any]]) -> list[A.BasicTransform]:
    """Transforms from config entries such as `{name: StainJitter, mix: 0.2, p: 0.7}`, in order.

    Raises:
        ConfigError: a name that neither albumentations nor we have, or an argument it does not take.
    """
    return [_build(dict(entry)) for entry in wanted]


def _build(entry: dict[str, Any]) -> A.BasicTransform:
    name = entry.pop("name", None)
    kind = _OURS.get(str(name)) or getattr(A, str(name), None)
    if not (isinstance(kind, type) and issubclass(kind, A.BasicTransform)):
        raise ConfigError(f"augment.image: {name!r}: no such transform in albumentations, and not one of ours ({', '.join(_OURS)})")
    arguments = {key: tuple(value) if isinstance(value, list) else value for key, value in entry.items()}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)  # it only warns of arguments that it does not know, and leaves them out
            return kind(**arguments)
    except (TypeError, ValueError, UserWarning) as error:
        raise ConfigError(f"augment.image: {name}: {' '.join(str(error).split())[:200]}") from error
