"""Roboflow: download one version of a project as YOLO and bring it into a prepared set. The only source that needs the network.

The key comes from the environment, `ROBOFLOW_API_KEY`, never from the command line, and is struck from every message. A version
is immutable: one that was prepared here before is not asked for again. Exports of Roboflow name augmented copies of one image
`<name>.rf.<hash>`; the part before `.rf.` is kept as `slide`, so that copies stay together in any later split.
"""

import argparse
import contextlib
import os
import re
import shutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import yaml

from datasets import convert, finished, yolo
from datasets.convert import Record
from smear import annotations
from smear.annotations import DataSet
from smear.errors import ConfigError, MissingExtra

KEY = "ROBOFLOW_API_KEY"
FORMAT = "yolov8"
FOLDER_OF_SPLIT = {"train": "train/images", "val": "valid/images", "test": "test/images"}
COPY_MARK = re.compile(r"\.rf\.[0-9A-Za-z]+$")
DOWNLOAD = ".download"  # below --out, removed when the set is complete


def download(workspace: str, project: str, version: int, folder: Path) -> Path:
    """Fetch a version in YOLO form into `folder` (made anew) and return the folder that holds its data.yaml.

    Raises:
        ConfigError: no key in the environment, or the service refused or could not be reached.
        MissingExtra: the package `roboflow` is not installed.
    """
    key = os.environ.get(KEY, "").strip()
    if not key:
        raise ConfigError(f"{KEY}: not set; put your Roboflow key into the environment (app.roboflow.com, Settings, API Keys)")
    try:
        import roboflow
    except ImportError as error:
        raise MissingExtra("datasets.roboflow", "roboflow", "roboflow") from error
    shutil.rmtree(folder, ignore_errors=True)
    try:
        with contextlib.redirect_stdout(sys.stderr):  # the SDK prints its progress
            found = roboflow.Roboflow(api_key=key).workspace(workspace).project(project).version(version)
            written = Path(found.download(FORMAT, location=str(folder), overwrite=True).location)
    except Exception as error:  # noqa: BLE001  # the SDK raises a dozen unrelated classes, some straight from Exception
        why = f"{type(error).__name__}: {error}".replace(key, "<key>").splitlines()[0][:300]
        raise ConfigError(
            f"{workspace}/{project}/{version}: Roboflow gave no data set ({why}); check the names, the key in {KEY} and the network"
        ) from None  # the chained error would show the key
    if not (written / "data.yaml").is_file():
        raise ConfigError(f"{workspace}/{project}/{version}: the download has no data.yaml; is it an object-detection project?")
    return written


def read_export(folder: Path) -> DataSet:
    """Open an export; its data.yaml says `../train/images`, which is not where they lie: it is rewritten by the folders that are there."""
    content = yaml.safe_load((folder / "data.yaml").read_text())
    splits = {split: place for split, place in FOLDER_OF_SPLIT.items() if (folder / place).is_dir()}
    path = folder / "data.yaml"
    path.write_text(yaml.safe_dump({"path": ".", **splits, "names": content.get("names", [])}, sort_keys=False))
    return annotations.read_data_yaml(path)


def read_records(prepared: DataSet) -> Iterator[Record]:
    for record in yolo.read_records(prepared):
        yield replace(record, slide=COPY_MARK.sub("", record.name))


def prepare(arguments: argparse.Namespace) -> Path:
    source = f"https://universe.roboflow.com/{arguments.workspace}/{arguments.project}/dataset/{arguments.version}"
    inputs = finished.inputs_digest(source=source, format=FORMAT)
    if finished.is_finished(arguments.out, inputs):
        return Path(arguments.out / "data.yaml")
    folder = arguments.out / DOWNLOAD
    try:
        prepared = read_export(download(arguments.workspace, arguments.project, arguments.version, folder))
        about = {"name": f"roboflow-{arguments.project}", "source": source, "licence": arguments.licence, "inputs_sha256": inputs}
        total = sum(map(len, prepared.splits.values()))
        return convert.write_yolo(
            read_records(prepared), arguments.out, classes=prepared.classes, about=about, total=total, progress=not arguments.quiet
        )
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def main(argv: Sequence[str] | None = None) -> int:
    made = argparse.ArgumentParser(prog="python -m datasets.roboflow", description=(__doc__ or "").split("\n\n")[0])
    made.add_argument("--workspace", required=True, help="as in app.roboflow.com/WORKSPACE/PROJECT")
    made.add_argument("--project", required=True)
    made.add_argument("--version", required=True, type=int, help="number of the exported version")
    made.add_argument("--out", type=Path, required=True, metavar="DIR", help="where the prepared set goes")
    made.add_argument("--licence", default="unknown", help="licence of the images, kept in the manifest")
    made.add_argument("--quiet", action="store_true", help="no progress bar")
    return convert.run(made, argv, prepare)


if __name__ == "__main__":
    raise SystemExit(main())
