"""The files of a prepared set: each put in its place once, an equal one left alone, nothing foreign mixed in, nothing stale kept."""

import hashlib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from smear import annotations, images
from smear.errors import AnnotationError
from smear.files import write_atomic
from smear.types import Detections, Image

COPIED_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp")  # every reader agrees on these; TIFF (16-bit, pages) is decoded to PNG


def write_changed(path: Path, content: bytes) -> bool:
    """Write, all or nothing, unless the file already holds exactly this; True when it was written."""
    if path.is_file() and path.stat().st_size == len(content) and path.read_bytes() == content:
        return False
    write_atomic(path, content)
    return True


def place(out: Path, folder: str, name: str, source: Path | None, image: Image | None) -> tuple[str, str, tuple[int, int]]:
    """Put one image at `folder/name` below `out`; returns its relative posix path, SHA-256 and (height, width)."""
    if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts or not name:
        raise AnnotationError(f"{name!r}: not a name below the folder of the set")
    if (source is None) == (image is None):
        raise AnnotationError(f"{name}: give either a source file or an image")
    suffix = ".png"
    if source is not None:
        content = _read(source)
        image = images.decode(content, name=str(source))
        if source.suffix.lower() in COPIED_SUFFIXES:
            suffix = source.suffix.lower()
        else:
            content = images.encode(image, suffix)
    else:
        assert image is not None
        content = images.encode(image, suffix)
    file = f"{folder}/{name}{suffix}"
    write_changed(out / file, content)
    return file, hashlib.sha256(content).hexdigest(), (image.shape[0], image.shape[1])


def write_labels(path: Path, truth: Detections, shape_hw: tuple[int, int]) -> str:
    text = annotations.labels_text(truth, shape_hw, name=str(path))
    write_changed(path, text.encode())
    return text


def written_before(out: Path) -> set[str]:
    manifest = annotations.read_manifest(out)
    return {entry["file"] for entry in manifest["files"]} if manifest else set()


def check_complete(files: Sequence[str], out: Path) -> None:
    if not files:
        raise AnnotationError(f"{out}: the source gave no image")
    stems = Counter(str(PurePosixPath(f).with_suffix("")) for f in files)  # labels share the stem, whatever the suffix
    twice = sorted(stem for stem, n in stems.items() if n > 1)
    if twice:
        raise AnnotationError(f"{out}: two images would be written to {twice[0]}; give them different names")


def remove_stale(out: Path, old: set[str], new: set[str], *, folder: str) -> None:
    """Remove what an earlier run wrote and this one did not; refuse to mix with files that are not ours."""
    here = {p.relative_to(out).as_posix() for p in (out / folder).rglob("*") if p.suffix.lower() in annotations.IMAGE_SUFFIXES}
    foreign = sorted(here - old - new)
    if foreign:
        raise AnnotationError(f"{out}: {foreign[0]} and {len(foreign) - 1} more are not of this set; choose an empty --out")
    for file in (here & old) - new:
        (out / file).unlink()
        annotations.label_path(out / file).unlink(missing_ok=True)


def _read(source: Path) -> bytes:
    try:
        return source.read_bytes()
    except OSError as error:
        raise AnnotationError(f"{source}: cannot read it ({error.strerror})") from error
