"""The blast count of a slide: k of n with its interval, corrected for the classifier's errors, and what may be said of it."""

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from smear.metrics.prevalence import Counts, corrected_interval, is_correctable, limits, rejections, rogan_gladen
from smear.metrics.statistics import clopper_pearson

MOST_CELLS = 100_000  # more cells than any slide shows: beyond, counting is no answer
MOST_REVIEW = 0.5  # of the labelled cells: beyond, a person decides more than the classifier does
MISFIT = 0.99  # confidence of the intervals that must be apart before a count is said not to fit the classifier

NO_CELLS = "no cells"
MISFITS = "the count does not fit the classifier"
REVIEW_FIRST = "too many cells need review"
EXCLUDED = "fewer blasts than asked"
AT_LEAST = "at least as many blasts as asked"
PRESENT = "blasts found, share uncertain"
NOT_ENOUGH = "not enough cells"
NOT_EXCLUDED = "blasts not excluded"
UNCORRECTED = "classifier's errors unknown"


@dataclass(frozen=True)
class BlastEstimate:
    """What k of n labelled cells say about the share of blasts; all shares in [0, 1], None where unknown, NaN share for n = 0.

    low, high: exact interval of the cells *called* blast. adjusted, adjusted_low, adjusted_high: of the true blasts, corrected for
    the classifier's errors; clipped to [0, 1]. review_low, review_high: the share called blast if none, or all, of the cells sent to
    review were blasts. chance_of_none: how likely n cells hold no blast when `exclude_share` of all are. more_cells: further cells,
    called blast as the best guess says, until less than `exclude_share` can be claimed; 0 when it can already, None when no number
    of cells would do. more_cells_to_show: the same, until the lower limit leaves 0.
    """

    k: int
    n: int
    share: float
    low: float
    high: float
    confidence: float
    adjusted: float | None
    adjusted_low: float | None
    adjusted_high: float | None
    sensitivity: Counts | None
    specificity: Counts | None
    n_review: int
    review_low: float
    review_high: float
    exclude_share: float
    chance_of_none: float
    more_cells: int | None
    more_cells_to_show: int | None
    verdict: str
    text: str

    def to_json(self) -> dict[str, Any]:
        """Plain values; NaN becomes null, the calibration counts `{"k", "n"}`."""
        plain = {key: None if isinstance(v, float) and math.isnan(v) else v for key, v in asdict(self).items()}
        for key, rate in (("sensitivity", self.sensitivity), ("specificity", self.specificity)):
            plain[key] = {"k": rate[0], "n": rate[1]} if rate else None
        return plain


def blast_estimate(
    k: int, n: int, *, sensitivity: Counts | None, specificity: Counts | None, n_review: int = 0, k_review: int = 0,
    exclude_share: float = 0.05, confidence: float = 0.95,
) -> BlastEstimate:  # fmt: skip
    """The blast count of one slide, in numbers and in words.

    Args:
        k, n: cells labelled blast, and all labelled cells, *cells sent to review included, under their most probable label*: so were
            sensitivity and specificity measured. Leaving doubtful cells out would ask for the errors among the sure cells alone, and
            would bias the share, because blasts and other cells are not doubted equally often. Give the counts after review, and
            None for the rates, once a person has looked at all of them.
        sensitivity: hits and trials among true blasts, of an evaluation that the classifier was not trained on; as
            `counts_of_card` gives them. specificity: the same among the other cells. None: unknown, nothing is corrected.
        n_review, k_review: how many of the n and of the k were sent to review.
        exclude_share: the share of blasts that one would like to exclude, in (0, 1).

    Raises:
        ValueError: impossible counts.
    """
    if not (0 <= k_review <= k <= n and k_review <= n_review <= n and n_review - k_review <= n - k):
        raise ValueError(f"impossible counts: {k} of {n} called, {k_review} of {n_review} in review")
    if not 0 < exclude_share < 1:
        raise ValueError(f"exclude_share must be in (0, 1), got {exclude_share}")
    low, high = clopper_pearson(k, n, confidence)
    rates = (sensitivity, specificity) if sensitivity and specificity and is_correctable(sensitivity, specificity, confidence) else None
    guess, interval = (_guess(k, n, rates), corrected_interval(k, n, *rates, confidence)) if rates and n else (None, (None, None))
    misfit = rates is not None and n > 0 and _misfits(k, n, rates)
    further = None if misfit else more_cells(k, n, rates, exclude_share=exclude_share, confidence=confidence)
    to_show = None if misfit else more_cells(k, n, rates, exclude_share=None, confidence=confidence)
    counted = BlastEstimate(
        k=k,
        n=n,
        share=k / n if n else math.nan,
        low=low,
        high=high,
        confidence=confidence,
        adjusted=guess,
        adjusted_low=interval[0],
        adjusted_high=interval[1],
        sensitivity=sensitivity,
        specificity=specificity,
        n_review=n_review,
        review_low=(k - k_review) / n if n else 0.0,
        review_high=(k + n_review - k_review) / n if n else 1.0,
        exclude_share=exclude_share,
        chance_of_none=chance_of_no_blast(exclude_share, n),
        more_cells=further,
        more_cells_to_show=to_show,
        verdict="",
        text="",
    )
    verdict = _verdict(counted, misfit=misfit)
    return replace(counted, verdict=verdict, text=" ".join(_sentences(counted, verdict)))


