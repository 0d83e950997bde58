"""What users may type after `python -m smear`: one function a command."""

import argparse
from pathlib import Path

from smear.exports import FOLDER, FORMATS
from smear.rule import Rule

SPLITS = ("train", "val", "test")


def make_parser() -> argparse.ArgumentParser:
    """The parser of all commands; the sentence of each is its first line in the help."""
    parser = argparse.ArgumentParser(
        prog="python -m smear", description="White cells in smear fields: find, label, report. Research use only."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    for name, add_arguments in ARGUMENTS.items():
        add_arguments(commands.add_parser(name, help=add_arguments.__doc__, description=add_arguments.__doc__))
    return parser


def _analyze(command: argparse.ArgumentParser) -> None:
    """Find, cut and label the white cells of a folder, write the pictures, tables and the report."""
    command.add_argument("folder", type=Path, help="images, in subfolders or not")
    command.add_argument("--slides", action=argparse.BooleanOptionalAction, default=True, help="a subfolder is a slide (default)")
    command.add_argument("--crops", action="store_true", help="also write every white cell as a picture")
    drawn = "draw the annotated fields (default); without them a run is shorter"
    command.add_argument("--annotated", action=argparse.BooleanOptionalAction, default=True, help=drawn)
    command.add_argument("--export", metavar="A,B", help=f"also write the results for other tools: {', '.join(FORMATS)}")
    _run(command)


def _evaluate(command: argparse.ArgumentParser) -> None:
    """The same on labelled fields, with detection and per-cell metrics in the report and in metrics.json."""
    command.add_argument("--data", type=Path, required=True, help="data.yaml of a labelled set")
    command.add_argument("--split", default="test", choices=SPLITS)
    command.add_argument("--record", metavar="NAME", help="also put the numbers into the cards of both bundles under this name")
    command.add_argument(
        "--stress", nargs="?", type=_count, const=0, metavar="N", help="again under worse stain, light, …, on N fields or all"
    )
    command.add_argument("--resamples", type=_count, default=1000, metavar="N", help="for the intervals (default: %(default)s)")
    _run(command)


def _regress(command: argparse.ArgumentParser) -> None:
    """Two bundles of one task on a labelled set, number by number and cell by cell; 1 when the new one is worse."""
    command.add_argument("old", type=Path, help="bundle folder")
    command.add_argument("new", type=Path, help="bundle folder of the same task and classes; the other model stays the one below")
    command.add_argument("--data", type=Path, required=True, help="data.yaml of the frozen, labelled set")
    command.add_argument("--split", default="test", choices=SPLITS)
    command.add_argument("--expect", metavar="SHA256", help="refuse a set of another hash; regress.json of an earlier run names it")
    drop = "largest drop that is none, in shares (default: %(default)s)"
    command.add_argument("--tolerance", type=float, default=Rule.tolerance, help=drop)
    command.add_argument("--certain", action="store_true", help="only a drop whose 95 %% interval lies wholly below zero counts")
    command.add_argument("--resamples", type=int, default=Rule.n_resamples, help="of the bootstrap (default: %(default)s)")
    command.add_argument("--seed", type=int, default=Rule.seed, help="of the bootstrap (default: %(default)s)")
    _run(command)


def _run(command: argparse.ArgumentParser) -> None:
    """What every command that analyses fields takes."""
    command.add_argument("--out", type=Path, required=True)
    command.add_argument("--detector", help="bundle folder")
    command.add_argument("--classifier", help="bundle folder, or none")
    command.add_argument("--device", help="auto, cpu, cuda or an index")
    command.add_argument("--runtime", help="auto (measured once), onnx, openvino, torch, or a variant of both bundles")
    command.add_argument("--um-per-px", type=float, help="size of a pixel; default: measured by the red cells")
    command.add_argument("--confidence", type=float, help="lowest score of a cell")
    error = "send to review what keeps more accepted labels wrong, e.g. 0.02"
    command.add_argument("--max-error", type=float, metavar="SHARE", help=error)
    command.add_argument("--config", type=Path, help="default: configs/analyze.yaml")
    command.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="override one key of the configuration")


def _card(command: argparse.ArgumentParser) -> None:
    """The model card of a bundle, as a page and JSON, with the open items of CLAIM 2024 and TRIPOD+AI."""
    command.add_argument("bundle", type=Path, help="model folder with model.json")
    command.add_argument("--out", type=Path, help="folder for card.json and card.html; default: beside model.json")
    command.add_argument("--answer", action="append", default=[], metavar="NAME=TEXT", help="answer an open item; kept in model.json")


def _export(command: argparse.ArgumentParser) -> None:
    """The results of an analysis in the formats of other tools; or a model in another precision, if it passes the parity gate."""
    command.add_argument("folder", type=Path, metavar="FOLDER", help="output folder of a finished analysis, or a model bundle")
    command.add_argument("--out", type=Path, help=f"where it goes (default: FOLDER/{FOLDER}; of a bundle: FOLDER-VARIANT)")
    results = command.add_argument_group("an analysis")
    results.add_argument("--to", metavar="A,B", help=f"formats: {', '.join(FORMATS)}")
    results.add_argument("--images", type=Path, help="where the analysed images are now (default: where the analysis found them)")
    results.add_argument("--no-images", dest="with_images", action="store_false", help="labels alone, which name your own files")
    model = command.add_argument_group("a model bundle")
    model.add_argument("--runtime", choices=("onnx", "openvino", "torch", "tensorrt"), help="what will run it")
    precision = model.add_mutually_exclusive_group()
    for name, what in (("bf16", "bfloat16"), ("fp16", "float16"), ("int8", "8-bit integers, calibrated on the train split")):
        precision.add_argument(f"--{name}", action="store_true", help=what)
    labelled = "labelled set: a data.yaml, or the crops.csv of a classifier"
    model.add_argument("--calibrate", type=Path, metavar="DATA", help=labelled)
    model.add_argument("--split", default="val", choices=("val", "test"), help="whose fields judge the variant (default: %(default)s)")
    model.add_argument("--in-place", action="store_true", help="put the variant into the bundle itself")
    model.add_argument("--beside", metavar="BUNDLE", help="the model of the other task (default: the shipped one), or none")
    model.add_argument("--device", help="auto, cpu, cuda or an index")
    model.add_argument("--um-per-px", type=float, help="size of a pixel; default: measured by the red cells")
    model.add_argument("--config", type=Path, help="default: configs/analyze.yaml")
    model.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="override one key of the configuration")


def _doctor(_: argparse.ArgumentParser) -> None:
    """Versions, devices, codecs, bundle hashes and one golden field."""


def _count(text: str) -> int:
    if not text.isdigit() or not int(text):
        raise argparse.ArgumentTypeError(f"must be a whole number, at least 1, got {text!r}")
    return int(text)


ARGUMENTS = {"analyze": _analyze, "evaluate": _evaluate, "regress": _regress, "card": _card, "export": _export, "doctor": _doctor}
