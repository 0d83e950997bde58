"""`python -m smear analyze | evaluate | export | regress | card | doctor`: what users type, what they see, and the exit codes."""

import argparse
import json
import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from tqdm import tqdm

from smear import annotations
from smear.arguments import make_parser
from smear.build import Opened, make_analyze, open_models
from smear.bundles import record_answers, record_metrics
from smear.cards import for_cards, parse_answers, write_cards
from smear.config import load
from smear.doctor import examine
from smear.engines import open_engine
from smear.errors import ConfigError, SmearError
from smear.evaluation import gather, question_of, score, stress
from smear.exports import FOLDER, export, parse_formats
from smear.exports.folder import check_untouched
from smear.exports.read import read_outcomes
from smear.files import write_atomic
from smear.images import find_fields
from smear.labelled import read_labelled
from smear.models import open_bundle
from smear.quiet import silence
from smear.regress import Rule, compare, freeze, open_sides, result_lines
from smear.regress import gather as gather_side
from smear.report.console import in_report, metric_lines
from smear.report.records import jsonable
from smear.settings import AnalyzeSettings
from smear.store import FOLDERS, Store
from smear.stress import stress_lines
from smear.types import Field, FieldFailure, Outcome

DEFAULT_CONFIG = Path(__file__).parent.parent / "configs" / "analyze.yaml"
ROOT = Path(__file__).parent.parent
OK, SOME_FAILED, MISTAKE = 0, 1, 2
STOPPED = 130  # by the user, as shells count it: 128 and the number of the signal


def main(argv: Sequence[str] | None = None) -> int:
    """0 all well, 1 some fields failed (named), 2 a mistake in the request (one line)."""
    silence()
    options = make_parser({name: command.__doc__ for name, command in COMMANDS.items()}).parse_args(argv)
    try:
        return COMMANDS[options.command](options)
    except SmearError as error:
        print(f"error: {error}", file=sys.stderr)
        return MISTAKE
    except KeyboardInterrupt:
        print("stopped; what was finished is kept, run the same command again to go on", file=sys.stderr)
        return STOPPED
    except OSError as error:  # disk full or a folder taken away while writing; the finished fields stay
        print(
            f"error: {error.filename or 'output'}: {error.strerror}; what was finished is kept, run the same command again", file=sys.stderr
        )
        return MISTAKE


def analyze_command(options: argparse.Namespace) -> int:
    """Find, cut and label the white cells of a folder, write the pictures, tables and the report."""
    formats = parse_formats(options.export) if options.export else ()
    for name in formats:
        check_untouched(options.out / FOLDER / name)  # now, not after hours of analysis
    settings = _settings(options)
    fields = find_fields(options.folder, slides=options.slides)
    _refuse_inside(options.out, options.folder)
    opened = open_models(settings)
    _say_review(opened)
    store = Store(options.out, fields, key=opened.key(), with_crops=options.crops)
    outcomes = _run(opened, fields, recall=store.recall, keep=store.keep)
    report = store.finish(
        outcomes, cards=opened.cards, config=_config(settings, review=opened.review.text, fields=_printable(options.folder))
    )
    code = _conclude(options.out, report, outcomes)
    _say(export(outcomes, options.out / FOLDER, formats) if formats else {})
    return code


def evaluate_command(options: argparse.Namespace) -> int:
    """The same on labelled fields, with detection and per-cell metrics in the report and in metrics.json."""
    settings = _settings(options)
    data = annotations.read_data_yaml(options.data)
    for folder in {parent for path in data.images(options.split) for parent in path.parents if data.root in parent.parents}:
        _refuse_inside(options.out, folder)
    labelled = read_labelled(data, options.split)
    opened = open_models(settings)
    _say_review(opened)
    store = Store(options.out, labelled.fields, key=opened.key(), with_crops=False)
    question = question_of(opened, labelled)
    evidence = gather(opened, labelled, question, store, progress=partial(tqdm, total=len(labelled.fields), desc="evaluate", unit="field"))
    metrics = score(opened, labelled, question, evidence, n_resamples=options.resamples)
    if options.stress is not None:
        bar = partial(tqdm, desc="stress", unit="condition")
        metrics["stress"] = stress(opened, labelled, question, options.out, n_fields=options.stress or None, progress=bar)
    write_atomic(options.out / "metrics.json", json.dumps(jsonable(metrics), indent=1, allow_nan=False) + "\n")
    shown = [e.cells for e in evidence]
    if options.record:
        told = for_cards(jsonable(metrics), data=options.data.parent.name, split=options.split)
        for bundle in (b for b in (opened.detector, opened.classifier) if b and b.card.task in told):
            record_metrics(bundle.root, options.record, told[bundle.card.task])
    config = {**_config(settings, review=opened.review.text), "data": options.data.name, "split": options.split}
    report = store.finish(shown, cards=opened.cards, config=config, metrics=in_report(metrics))
    print("\n" + "\n".join([*metric_lines(metrics), *(stress_lines(metrics["stress"]) if "stress" in metrics else ())]))
    return _conclude(options.out, report, shown)


def export_command(options: argparse.Namespace) -> int:
    """Write the results of an analysis in the formats of other tools; nothing is analysed."""
    formats = parse_formats(options.to)
    outcomes = read_outcomes(options.folder)
    out = options.out or options.folder / FOLDER
    _say(export(outcomes, out, formats, images=options.images, with_images=options.with_images))
    failed = [o for o in outcomes if isinstance(o, FieldFailure)]
    print(f"{len(outcomes) - len(failed)} fields" + (f"; {len(failed)} that failed are not among them" if failed else ""))
    return OK


