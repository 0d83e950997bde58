"""One look for the pages that `datasets` writes: self-contained HTML that loads nothing, runs no script and escapes every text."""

import base64
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from smear import images
from smear.errors import ImageError
from smear.types import Image

HERE = Path(__file__).parent
THUMB_PX = 160


def render(template: str, **values: Any) -> str:
    """The page of one template beside this file; the same text for the same values."""
    page = _templates().get_template(template).render(css=(HERE / "page.css").read_text(encoding="utf-8"), **values)
    return page.encode("utf-8", "replace").decode("utf-8")  # undecodable file names must not stop the page


@cache
def _templates() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"thumb": thumb}
    return environment


def thumb(path: str, corners: list[float] | None = None) -> str:
    """A data URI of a small JPEG of an image, or of one box of it with half as much again around; "" when it cannot be read."""
    try:
        image = images.read_image(Path(path))
    except ImageError:
        return ""
    if corners is not None:
        image = _around(image, corners)
    factor = THUMB_PX / max(image.shape[:2])
    small = images.resize(image, factor) if factor < 1 or corners is not None else image
    return "data:image/jpeg;base64," + base64.b64encode(images.encode(small, ".jpg")).decode()


def _around(image: Image, corners: list[float]) -> Image:
    """The box in the middle of a square one and a half times as large, drawn around; what lies outside the image is grey."""
    x0, y0, x1, y1 = corners
    half = max(8.0, 0.75 * max(x1 - x0, y1 - y0))
    left, top = round((x0 + x1) / 2 - half), round((y0 + y1) / 2 - half)
    side = pad = round(2 * half)
    padded = cv2.copyMakeBorder(image, pad, pad, pad, pad, cv2.BORDER_CONSTANT, value=(225, 222, 215))
    view = np.ascontiguousarray(padded[max(0, top + pad) : top + pad + side, max(0, left + pad) : left + pad + side])
    start, end = (round(x0 - left), round(y0 - top)), (round(x1 - left), round(y1 - top))
    return np.asarray(cv2.rectangle(view, start, end, (20, 20, 20), max(1, side // 80)), np.uint8)
