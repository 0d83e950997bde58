"""Classes made equally large, in what a pipeline learns from and nowhere else; the only file that knows imbalanced-learn."""

from collections.abc import Sequence
from typing import Any, Literal

from smear.errors import MissingExtra, TrainingError

NEIGHBOURS = 5  # of SMOTE's own paper: Chawla et al., JAIR 16 (2002), 321


def make_sampler(balance: Literal["none", "smote", "under"], *, smallest: tuple[str, int], seed: int) -> tuple[Any, str]:
    """A step of `make_pipeline` that changes rows while it learns, and a note ("" for none).

    smote: crops of the smaller classes are made up between neighbours; under: crops of the larger ones are dropped.

    Args:
        smallest: name and size of the smallest class in any part that will be learned from.

    Raises:
        TrainingError: SMOTE has no neighbours to go between.
        MissingExtra: imbalanced-learn is not installed.
    """
    if balance == "none":
        return "passthrough", ""
    _need()
    from imblearn.over_sampling import SMOTE
    from imblearn.under_sampling import RandomUnderSampler

    if balance == "under":
        return RandomUnderSampler(random_state=seed), ""
    name, n = smallest
    if n < 2:
        raise TrainingError(
            f"SMOTE goes between neighbours of one class, and a part that is learned from has {n} crop of {name!r}: "
            "bring more, leave that class out, or use balance: none"
        )
    note = "" if n > NEIGHBOURS else f"SMOTE between {n - 1} neighbours instead of {NEIGHBOURS}: {name!r} has {n} crops in a part"
    return SMOTE(k_neighbors=min(NEIGHBOURS, n - 1), random_state=seed), note


def make_pipeline(steps: Sequence[tuple[str, Any]]) -> Any:
    """Steps one after the other; a sampler among them works only while the pipeline learns, on the rows that it learns from.

    Raises:
        MissingExtra: imbalanced-learn is not installed.
    """
    _need()
    from imblearn.pipeline import Pipeline

    return Pipeline(list(steps))


def _need() -> None:
    try:
        import imblearn  # noqa: F401
    except ModuleNotFoundError as error:
        raise MissingExtra("a classical system", "imbalanced-learn", "papers") from error
