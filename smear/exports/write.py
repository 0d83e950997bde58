"""Results out: every format that was asked for, each in a folder of its own."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from importlib import import_module
from pathlib import Path

from smear.exports import FORMATS, parse_formats
from smear.exports.folder import Item, write_folder
from smear.exports.marks import Batch, make_batch
from smear.exports.pictures import Pictures
from smear.types import FieldResult, Outcome


def export(
    outcomes: Sequence[Outcome], root: Path, formats: Sequence[str], *, images: Path | None = None, with_images: bool = True
) -> dict[str, Path]:
    """Write results as `root/<format>/`, a folder that other tools open as it is; returns the folder of each format.

    A second run with the same results writes the same bytes. What somebody changed there is never overwritten. GeoJSON and Parquet have
    no pictures.

    Args:
        images: where the analysed images are now; None: where the analysis found them.
        with_images: also write pictures, without metadata; otherwise file names are the ids of the fields.

    Raises:
        ConfigError: a format is unknown, or its folder was changed by hand.
        ImageError: an image cannot be read any more or has another size. AnnotationError: a box is empty.
    """
    batch = make_batch(outcomes, with_images=with_images)
    pictures = Pictures(images)
    written = {}
    for name in parse_formats(",".join(formats)):
        folder = root / name
        write_folder(folder, writer(name)(batch), partial(_place, pictures, folder) if with_images else None)
        written[name] = folder
    return written


def writer(name: str) -> Callable[[Batch], Iterator[Item]]:
    """The function that turns results into the files of a format."""
    found: Callable[[Batch], Iterator[Item]] = import_module(FORMATS[name]).write
    return found


def _place(pictures: Pictures, folder: Path, result: FieldResult, path: Path, name: str) -> None:
    pictures.place(result, path, final=folder / name)
