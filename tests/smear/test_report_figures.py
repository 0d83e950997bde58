"""smear.report.figures: valid SVG that loads nothing, the same for the same numbers."""

from xml.etree import ElementTree

import numpy as np
import pytest

from smear.report.figures.curves import precision_recall_figure, reliability_figure, risk_coverage_figure
from smear.report.figures.flow import HEIGHT, flow_figure

EVIL = '<b>"right" & co'
BINS = {"stated": [None, 0.9], "observed": [None, 0.8], "n": [0, 10], "observed_low": [None, 0.5], "observed_high": [None, 0.95]}
NODES = [
    {"id": "all", "column": 0, "label": "true", "kind": "class", "n": 10},
    {"id": "found", "column": 1, "label": "found", "kind": "found", "n": 9},
    {"id": "missed", "column": 1, "label": "missed", "kind": "missed", "n": 1},
    {"id": "right", "column": 2, "label": EVIL, "kind": "right", "n": 9},
]
LINKS = [
    {"source": "all", "target": "found", "n": 9},
    {"source": "all", "target": "missed", "n": 1},
    {"source": "found", "target": "right", "n": 9},
]


@pytest.mark.parametrize(
    "figure",
    [
        precision_recall_figure({}),
        precision_recall_figure({"<WBC> & co": np.linspace(1, 0, 101).tolist(), "RBC": [1.0] * 101}),
        reliability_figure({"stated": [0.1, 0.9], "observed": [0.2, 0.8], "n": [5, 10]}),
        reliability_figure({"stated": [], "observed": [], "n": []}),
        reliability_figure(BINS),
        risk_coverage_figure([0.5, 1.0], [0.0, 0.1]),
        risk_coverage_figure([], []),
        flow_figure(NODES, LINKS),
    ],
)
def test_a_figure_is_valid_svg_that_loads_nothing(figure):
    tree = ElementTree.fromstring(figure)
    assert tree.tag.endswith("svg")
    links = [v for e in tree.iter() for k, v in e.attrib.items() if k.endswith("href")]
    assert all(link.startswith(("#", "data:image/png;base64,")) for link in links)


def test_a_figure_is_the_same_every_time():
    assert reliability_figure(BINS) == reliability_figure(BINS)


class TestFlow:
    def test_no_cell_is_no_figure(self):
        assert flow_figure([], []) == ""
        assert flow_figure([{**NODES[0], "n": 0}], []) == ""

    def test_bands_are_as_thick_as_their_counts_and_labels_are_text(self):
        tree = ElementTree.fromstring(flow_figure(NODES, LINKS))
        thick = [float(band.get("d").split("v")[1].split("C")[0]) for band in tree.iter("path")]
        assert thick == pytest.approx([0.9 * HEIGHT, 0.1 * HEIGHT, 0.9 * HEIGHT], abs=0.06)
        assert ["".join(text.itertext()) for text in tree.iter("text")] == ["10 true", "9 found", "1 missed", f"9 {EVIL}"]

    def test_labels_of_one_column_never_meet(self):
        many = [{"id": str(i), "column": 0, "label": "x", "kind": "extra", "n": n} for i, n in enumerate((1000, 1, 0, 1, 2))]
        places = [float(text.get("y")) for text in ElementTree.fromstring(flow_figure(many, [])).iter("text")]
        assert len(places) == 4
        assert np.diff(places).min() >= 14

    def test_more_cells_than_a_node_holds_is_an_error(self):
        with pytest.raises(ValueError, match="more than 10 cells at 'all'"):
            flow_figure(NODES, [*LINKS, {"source": "all", "target": "right", "n": 1}])
