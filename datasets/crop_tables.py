"""Crops tables that exist already, taken over into a joint one: files as they are, names and groups led by the name of their set."""

import csv
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

from datasets import convert
from datasets.convert import CropRecord
from smear import annotations
from smear.errors import AnnotationError
from smear.models import CropContract

LED: tuple[str, ...] = ("patient", "slide", "field", "group", "stain")  # columns whose values are unique within their set alone


def read_table(table: Path, contract: CropContract) -> tuple[dict[str, Any], list[CropRecord]]:
    """What the manifest of a prepared table says about it, and its rows; the files are still where they are.

    Raises:
        AnnotationError: no table or manifest, another crop contract, a missing column or file, or an unknown split.
    """
    manifest = annotations.read_manifest(table.parent)
    if manifest is None:
        raise AnnotationError(f"{table.parent}: no manifest.json; --crops wants the crops.csv of a prepared set")
    if manifest.get("crop") != contract.model_dump():
        found, wanted = _in_words(manifest.get("crop")), _in_words(contract.model_dump())
        raise AnnotationError(f"{table}: was cut by another crop contract ({found}) than this table ({wanted}); cut it again")
    name = str(manifest.get("name") or table.parent.name)
    try:
        with table.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            missing = [column for column in convert.CROP_COLUMNS if column not in (reader.fieldnames or ())]
            if missing:
                raise AnnotationError(f"{table}: column {missing[0]!r} is missing")
            records = [_record(row, table, name, f"{table}:{reader.line_num}") for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise AnnotationError(f"{table}: cannot read it ({error}); --crops wants the crops.csv of a prepared set") from error
    about = {"name": name, "source": manifest.get("source"), "licence": manifest.get("licence")}
    hashes = {"manifest_sha256": annotations.sha256(table.parent / "manifest.json"), "table_sha256": annotations.sha256(table)}
    return about | hashes, records


def _record(row: Mapping[str, str | None], table: Path, name: str, where: str) -> CropRecord:
    if None in row or None in row.values():
        raise AnnotationError(f"{where}: has not as many values as the header")
    values = {key: value or "" for key, value in row.items()}
    file = PurePosixPath(values["file"])
    if file.is_absolute() or ".." in file.parts:
        raise AnnotationError(f"{where}: file: must lie below the table's folder, got {values['file']!r}")
    if values["split"] not in convert.SPLITS:
        raise AnnotationError(f"{where}: split: must be one of {', '.join(convert.SPLITS)}, got {values['split']!r}")
    own = values.get("source_set") or name
    led = {key: _led_by(own, values[key]) for key in LED if key in values}
    extra = {key: led.get(key, value) for key, value in values.items() if key not in convert.CROP_COLUMNS} | {"source_set": own}
    below = file.relative_to("crops") if file.parts[:1] == ("crops",) else file
    record = CropRecord(
        None,
        _led_by(name, below.with_suffix("").as_posix()),
        values["label"],
        led["patient"] or None,
        led["slide"] or None,
        led["field"] or None,
        values["split"],
        extra,
    )
    return replace(record, source=table.parent / file)


def _led_by(set_name: str, value: str) -> str:
    """`value` below the name of its set, once: a table of tables has led its values already."""
    return value if not value or value == set_name or value.startswith(f"{set_name}/") else f"{set_name}/{value}"


def _in_words(contract: Mapping[str, Any] | None) -> str:
    return ", ".join(f"{key} {value}" for key, value in contract.items()) if contract else "none: crops of its own kind"
