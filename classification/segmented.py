"""Crops in which only the cell, or only its nucleus, is left: what lies outside is black, as in C-NMC."""

from dataclasses import replace
from typing import Literal

import numpy as np

from classification.features.segment import segment
from classification.pictures import Pictures
from smear.types import Image

CHUNK = 256  # crops that are segmented at once


def keep_segment(pictures: Pictures, what: Literal["cell", "nucleus"]) -> Pictures:
    """N crops, all in memory afterwards; one in which nothing could be told apart stays as it is."""
    parts = [cut_out(pictures[i : i + CHUNK], what) for i in range(0, len(pictures), CHUNK)]
    kept = np.concatenate([np.zeros((0, pictures.size, pictures.size, 3), np.uint8), *parts])
    return replace(pictures, kept=kept, place=np.arange(len(pictures)))


def cut_out(crops: Image, what: Literal["cell", "nucleus"]) -> Image:
    """(N, S, S, 3) uint8 → the same with black outside the segment of that name."""
    cells, nuclei = segment(crops)
    masks = cells if what == "cell" else nuclei  # (N, S, S)
    found = masks.any(axis=(1, 2), keepdims=True)
    return np.where((masks | ~found)[..., None], crops, np.uint8(0))
