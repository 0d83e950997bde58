"""What one image is: read and decoded once, for the finder of twins, the audit of its boxes and that of the image itself."""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from datasets import traits
from datasets.label_audit import Boxes, read_boxes
from datasets.listing import Item, Listing, Problem
from smear import images
from smear.audit import twins
from smear.errors import ImageError
from smear.images import Header
from smear.types import Image

FORMATS = {".jpg": "JPEG", ".jpeg": "JPEG", ".png": "PNG", ".bmp": "BMP", ".tif": "TIFF", ".tiff": "TIFF"}
CLIPPED_SHARE = 0.95  # of the pixels black or white, from which an image shows nothing
DARK, LIGHT = 5, 250  # grey levels
GREY = 2.0  # mean difference of the channels up to which an image has no colour
MIN_AREA, MAX_AREA, MAX_ASPECT = 1 / 9, 9.0, 3.0  # of the median area of the set; long by short side
FAR_COLOUR = 8.0  # robust standard deviations of mean colour from the set's median
COLOUR_FLOOR = 4.0  # Lab units below which no spread is believed


@dataclass(frozen=True)
class Seen:
    """One readable image: what its file says, how it looks, its boxes, and traits (N, T) float32 of the boxes, or of the whole image."""

    item: Item
    header: Header
    look: twins.Look
    spread: float  # standard deviation of the grey values
    dark: float  # share of pixels in [0, 1]
    light: float
    colourfulness: float  # mean difference between the channels, grey levels
    lab: tuple[float, float, float]  # mean CIE Lab, OpenCV's 8-bit scale
    boxes: Boxes
    traits: NDArray[np.float32]
    problems: tuple[Problem, ...] = ()


def see(item: Item, listing: Listing) -> Seen:
    """Read one image of a listing.

    Raises:
        ImageError: it cannot be read.
    """
    name = str(item.path)
    try:
        data = item.path.read_bytes()
    except OSError as error:
        raise ImageError(f"{name}: cannot read it ({error.strerror})") from error
    about = images.header(data, name=name)
    image = images.decode(data, name=name)
    shape_hw = (image.shape[0], image.shape[1])
    found = read_boxes(item.label_file, shape_hw, listing.classes)
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    small = _small(image)
    return Seen(
        item,
        Header(about.format, about.mode, shape_hw, about.n_pages),
        twins.look(image),
        float(grey.std()),
        float((grey <= DARK).mean()),
        float((grey >= LIGHT).mean()),
        float(small.astype(np.float32).std(axis=2).mean()),
        _mean_lab(small),
        found,
        traits.of_image(image, whole=item.label is not None, corners=found.corners),
        tuple(_file_problems(item, about, data)),
    )


def odd_images(seen: Sequence[Seen]) -> list[Problem]:
    """What is odd about an image by itself or among its set: constant, blank, without colour, of another size, mode or colour."""
    problems = [problem for s in seen for problem in s.problems]
    if not seen:
        return problems
    modes = Counter(s.header.mode for s in seen)
    usual_mode = modes.most_common(1)[0][0]
    area = float(np.median([np.prod(s.header.shape_hw) for s in seen]))
    labs = np.array([s.lab for s in seen])
    middle = np.median(labs, axis=0)
    spread = np.maximum(1.4826 * np.median(np.abs(labs - middle), axis=0), COLOUR_FLOOR)
    far = (np.abs(labs - middle) / spread).max(axis=1)
    few_grey = sum(s.colourfulness < GREY for s in seen) < len(seen) / 2
    for s, distance in zip(seen, far, strict=True):
        height, width = s.header.shape_hw
        said = {
            "constant image": f"standard deviation {s.spread:.1f} grey levels" if s.spread < twins.FLAT else "",
            "almost all black": f"{100 * s.dark:.0f} % of the pixels" if s.dark > CLIPPED_SHARE else "",
            "almost all white": f"{100 * s.light:.0f} % of the pixels" if s.light > CLIPPED_SHARE else "",
            "without colour": "in a set of colour images" if few_grey and s.colourfulness < GREY else "",
            "odd mode": f"{s.header.mode}; most are {usual_mode}" if s.header.mode != usual_mode else "",
            "odd size": f"{width}×{height}" if _is_odd_size(height, width, area) else "",
            "odd colour": f"{distance:.0f} robust standard deviations from the set" if distance > FAR_COLOUR else "",
        }
        problems += [Problem(kind, str(s.item.path), detail) for kind, detail in said.items() if detail]
    return problems


def sizes(seen: Sequence[Seen]) -> Mapping[str, Mapping[str, int]]:
    """How many images have each size ("640×480", width first), format and mode; the commonest first."""
    counts = {
        "sizes": Counter(f"{s.header.shape_hw[1]}×{s.header.shape_hw[0]}" for s in seen),
        "formats": Counter(s.header.format for s in seen),
        "modes": Counter(s.header.mode for s in seen),
    }
    return {key: dict(sorted(counter.items(), key=lambda pair: (-pair[1], pair[0]))) for key, counter in counts.items()}


def _file_problems(item: Item, about: Header, data: bytes) -> list[Problem]:
    name, suffix = str(item.path), Path(item.path).suffix.lower()
    problems = []
    if FORMATS.get(suffix) != about.format:
        problems.append(Problem("suffix is not its format", name, f"{about.format} inside"))
    if about.n_pages > 1:
        problems.append(Problem("several pages", name, f"{about.n_pages}; only the first is looked at"))
    if item.sha256 and hashlib.sha256(data).hexdigest() != item.sha256:
        problems.append(Problem("changed since it was prepared", name, "its SHA-256 is not the manifest's"))
    return problems


def _is_odd_size(height: int, width: int, usual_area: float) -> bool:
    share = height * width / usual_area
    return not MIN_AREA <= share <= MAX_AREA or max(height, width) > MAX_ASPECT * min(height, width)


def _small(image: Image) -> Image:
    return np.asarray(cv2.resize(image, (32, 32), interpolation=cv2.INTER_AREA), np.uint8)


def _mean_lab(small: Image) -> tuple[float, float, float]:
    a, b, c = cv2.cvtColor(small, cv2.COLOR_RGB2LAB).reshape(-1, 3).mean(axis=0)
    return float(a), float(b), float(c)
