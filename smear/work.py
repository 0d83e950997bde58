"""A field on its way through the stages of an analysis."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from dataclasses import field as member
from typing import Any

import numpy as np

from smear.types import UNKNOWN_SCALE, Detections, Field, FieldFailure, Image, Scale


@dataclass
class Work:
    """What is known of a field so far; each stage adds to it. seconds: by stage. failure: why nothing more will be known.

    picture: the image where the networks are (`smear.optics`), while they look at it; None before and after.
    """

    field: Field
    image: Image
    scale: Scale = UNKNOWN_SCALE
    found: Detections = member(default_factory=Detections.empty)
    warnings: list[str] = member(default_factory=list)
    seconds: dict[str, float] = member(default_factory=dict)
    quality: dict[str, float] = member(default_factory=dict)
    failure: FieldFailure | None = None
    picture: Any = None

    @property
    def n_pixels(self) -> int:
        return self.image.shape[0] * self.image.shape[1]

    @classmethod
    def failed(cls, failure: FieldFailure) -> "Work":
        return cls(failure.field, np.zeros((0, 0, 3), np.uint8), failure=failure)


@contextmanager
def timed(work: Work, stage: str) -> Iterator[None]:
    """Note how long a stage of one field takes, on top of what it has taken."""
    started = time.perf_counter()
    yield
    work.seconds[stage] = work.seconds.get(stage, 0.0) + time.perf_counter() - started


def share(works: Sequence[Work], stage: str, seconds: float) -> None:
    """Note the time of a stage that several fields went through together, each an equal part of it."""
    for work in works:
        work.seconds[stage] = work.seconds.get(stage, 0.0) + seconds / len(works)
