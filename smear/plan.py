"""How an analysis works: what the cards say, where the settings do not say otherwise."""

from dataclasses import dataclass
from typing import Self

from smear.drift import Reference
from smear.models import CropContract, ModelCard
from smear.review import review_rule
from smear.scale import MEASURE_CONFIDENCE, Ruler
from smear.settings import NORMAL_RBC_PX, AnalyzeSettings

DEFAULT_CONFIDENCE, DEFAULT_IOU = 0.25, 0.5  # where a card says nothing


@dataclass(frozen=True)
class Plan:
    """How an Analyzer works: the scale and crop contracts, tiling, operating points. White detections above
    `confidence` are cells; the result keeps all detections above `floor`. `warnings` are said of every field."""

    ruler: Ruler | None
    letterbox_px: int
    contract: CropContract | None
    crop_px: int
    confidence: float
    floor: float
    iou: float
    review_below: float
    um_per_px: float | None = None
    tile_px: int = 1920
    overlap_px: int = 192
    fields_per_batch: int = 8
    pixels_per_batch: int = 2**22
    warnings: tuple[str, ...] = ()
    reference: Reference | None = None  # the fields trained on; None: no field is called foreign

    @classmethod
    def for_cards(
        cls, settings: AnalyzeSettings, detector: ModelCard, classifier: ModelCard | None = None, *, floor: float | None = None
    ) -> Self:
        """What the cards say, where the settings do not say otherwise; `floor` None: no detection below `confidence` is kept.

        Raises:
            ConfigError: an error rate is asked for that the classifier's card knows nothing about.
        """
        review = review_rule(settings, classifier)
        red = detector.classes.index(detector.red_class) if detector.red_class else None
        grown = max(1.0, (detector.rbc_px or NORMAL_RBC_PX) / NORMAL_RBC_PX)  # tiles are stated for red cells of NORMAL_RBC_PX
        confidence = settings.confidence or detector.thresholds.get("confidence", DEFAULT_CONFIDENCE)
        return cls(
            ruler=Ruler(detector.rbc_px, red, white_labels(detector)) if detector.rbc_px else None,
            letterbox_px=detector.input_px,
            contract=classifier.crop if classifier else None,
            crop_px=classifier.input_px if classifier else 0,
            confidence=confidence,
            floor=min(confidence, 1.0 if floor is None else floor),
            iou=settings.iou or detector.thresholds.get("iou", DEFAULT_IOU),
            review_below=review.below,
            um_per_px=settings.um_per_px,
            tile_px=round(settings.tile_px * grown),
            overlap_px=round(settings.overlap_px * grown),
            fields_per_batch=settings.fields_per_batch,
            pixels_per_batch=settings.pixels_per_batch,
            warnings=(review.warning,) if review.warning else (),
            reference=Reference.from_card(detector.statistics),
        )

    @property
    def lowest_score(self) -> float:
        """What the detector must deliver: the ruler needs doubtful cells too."""
        return min(self.floor, MEASURE_CONFIDENCE)


def white_labels(card: ModelCard) -> tuple[int, ...]:
    """Indices of the detector's white-cell classes."""
    return tuple(card.classes.index(c) for c in card.white_classes)
