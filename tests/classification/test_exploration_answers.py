"""The answer says the worst first, in sentences that follow from the numbers; figures draw every name as it is."""

import re
from copy import deepcopy
from typing import Any

import numpy as np
import pytest

from classification.exploration.answers import answer, units
from classification.exploration.figures import clue_dots, colour_figure, cut, explained_figure, share_bars, size_figure
from classification.exploration.map_figures import RASTER_FROM, map_figure

NO_TWINS = {"pairs": 0, "within_groups": 0, "splits": 0, "labels": 0, "groups": 0, "sources": 0}
CLUE = {"name": "stain", "kind": "shortcut", "n_values": 2, "agreement": 0.1, "balanced_accuracy": 0.55, "strength": 0.1, "tells": False}
TELLING = CLUE | {"agreement": 0.6, "balanced_accuracy": 0.875, "strength": 0.75, "tells": True}
CLEAN: dict[str, Any] = {
    "classes": ["ALL", "HEM"],
    "n_per_class": {"ALL": 50, "HEM": 50},
    "group": "slide",
    "n_groups": 20,
    "n_features": 156,
    "dropped": [],
    "spread": {"split": {"train": {}, "test": {}}, "source": {"north": {"ALL": 50, "HEM": 50}}},
    "twins": {"counts": {"exact": dict(NO_TWINS), "near": dict(NO_TWINS)}},
    "clues": [CLUE],
    "suspects": {"found": [], "skill": 0.95, "skill_random": 0.955, "believable": True, "why_not": None},
    "odd": {"n_unmeasured": 0, "n_beyond": 0, "n_looked_at": 100, "why_not": None},
}


def told(changes: dict[str, Any]) -> dict[str, Any]:
    """The answer to a clean report with these entries changed, "twins.near.labels" and the like."""
    report = deepcopy(CLEAN)
    for path, value in changes.items():
        *way, last = path.replace("twins.", "twins.counts.").split(".")
        place = report
        for key in way:
            place = place[key]
        place[last] = value
    return answer(report)


def sentences(changes: dict[str, Any], kind: str = "open") -> str:
    return "\n".join(line["text"] for line in told(changes)["said"] if line["kind"] == kind)


def test_a_clean_set_has_nothing_open() -> None:
    said = told({})
    assert said["verdict"] == "Nothing found that a model could cheat with, and no cell is on both sides of a split."
    assert {line["kind"] for line in said["said"]} == {"clear"}
    assert "Nothing outside the cell tells the class; what tells most: the stain, balanced accuracy 55.0 %, chance 50 %." in sentences(
        {}, "clear"
    )


@pytest.mark.parametrize(
    ("changes", "verdict"),
    [
        (
            {"twins.near.splits": 2, "clues": [TELLING], "twins.exact.labels": 1},
            "The splits leak: 2 pairs .*, and the stain gives the class away",
        ),
        ({"twins.exact.splits": 1}, r"The splits leak: 1 pair of crops on both sides of a split shows the same cell\."),
        ({"clues": [CLUE, TELLING | {"name": "source"}], "twins.near.labels": 1}, "A model could cheat: the source gives the class away"),
        ({"clues": [TELLING, TELLING | {"name": "source", "strength": 0.9}]}, "A model could cheat: the source"),
        ({"clues": [TELLING | {"kind": "size"}]}, "Nothing found"),  # of the cell itself
        ({"twins.near.labels": 3}, "3 pairs of crops show the same cell under two labels"),
        ({"clues": []}, "All crops are of one class, or alike"),
    ],
)
def test_the_verdict_is_the_worst_that_was_found(changes: dict[str, Any], verdict: str) -> None:
    assert re.match(verdict, told(changes)["verdict"])


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"twins.near.splits": 1}, "1 pair of twins in two splits: what is learned from one is scored on the other."),
        ({"twins.near.labels": 1, "twins.exact.labels": 1}, "2 pairs of twins under two labels: one of the two is wrong."),
        ({"twins.near.groups": 1}, "1 pair of twins in two slides: these are not independent"),
        ({"group": "file"}, "No patient, slide, group or field is known"),
        ({"clues": [TELLING]}, "The stain alone tells the class with a balanced accuracy of 87.5 % on slides not looked at (chance 50 %)."),
        (
            {"clues": [TELLING | {"balanced_accuracy": None, "strength": None}]},
            "The stain goes with the class (agreement 0.60); a class has too few slides to test it.",
        ),
        ({"clues": [TELLING], "n_groups": 4}, "There are only 4 slides: with so few, class and stain may agree by chance."),
        ({"clues": [TELLING], "n_groups": 1}, "There is only 1 slide:"),
        ({"clues": [TELLING], "classes": ["A", "B", "C", "D"], "n_per_class": {"A": 5, "B": 5, "C": 5, "D": 5}}, "(chance 25 %)"),
        ({"clues": [TELLING], "classes": ["A", "B", "C"], "n_per_class": {"A": 5, "B": 5, "C": 0}}, "(chance 50 %)"),  # none left of one
        ({"clues": [TELLING | {"kind": "size", "name": "diameter of the cell"}]}, "That may be the disease, or the scale of its slides."),
        ({"clues": [TELLING | {"kind": "colour", "name": "cell, lightness"}]}, "That may be the disease, or the stain of its slides."),
        ({"suspects.skill_random": 0.99}, "a balanced accuracy of 95.0 % with slides apart and 99.0 % with crops parted at random."),
        ({"spread.source": {"x": {"ALL": 9, "HEM": 0}, "y": {"ALL": 1, "HEM": 9}}}, "x: holds one class only"),
        (
            {"suspects.found": [{}]},
            "1 label is in doubt, by features that tell the classes with a balanced accuracy of 95.0 %: look at them.",
        ),
        ({"suspects.found": [{}, {}], "suspects.believable": False}, "2 labels are in doubt, by features that tell the classes"),
        ({"dropped": [{}]}, "1 crop cannot be read and was left out."),
        ({"odd.n_beyond": 3}, "3 crops (3.0 %) lie far from all others in their features."),
        ({"odd.n_unmeasured": 2}, "In 2 crops no cell with a nucleus was found; on the maps and among the odd they are missing."),
    ],
)
def test_what_is_found_is_said_as_open(changes: dict[str, Any], sentence: str) -> None:
    assert sentence in sentences(changes)
    assert told(changes)["said"][0]["kind"] == "open"  # before all that is clear


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"spread.split": {"val": {}}}, "All crops are in the split 'val', so nothing can leak between splits."),
        ({"suspects.skill_random": 0.96}, "95.0 % with slides apart and 96.0 % with crops parted at random."),
        ({"suspects.why_not": "there is no cleanlab"}, "Labels in doubt are not told: there is no cleanlab."),
        ({"odd.why_not": "3 cells have no middle"}, "Odd cells are not told: 3 cells have no middle."),
    ],
)
def test_what_is_not_found_or_not_told_is_clear(changes: dict[str, Any], sentence: str) -> None:
    assert sentence in sentences(changes, "clear")
    assert sentences(changes) == ""


