"""`python -m classification.leave_out …`: train once without each stain and score it there; flags as `classification.train`.

The pooled area over all held-out cells is the honest guess of what a laboratory never seen will see. A random split is not.
"""

import json
import re
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from classification import run_folder
from classification.material import prepare
from classification.refusals import refusal
from classification.selection import describe_predictions
from classification.settings import Holdout, TrainSettings
from classification.train import parse, resolve, train
from smear.errors import ConfigError, SmearError
from smear.files import write_atomic
from smear.report.records import jsonable


def leave_stains_out(
    settings: TrainSettings, data: Sequence[Path], out: Path, *, resume: bool = False, command: str = "", progress: bool = False
) -> dict[str, Any]:
    """Train as many networks as there are stains; write `stains.json` and return it: `pooled` and one entry a stain.

    With `resume`, stains that are finished are only scored again, and the one that was cut short goes on.

    Raises:
        ConfigError: the table names fewer than two stains. And all that `train` raises.
    """
    stains = prepare(_without(settings, None), data).stains
    names = sorted(set(stains.tolist()) - {""})
    if len(names) < 2:
        raise ConfigError(f"stain_column: {settings.stain_column!r} must name at least two stains to leave one out, it names {names}")
    per_stain, labels, probabilities, where = {}, [], [], []
    for name in names:
        folder = out / f"without_{re.sub(r'[^A-Za-z0-9._-]+', '_', name)}"
        going_on = resume and (folder / run_folder.CONFIG).is_file()
        done = train(_without(settings, name), data, folder, resume=going_on, command=command, progress=progress)
        per_stain[name] = done.card.metrics["held_out_stain"]
        labels.append(done.held_out_labels)
        probabilities.append(done.held_out_probabilities)
        where.append(np.full(len(done.held_out_labels), name))
    pooled = describe_predictions(
        np.concatenate(labels), np.concatenate(probabilities), np.concatenate(where), settings.classes, min_cells=settings.min_cells
    )
    found = {"pooled": pooled, "left_out": per_stain}
    write_atomic(out / "stains.json", json.dumps(jsonable(found), indent=1) + "\n")
    return found


def main(argv: Sequence[str] | None = None) -> int:
    options = parse(argv, prog="python -m classification.leave_out", doc=__doc__)
    command = shlex.join(["python", "-m", "classification.leave_out", *(sys.argv[1:] if argv is None else argv)])
    try:
        settings = resolve(options, config=options.config)
        found = leave_stains_out(settings, options.data, options.out, resume=options.resume, command=command, progress=True)
    except (SmearError, OSError) as error:
        print(f"error: {refusal(error, options.out, kept='finished epochs are kept, --resume continues')}", file=sys.stderr)
        return 2
    for name, scores in found["left_out"].items():
        print(f"without {name}: n {scores['n']}, AUC {scores['roc_auc']:.4f}, accuracy {scores['accuracy']:.4f}")
    print(f"all held-out cells together: AUC {found['pooled']['roc_auc']:.4f}, worst pair {found['pooled']['worst_pair_auc']:.4f}")
    return 0


def _without(settings: TrainSettings, stain: str | None) -> TrainSettings:
    return settings.model_copy(update={"holdout": Holdout(stain=stain)})


if __name__ == "__main__":
    sys.exit(main())
