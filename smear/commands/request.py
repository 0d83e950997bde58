"""What was typed, as settings: the configuration file under the options, bundles by name, folders that fit together."""

import argparse
import json
import os
from pathlib import Path
from typing import Any

from smear.config import load
from smear.errors import ConfigError
from smear.settings import AnalyzeSettings
from smear.store import FOLDERS

ROOT = Path(__file__).parent.parent.parent
DEFAULT_CONFIG = ROOT / "configs" / "analyze.yaml"


def settings_of(options: argparse.Namespace) -> AnalyzeSettings:
    """The settings of a run: the configuration file, `--set`, then the options of the command.

    Raises:
        ConfigError: the file or a value is not right.
    """
    given = {"detector": options.detector, "classifier": options.classifier, "device": options.device, "runtime": options.runtime,
             "um_per_px": options.um_per_px, "confidence": options.confidence, "max_error": options.max_error}  # fmt: skip
    given |= {"classifier": "null"} if options.classifier == "none" else {}
    flags = [f"{k}={v if v == 'null' else json.dumps(v, ensure_ascii=False)}" for k, v in given.items() if v is not None]
    settings = load(options.config or DEFAULT_CONFIG, AnalyzeSettings, [*options.set, *flags])
    return settings.model_copy(update={name: _found(getattr(settings, name)) for name in ("detector", "classifier")})


def shown_config(settings: AnalyzeSettings, **more: str | dict[str, str]) -> dict[str, Any]:
    """The settings as the report shows them: without the folders of this machine."""
    shown = settings.model_dump(mode="json")
    shown |= {key: Path(shown[key]).name for key in ("detector", "classifier") if shown[key]}
    return {**shown, **more}


def printable(folder: Path) -> str:
    """The name of a folder as text, also where it is not UTF-8."""
    return os.fsencode(folder.resolve().name).decode("utf-8", "backslashreplace")


def refuse_inside(out: Path, folder: Path) -> None:
    """Refuse results among the fields, which the next run would analyse.

    Raises:
        ConfigError: `out` lies in `folder`, or the fields lie where results would be written.
    """
    if out.resolve().is_relative_to(folder.resolve()):
        raise ConfigError(f"--out: {out} lies inside {folder}; results would be analysed as fields by the next run, choose another folder")
    if any(folder.resolve().is_relative_to((out / written).resolve()) for written in FOLDERS):
        raise ConfigError(f"--out: results would be written among the fields of {folder}; choose another folder")


def _found(bundle: Path | None) -> Path | None:
    """A bundle as named from here, or else the shipped one of that name."""
    return bundle if bundle is None or bundle.exists() or not (ROOT / bundle).exists() else ROOT / bundle
