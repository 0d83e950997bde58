"""The training loop: epoch after epoch, each scored on validation; shared by `classification.train` and the bench of the papers."""

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from classification.batches import Batches, epoch_order, sample_weights
from classification.learner import Learner
from classification.pictures import Pictures
from classification.selection import has_stalled, validation_scores
from classification.steps import predict_logits, with_state
from smear.errors import TrainingError
from smear.watch import Watch

History = list[dict[str, float]]


@dataclass(frozen=True)
class Part:
    """N cells: their crops, and labels (N,) int64 and stains (N,) str ("": unknown)."""

    pictures: Pictures
    labels: NDArray[np.int64]
    stains: NDArray[np.str_]


@dataclass(frozen=True)
class Lesson:
    """Who teaches, and who says how well it was learned."""

    train: Part
    val: Part


def learn(
    learner: Learner,
    lesson: Lesson,
    batches: Batches,
    *,
    history: Sequence[dict[str, float]] = (),
    deadline: float | None = None,
    progress: bool = False,
) -> Iterator[History]:
    """Train until the last epoch, a stall or the deadline; after every epoch yields its row behind those before.

    An epoch in which the deadline passes ends with that step and is scored like the others; its row has the `share` of its steps.

    Args:
        learner: begins where it is; it changes.
        batches: of the pictures of `lesson.train`.
        history: of the epochs before, when a run goes on.
        deadline: in the seconds of `time.monotonic`; one step is taken even after it, if nothing was learned yet. None: no hurry.

    Raises:
        TrainingError: a loss is no longer finite.
        ConfigError: validation cannot say what the settings select by.
    """
    settings, device, rows = learner.settings, learner.device, list(history)
    weights = sample_weights(lesson.train.labels, lesson.train.stains, settings.balance)
    by_loss = settings.balance.how == "loss"
    loss_weights = torch.from_numpy(weights if by_loss else np.ones(len(weights))).float().to(device)
    labels = torch.from_numpy(np.array(lesson.train.labels)).to(device)
    n_cells = settings.epoch_cells or len(labels)
    n_steps = math.ceil(n_cells / settings.batch)
    for epoch in range(len(rows) + 1, settings.epochs + 1):
        if has_stalled(rows, settings.patience) or (rows and is_over(deadline)):
            break
        torch.manual_seed(settings.seed * 100_003 + epoch)  # dropout must not depend on where a run was resumed
        order = epoch_order(weights, n_cells, balance=settings.balance, seed=settings.seed, epoch=epoch)
        losses: list[torch.Tensor] = []
        n_seen = 0
        learner.network.train()
        watch, shown = Watch(), {"desc": f"epoch {epoch}/{settings.epochs}", "total": n_steps, "leave": False, "disable": not progress}
        for pictures, cells in tqdm(watch.items(batches.epoch(epoch, order)), **shown):
            number = (epoch - 1) * n_steps + len(losses)
            losses.append(learner.step(pictures, labels[cells], loss_weights[cells], number=number, n_steps=n_steps))
            n_seen += len(cells)
            if len(losses) > 1:  # the loss of the step before: to ask for this one would let a GPU wait for its next step
                _refuse_nan(losses[-2].item(), f"epoch {epoch}, step {len(losses) - 1}: the training loss", rows)
            if is_over(deadline):
                break
        _refuse_nan(losses[-1].item(), f"epoch {epoch}, step {len(losses)}: the training loss", rows)
        pace, train_loss = watch.pace(n_seen), float(np.mean(torch.stack(losses).cpu().numpy(), dtype=np.float64))

        scores = validate(learner, lesson.val)
        _refuse_nan(scores["val_loss"], f"epoch {epoch}: the validation loss", rows)
        rows = [*rows, {"epoch": epoch, "lr": learner.optimiser.param_groups[0]["lr"], "train_loss": train_loss, **scores, **pace}]
        if n_seen < len(order) - 1:  # one cell may be left over that fills no batch
            rows[-1]["share"] = n_seen / len(order)
        yield rows


def validate(learner: Learner, val: Part) -> dict[str, float]:
    """What `validation_scores` says of the averaged network."""
    averaged = with_state(learner.network, learner.average)
    logits = predict_logits(averaged, val.pictures, learner.settings.normalise, learner.device, learner.precision)
    return validation_scores(logits, val.labels, val.stains, learner.settings)


def is_over(deadline: float | None) -> bool:
    return deadline is not None and time.monotonic() >= deadline


def _refuse_nan(value: float, what: str, history: Sequence[dict[str, float]]) -> None:
    if not math.isfinite(value):
        kept = f"epoch {len(history)} is kept" if history else "no epoch was finished"
        raise TrainingError(f"{what} is {value}; stopped, {kept}; try a lower optimiser.lr or precision=float32")
