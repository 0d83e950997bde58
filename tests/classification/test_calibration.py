import math

import numpy as np
import pytest

from classification.calibration import fit_temperature, pair_aucs, review_threshold, stain_aucs, worst
from classification.probabilities import to_probabilities


def overconfident(n: int = 20_000, factor: float = 3.0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, (n, 1))
    labels = (rng.random(n) > 1 / (1 + np.exp(-logits[:, 0]))).astype(np.int64)  # class 0 with the logit's probability
    return logits * factor, labels


def test_the_temperature_undoes_a_known_overconfidence() -> None:
    logits, labels = overconfident(factor=3.0)
    assert fit_temperature(logits, labels) == pytest.approx(3.0, rel=0.1)
    two = np.concatenate([logits, np.zeros_like(logits)], axis=1)
    assert fit_temperature(two, labels) == pytest.approx(fit_temperature(logits, labels), rel=1e-3)


def test_the_temperature_changes_no_order_and_rows_sum_to_one() -> None:
    logits, _ = overconfident(200)
    cold, warm = to_probabilities(logits, 0.5), to_probabilities(logits, 5.0)
    assert ((cold[:, 0] > 0.5) == (warm[:, 0] > 0.5)).all()
    np.testing.assert_allclose(cold.sum(axis=1), 1, atol=1e-6)
    assert cold.dtype == np.float32


def test_no_cell_is_no_change() -> None:
    assert fit_temperature(np.zeros((0, 1)), np.zeros(0, np.int64)) == 1.0
    assert to_probabilities(np.zeros((0, 1)), 1.0).shape == (0, 2)
    assert to_probabilities(np.zeros((0, 4)), 1.0).shape == (0, 4)
    assert review_threshold(np.zeros((0, 2), np.float32), np.zeros(0, np.int64), accuracy=0.95, max_share=0.3) == 0.5


def test_labels_above_the_threshold_are_right_as_often_as_asked() -> None:
    logits, labels = overconfident(factor=1.0)
    probabilities = to_probabilities(logits, 1.0)
    threshold = review_threshold(probabilities, labels, accuracy=0.9, max_share=1.0)
    sure = probabilities.max(axis=1) >= threshold
    right = (probabilities.argmax(axis=1) == labels)[sure]
    assert right.mean() >= 0.9
    assert 0.3 < sure.mean() < 0.9


def test_no_more_than_the_share_is_sent_to_review() -> None:
    logits, labels = overconfident(factor=1.0)
    probabilities = to_probabilities(logits, 1.0)
    threshold = review_threshold(probabilities, labels, accuracy=0.999, max_share=0.2)
    assert (probabilities.max(axis=1) < threshold).mean() == pytest.approx(0.2, abs=0.01)


def test_a_network_that_reads_the_stain_fails_in_a_pair_of_stains() -> None:
    """Stain p is mostly positive, q mostly not; the score is the stain, and looks good on all cells together."""
    stains = np.repeat(["p", "q"], [100, 100])
    positive = np.concatenate([np.arange(100) < 90, np.arange(100) < 10])
    scores = (stains == "p") + np.random.default_rng(0).normal(0, 0.01, 200)
    pairs = pair_aucs(positive, scores, stains)
    assert pairs["p", "q"] == 1.0
    assert worst(pairs) == pairs["q", "p"] == 0.0
    assert stain_aucs(positive, scores, stains)["p"] == pytest.approx(0.5, abs=0.2)


def test_stains_too_small_or_unknown_are_left_out() -> None:
    stains, positive = np.array(["a", "a", "b", "", ""]), np.array([True, False, True, True, False])
    assert stain_aucs(positive, np.arange(5.0), stains) == {"a": 0.0}
    assert set(pair_aucs(positive, np.arange(5.0), stains)) == {("a", "a"), ("b", "a")}
    assert pair_aucs(positive, np.arange(5.0), stains, min_cells=2) == {}
    assert math.isnan(worst({}))
