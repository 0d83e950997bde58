"""How well twins are found: disguised copies are planted among images, and the finder is asked for them.

`python -m datasets.planted_twins --source DIR` takes the images of any folder, or paints fields without one. Half of the images are
planted once in every disguise; the other half have no twin. Precision counts pairs that were not planted as wrong, so that real twins
in the folder lower it: they are looked for first and left out.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from datasets import painted
from datasets.bars import track
from datasets.listing import list_images
from datasets.set_files import write_changed
from smear import images
from smear.audit.linked import connected
from smear.audit.twins import TRANSFORMS, find_twins, turned
from smear.errors import ConfigError, SmearError
from smear.types import Image

Disguise = Callable[[Image, np.random.Generator], Image]


def turn(image: Image, rng: np.random.Generator, index: int | None = None) -> Image:
    """One of the eight flips and quarter turns, `index` in `TRANSFORMS`."""
    chosen = int(rng.integers(1, len(TRANSFORMS))) if index is None else index
    return np.ascontiguousarray(np.moveaxis(turned(np.moveaxis(image, 2, 0), chosen), 0, 2))


def recolour(image: Image, rng: np.random.Generator) -> Image:
    """Another gamma (0.6 to 1.6), channels mixed by a third, another brightness (0.8 to 1.05)."""
    mixed = (image / 255.0) ** rng.uniform(0.6, 1.6) @ (0.7 * np.eye(3) + 0.3 * rng.dirichlet([1, 1, 1], 3).T)
    return np.clip(mixed * 255 * rng.uniform(0.8, 1.05), 0, 255).astype(np.uint8)


def rescale(image: Image, rng: np.random.Generator) -> Image:
    """0.5 to 1.5 times as large."""
    return images.resize(image, rng.uniform(0.5, 1.5))


def recompress(image: Image, rng: np.random.Generator) -> Image:
    """JPEG of quality 30 to 90."""
    _, data = cv2.imencode(".jpg", image[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(30, 90))])
    return images.decode(data.tobytes(), name="planted")


def shift(image: Image, rng: np.random.Generator) -> Image:
    """Turned by up to 5°, zoomed by up to 10 %, shifted by up to 3 %; what comes in from outside mirrors the border."""
    height, width = image.shape[:2]
    warp = cv2.getRotationMatrix2D((width / 2, height / 2), rng.uniform(-5, 5), rng.uniform(1, 1.1))
    warp[:, 2] += rng.uniform(-0.03, 0.03, 2) * (width, height)
    return np.asarray(cv2.warpAffine(image, warp, (width, height), borderMode=cv2.BORDER_REFLECT), np.uint8)


def trim(image: Image, rng: np.random.Generator) -> Image:
    """A window of 85 to 95 % of each side, anywhere."""
    height, width = image.shape[:2]
    h, w = (round(side * rng.uniform(0.85, 0.95)) for side in (height, width))
    y, x = int(rng.integers(0, height - h + 1)), int(rng.integers(0, width - w + 1))
    return np.ascontiguousarray(image[y : y + h, x : x + w])


def everything(image: Image, rng: np.random.Generator) -> Image:
    """Turned or flipped, shifted, recoloured, rescaled and recompressed."""
    for disguise in (turn, shift, recolour, rescale, recompress):
        image = disguise(image, rng)
    return image


DISGUISES: dict[str, Disguise] = {
    "copied": lambda image, rng: image,
    "flipped or turned": turn,
    "recoloured": recolour,
    "rescaled": rescale,
    "recompressed": recompress,
    "shifted": shift,
    "trimmed": trim,
    "all but trimmed": everything,
}


def measure(
    originals: Sequence[Path], folder: Path, *, seed: int = 0, names: Sequence[str] = tuple(DISGUISES), progress: bool = False
) -> dict[str, dict[str, Any]]:
    """Plant the first half of `originals` in each disguise and look for them: `planted`, `found`, `wrong`, `recall`, `precision`.

    Args:
        originals: images of which no two are twins. folder: where the disguised copies are written, as PNG.
    """
    known = {}
    n_planted = len(originals) // 2
    for number, name in enumerate(names):
        copies = []
        for i, path in enumerate(track(originals[:n_planted], name, shown=progress)):
            image = DISGUISES[name](images.read_image(path), np.random.default_rng([seed, number, i]))
            copies.append(folder / f"{number}" / f"{i:06d}.png")
            write_changed(copies[-1], images.encode(image, ".png"))
        wanted = set(zip(originals, copies, strict=False))
        pairs = {(t.a, t.b) for t in find_twins(list(originals), copies)}
        right, wrong = len(pairs & wanted), len(pairs - wanted)
        known[name] = {
            "planted": n_planted,
            "found": right,
            "wrong": wrong,
            "recall": right / n_planted if n_planted else None,
            "precision": right / len(pairs) if pairs else None,
        }
    return known


def main(argv: Sequence[str] | None = None) -> int:
    made = argparse.ArgumentParser(prog="python -m datasets.planted_twins", description=(__doc__ or "").split("\n\n")[0])
    made.add_argument("--source", type=Path, metavar="DIR", help="images to plant among (default: painted fields)")
    made.add_argument("--images", type=int, default=200, metavar="N", help="how many images, half of them planted (default 200)")
    made.add_argument("--seed", type=int, default=0, help="of the choice and the disguises (default 0)")
    made.add_argument("--out", type=Path, metavar="DIR", help="where planted.json goes")
    made.add_argument("--quiet", action="store_true", help="no progress bar")
    arguments = made.parse_args(argv)
    try:
        if arguments.images < 2:
            raise ConfigError(f"--images: must be at least 2, got {arguments.images}")
        with tempfile.TemporaryDirectory() as scratch:
            originals = _originals(arguments, Path(scratch))
            found = measure(originals, Path(scratch) / "copies", seed=arguments.seed, progress=not arguments.quiet)
        if arguments.out:
            write_changed(arguments.out / "planted.json", (json.dumps(found, indent=1) + "\n").encode())
    except SmearError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print("\n".join(describe(found)))
    return 0


def describe(found: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """A table: one line a disguise."""
    lines = [f"{'disguise':18s} planted  found  wrong  recall  precision"]
    for name, row in found.items():
        shares = "".join(f"{'-' if row[key] is None else format(row[key], '.3f'):>{n}s}" for key, n in (("recall", 8), ("precision", 11)))
        lines.append(f"{name:18s} {row['planted']:7d} {row['found']:6d} {row['wrong']:6d}{shares}")
    return lines


def _originals(arguments: argparse.Namespace, scratch: Path) -> list[Path]:
    """Images without twins among them, in random order."""
    if arguments.source is None:
        paint = painted.paint_set(
            n_fields=arguments.images, n_slides=max(1, arguments.images // 4), seed=arguments.seed, shape_hw=(480, 640), blank_share=0
        )
        paths = []
        for i, record in enumerate(track(paint, "paint", shown=not arguments.quiet, total=arguments.images)):
            assert record.image is not None
            paths.append(scratch / "painted" / f"{i:06d}.png")
            images.write_image(paths[-1], record.image)
        return paths
    paths = [item.path for item in list_images(arguments.source).items]
    chosen = [paths[i] for i in np.random.default_rng(arguments.seed).permutation(len(paths))[: arguments.images]]
    component = connected(chosen, [(t.a, t.b) for t in find_twins(chosen)])
    first = {number: path for path, number in reversed(component.items())}
    return [path for path in chosen if first[component[path]] == path]


if __name__ == "__main__":
    raise SystemExit(main())
