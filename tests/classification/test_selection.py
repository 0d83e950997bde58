import math
from collections.abc import Callable

import numpy as np
import pytest

from classification.selection import best_epoch, has_stalled, validation_scores
from smear.errors import ConfigError


def history(*areas: float, losses: tuple[float, ...] = ()) -> list[dict[str, float]]:
    return [{"epoch": i + 1, "selected": a, "val_loss": losses[i] if losses else 1.0} for i, a in enumerate(areas)]


def test_the_best_epoch_has_the_highest_area_then_the_lowest_loss_then_comes_first() -> None:
    assert best_epoch(history(0.5, 0.9, 0.7)) == 2
    assert best_epoch(history(0.9, 0.9, 0.9, losses=(0.3, 0.1, 0.2))) == 2
    assert best_epoch(history(0.9, 0.9)) == 1


@pytest.mark.parametrize(
    ("areas", "stalled"), [((), False), ((0.5,), False), ((0.5, 0.4), False), ((0.5, 0.4, 0.3), True), ((0.5, 0.4, 0.6), False)]
)
def test_patience_counts_epochs_without_a_better_one(areas: tuple[float, ...], stalled: bool) -> None:
    assert has_stalled(history(*areas), 2) is stalled


def test_scores_name_what_was_selected(smoke: Callable) -> None:
    labels, stains = np.array([0, 0, 1, 1, 0, 1]), np.array(["a", "a", "a", "a", "b", "b"])
    logits = np.array([[3.0], [2.0], [-1.0], [-2.0], [-3.0], [1.0]], np.float32)  # right in a, wrong in b
    row = validation_scores(logits, labels, stains, smoke(select="worst_stain_auc", min_cells=1))
    assert row["selected"] == row["worst_stain_auc"] == 0.0
    assert row["val_auc"] == pytest.approx(6 / 9)
    assert row["val_accuracy"] == pytest.approx(4 / 6)
    assert validation_scores(logits, labels, stains, smoke(select="val_auc", min_cells=1))["selected"] == row["val_auc"]
    two = np.concatenate([logits, np.zeros_like(logits)], axis=1)
    assert validation_scores(two, labels, stains, smoke(select="worst_stain_auc", min_cells=1)) == pytest.approx(row)


def test_an_area_that_does_not_exist_cannot_select(smoke: Callable) -> None:
    labels, stains, logits = np.array([0, 1]), np.array(["a", "b"]), np.zeros((2, 1), np.float32)
    with pytest.raises(ConfigError, match="worst_stain_auc does not exist"):
        validation_scores(logits, labels, stains, smoke(select="worst_stain_auc", min_cells=1))


def test_logits_that_are_not_finite_give_scores_that_are_not(smoke: Callable) -> None:
    row = validation_scores(np.full((2, 1), np.nan, np.float32), np.array([0, 1]), np.array(["a", "a"]), smoke())
    assert math.isnan(row["val_loss"])