def chance_of_no_blast(share: float, n: int, *, sensitivity: float = 1.0) -> float:
    """The chance that none of n cells is a blast (found by a classifier of that sensitivity) when this share of all cells are.

    37 % for 100 cells and 1.8 % for 400 when 1 % are blasts.
    """
    return float((1 - share * sensitivity) ** n)


def cells_to_see_a_blast(share: float, *, chance: float = 0.95, sensitivity: float = 1.0) -> int:
    """How many cells show at least one blast with this chance, when this share of all cells are blasts: 299 for 1 % at 95 %.

    Raises:
        ValueError: a share, chance or sensitivity outside (0, 1), for which no number of cells is an answer.
    """
    if not (0 < share < 1 and 0 < chance < 1 and 0 < sensitivity <= 1):
        raise ValueError(f"share, chance and sensitivity must be in (0, 1), got {share}, {chance}, {sensitivity}")
    return math.ceil(math.log(1 - chance) / math.log(1 - share * sensitivity))


def counts_of_card(metrics: Mapping[str, Any]) -> tuple[Counts | None, Counts | None]:
    """Sensitivity and specificity as the classifier's card holds them (`card.metrics`), for a slide that it has not seen.

    `next_slide` where the card has it, which also holds how much slides differ; else the plain counts; (None, None) without either.
    """
    rates = (metrics.get("operating") or {}).get("sensitivity"), (metrics.get("operating") or {}).get("specificity")
    if not all(rates):
        return None, None
    chosen = [rate.get("next_slide") or rate for rate in rates if rate]
    return (chosen[0]["k"], chosen[0]["n"]), (chosen[1]["k"], chosen[1]["n"])


def more_cells(k: int, n: int, rates: tuple[Counts, Counts] | None, *, exclude_share: float | None, confidence: float = 0.95) -> int | None:
    """The fewest further cells after which the upper limit lies below `exclude_share`, or (None) the lower limit above 0.

    They are called blast as often as the best guess of the share, and the rates, make them. None when `MOST_CELLS` do not do:
    the guess lies on the other side, or the rates are known too badly for any number of cells.
    """
    guess = _guess(k, n, rates) if n else 0.0
    rate = guess if rates is None else guess * rates[0][0] / rates[0][1] + (1 - guess) * (1 - rates[1][0] / rates[1][1])

    def is_settled(more: int) -> bool:
        called, total = k + more * rate, n + more
        if not total:
            return False
        if rates is None:
            low, high = limits(min(called, total), total, confidence)
            return low > 0 if exclude_share is None else high < exclude_share
        too_many, too_few = rejections(exclude_share or 0.0, called, total, *rates, confidence)
        return bool(too_many if exclude_share is None else too_few)

    if is_settled(0):
        return 0
    if guess <= 0 if exclude_share is None else guess >= exclude_share:
        return None
    return _first(is_settled, MOST_CELLS) if is_settled(MOST_CELLS) else None