def test_what_cannot_be_known_is_not_said() -> None:
    """Without groups twins in two of them say nothing, and there is no split that would flatter; trees without skill are not told."""
    assert "keep them in one fold" not in sentences({"group": "file", "twins.near.groups": 1})
    assert "parted at random" not in sentences({"group": "file", "suspects.skill_random": 0.99})
    assert "parted at random" not in sentences({"suspects.skill": None, "suspects.skill_random": None}, "clear")
    assert units(CLEAN | {"group": "file"}) == "crops"


def words_of(svg: str) -> str:
    """The texts of a figure, markup undone."""
    assert svg.startswith("<svg")
    assert not re.search(r"(href|src)=\"(?!#|data:)", svg)
    return "\n".join(re.findall(r">([^<>]+)</text>", svg)).replace("&lt;", "<").replace("&gt;", ">")


STRANGE = (r"$\frac$", "a$_b$", "_private", "<b>bold</b>")


def test_figures_draw_names_as_they_are() -> None:
    r"""matplotlib takes $\frac$ for a broken formula, and leaves a name that begins with _ out of its legend."""
    counts = {name: dict.fromkeys(STRANGE, 1) for name in STRANGE}
    told = {name: {"histogram": [1, 2], "edges": [0.0, 1.0, 2.0], "edges_px": [1.0, 2.0, 4.0]} for name in STRANGE}
    places, values = np.random.default_rng(0).normal(size=(8, 2)), np.array(STRANGE * 2, np.str_)
    drawn = {
        "bars": share_bars(counts, STRANGE),
        "sizes": size_figure(told, STRANGE, "diameter"),
        "colours": colour_figure({"L": told, "a": told, "b": told}, STRANGE, ["#000000"] * 4),
        "map": map_figure(places, values, STRANGE, ["#000000"] * 4, ("one", "other")),
    }
    for svg in drawn.values():
        assert [name for name in STRANGE if name not in words_of(svg)] == []
    assert words_of(drawn["bars"]).count(r"$\frac$") == 2  # in the legend and beside its bar


def test_long_names_are_cut_and_none_is_said() -> None:
    assert cut("x" * 30) == "x" * 23 + "…"
    assert cut("") == "none said"
    assert "none said" in words_of(share_bars({"": {"ALL": 1}}, ["ALL"]))


def test_a_map_of_many_cells_stays_small_and_counts_the_values_that_have_no_colour() -> None:
    n = RASTER_FROM + 100
    places, values = np.random.default_rng(0).normal(size=(n, 2)), np.array([f"stain {i % 5}" for i in range(n)], np.str_)
    svg = map_figure(places, values, [f"stain {i}" for i in range(5)], ["#000000", "#ff0000"], ("one", "other"))
    assert "data:image/png;base64" in svg
    assert "3 others" in words_of(svg)
    assert "stain 2" not in words_of(svg)
    assert "one" in words_of(svg)


def test_figures_of_clues_and_components_bear_the_least_there_is() -> None:
    svg = clue_dots([CLUE, TELLING | {"name": "source", "balanced_accuracy": None}], 0.5, 0.75)
    assert "stain" in words_of(svg)
    assert "source" not in words_of(svg)  # it was not tested
    assert "principal component" in words_of(explained_figure([1.0]))