def regress_command(options: argparse.Namespace) -> int:
    """Two bundles of one task on a labelled set, number by number and cell by cell; 1 when the new one is worse."""
    settings = _settings(options)
    frozen = freeze(annotations.read_data_yaml(options.data), options.split, expect=options.expect)
    role, *sides = open_sides(settings, options.old, options.new)
    n_fields = len(frozen.labelled.fields)
    runs = [
        gather_side(side, frozen.labelled, progress=partial(tqdm, total=n_fields, desc=name, unit="field"))
        for name, side in zip(("old", "new"), sides, strict=True)
    ]
    rule = Rule(options.tolerance, options.certain, options.resamples, options.seed)
    result = compare(frozen, *runs, role=role, rule=rule)
    write_atomic(options.out / "regress.json", json.dumps(jsonable(result), indent=1, allow_nan=False) + "\n")
    print("\n".join(result_lines(result)))
    print(f"result: {options.out / 'regress.json'}")
    return SOME_FAILED if result["regressions"] else OK


def doctor_command(_: argparse.Namespace) -> int:
    """Versions, devices, codecs, bundle hashes and one golden field."""
    lines, healthy = examine(ROOT / "models")
    print("\n".join(lines))
    return OK if healthy else SOME_FAILED


def card_command(options: argparse.Namespace) -> int:
    """The model card of a bundle, as a page and JSON, with the open items of CLAIM 2024 and TRIPOD+AI."""
    if options.answer:
        record_answers(options.bundle, parse_answers(options.answer))
    record = write_cards(options.bundle, open_bundle(options.bundle).card, out=options.out)
    for checklist in record["checklists"].values():
        print(f"{checklist['name']}: " + ", ".join(f"{n} {status}" for status, n in checklist["counts"].items()))
    print(f"model card: {(options.out or options.bundle) / 'card.html'}")
    return OK


COMMANDS: dict[str, Callable[[argparse.Namespace], int]] = {
    "analyze": analyze_command,
    "evaluate": evaluate_command,
    "regress": regress_command,
    "card": card_command,
    "export": export_command,
    "doctor": doctor_command,
}


def _run(opened: Opened, fields: Sequence[Field], **hooks: Callable) -> list[Outcome]:
    engine = open_engine("local")
    return list(tqdm(engine(make_analyze(opened, **hooks), fields), total=len(fields), desc="analyze", unit="field"))


def _conclude(out: Path, report: dict[str, Any], outcomes: Iterable[Outcome]) -> int:
    failed = [o for o in outcomes if isinstance(o, FieldFailure)]
    total = report["total"]
    print(f"{total['n_fields']} fields, {total['n_white']} white cells")
    print(f"annotated fields: {out / 'annotated'}\nreport: {out / 'report.html'}")
    for failure in failed:
        print(f"failed: {failure.error}", file=sys.stderr)
    return SOME_FAILED if failed else OK


def _say_review(opened: Opened) -> None:
    """Which labels will be accepted, and a warning when none will be."""
    if opened.classifier:
        print(f"review: {opened.review.text}")
    if opened.review.warning:
        print(f"warning: {opened.review.warning}", file=sys.stderr)


def _say(written: Mapping[str, Path]) -> None:
    for name, folder in written.items():
        print(f"{name}: {folder}")


def _settings(options: argparse.Namespace) -> AnalyzeSettings:
    given = {"detector": options.detector, "classifier": options.classifier, "device": options.device, "runtime": options.runtime,
             "um_per_px": options.um_per_px, "confidence": options.confidence, "max_error": options.max_error}  # fmt: skip
    given |= {"classifier": "null"} if options.classifier == "none" else {}
    flags = [f"{k}={v if v == 'null' else json.dumps(v, ensure_ascii=False)}" for k, v in given.items() if v is not None]
    settings = load(options.config or DEFAULT_CONFIG, AnalyzeSettings, [*options.set, *flags])
    return settings.model_copy(update={name: _found(getattr(settings, name)) for name in ("detector", "classifier")})


def _found(bundle: Path | None) -> Path | None:
    """A bundle as named from here, or else the shipped one of that name."""
    return bundle if bundle is None or bundle.exists() or not (ROOT / bundle).exists() else ROOT / bundle


def _config(settings: AnalyzeSettings, **more: str) -> dict[str, Any]:
    """The settings as the report shows them: without the folders of this machine."""
    shown = settings.model_dump(mode="json")
    shown |= {key: Path(shown[key]).name for key in ("detector", "classifier") if shown[key]}
    return {**shown, **more}


def _printable(folder: Path) -> str:
    return os.fsencode(folder.resolve().name).decode("utf-8", "backslashreplace")


def _refuse_inside(out: Path, folder: Path) -> None:
    if out.resolve().is_relative_to(folder.resolve()):
        raise ConfigError(f"--out: {out} lies inside {folder}; results would be analysed as fields by the next run, choose another folder")
    if any(folder.resolve().is_relative_to((out / written).resolve()) for written in FOLDERS):
        raise ConfigError(f"--out: results would be written among the fields of {folder}; choose another folder")


if __name__ == "__main__":
    sys.exit(main())
