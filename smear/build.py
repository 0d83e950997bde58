"""The one file that wires configuration → bundles → runtimes → Analyzer, and may import detection and classification."""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from classification.classifier import PIXELS, BundleClassifier
from classification.classifier import build_network as classifier_network
from detection.detector import PIXELS as DETECTOR_PIXELS
from detection.detector import YoloDetector
from detection.detector import build_network as detector_network
from smear.analyze import Analyzer
from smear.errors import AnnotationError, ModelError
from smear.line import Pace
from smear.machine import lanes_for
from smear.models import Bundle, ModelCard, open_bundle
from smear.optics import optics_for
from smear.plan import Plan, white_labels
from smear.review import ReviewRule, review_rule
from smear.runtimes import RUNTIMES, float32_beside, open_runtime
from smear.scale import RED_CELL_UM
from smear.settings import AnalyzeSettings
from smear.tuning import REFERENCE, Choice, candidates_for, choose, sample_batch
from smear.types import Detections, Field, Image, Outcome, Pixels, Runtime, Scale

ROLES = {"detect": "detector", "classify": "classifier"}
# Settings that are in a result's key in another way, or not because they only move work about.
ASIDE = {"detector", "classifier", "runtime", "threads", "fields_per_batch", "pixels_per_batch", "lanes", "review_below", "max_error"}


