"""`python -m smear.metrics.coverage`: how often the corrected interval of a blast count holds the truth, by simulation."""

import argparse
import sys
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from smear.metrics.prevalence import rejections

SHARES = (0.0, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6)
SIZES = (50, 100, 200, 500, 1000)
CLASSIFIERS = (  # sensitivity, specificity, calibration cells of each kind
    *((0.87, 0.80, 50, 50), (0.87, 0.80, 100, 100), (0.87, 0.80, 300, 200), (0.87, 0.80, 3000, 1000)),
    *((0.97, 0.95, 60, 40), (0.97, 0.95, 600, 400), (0.99, 0.99, 1000, 1000)),
)


def coverage(
    share: float, n: int, rates: tuple[float, float], calibration: tuple[int, int], *, draws: int = 4000, seed: int = 0,
    confidence: float = 0.95,
) -> float:  # fmt: skip
    """How often `corrected_interval` holds the true share of blasts, in [0, 1].

    Each draw makes a calibration set of `calibration` blasts and other cells, and a slide of n cells, of which each is a blast
    with chance `share`; `rates` are the classifier's true sensitivity and specificity, which the interval does not know.
    """
    rng = np.random.default_rng(seed)
    (found, passed), (positives, negatives) = rates, calibration
    called = rng.binomial(n, share * found + (1 - share) * (1 - passed), draws)
    sensitivity = rng.binomial(positives, found, draws), np.full(draws, positives)
    specificity = rng.binomial(negatives, passed, draws), np.full(draws, negatives)
    too_many, too_few = rejections(share, called, n, sensitivity, specificity, confidence)
    return float((~(too_many | too_few)).mean())


def coverage_table(rates: tuple[float, float], calibration: tuple[int, int], *, draws: int = 4000, seed: int = 0) -> NDArray[np.float64]:
    """`coverage` for all `SIZES` (rows) and `SHARES` (columns)."""
    seeds = np.random.SeedSequence(seed).generate_state(len(SIZES) * len(SHARES)).reshape(len(SIZES), len(SHARES))
    rows = [
        [coverage(p, n, rates, calibration, draws=draws, seed=int(s)) for p, s in zip(SHARES, line, strict=True)]
        for n, line in zip(SIZES, seeds, strict=True)
    ]
    return np.array(rows)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m smear.metrics.coverage", description=__doc__)
    parser.add_argument(
        "--draws", type=int, default=10_000, help="slides for every number; 10000 leave an error of 0.4 %% (two standard deviations)"
    )
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(argv)
    for found, passed, positives, negatives in CLASSIFIERS:
        table = 100 * coverage_table((found, passed), (positives, negatives), draws=options.draws, seed=options.seed)
        print(f"\nsensitivity {found} of {positives} cells, specificity {passed} of {negatives}: {table.min():.1f} to {table.max():.1f} %")
        print("     n  " + " ".join(f"{100 * p:5.1f}" for p in SHARES) + "   % blasts")
        for n, line in zip(SIZES, table, strict=True):
            print(f"{n:6d}  " + " ".join(f"{value:5.1f}" for value in line))
    return 0


if __name__ == "__main__":
    sys.exit(main())
