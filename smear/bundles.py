"""Writing a bundle and what later commands learn about it; its card for people is written along."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from smear.cards import write_cards
from smear.errors import ModelError
from smear.files import write_atomic
from smear.model_files import check_content, check_name
from smear.models import CARD_JSON, CARD_NAME, ModelCard, open_bundle


def save_bundle(folder: Path, card: ModelCard, files: Mapping[str, bytes | Path]) -> ModelCard:
    """Write the files and then the card, each atomically, with the model card for people; returns the card with the hashes filled in.

    Raises:
        ModelError: a name or a content that `open_bundle` would refuse, or no file at all.
        OSError: the folder cannot be written, or a source cannot be read.
    """
    if not files:
        raise ModelError(f"{folder}: a bundle needs at least one file")
    contents = {name: data if isinstance(data, bytes) else data.read_bytes() for name, data in files.items()}
    for name, data in contents.items():
        check_name(name)
        if name in (CARD_NAME, CARD_JSON):
            raise ModelError(f"{name}: is written by save_bundle, it cannot be one of the files")
        check_content(name, data)
    for name, variant in card.variants.items():
        if variant.file is not None and variant.file not in contents:
            raise ModelError(f"{folder}: variants: {name}: its file {variant.file!r} is not one of the files {list(contents)!r}")
    filled = card.model_copy(update={"files": {name: hashlib.sha256(data).hexdigest() for name, data in contents.items()}})
    for name, data in contents.items():
        write_atomic(folder / name, data)
    return _write_card(Path(folder), filled)


def record_metrics(folder: Path, name: str, metrics: Mapping[str, Any], *, thresholds: Mapping[str, float] | None = None) -> ModelCard:
    """Put the metrics of one evaluation into the card of a bundle, under `name`, and what was chosen there; the weights stay as they are.

    Raises:
        ModelError: as `open_bundle`.
        OSError: the card cannot be written.
    """
    card = open_bundle(folder).card
    changes = {"metrics": {**card.metrics, name: dict(metrics)}, "thresholds": {**card.thresholds, **(thresholds or {})}}
    return _write_card(Path(folder), card.model_copy(update=changes))


def record_statistics(folder: Path, statistics: Mapping[str, Any]) -> ModelCard:
    """Put what the training fields look like into the card of a detector; the weights stay as they are.

    Raises:
        ModelError: as `open_bundle`.
        OSError: the card cannot be written.
    """
    card = open_bundle(folder).card
    return _write_card(Path(folder), card.model_copy(update={"statistics": dict(statistics)}))


def record_calibration(folder: Path, temperature: float, thresholds: Mapping[str, float], metrics: Mapping[str, Any]) -> ModelCard:
    """Put what validation cells decided into the card of a classifier, all at once; other thresholds and metrics stay.

    Raises:
        ModelError: as `open_bundle`.
        OSError: the card cannot be written.
    """
    card = open_bundle(folder).card
    changes = {"thresholds": {**card.thresholds, **thresholds}, "metrics": {**card.metrics, **metrics}}
    return _write_card(Path(folder), card.model_copy(update={"temperature": temperature, **changes}))


def record_answers(folder: Path, answers: Mapping[str, str]) -> ModelCard:
    """Put people's answers to open questions of the model card into `training["answers"]`; an empty text takes one back.

    Raises:
        ModelError: as `open_bundle`.
        OSError: the card cannot be written.
    """
    card = open_bundle(folder).card
    known = {**(card.training.get("answers") or {}), **answers}
    training = {**card.training, "answers": {name: text for name, text in known.items() if text}}
    return _write_card(Path(folder), card.model_copy(update={"training": training}))


def _write_card(folder: Path, card: ModelCard) -> ModelCard:
    """`model.json`, and beside it the same for people, so that no bundle is without."""
    write_atomic(folder / CARD_NAME, card.model_dump_json(indent=1) + "\n")
    write_cards(folder, card)
    return card