def _guess(k: int, n: int, rates: tuple[Counts, Counts] | None) -> float:
    """The best guess of the share, in [0, 1]; what rounding leaves of 0 is 0."""
    return min(1.0, max(0.0, round(rogan_gladen(k, n, *rates) if rates else k / n, 12)))


def _first(is_true: Callable[[int], bool], high: int) -> int:
    """The lowest number for which it is true, when it stays true from there on to `high`."""
    low = -1
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if is_true(middle) else (middle, high)
    return high


def _misfits(k: int, n: int, rates: tuple[Counts, Counts]) -> bool:
    """Whether the cells are called blast surely less often than others are by mistake, or more often than blasts are.

    No share of blasts explains that: the card's errors are not those of this slide.
    """
    (called_low, called_high), (found, passed) = limits(k, n, MISFIT), (limits(*rate, MISFIT) for rate in rates)
    return called_high < 1 - passed[1] or called_low > found[1]


def _verdict(found: BlastEstimate, *, misfit: bool) -> str:
    if not found.n:
        return NO_CELLS
    if misfit:
        return MISFITS
    if found.n_review > MOST_REVIEW * found.n:
        return REVIEW_FIRST
    if found.adjusted_low is None or found.adjusted_high is None:
        return NOT_ENOUGH if found.n < cells_to_see_a_blast(found.exclude_share) else UNCORRECTED
    if found.adjusted_high < found.exclude_share:
        return EXCLUDED
    if found.adjusted_low >= found.exclude_share:
        return AT_LEAST
    if found.adjusted_low > 0:
        return PRESENT
    return NOT_EXCLUDED if found.more_cells is None and found.more_cells_to_show is None else NOT_ENOUGH


def _sentences(found: BlastEstimate, verdict: str) -> list[str]:
    """The estimate in words: what was counted, what that means, what is in doubt, what to do."""
    if not found.n:
        return ["No white cell was labelled: nothing can be said about blasts."]
    sure = f"{100 * found.confidence:g} % interval"
    called = f"{found.k} of {found.n} labelled white cells were called blast"
    said = [f"{called}: {_percent(found.share)} ({sure} {_range(found.low, found.high)})."]
    if found.adjusted is not None and found.adjusted_low is not None and found.adjusted_high is not None:
        corrected = f"{_percent(found.adjusted)} ({sure} {_range(found.adjusted_low, found.adjusted_high)})"
        said.append(f"Corrected for the classifier's errors: {corrected}.")
    else:
        said.append("Not corrected: how often the classifier errs is unknown, or it errs too often for a correction.")
    if found.n_review:
        said.append(
            f"{found.n_review} of the cells need a person's eye; their answer can move the count of blasts to anything "
            f"between {_percent(found.review_low)} and {_percent(found.review_high)}."
        )
    return [*said, _conclusion(found, verdict)]


def _conclusion(found: BlastEstimate, verdict: str) -> str:
    asked, missing = f"{100 * found.exclude_share:g} %", cells_to_see_a_blast(found.exclude_share) - found.n
    if found.adjusted is None:
        more = f"about {missing} more white cells would be needed before {asked} blasts would surely show one"
    elif found.more_cells is not None:
        more = f"about {found.more_cells} more white cells would be needed to exclude {asked} blasts"
    else:
        more = f"about {found.more_cells_to_show} more white cells would be needed to tell this from none"
    return {
        MISFITS: "No share of blasts explains this count: the classifier errs otherwise on this slide than its card says. Do not use it.",
        REVIEW_FIRST: "Most cells are in doubt: look at them before using any share.",
        EXCLUDED: f"Less than {asked} blasts.",
        AT_LEAST: f"At least {asked} blasts.",
        PRESENT: f"More blasts than the classifier's errors explain; whether they reach {asked} stays open.",
        NOT_ENOUGH: f"Not enough cells: {more}.",
        NOT_EXCLUDED: "Blasts are not excluded, and more cells would not help: the classifier's errors are too many or too little known.",
        UNCORRECTED: "The share called blast contains the classifier's errors: do not read it as the share of blasts.",
    }[verdict]


def _percent(share: float) -> str:
    return "less than 0.1 %" if 0 < share < 0.0005 else f"{100 * share:.1f} %"


def _range(low: float, high: float) -> str:
    return f"{100 * low:.1f} to {100 * high:.1f} %"
