"""The parameters of a model chosen by group-disjoint folds inside the training part; the only file that knows Optuna."""

import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import ParameterGrid

from classification.classical.models import VOTES, Params
from classification.classical.pipeline import Sheet, Split, fit_members, inner_folds
from classification.recipes import Classical
from smear.errors import MissingExtra

TRIALS_PER_EPOCH = 2  # a run that is meant to be small, with so many epochs at most, tries so many settings for each


@dataclass(frozen=True)
class Found:
    """The best parameters, and one mapping a setting that was tried: `params`, `balanced_accuracy` in [0, 1], `seconds`.

    in_time: False if the deadline came before the search was over. notes: what else there is to say.
    """

    params: Params
    trials: tuple[dict[str, Any], ...] = ()
    in_time: bool = True
    notes: tuple[str, ...] = ()


def search(recipe: Classical, sheet: Sheet, *, seed: int, deadline: float | None, epochs: int | None = None) -> Found:
    """Try settings of `recipe.space`, each fitted and scored by balanced accuracy on the inner folds; the first best one wins.

    "grid" tries all, in the order of scikit-learn's ParameterGrid, "bayes" as many as `recipe.trials` by Optuna's tree-structured
    Parzen estimator (Watanabe, arXiv 2304.11127). None is begun that would, with the last fit, end after the deadline. Settings
    are not calibrated, except where members vote.

    Raises:
        TrainingError, ConfigError: as `pipeline.fit_members` and `pipeline.inner_folds`.
        MissingExtra: Optuna is not installed.
    """
    folds, note = inner_folds(sheet, seed=seed)
    proposals = PROPOSALS[recipe.search](recipe, seed)
    proposal: Params | None = next(proposals)
    trials: list[dict[str, Any]] = []
    slowest, stopped = 0.0, ""
    while proposal is not None and not stopped:
        began = time.monotonic()
        score = next((trial["balanced_accuracy"] for trial in trials if trial["params"] == proposal), None)
        if score is None and deadline is not None and began + 2 * slowest >= deadline:
            stopped = "the time was up"
        elif score is None and epochs is not None and len(trials) >= TRIALS_PER_EPOCH * epochs:
            stopped = "the run is limited"
        else:
            if score is None:
                score = _score(recipe, {**recipe.model.params, **proposal}, sheet, folds, seed)
                trials.append({"params": dict(proposal), "balanced_accuracy": score, "seconds": time.monotonic() - began})
                slowest = max(slowest, trials[-1]["seconds"])
            proposal = _answer(proposals, score)
    wanted = len(_grid(recipe)) if recipe.search == "grid" else recipe.trials
    told = f"{len(trials)} of {wanted} settings tried: {stopped}" if stopped else ""
    best = max(trials, key=lambda trial: trial["balanced_accuracy"], default={"params": {}})
    notes = tuple(filter(None, (note, told)))
    return Found({**recipe.model.params, **best["params"]}, tuple(trials), stopped != "the time was up", notes)


def _score(recipe: Classical, params: Params, sheet: Sheet, folds: Sequence[Split], seed: int) -> float:
    """Mean balanced accuracy on what the folds hold out, of the classes that are there."""
    scores = []
    for learned, held in folds:
        members = fit_members(recipe, params, sheet.take(learned), seed=seed, calibrate=recipe.model.name in VOTES)
        scores.append(balanced_accuracy(sheet.y[held], members.labels(sheet.x[held])))
    return float(np.mean(scores))


def balanced_accuracy(truth: NDArray[np.int64], labels: NDArray[np.int64]) -> float:
    """Mean recall of the classes in `truth`; scikit-learn's warns of labels that are not."""
    return float(np.mean([(labels[truth == c] == c).mean() for c in np.unique(truth)]))


def _grid(recipe: Classical) -> ParameterGrid:
    return ParameterGrid({key: list(values) for key, values in recipe.space.items()})


def _every(recipe: Classical, seed: int) -> Generator[Params, float, None]:
    del seed
    yield from _grid(recipe)


def _parzen(recipe: Classical, seed: int) -> Generator[Params, float, None]:
    """Settings that Optuna proposes; it is sent the score of each."""
    try:
        import optuna
    except ModuleNotFoundError as error:
        raise MissingExtra("search: bayes", "optuna", "papers") from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=seed))
    for _ in range(recipe.trials):
        trial = study.ask()
        places = {key: _suggest(trial, key, values) for key, values in recipe.space.items()}
        study.tell(trial, (yield {key: recipe.space[key][place] for key, place in places.items()}))


def _suggest(trial: Any, key: str, values: Sequence[Any]) -> int:
    """A place in `values`; neighbours are alike where these are ascending numbers."""
    numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
    if numbers and list(values) == sorted(values):
        return int(trial.suggest_int(key, 0, len(values) - 1))
    return int(trial.suggest_categorical(key, range(len(values))))


def _answer(proposals: Generator[Params, float, None], score: float) -> Params | None:
    try:
        return proposals.send(score)
    except StopIteration:
        return None


# How a search goes on: it yields settings and is sent their scores.
PROPOSALS: dict[str, Callable[[Classical, int], Generator[Params, float, None]]] = {"grid": _every, "bayes": _parzen}
