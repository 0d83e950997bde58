"""One system on one fold: fitted, timed and written down, so that it is never run again; and how long it may take."""

import hashlib
import io
import json
import math
import shutil
import time
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from classification.compare_data import Bench
from classification.compare_members import combine
from classification.folds import Fold, Kind
from classification.recipes import Recipe, all_recipes
from classification.systems import Cells, Fitted, open_fitted, open_system
from smear.errors import SmearError, TrainingError
from smear.files import write_atomic
from smear.report.records import jsonable

RESULT, PREDICTIONS, MODEL = "result.json", "predictions.npz", "model"
SUM_SLACK = 1e-3  # how far the probabilities of a crop may be from 1 together
DEEP = "deep_"  # features that come out of a network, which may begin with downloaded weights
Status = Literal["ok", "failed", "not run"]


@dataclass(frozen=True)
class Limits:
    """What all fits have in common; epochs, imgsz: at most. weights: as for `open_system`."""

    seed: int
    device: str
    weights: str = "none"
    epochs: int | None = None
    imgsz: int | None = None


@dataclass(frozen=True)
class Task:
    """One system on one fold; `key` is another one when anything is that its numbers depend on."""

    recipe: Recipe
    kind: Kind
    fold: Fold
    key: str
    folder: Path

    @property
    def name(self) -> str:
        return f"{self.recipe.name} {self.kind} {self.fold.number}"


@dataclass(frozen=True)
class Result:
    """How a task ended. record: what `result.json` holds.

    probabilities (len(fold.test), C) and on_validation (len(fold.val), C) float32; None unless status is "ok".
    """

    status: Status
    record: Mapping[str, Any]
    probabilities: NDArray[np.float32] | None = None
    on_validation: NDArray[np.float32] | None = None

    @property
    def message(self) -> str:
        return str(self.record.get("message", ""))


def make_task(recipe: Recipe, kind: Kind, fold: Fold, *, bench: Bench, limits: Limits, folder: Path) -> Task:
    """The key covers recipe, crops (their pixels too), the rows of the fold, seed, limits and start weights; not the budget or device."""
    rows = hashlib.sha256(b"".join(np.asarray(part, np.int64).tobytes() for part in (fold.train, fold.val, fold.test))).hexdigest()
    content = {
        "recipe": recipe.model_dump(mode="json"),
        "crops": bench.digest,
        "rows": rows,
        "weights": _start(recipe, limits.weights),
        **{name: getattr(limits, name) for name in ("seed", "epochs", "imgsz")},
    }
    key = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    return Task(recipe, kind, fold, key, folder / recipe.name / f"{kind}-{fold.number}")


def read_result(task: Task) -> Result | None:
    """What an earlier run wrote about this very task; None: nothing, something else, or half of it."""
    try:
        record = json.loads((task.folder / RESULT).read_text(encoding="utf-8"))
        if record["key"] != task.key or record["status"] not in ("ok", "failed"):
            return None
        if record["status"] == "failed":
            return Result("failed", record)
        with np.load(task.folder / PREDICTIONS) as stored:
            rows, probabilities, on_validation = stored["rows"], stored["probabilities"], stored["on_validation"]
    except (OSError, ValueError, KeyError, TypeError, EOFError):
        return None
    return Result("ok", record, probabilities, on_validation) if np.array_equal(rows, task.fold.test) else None


def run_task(
    task: Task, bench: Bench, limits: Limits, *, deadline: float | None, keep_model: bool = False, members: Sequence[Result] = ()
) -> Result:
    """Fit, label the fold's test, time it, and write `result.json` and `predictions.npz` into the task's folder.

    Whatever goes wrong inside the system is recorded with its message, for it must not cost the others their numbers.

    Args:
        members: of an ensemble, how they ended on this fold, all of them "ok": then they are not trained again.

    Returns:
        status "ok" or "failed".

    Raises:
        OSError: the folder cannot be written.
    """
    shutil.rmtree(task.folder, ignore_errors=True)
    scratch = task.folder / "fit"
    scratch.mkdir(parents=True)
    began = time.monotonic()
    record = {**_describe(task, bench), "device": limits.device}
    try:
        if members:
            measured, probabilities, on_validation = _combine(task, bench, members)
        else:
            measured, probabilities, on_validation = _measure(
                task, bench, limits, deadline=deadline, scratch=scratch, keep_model=keep_model
            )
    except SmearError as error:
        result = Result("failed", {**record, "status": "failed", "message": str(error), "seconds": time.monotonic() - began})
    except Exception as error:  # noqa: BLE001 - a system brings its libraries along, and one that fails must not stop the others
        told = f"{type(error).__name__}: {next(iter(str(error).strip().splitlines()), 'no message')}"
        trace = "".join(traceback.format_exception(error))
        result = Result("failed", {**record, "status": "failed", "message": told, "seconds": time.monotonic() - began, "traceback": trace})
    else:
        took = {"seconds": time.monotonic() - began}
        result = Result("ok", {**record, "status": "ok", "message": "", **measured, **took}, probabilities, on_validation)
        fold, stored = task.fold, io.BytesIO()
        labels = bench.table.labels[fold.test]
        np.savez(stored, rows=fold.test, labels=labels, probabilities=probabilities, val_rows=fold.val, on_validation=on_validation)
        write_atomic(task.folder / PREDICTIONS, stored.getvalue())
    shutil.rmtree(scratch, ignore_errors=True)
    write_atomic(task.folder / RESULT, json.dumps(jsonable(result.record), indent=1, allow_nan=False) + "\n")  # last: it says finished
    return result


