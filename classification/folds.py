"""How crops are parted k times into train, validation and test: by whole groups, or at random, which shows what a leaking split claims."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from smear.errors import AnnotationError, ConfigError

Kind = Literal["grouped", "random"]
KINDS: tuple[Kind, ...] = get_args(Kind)
Cut = Callable[[NDArray[np.int64], int, int], Iterator[NDArray[np.int64]]]  # rows, parts, seed → the rows of each part

INNER = 5  # validation is a fifth of what is not the test, or the nearest larger share in which every class is on both sides
ATTEMPTS = 20  # other orders that are tried before a split without one of the classes is refused


@dataclass(frozen=True)
class Fold:
    """Rows of the table, each ascending and int64: learned from, chosen by, and scored on; none is in two of them."""

    number: int
    train: NDArray[np.int64]
    val: NDArray[np.int64]
    test: NDArray[np.int64]


@dataclass(frozen=True)
class Folds:
    """k folds whose tests are all rows, each once. warnings: what a reader of the numbers must know."""

    kind: Kind
    folds: tuple[Fold, ...]
    warnings: tuple[str, ...]


def make_folds(
    labels: NDArray[np.int64], groups: NDArray[np.str_], classes: Sequence[str], *, kind: Kind, k: int, seed: int, unit: str = "group"
) -> Folds:
    """Part N rows k times; the table's own `split` column plays no role here.

    "grouped": all rows of a group are in one part, classes as even as groups allow (scikit-learn's StratifiedGroupKFold), and so is the
    validation cut out of the training part. "random": rows go where chance puts them, classes even (StratifiedKFold), as most papers do;
    cells of one slide are then on both sides, and the number says how much that gives away. The same arguments give the same folds.

    Args:
        labels: (N,) index `classes`. groups: (N,) str. unit: what a group is called, for messages.

    Raises:
        ConfigError: fewer than 2 folds, or more than there are groups or crops of a class: the message says what fits.
        AnnotationError: a class has no crop, or too few crops or groups to train, validate and test on.
    """
    if k < 2:
        raise ConfigError(f"--folds: must be at least 2, got {k}")
    _refuse_few(labels, groups, classes, kind=kind, k=k, unit=unit)
    cut, what = _ways(labels, groups)[kind], unit if kind == "grouped" else "crop"
    tests = _first_whole(labels, cut, np.arange(len(labels)), k, seed, len(classes))
    if tests is None:
        few = _fewest(labels, groups, classes, kind)
        raise ConfigError(
            f"--folds {k}: a fold has no crop of every class: class {few[0]!r} lies in {few[1]} {what}s; use fewer folds or a finer --group"
        )
    folds = tuple(_with_validation(labels, cut, number, test, seed, classes, what) for number, test in enumerate(tests))
    return Folds(kind, folds, _warnings(labels, groups, classes, unit) if kind == "grouped" else ())


def choose_rows(groups: NDArray[np.str_], *, most: int, seed: int) -> NDArray[np.int64]:
    """At most `most` of N rows, ascending, drawn so that every group keeps its share as nearly as whole rows can; all when N is less."""
    if len(groups) <= most:
        return np.arange(len(groups))
    rng = np.random.default_rng(seed)
    shuffled = rng.permutation(len(groups))
    _, which, sizes = np.unique(groups[shuffled], return_inverse=True, return_counts=True)
    together = np.argsort(which, kind="stable")  # the rows of a group beside each other, still shuffled
    number = np.arange(len(groups)) - np.repeat(np.cumsum(sizes) - sizes, sizes)  # of a row in its group
    place = np.empty(len(groups))  # in [0, 1): evenly spaced from a random start
    place[shuffled[together]] = (number + np.repeat(rng.random(len(sizes)), sizes)) / np.repeat(sizes, sizes)
    return np.sort(np.argsort(place, kind="stable")[:most])


def _ways(labels: NDArray[np.int64], groups: NDArray[np.str_]) -> dict[str, Cut]:
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

    def grouped(rows: NDArray[np.int64], parts: int, seed: int) -> Iterator[NDArray[np.int64]]:
        cutter = StratifiedGroupKFold(parts, shuffle=True, random_state=seed)
        return (rows[test] for _, test in cutter.split(rows, labels[rows], groups[rows]))

    def random(rows: NDArray[np.int64], parts: int, seed: int) -> Iterator[NDArray[np.int64]]:
        cutter = StratifiedKFold(parts, shuffle=True, random_state=seed)
        return (rows[test] for _, test in cutter.split(rows, labels[rows]))

    return {"grouped": grouped, "random": random}


def _first_whole(
    labels: NDArray[np.int64], cut: Cut, rows: NDArray[np.int64], parts: int, seed: int, n_classes: int
) -> list[NDArray[np.int64]] | None:
    """The first of `ATTEMPTS` ways to part the rows in which every part has every class; None: there was none."""
    for attempt in range(ATTEMPTS):
        found = list(cut(rows, parts, seed + 1000 * attempt))
        if all(_is_whole(labels[part], n_classes) for part in found):
            return found
    return None


def _with_validation(
    labels: NDArray[np.int64], cut: Cut, number: int, test: NDArray[np.int64], seed: int, classes: Sequence[str], what: str
) -> Fold:
    rest = np.setdiff1d(np.arange(len(labels)), test)
    for parts in range(INNER, 1, -1):
        if min(np.bincount(labels[rest], minlength=len(classes))) < parts:
            continue
        try:
            candidates = list(cut(rest, parts, seed))
        except ValueError:  # fewer groups than parts
            continue
        for val in candidates:
            train = np.setdiff1d(rest, val)
            if _is_whole(labels[val], len(classes)) and _is_whole(labels[train], len(classes)):
                return Fold(number, train, np.sort(val), np.sort(test))
    raise AnnotationError(
        f"fold {number}: what is left to train on has a class in one {what} only, so it cannot be validated too; "
        f"bring more, leave that class out, or use a finer --group (classes: {', '.join(classes)})"
    )


def _refuse_few(labels: NDArray[np.int64], groups: NDArray[np.str_], classes: Sequence[str], *, kind: Kind, k: int, unit: str) -> None:
    counts = np.bincount(labels, minlength=len(classes))
    for name, n in zip(classes, counts, strict=True):
        if n < 3:
            raise AnnotationError(
                f"class {name!r} has {n} {'crop' if n == 1 else 'crops'}; to train, validate and test takes 3 or more: "
                "bring more, or leave the class out of the table"
            )
    if kind == "grouped" and len(set(groups.tolist())) < k:
        raise ConfigError(
            f"--folds {k}: there are only {len(set(groups.tolist()))} {unit}s; use fewer folds, or a finer --group such as field"
        )
    name, n = _fewest(labels, groups, classes, kind)
    what = unit if kind == "grouped" else "crop"
    if n < 3:
        raise AnnotationError(
            f"class {name!r} lies in {n} {what}{'' if n == 1 else 's'}; to train, validate and test on different ones takes 3 or more: "
            "bring more, or use a finer --group"
        )
    if n < k:
        raise ConfigError(
            f"--folds {k}: class {name!r} lies in only {n} {what}s, so a fold would be without it; use --folds {n} or a finer --group"
        )


def _fewest(labels: NDArray[np.int64], groups: NDArray[np.str_], classes: Sequence[str], kind: Kind) -> tuple[str, int]:
    """The class with the fewest groups (grouped) or crops (random), and how many."""
    places = [len(set(groups[labels == c].tolist())) if kind == "grouped" else int((labels == c).sum()) for c in range(len(classes))]
    return classes[int(np.argmin(places))], min(places)


def _warnings(labels: NDArray[np.int64], groups: NDArray[np.str_], classes: Sequence[str], unit: str) -> tuple[str, ...]:
    both = np.unique(np.stack([np.unique(groups, return_inverse=True)[1], labels]), axis=1)[0]
    names, times = np.unique(both, return_counts=True)
    mixed = np.unique(groups)[names[times > 1]]
    if not len(mixed):
        return ()
    told = f"{len(mixed)} of {len(names)} {unit}s hold crops of more than one class, {str(mixed[0])!r} for one"
    return (f"{told}; right for a patient with both kinds, wrong if the class was given to the whole {unit}",)


def _is_whole(labels: NDArray[np.int64], n_classes: int) -> bool:
    return len(np.unique(labels)) == n_classes
