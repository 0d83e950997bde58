"""smear.report.html and plots: one page that loads nothing, escapes everything and says the answer first."""

import base64
import math
import re
from html.parser import HTMLParser
from pathlib import Path

import cv2
import numpy as np
import pytest

from smear.metrics.classification import classification_metrics
from smear.metrics.detection import coco_metrics, pr_curves
from smear.metrics.endtoend import end_to_end
from smear.models import ModelCard
from smear.report import html
from smear.report.gallery import GALLERY_LIMIT, ErrorItem, GalleryItem, choose_cells
from smear.report.html import render_html
from smear.report.summary import summarise
from smear.types import Detections, Field, FieldFailure, FieldResult, Scale

EVIL = '<script>alert("x")</script>&\'.png'
VOID = {"meta", "img", "br", "link", "input", "hr"}


class Outline(HTMLParser):
    """Tags, attributes and text of a page; notes tags that do not close in order."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.attributes, self.open, self.errors, self.text = [], [], [], [], []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes += attributes
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.errors.append(tag)

    def handle_data(self, data):
        if self.open and self.open[-1] != "style":
            self.text.append(data)


def text_of(page):
    return re.sub(r"\s+", " ", " ".join(Outline(page).text))


def ids_of(page):
    return {value for name, value in Outline(page).attributes if name == "id"}


def field_result(name="s1/a.png", p_all=(0.95, 0.1, 0.6), classes=("ALL", "HEM")):
    n = len(p_all)
    boxes = [[100 * i, 0, 100 * i + 60, 60] for i in range(n)] + [[0, 200, 40, 240]]
    p = np.array([*([q, 1 - q] for q in p_all), [math.nan, math.nan]], np.float32)[:, : len(classes)]
    return FieldResult(
        Field(name, Path("x"), name.rsplit("/", 1)[0]),
        (480, 640),
        Detections(boxes, np.linspace(0.9, 0.5, n + 1), [0] * n + [1]),
        ("WBC", "RBC"),
        np.array([True] * n + [False]),
        p,
        classes,
        0.7,
        Scale(70, 0.1, 1, "red cells"),
        ("the stain is foreign",),
    )


def picture(suffix=".png", value=120):
    return cv2.imencode(suffix, np.full((8, 8, 3), value, np.uint8))[1].tobytes()


def evaluated():
    truth = [Detections([[0, 0, 60, 60], [100, 0, 160, 60]], [1, 1], [0, 1])]
    found = [Detections([[0, 0, 60, 60], [100, 0, 160, 60]], [0.9, 0.8], [0, 1])]
    return {
        "detection": coco_metrics(truth, found, ("ALL", "HEM", "RBC")),
        "pr_curves": pr_curves(truth, found, ("ALL", "HEM", "RBC")),
        "cells_on_truth": classification_metrics(np.array([0, 1]), np.array([[0.9, 0.1], [0.2, 0.8]]), ("ALL", "HEM")),
        "end_to_end": end_to_end(truth, [field_result()], ("ALL", "HEM")),
        "stress": {
            "n_fields": 1, "baseline": {"map50": 0.9, "n_review_share": 0.1},
            "conditions": [{"name": "blur", "level": 2, "metrics": {"map50": 0.6, "n_review_share": 0.5}, "change": {}}],
        },
    }  # fmt: skip


def full_page():
    card = ModelCard(name=EVIL, task="detect", architecture="yolov8n", classes=("WBC", "RBC"), input_px=640, normalise="unit", head="yolo",
                     data=({"name": "BCCD", "licence": "MIT"},))  # fmt: skip
    outcomes = [field_result(f"s1/{EVIL}"), FieldFailure(Field("s2/b.png", Path("x"), "s2"), "decode", EVIL)]
    report = summarise(outcomes, cards=[card], config={"note": EVIL}, metrics=evaluated())
    gallery = [
        GalleryItem(f"s1/{EVIL}", i, label, p, picture(s)) for i, (label, p, s) in enumerate([("ALL", 0.95, ".png"), ("HEM", 0.9, ".jpg")])
    ]
    errors = [ErrorItem(owner, f"s1/{EVIL}", "ALL", "HEM", 0.8, 0.9, picture(value=77)) for owner in ("wrong", "missed", "debris")]
    return render_html(report, gallery, errors)


@pytest.mark.parametrize("page", [full_page(), render_html(summarise([])), render_html(summarise([field_result(classes=())]))])
def test_the_page_is_well_formed_and_loads_nothing(page):
    outline = Outline(page)
    assert not outline.errors
    assert not outline.open
    assert not {"script", "link", "iframe", "object", "form"} & set(outline.tags)
    assert all(value.startswith("data:image/") for name, value in outline.attributes if name in ("src", "srcset", "data"))
    assert all(value.startswith("#") for name, value in outline.attributes if name == "href")
    assert not [name for name, _ in outline.attributes if name.startswith("on")]
    assert not re.search(r"url\(|@import|https?:", page)
    assert "Research use only; not a diagnostic device." in text_of(page)[:120]


def test_names_are_text_never_markup():
    page = full_page()
    assert "<script" not in page
    assert text_of(page).count("<script>alert") >= 5  # field, failure, card, config, gallery: shown as they are


def test_the_answer_comes_first_then_the_doubts_then_the_details():
    page = full_page()
    text = text_of(page)
    assert text.index("3 white cells in 1 field") < text.index("2 of 3") < text.index("95 % interval") < text.index("Doubts")
    headings = re.findall(r"<h2 id=\"([^\"]*)\">", page)
    assert headings == ["doubts", "slides", "detection", "labels", "owners", "errors", "stress", "cells", "models", "details"]


def test_an_evaluation_shows_its_numbers_and_figures():
    page = full_page()
    text = text_of(page)
    assert "mAP@50 1.000" in text
    assert "mAP@50-95 1.000" in text
    assert "Of 2 true white cells 2 were found and 0 missed (recall 100.0 %); 1 detection was extra (precision 66.7 %)" in text
    assert page.count("data:image/svg+xml") == 3  # precision-recall, reliability, risk-coverage
    assert page.count('<svg class="flow"') == 1
    assert not {"detection", "labels", "owners", "errors", "stress"} & ids_of(render_html(summarise([field_result()])))


def test_a_metric_that_is_missing_shows_nothing():
    whole = evaluated()
    for key in whole:
        assert not Outline(render_html(summarise([field_result()], metrics={key: whole[key]}))).errors
    for key in ("owners", "extras", "flow", "oracle", "matched", "all", "white"):
        part = {k: v for k, v in whole["end_to_end"].items() if k != key}
        assert not Outline(render_html(summarise([field_result()], metrics={"end_to_end": part}))).errors
    assert "stress" not in ids_of(render_html(summarise([field_result()], metrics={"stress": {"conditions": []}})))


def test_an_error_is_enlarged_by_its_own_anchor_and_embedded_once():
    page = full_page()
    outline = Outline(page)
    links = [value for name, value in outline.attributes if name == "href"]
    assert set(links) <= {f"#{i}" for i in ids_of(page)}
    assert {"#error-1", "#error-2", "#error-3"} <= set(links)
    assert page.count(base64.b64encode(picture(value=77)).decode()) == 3
    text = text_of(page)
    assert text.index("Labelled wrongly") < text.index("Missed") < text.index("Extra: debris")


def test_stress_shows_each_condition_with_its_change():
    text = text_of(full_page())
    assert "blur 2 0.600 −0.300" in text
    assert "mAP@50 To review" in text


def test_the_blast_estimate_comes_with_its_interval_and_verdict():
    text = text_of(full_page())
    assert text.index("Blast estimate") < text.index("as labelled") < text.index("Doubts")
    assert "Not enough cells" in text
    assert "Blast estimate" not in text_of(render_html(summarise([field_result(classes=())])))


def test_no_share_is_shown_without_labelled_cells():
    assert "no labelled white cell, so no share" in text_of(render_html(summarise([field_result(p_all=())])))


def test_the_page_is_the_same_every_time():
    assert full_page() == full_page()


def test_a_long_run_is_cut_and_says_so():
    outcomes = [field_result(f"s/{i:04d}.png", (0.9,)) for i in range(html.MAX_ROWS + 7)]
    assert "7 more rows are in fields.csv" in text_of(render_html(summarise(outcomes)))


def test_pictures_are_embedded_as_they_are_and_nothing_else_is():
    page = render_html(summarise([field_result()]), [GalleryItem("a", 0, "ALL", 0.9, picture())])
    (data,) = re.findall(r'src="data:image/png;base64,([^"]+)"', page)
    assert base64.b64decode(data) == picture()
    with pytest.raises(ValueError, match="PNG or JPEG"):
        render_html(summarise([field_result()]), [GalleryItem("a", 0, "ALL", 0.9, b"<svg/>")])


def test_an_undecodable_name_does_not_stop_the_report():
    assert "a?.png" in render_html(summarise([field_result("s/a\udcff.png")]))


def items(n):
    rng = np.random.default_rng(0)
    return [GalleryItem(f"f{i}", 0, "ALL", float(p), b"") for i, p in enumerate(rng.permutation(np.linspace(0.5, 1, n)))]


@pytest.mark.parametrize("n", [0, 1, 59, 60, 61, 500])
def test_the_gallery_has_the_most_doubtful_cells_and_a_spread_of_the_others(n):
    chosen = choose_cells(items(n))
    ranked = sorted(items(n), key=lambda g: g.probability)
    assert len(chosen) == len(set(chosen)) == min(n, GALLERY_LIMIT)
    assert list(chosen) == sorted(chosen, key=lambda g: g.probability)
    assert chosen[:30] == tuple(ranked[:30])
    assert chosen == choose_cells(items(n)[::-1])
    if n:
        assert chosen[-1] == ranked[-1]