def allowance(left: float, needs: Sequence[float | None]) -> float:
    """Seconds that the next task may take when `left` are there for it and those after it, which `needs` stands for.

    The time is shared equally, but a task of which we know what it needs (its system did another fold) gets no more than that, and what
    it leaves goes to the others: the level s at which the sum of min(need, s) is what is left.

    Args:
        needs: of each task that is left, the next one included; seconds, or None for not known.
    """
    level, n_left = max(0.0, left), len(needs)
    for need in sorted(need for need in needs if need is not None):
        if need * n_left >= level:
            break
        level, n_left = level - need, n_left - 1
    return level / n_left if n_left else math.inf


def _measure(
    task: Task, bench: Bench, limits: Limits, *, deadline: float | None, scratch: Path, keep_model: bool
) -> tuple[dict[str, Any], NDArray[np.float32], NDArray[np.float32]]:
    """What is measured, and the probabilities of test and validation."""
    cells, fold = bench.cells, task.fold
    system = open_system(task.recipe, weights=limits.weights)
    train, val, test = (cells.take(rows) for rows in (fold.train, fold.val, fold.test))
    began = time.monotonic()
    fitted = system.fit(
        train,
        val,
        seed=limits.seed + fold.number,
        device=limits.device,
        deadline=deadline,
        out=scratch,
        epochs=limits.epochs,
        imgsz=limits.imgsz,
    )
    trained = time.monotonic()
    said = [_checked(fitted.probabilities(part), len(part), len(cells.classes)) for part in (test, val)]
    measured = {"train_seconds": trained - began, "about": dict(fitted.about), **_paces(fitted, bench, limits.device, scratch)}
    if keep_model:
        fitted.save(task.folder / MODEL)
    return measured, said[0], said[1]


def _combine(task: Task, bench: Bench, members: Sequence[Result]) -> tuple[dict[str, Any], NDArray[np.float32], NDArray[np.float32]]:
    assert task.recipe.ensemble is not None
    said = [(member.probabilities, member.on_validation) for member in members]
    known = [(test, val) for test, val in said if test is not None and val is not None]
    assert len(known) == len(members)
    tests, vals = zip(*known, strict=True)
    return combine(task.recipe.ensemble, [member.record for member in members], tests, vals, bench.table.labels[task.fold.val])


def _paces(fitted: Fitted, bench: Bench, device: str, scratch: Path) -> dict[str, float | None]:
    """`ms_per_crop` on the CPU and `ms_per_crop_gpu`, None without one: beside a GPU the system is saved and opened again for the CPU."""
    if not device.startswith("cuda"):
        return {"ms_per_crop": _ms_per_crop(fitted, bench), "ms_per_crop_gpu": None}
    on_gpu = _ms_per_crop(fitted, bench)
    fitted.save(scratch / MODEL)
    return {"ms_per_crop": _ms_per_crop(open_fitted(scratch / MODEL), bench), "ms_per_crop_gpu": on_gpu}


def _ms_per_crop(fitted: Fitted, bench: Bench) -> float:
    """Milliseconds a crop, from a decoded picture to its probabilities, in one process that has done it before; the better of two."""
    cells = Cells.of(bench.timed, np.zeros(len(bench.timed), np.int64), bench.table.classes, np.full(len(bench.timed), ""))
    fitted.probabilities(cells)
    took = []
    for _ in range(2):
        began = time.perf_counter()
        fitted.probabilities(cells)
        took.append(time.perf_counter() - began)
    return 1000 * min(took) / len(cells)


def _checked(probabilities: NDArray[np.floating], n: int, n_classes: int) -> NDArray[np.float32]:
    """Raises TrainingError: they are not n rows of probabilities."""
    found = np.asarray(probabilities, np.float32)
    if found.shape != (n, n_classes):
        raise TrainingError(f"probabilities have shape {found.shape}, expected {(n, n_classes)}")
    if not np.isfinite(found).all():
        raise TrainingError(f"{int((~np.isfinite(found).all(axis=1)).sum())} of {n} crops have a probability that is not finite")
    if n and (found.min() < -SUM_SLACK or np.abs(found.sum(axis=1) - 1).max() > SUM_SLACK):
        raise TrainingError("probabilities of a crop are below 0, or do not sum to 1")
    return np.clip(found, 0, 1)


def _describe(task: Task, bench: Bench) -> dict[str, Any]:
    fold = task.fold
    return {
        "key": task.key,
        "system": task.recipe.name,
        "paper": task.recipe.paper,
        "split": task.kind,
        "fold": fold.number,
        "classes": list(bench.table.classes),
        "n_train": len(fold.train),
        "n_val": len(fold.val),
        "n_test": len(fold.test),
    }


def _start(recipe: Recipe, weights: str) -> Any:
    """What a fit begins with, as far as it makes a difference: the word, or which files of the folder the recipe's networks find."""
    models = _models(recipe)
    if not models:
        return "none"
    folder = Path(weights)
    if not folder.is_dir():
        return weights
    return {name: path.stat().st_size for name in models if (path := folder / f"{name}.safetensors").is_file()}


def _models(recipe: Recipe) -> list[str]:
    """The architectures that a recipe may load weights into."""
    if recipe.ensemble:
        known = all_recipes()
        return [name for member in recipe.ensemble.members for name in _models(known[member])]
    if recipe.classical:
        return [family.removeprefix(DEEP) for family in recipe.classical.features if family.startswith(DEEP)]
    return [recipe.network.model] if recipe.network else []
