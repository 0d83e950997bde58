"""What an analysis can be told: one frozen configuration."""

from pathlib import Path
from typing import Self

from pydantic import Field, model_validator

from smear.config import Settings
from smear.tiles import SLACK_PX

NORMAL_RBC_PX = 48  # the scale of the shipped detector, at which tiles and overlaps are stated


class AnalyzeSettings(Settings):
    """Pixels are at the detector's scale, where a red cell is `NORMAL_RBC_PX` wide unless its card says otherwise."""

    detector: Path = Path("models/wbc-yolov8n")
    classifier: Path | None = Path("models/all-hem-densenet121")
    device: str | int = "auto"
    runtime: str = "auto"
    threads: int | None = Field(None, ge=1)
    um_per_px: float | None = Field(None, gt=0, lt=100)
    confidence: float | None = Field(None, gt=0, lt=1)
    iou: float | None = Field(None, gt=0, le=1)
    review_below: float | None = Field(None, ge=0, le=1)
    max_error: float | None = Field(None, gt=0, lt=1)
    tile_px: int = Field(1920, ge=128, le=4096, multiple_of=32)
    overlap_px: int = Field(192, ge=0)
    largest_cell_rbc: float = Field(3.6, gt=0)
    fields_per_batch: int = Field(8, ge=1)
    pixels_per_batch: int = Field(2**22, ge=1)  # of decoded fields: more is no faster on a CPU and holds more memory
    lanes: int | None = Field(None, ge=1, le=64)  # None: as the machine allows

    @model_validator(mode="after")
    def _overlap_holds_a_cell(self) -> Self:
        needed = self.largest_cell_rbc * NORMAL_RBC_PX + 2 * SLACK_PX
        if self.overlap_px < needed:
            raise ValueError(f"overlap_px: must be at least {needed:.0f} (the largest cell and twice the slack), got {self.overlap_px}")
        if self.overlap_px >= self.tile_px:
            raise ValueError(f"overlap_px: must be less than tile_px {self.tile_px}, got {self.overlap_px}")
        return self

    @model_validator(mode="after")
    def _one_rule_of_review(self) -> Self:
        if self.max_error is not None and self.review_below is not None:
            raise ValueError("max_error and review_below both say which cells need a review; give one of them")
        return self
