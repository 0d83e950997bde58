"""The one file that wires configuration → bundles → runtimes → Analyzer, and may import detection and classification."""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from classification.classifier import PIXELS, BundleClassifier
from classification.classifier import build_network as classifier_network
from detection.detector import YoloDetector
from detection.detector import build_network as detector_network
from smear.analyze import Analyzer
from smear.errors import ModelError
from smear.line import Pace
from smear.models import Bundle, ModelCard, open_bundle
from smear.plan import Plan, white_labels
from smear.review import ReviewRule, review_rule
from smear.runtimes import open_runtime
from smear.scale import RED_CELL_UM
from smear.settings import AnalyzeSettings
from smear.types import Detections, Field, Image, Outcome, Pixels, Runtime, Scale


@dataclass(frozen=True)
class Opened:
    """The bundles of a run, checked, and the settings they run with."""

    settings: AnalyzeSettings
    detector: Bundle
    classifier: Bundle | None

    @property
    def cards(self) -> tuple[ModelCard, ...]:
        return (self.detector.card, *((self.classifier.card,) if self.classifier else ()))

    @property
    def review(self) -> ReviewRule:
        """Which cells a person should look at; it may follow from the metrics of the classifier's card."""
        return review_rule(self.settings, self.classifier.card if self.classifier else None)

    def key(self) -> str:
        """Changes whenever a result could: the cards (with the hashes of the weights) and the settings."""
        parts = [json.loads(card.model_dump_json(exclude={"metrics", "training", "data", "variants"})) for card in self.cards]
        aside = {"detector", "classifier", "threads", "fields_per_batch", "pixels_per_batch", "lanes", "review_below", "max_error"}
        settings = json.loads(self.settings.model_dump_json(exclude=aside))
        text = json.dumps([parts, settings, self.review.below], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()


def open_models(settings: AnalyzeSettings) -> Opened:
    """Open and check the bundles that the settings name.

    Raises:
        ModelError: a bundle is missing, changed, unsafe, or of the wrong task.
    """
    detector = _expect(open_bundle(settings.detector), "detect")
    classifier = _expect(open_bundle(settings.classifier), "classify") if settings.classifier else None
    return Opened(settings, detector, classifier)


def build_analyzer(
    opened: Opened, *, floor: float | None = None, networks: Mapping[str, Runtime] = MappingProxyType({}), **hooks: Any
) -> Analyzer:
    """Load the networks and make the analyser.

    Args:
        floor: keep detections down to this score, below the operating confidence (an evaluation's curves need them).
        networks: by task, those that are loaded already (`open_network`); the others are loaded as the settings say.
        hooks: `recall` and `keep` of Analyzer.
    """
    settings, card = opened.settings, opened.detector.card
    plan = Plan.for_cards(settings, card, opened.classifier.card if opened.classifier else None, floor=floor)
    if not card.white_classes:
        raise ModelError(f"{opened.detector.root}: white_classes: is empty; the card must say which classes are white cells")
    if opened.classifier and plan.contract is None:
        raise ModelError(f"{opened.classifier.root}: crop: is missing; the card must say how cells are cut for it")
    network = networks.get("detect") or open_network(opened.detector, settings)
    detector = YoloDetector(network, card, confidence=plan.lowest_score, iou=plan.iou)
    classifier = None
    if opened.classifier:
        classifier = BundleClassifier(networks.get("classify") or open_network(opened.classifier, settings), opened.classifier.card)
    return Analyzer(detector, classifier, plan, white=white_labels(card), pace=Pace.of_machine(lanes=1), **hooks)


def make_analyze(opened: Opened, **hooks: Any) -> Callable[[], Callable[[Iterable[Field]], Iterator[Outcome]]]:
    """What an engine's worker calls to get its own analyser."""
    return lambda: build_analyzer(opened, **hooks)


def build_cell_finder(
    detector_bundle: Path, *, device: str = "auto", rbc_px: float | None = None
) -> Callable[[Image], tuple[Detections, Scale]]:
    """White cells of a decoded image, in its pixels, and its scale; `rbc_px` fixes the ruler instead of measuring it."""
    opened = open_models(AnalyzeSettings(detector=detector_bundle, classifier=None, device=device))
    analyzer = build_analyzer(opened)
    um_per_px = RED_CELL_UM / rbc_px if rbc_px else None
    return lambda image: analyzer.find_cells(image, um_per_px)


def open_network(bundle: Bundle, settings: AnalyzeSettings, *, trial: bool = False) -> Runtime:
    """Load the network of a bundle as the settings say; `trial` as for `open_runtime`."""
    is_detector = bundle.card.task == "detect"
    return open_runtime(
        bundle,
        runtime=settings.runtime,
        device=str(settings.device),
        threads=settings.threads,
        pixels=Pixels() if is_detector else PIXELS.get(bundle.card.normalise),
        build_module=detector_network if is_detector else classifier_network,
        trial=trial,
    )


def _expect(bundle: Bundle, task: str) -> Bundle:
    if bundle.card.task != task:
        raise ModelError(f"{bundle.root}: task: is {bundle.card.task!r}, a model to {task} is needed here")
    return bundle