@dataclass(frozen=True)
class Opened:
    """The bundles of a run, checked, and the settings they run with; `choices` are their runtimes, by task."""

    settings: AnalyzeSettings
    detector: Bundle
    classifier: Bundle | None
    choices: Mapping[str, Choice]

    @property
    def cards(self) -> tuple[ModelCard, ...]:
        return (self.detector.card, *((self.classifier.card,) if self.classifier else ()))

    @property
    def review(self) -> ReviewRule:
        """Which cells a person should look at; it may follow from the metrics of the classifier's card."""
        return review_rule(self.settings, self.classifier.card if self.classifier else None)

    @property
    def runtimes(self) -> dict[str, str]:
        """The name of the runtime of the "detector" and, if there is one, of the "classifier"."""
        return {ROLES[task]: choice.name for task, choice in self.choices.items()}

    def key(self) -> str:
        """Changes whenever a result could: the cards (with the hashes of the weights), the settings, and the runtimes that were chosen."""
        parts = [json.loads(card.model_dump_json(exclude={"metrics", "training", "data", "variants"})) for card in self.cards]
        settings = json.loads(self.settings.model_dump_json(exclude=ASIDE))
        chosen = {task: choice.name for task, choice in self.choices.items()}
        text = json.dumps([parts, settings, chosen, self.review.below], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()


def open_models(settings: AnalyzeSettings) -> Opened:
    """Open and check the bundles that the settings name; a runtime that is left to us is chosen here, by measuring when it must be.

    Raises:
        ModelError: a bundle is missing, changed, unsafe, or of the wrong task, or no runtime can run it.
    """
    detector = _expect(open_bundle(settings.detector), "detect")
    classifier = _expect(open_bundle(settings.classifier), "classify") if settings.classifier else None
    choices: dict[str, Choice] = {bundle.card.task: _choice(bundle, settings) for bundle in (detector, classifier) if bundle}
    return Opened(settings, detector, classifier, MappingProxyType(choices))


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
    loaded = {b.card.task: networks.get(b.card.task) or load_network(opened, b) for b in (opened.detector, opened.classifier) if b}
    detector = YoloDetector(loaded["detect"], card, confidence=plan.lowest_score, iou=plan.iou)
    looker = _looker(opened, loaded["detect"], plan)
    classifier = BundleClassifier(loaded["classify"], opened.classifier.card) if opened.classifier else None
    pace = Pace.of_machine(lanes=_lanes(settings))
    optics = optics_for(loaded.values())
    return Analyzer(detector, classifier, plan, white=white_labels(card), looker=looker, pace=pace, optics=optics, **hooks)


def make_analyze(opened: Opened, **hooks: Any) -> Callable[[], Callable[[Iterable[Field]], Iterator[Outcome]]]:
    """What an engine's worker calls to get its own analyser."""
    return lambda: build_analyzer(opened, **hooks)


def build_cell_finder(
    detector_bundle: Path, *, device: str = "auto", rbc_px: float | None = None
) -> Callable[[Image], tuple[Detections, Scale]]:
    """White cells of a decoded image, in its pixels, and its scale; `rbc_px` fixes the ruler instead of measuring it."""
    opened = open_models(AnalyzeSettings(detector=detector_bundle, classifier=None, device=device, runtime=REFERENCE))
    analyzer = build_analyzer(opened)
    um_per_px = RED_CELL_UM / rbc_px if rbc_px else None
    return lambda image: analyzer.find_cells(image, um_per_px)


def open_network(bundle: Bundle, settings: AnalyzeSettings, *, trial: bool = False) -> Runtime:
    """Load the network of a bundle as the settings say, to be called by their lanes at once; `trial` as for `open_runtime`."""
    is_detector = bundle.card.task == "detect"
    return open_runtime(
        bundle,
        runtime=settings.runtime,
        device=str(settings.device),
        threads=settings.threads,
        lanes=_lanes(settings),
        pixels=_pixels(bundle.card),
        build_module=detector_network if is_detector else classifier_network,
        trial=trial,
    )


def label_crops(bundle: Bundle, network: Runtime, crops: Image) -> NDArray[np.float32]:
    """(N, C) probabilities of N crops (N, S, S, 3), by a classifier whose network is loaded already."""
    return BundleClassifier(network, bundle.card)(crops)


def read_labelled_crops(bundle: Bundle, table: Path, splits: Sequence[str]) -> dict[str, tuple[Image, NDArray[np.int64]]]:
    """By split: the crops (N, S, S, 3) of a crops table at the classifier's size, and which of its classes each is (N,).

    Raises:
        AnnotationError: the table is wrong, leaks between splits, was cut by another contract, or has no such split.
        ImageError: a crop cannot be read.
    """
    from classification.crops import load_images, read_crops

    crops = read_crops([table], bundle.card.classes)
    if crops.contract is not None and crops.contract != bundle.card.crop:
        raise AnnotationError(f"{table}: was cut by another crop contract than that of {bundle.card.name}; cut it again")
    parts = [crops.split(name) for name in splits]
    wanted = crops.take(np.isin(crops.column("split"), list(splits)))
    images, of_split = load_images(wanted, size=bundle.card.input_px), wanted.column("split")
    return {name: (images[of_split == name], part.labels) for name, part in zip(splits, parts, strict=True)}


def load_network(opened: Opened, bundle: Bundle) -> Runtime:
    """Load the network of one of the bundles on the runtime that was chosen for it."""
    return open_network(bundle, opened.settings.model_copy(update={"runtime": opened.choices[bundle.card.task].name}))


def _looker(opened: Opened, network: Runtime, plan: Plan) -> YoloDetector | None:
    """What measures the scale: the detector itself (None), or in float32 where it runs in another precision.

    A hundredth in the score of one red cell can move the scale of a field with few, and with it every box: of the fields of BCCD,
    bfloat16 alone moved one by 7.5 %. The looks are small, so that float32 costs little there.
    """
    if plan.ruler is None or network.name in RUNTIMES:
        return None
    float32 = opened.settings.model_copy(update={"runtime": float32_beside(network.name)})
    return YoloDetector(open_network(opened.detector, float32), opened.detector.card, confidence=plan.lowest_score, iou=plan.iou)


def _choice(bundle: Bundle, settings: AnalyzeSettings) -> Choice:
    lanes = _lanes(settings)
    if settings.runtime != "auto":
        return Choice(settings.runtime, "asked", lanes)
    return choose(
        bundle,
        candidates_for(bundle, str(settings.device)),
        open_one=lambda name: open_network(bundle, settings.model_copy(update={"runtime": name})),
        batch=sample_batch(bundle, _pixels(bundle.card)),
        device=str(settings.device),
        lanes=lanes,
        threads=settings.threads,
    )


def _lanes(settings: AnalyzeSettings) -> int:
    return settings.lanes or lanes_for(str(settings.device), threads=settings.threads)


def _pixels(card: ModelCard) -> Pixels | None:
    return DETECTOR_PIXELS if card.task == "detect" else PIXELS.get(card.normalise)


def _expect(bundle: Bundle, task: str) -> Bundle:
    if bundle.card.task != task:
        raise ModelError(f"{bundle.root}: task: is {bundle.card.task!r}, a model to {task} is needed here")
    return bundle
