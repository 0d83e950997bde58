"""A detector from a bundle: letterbox, decode and suppress in numpy, once for all runtimes."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from smear import boxes
from smear.errors import ModelError
from smear.models import ModelCard
from smear.tiles import FRAME_PX, STEP_PX
from smear.types import Detections, Image, Pixels, Runtime

PAD = 114  # the grey that lies around the fields in training
P6_STRIDE = 64  # what the sides of the input of a P6 network are multiples of; those of any other of `STEP_PX`
BATCH_PIXELS = 8 * 640 * 640  # what one call of the network holds at most
PIXELS = Pixels()  # what every YOLO of ultralytics takes: levels over 255
MAX_CANDIDATES = 3000  # before suppression, of a window of `CANDIDATES_SIDE` or less; a crowded one holds about 300 cells
CANDIDATES_SIDE = 640  # pixels; larger windows have more room


class YoloDetector:
    """Calls a YOLO network on tiles of any size; no resizing happens here.

    Each tile lies in a frame of grey, at least `FRAME_PX` wide, as fields do when ultralytics trains and validates: a cell that the border
    of its field cuts then looks as the network learned it. Sides are multiples of the network's stride.

    Args:
        runtime: opened with `PIXELS`, or without any → (B, 4 + C, A): cx cy w h in pixels, then a score in [0, 1] a class.
        confidence, iou: override the thresholds of the card.
    """

    def __init__(self, runtime: Runtime, card: ModelCard, *, confidence: float | None = None, iou: float | None = None) -> None:
        self.classes = card.classes
        self.confidence = card.thresholds.get("confidence", 0.25) if confidence is None else confidence
        self.iou = card.thresholds.get("iou", 0.5) if iou is None else iou
        self._runtime, self._takes_pixels = runtime, getattr(runtime, "takes_pixels", False)
        self._name = card.name
        self._stride = P6_STRIDE if card.architecture.removesuffix("u").endswith("6") else STEP_PX  # yolov5x6 is also called yolov5x6u

    def __call__(self, tiles: Sequence[Image]) -> list[Detections]:
        """One Detections per tile, in tile pixels, highest score first; tiles may be tensors of the runtime's device if it takes pixels.

        Raises:
            ModelError: the network's output is not that of a YOLO with this card's classes, or is not finite.
        """
        found: list[Detections | None] = [None] * len(tiles)
        for indices in _batches([_framed(tile.shape[:2], self._stride) for tile in tiles]):
            images = _stack([tiles[i] for i in indices], self._stride)
            (raw, *_) = self._runtime(images if self._takes_pixels else _as_floats(images))
            if raw.ndim != 3 or raw.shape[:2] != (len(indices), 4 + len(self.classes)):
                raise ModelError(f"{self._name}: expected output (B, {4 + len(self.classes)}, A), got {raw.shape}")
            for i, rows in zip(indices, raw, strict=True):
                found[i] = decode(rows, tiles[i].shape[:2], confidence=self.confidence, iou=self.iou)
        return [d for d in found if d is not None]


def decode(rows: np.ndarray, shape_hw: tuple[int, int], *, confidence: float, iou: float) -> Detections:
    """(4 + C, A) raw output of one framed tile → its detections in tile pixels, clipped to the tile.

    Every anchor votes for its best class; those of at least `confidence` are suppressed within their class at `iou`.

    Raises:
        ModelError: the output is not finite.
    """
    if not np.isfinite(rows).all():
        raise ModelError("the detector's output is not finite; the weights are damaged")
    scores = rows[4:].max(axis=0)
    kept = np.flatnonzero(scores >= confidence)
    most = round(MAX_CANDIDATES * max(1.0, shape_hw[0] * shape_hw[1] / CANDIDATES_SIDE**2))
    if len(kept) > most:
        kept = kept[np.argsort(-scores[kept], kind="stable")[:most]]
    centre, half = rows[:2, kept].T, rows[2:4, kept].T / 2
    corners = boxes.clip(np.concatenate([centre - half, centre + half], axis=1) - FRAME_PX, shape_hw)  # (N, 4)
    solid = (corners[:, 2:] > corners[:, :2]).all(axis=1)
    found = Detections(corners[solid], np.minimum(scores[kept][solid], 1), rows[4:, kept].argmax(axis=0)[solid])
    return boxes.suppress(found, iou_above=iou)


def build_network(card: ModelCard) -> object:
    """The untrained torch module of a card; what `open_runtime` asks for as `build_module`.

    Raises:
        ConfigError: ultralytics has no such architecture.
    """
    from detection.yolo import build_raw  # torch and ultralytics only when the torch runtime was asked for

    return build_raw(card.architecture, len(card.classes))


def _framed(shape_hw: tuple[int, int], stride: int) -> tuple[int, int]:
    return tuple(-(-(side + 2 * FRAME_PX) // stride) * stride for side in shape_hw)  # type: ignore[return-value]


def _batches(shapes: Sequence[tuple[int, int]]) -> Iterator[list[int]]:
    """Indices of tiles of one framed shape, as many as fit `BATCH_PIXELS`; in order of first appearance."""
    by_shape: dict[tuple[int, int], list[int]] = {}
    for i, shape in enumerate(shapes):
        by_shape.setdefault(shape, []).append(i)
    for (height, width), indices in by_shape.items():
        size = max(1, BATCH_PIXELS // (height * width))
        yield from (indices[i : i + size] for i in range(0, len(indices), size))


def _stack(tiles: Sequence[Any], stride: int) -> Any:
    """(B, H, W, 3): tiles of one framed shape, arrays or tensors."""
    shape = (len(tiles), *_framed(tiles[0].shape[:2], stride), 3)
    canvas = np.full(shape, PAD, np.uint8) if isinstance(tiles[0], np.ndarray) else tiles[0].new_full(shape, PAD)
    for row, tile in zip(canvas, tiles, strict=True):
        row[FRAME_PX : FRAME_PX + tile.shape[0], FRAME_PX : FRAME_PX + tile.shape[1]] = tile
    return canvas


def _as_floats(batch: Image) -> np.ndarray:
    return np.ascontiguousarray(batch.transpose(0, 3, 1, 2), np.float32) / np.float32(255)  # (B, 3, H, W)
