"""smear.report.html and plots: one page that loads nothing, escapes everything and says the answer first."""

import base64
import math
import re
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import cv2
import numpy as np
import pytest

from smear.metrics.classification import classification_metrics
from smear.metrics.detection import coco_metrics, pr_curves
from smear.metrics.endtoend import end_to_end
from smear.models import ModelCard
from smear.report import html
from smear.report.html import GALLERY_LIMIT, GalleryItem, choose_cells, render_html
from smear.report.plots import confusion_figure, precision_recall_figure, reliability_figure
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
    }


def full_page():
    card = ModelCard(name=EVIL, task="detect", architecture="yolov8n", classes=("WBC", "RBC"), input_px=640, normalise="unit", head="yolo",
                     data=({"name": "BCCD", "licence": "MIT"},))  # fmt: skip
    outcomes = [field_result(f"s1/{EVIL}"), FieldFailure(Field("s2/b.png", Path("x"), "s2"), "decode", EVIL)]
    report = summarise(outcomes, cards=[card], config={"note": EVIL}, metrics=evaluated())
    gallery = [
        GalleryItem(f"s1/{EVIL}", i, label, p, picture(s)) for i, (label, p, s) in enumerate([("ALL", 0.95, ".png"), ("HEM", 0.9, ".jpg")])
    ]
    return render_html(report, gallery)


@pytest.mark.parametrize("page", [full_page(), render_html(summarise([])), render_html(summarise([field_result(classes=())]))])
def test_the_page_is_well_formed_and_loads_nothing(page):
    outline = Outline(page)
    assert not outline.errors
    assert not outline.open
    assert not {"script", "link", "iframe", "object", "form"} & set(outline.tags)
    assert all(value.startswith("data:image/") for name, value in outline.attributes if name in ("src", "srcset", "data"))
    assert not [name for name, _ in outline.attributes if name == "href" or name.startswith("on")]
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
    headings = re.findall(r"<h2 id=[^>]*>([^<]*)</h2>", page)
    assert headings == ["Doubts", "Against the labels", "Slides", "Cells", "Details"]


def test_an_evaluation_shows_its_numbers_and_figures():
    page = full_page()
    text = text_of(page)
    assert "mAP@50 1.000" in text
    assert "mAP@50-95 1.000" in text
    assert "Of 2 true white cells 2 were found and 0 missed (recall 100.0 %); extra detections: 1 (precision 66.7 %)" in text
    assert page.count("data:image/svg+xml") == 3
    assert "Against the labels" not in text_of(render_html(summarise([field_result()])))


def test_no_share_is_shown_without_labelled_cells():
    assert "no labelled white cell, so no share" in text_of(render_html(summarise([field_result(p_all=())])))


def test_the_page_is_the_same_every_time():
    assert full_page() == full_page()


def test_a_long_run_is_cut_and_says_so():
    outcomes = [field_result(f"s/{i:04d}.png", (0.9,)) for i in range(html.MAX_ROWS + 7)]
    assert "7 more rows are in report.json" in text_of(render_html(summarise(outcomes)))


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


@pytest.mark.parametrize(
    ("value", "digits", "text"),
    [
        *((None, 0, "–"), (0.0, 0, "0 %"), (1.0, 0, "100 %"), (0.5, 0, "50 %"), (0.01, 0, "1 %")),
        *((0.996, 0, "> 99 %"), (0.004, 0, "< 1 %"), (0.996, 1, "99.6 %"), (0.9997, 1, "> 99.9 %")),
    ],
)
def test_a_share_is_never_rounded_to_none_or_all(value, digits, text):
    assert html._percent(value, digits) == text


@pytest.mark.parametrize(("value", "text"), [(None, "–"), (0.0, "–"), (0.01, "1 : 100"), (0.4, "1 : 2.5"), (2.0, "1 : 0.5")])
def test_a_ratio_is_one_to_so_many(value, text):
    assert html._ratio(value) == text


@pytest.mark.parametrize(
    "figure",
    [
        precision_recall_figure({}),
        precision_recall_figure({"<WBC> & co": np.linspace(1, 0, 101).tolist(), "RBC": [1.0] * 101}),
        confusion_figure([[3, 1], [0, 0]], ("ALL", "HEM")),
        reliability_figure([0.1, 0.9], [0.2, 0.8], [5, 10]),
        reliability_figure([], [], []),
    ],
)
def test_figures_are_valid_svg_that_loads_nothing(figure):
    tree = ElementTree.fromstring(figure)
    assert tree.tag.endswith("svg")
    links = [v for e in tree.iter() for k, v in e.attrib.items() if k.endswith("href")]
    assert all(link.startswith(("#", "data:image/png;base64,")) for link in links)


def test_a_confusion_matrix_shows_its_counts_and_row_shares():
    text = " ".join(ElementTree.fromstring(confusion_figure([[3, 1], [2, 4]], ("ALL", "HEM"))).itertext())
    for part in ("3", "75 %", "33 %", "ALL", "HEM", "truth"):
        assert part in text


def test_figures_are_the_same_every_time():
    assert confusion_figure([[3, 1], [2, 4]], ("ALL", "HEM")) == confusion_figure([[3, 1], [2, 4]], ("ALL", "HEM"))
