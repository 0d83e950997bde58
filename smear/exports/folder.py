"""One exported folder, written whole or not at all, and never over what somebody corrected by hand."""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

from smear.errors import ConfigError
from smear.files import write_atomic
from smear.types import FieldResult

RECORD = ".exported"  # in the folder: the SHA-256 of every file as we wrote it
Item = tuple[str, bytes | FieldResult]  # a posix path in the folder, and its bytes or the field whose picture belongs there


def write_folder(folder: Path, items: Iterable[Item], place_picture: Callable[[FieldResult, Path, str], None] | None) -> int:
    """Replace `folder` by the items and return how many files it has; a killed run leaves the old folder or the new one.

    Args:
        place_picture: writes the picture of a field to a path, which will have that name in `folder`; None leaves pictures out.

    Raises:
        ConfigError: the folder holds a file that this function did not write, or that was changed since.
        ImageError: a picture cannot be read any more. OSError: the disk is full.
    """
    check_untouched(folder)
    draft = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(draft, ignore_errors=True)
    written: dict[str, str] = {}
    try:
        for name, content in items:
            path = draft / name
            if isinstance(content, bytes):
                write_atomic(path, content)
            elif place_picture is None:
                continue
            else:
                path.parent.mkdir(parents=True, exist_ok=True)
                place_picture(content, path, name)
            written[name] = _sha256(path)
        write_atomic(draft / RECORD, json.dumps(written, indent=0, ensure_ascii=False) + "\n")
        check_untouched(folder)  # the pictures took a while
        shutil.rmtree(folder, ignore_errors=True)
        os.replace(draft, folder)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise
    return len(written)


def check_untouched(folder: Path) -> None:
    """Refuse a folder with work of somebody else in it.

    Raises:
        ConfigError: names the first file that was added, changed or removed since `write_folder`.
    """
    if not folder.exists():
        return
    if not folder.is_dir():
        raise ConfigError(f"{folder}: a file is in the way of the export; move it away")
    here = {p.relative_to(folder).as_posix(): p for p in folder.rglob("*") if not p.is_dir() and p != folder / RECORD}
    try:
        known: dict[str, str] = json.loads((folder / RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        known = {}
    odd = [name for name in sorted({*here, *known}) if name not in here or name not in known or _sha256(here[name]) != known[name]]
    if odd:
        raise ConfigError(
            f"{folder / odd[0]}: changed since it was exported ({len(odd)} files were); it may be corrected by hand and is kept: "
            "move the folder away, then export again"
        )


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
