"""Run an evaluation: analyse labelled fields, each decoded once and kept as it is finished, score them, and again under stress."""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from smear.build import Opened, build_analyzer
from smear.conditions import Condition
from smear.evaluate import FLOOR, ask, evaluate, headline
from smear.evidence import Evidence, EvidenceStore, Question
from smear.labelled import Labelled
from smear.outcome_cache import OutcomeCache
from smear.plan import Plan
from smear.store import Store
from smear.stress import run_stress
from smear.types import Image, Outcome

STRESS_FOLDER = "stress"


def question_of(opened: Opened, labelled: Labelled) -> Question:
    """What these models are asked about these fields."""
    card, classifier = opened.detector.card, opened.classifier.card if opened.classifier else None
    confidence = Plan.for_cards(opened.settings, card, classifier).confidence
    return ask(labelled, classifier.classes if classifier else (), white_classes=card.white_classes, confidence=confidence)


def gather(
    opened: Opened,
    labelled: Labelled,
    question: Question,
    store: Store,
    *,
    progress: Callable[[Iterable[Outcome]], Iterable[Outcome]] = iter,
) -> list[Evidence]:
    """Analyse the fields that no earlier run has finished, and recall the others; the evidence of all, in their order."""
    kept = EvidenceStore(store, labelled.fields, labelled.truths, key=opened.key(), question=question)

    def keep(outcome: Outcome, image: Image | None) -> None:
        kept.keep(outcome, image, analyzer.label_boxes)

    analyzer = build_analyzer(opened, floor=FLOOR, recall=kept.recall, keep=keep)
    for _ in progress(analyzer(labelled.fields)):
        pass
    return kept.of(labelled.fields)


def score(
    opened: Opened, labelled: Labelled, question: Question, evidence: Sequence[Evidence], *, n_resamples: int = 1000
) -> dict[str, Any]:
    """`smear.evaluate.evaluate` for the detector of the run."""
    card = opened.detector.card
    white = card.white_classes[0]
    return evaluate(labelled, evidence, question, white_class=white, detector_classes=card.classes, n_resamples=n_resamples)


def stress(
    opened: Opened,
    labelled: Labelled,
    question: Question,
    root: Path,
    *,
    n_fields: int | None = None,
    seed: int = 0,
    progress: Callable[[Sequence[Condition]], Iterable[Condition]] = iter,
) -> dict[str, Any]:
    """`run_stress` with the headline numbers; every outcome is kept below `root`, so that a killed run goes on.

    Args:
        n_fields: at most so many fields, drawn by `seed`; None: all.
    """
    card = opened.detector.card
    cache = OutcomeCache(root / STRESS_FOLDER, key=opened.key())
    return run_stress(
        build_analyzer(opened, floor=FLOOR, recall=cache.recall, keep=cache.keep),
        labelled,
        partial(headline, question=question, white_class=card.white_classes[0], detector_classes=card.classes),
        n_fields=n_fields,
        seed=seed,
        um_per_px=opened.settings.um_per_px,
        progress=progress,
    )
