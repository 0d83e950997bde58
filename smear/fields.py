"""Find the fields below a folder: every image, every full-size page of a TIFF, each subfolder a slide; nothing is decoded."""

import os
from collections.abc import Iterator
from pathlib import Path

from smear.errors import ConfigError
from smear.images import SUFFIXES, full_size_pages
from smear.types import Field

_HIDDEN = ("thumbs.db", "desktop.ini")


def find_fields(root: Path, *, slides: bool = True) -> tuple[Field, ...]:
    """Every image below a folder, sorted by id; with `slides` the subfolder is the slide.

    Each page of a multi-page TIFF is a field, `a.tif#1`, `a.tif#2`, …; reduced copies of a page (thumbnails, pyramid
    levels) are not. Hidden files are left out. Linked folders are followed, each folder once. Files are not decoded:
    one that cannot be opened is a field too and fails later, by name.

    Raises:
        ConfigError: `root` is not a folder that can be read, or holds no image.
    """
    root = Path(root)
    if not root.is_dir():
        raise ConfigError(f"{root}: {'not a folder' if root.exists() else 'no such folder'}; give a folder of smear images")
    fields = [f for path in _image_files(root) for f in _fields_of(path, root, slides)]
    if not fields:
        raise ConfigError(f"{root}: no images in it ({', '.join(SUFFIXES)})")
    return tuple(sorted(fields, key=lambda f: (f.id.partition("#")[0], f.page, f.id)))


def _image_files(root: Path) -> Iterator[Path]:
    seen = set()

    def fail(error: OSError) -> None:
        raise ConfigError(f"{error.filename}: cannot read this folder ({error.strerror})") from error

    for folder, subfolders, files in os.walk(root, followlinks=True, onerror=fail):
        identity = (os.stat(folder).st_dev, os.stat(folder).st_ino)
        if identity in seen:  # a link back, or the same folder under a second name: its cells must not count twice
            subfolders.clear()
            continue
        seen.add(identity)
        subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
        for name in sorted(files):
            if not name.startswith(".") and name.lower() not in _HIDDEN and Path(name).suffix.lower() in SUFFIXES:
                yield Path(folder) / name


def _fields_of(path: Path, root: Path, slides: bool) -> Iterator[Field]:
    relative = path.relative_to(root)
    name = _printable(relative.as_posix())
    slide = _printable(relative.parent.as_posix()) if slides and relative.parent.parts else ""
    pages = full_size_pages(path) if path.suffix.lower() in (".tif", ".tiff") else (0,)
    for page in pages:
        yield Field(id=f"{name}#{page + 1}" if len(pages) > 1 else name, path=path, slide=slide, page=page)


def _printable(name: str) -> str:
    return os.fsencode(name).decode("utf-8", "backslashreplace")  # a name that is not UTF-8 must still fit into a report
