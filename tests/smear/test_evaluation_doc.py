"""docs/evaluation.md explains every number that an evaluation can print: one that is added must be explained too."""

import re
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

from smear.metrics.blasts import BlastEstimate
from smear.metrics.classification import ERRORS, METRICS, MORE_METRICS, classification_metrics
from smear.metrics.detection import coco_metrics
from smear.metrics.endtoend import end_to_end
from smear.metrics.operating import RULES
from smear.metrics.paired import Difference
from smear.metrics.pairs import EXTRAS, OWNERS, OWNERS_OF_UNKNOWN
from smear.metrics.statistics import Interval
from smear.stress import SCORES, SHARES

DOC = (Path(__file__).resolve().parents[2] / "docs" / "evaluation.md").read_text(encoding="utf-8")
PLAIN = {"classes", "n_per_class", "confidence", "iou", "n_truth", "n_found", "n_images", "n_review", "n_fields", "n_failed_fields", "flow"}
NOTHING = np.zeros(0, np.int64)


def keys() -> dict[str, set[str]]:
    on_truth = [np.zeros((0, 2))]
    return {
        "detection": set(coco_metrics([], [], ("WBC",))),
        "classification": {*METRICS, *MORE_METRICS, *ERRORS, *RULES, *classification_metrics(NOTHING, np.zeros((0, 2)), ("ALL", "HEM"))},
        "end to end": {*OWNERS, *OWNERS_OF_UNKNOWN, *EXTRAS, *end_to_end([], [], ("ALL", "HEM"), on_truth=on_truth[:0])}
        - {"owners_by_class"},
        "intervals": {f.name for f in fields(Interval)},
        "blasts": {f.name for f in fields(BlastEstimate)},
        "stress": {*SCORES, *SHARES},
        "regress": {f.name for f in fields(Difference)},
    }


@pytest.mark.parametrize("part", list(keys()))
def test_every_number_is_explained(part):
    missing = sorted(k for k in keys()[part] - PLAIN if not re.search(rf"(?<![\w]){re.escape(k)}(?![\w])", DOC))
    assert missing == []


@pytest.mark.parametrize("paragraph", re.findall(r"^\*\*.*?(?=\n\n)", DOC + "\n\n", re.MULTILINE | re.DOTALL), ids=lambda p: p[:30])
def test_an_explanation_has_two_sentences(paragraph):
    text = re.sub(r"`[^`]*`", "x", re.sub(r"\*\*.*?\*\*", "", paragraph.replace("\n", " "), count=1))
    assert len(re.findall(r"[.?!](?=\s+[A-Z0-9x\"]|\s*$)|:\s*$", text)) == 2, text


def test_its_links_lead_somewhere():
    headings = {re.sub(r"[^\w\- ]", "", h).strip().lower().replace(" ", "-") for h in re.findall(r"^#+ (.*)$", DOC, re.MULTILINE)}
    assert set(re.findall(r"\]\(#([^)]*)\)", DOC)) <= headings
