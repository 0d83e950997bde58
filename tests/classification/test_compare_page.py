"""compare.html: the facts of compare.json stand in it, whatever the systems are called and however few of them finished."""

import copy
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from classification.compare_figures.cost import front_of
from classification.compare_figures.curves import mean_curve
from classification.compare_page import MOST_CELLS, choose_cells, picture_cells, render_page
from classification.compare_pairs import all_wrong, compare_pairs
from classification.compare_runs import Result
from classification.compare_table import Run, Truth, make_rows, score_runs
from classification.compare_view import best_of, cannot_be_told_apart, duration, histories, matrix, notes, short_count, systems_of
from classification.recipes import Recipe
from smear.images import write_image

EVIL = '<img src="http://evil.example/x.png" onerror="alert(1)">'
KINDS = ("grouped", "random")


def truth_of(classes: tuple[str, ...] = ("ALL", "HEM"), n: int = 120) -> Truth:
    groups = tuple(f"taleqani/slide-{i % 12}" for i in range(n))
    return Truth(np.random.default_rng(3).permutation(np.arange(n) % len(classes)), classes, groups, "slide", 30)


def history(fold: int, **also: Any) -> list[dict[str, Any]]:
    losses = [0.7, 0.4, 0.5]
    return [
        {"epoch": e + 1, "train_loss": v / 2, "val_loss": v + fold / 50, "val_accuracy": 1 - v, "selected": 1 - v} | also
        for e, v in enumerate(losses)
    ]


def run_of(
    truth: Truth, name: str, split: str, *, skill: float, paper: str = "compact_net", failed: tuple[int, ...] = (), **about: Any
) -> Run:
    """Three folds; a quarter of the crops is too hard for anybody."""
    recipe = Recipe.model_validate(
        {"name": name, "paper": paper, "about": f"about {name}", "reported": {"accuracy": 0.9863, "split": "random 80/20", "data": "C-NMC"},
         "kind": "classical", "classical": {"features": ["glcm"], "model": {"name": "svm"}}}
    )  # fmt: skip
    rng = np.random.default_rng([len(name), split == "random"])
    strength = np.where(np.arange(len(truth.labels)) % 4 == 0, -3.0, skill)
    logits = strength[:, None] * np.eye(len(truth.classes))[truth.labels] + 0.3 * rng.normal(size=(len(truth.labels), len(truth.classes)))
    p = (np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)).astype(np.float32)
    tests = tuple(np.arange(len(p))[i::3] for i in range(3))
    told = {
        "n_parameters": 7_000_000,
        "file_bytes": 28_000_000,
        "pretrained": True,
        "epochs": 3,
        "stopped_by_budget": False,
        "note": "",
    } | about
    record = {"ms_per_crop": 10.0 + skill, "ms_per_crop_gpu": None, "train_seconds": 200.0, "about": told}
    results = tuple(
        Result("failed", {"message": "the loss is nan"}) if i in failed else Result("ok", record, p[rows]) for i, rows in enumerate(tests)
    )
    return Run(recipe, split, tests, results)


def report_of(truth: Truth, *runs: Run, kinds: tuple[str, ...] = KINDS, **also: Any) -> dict[str, Any]:
    scored = score_runs(truth, runs)
    by_kind = {kind: [some for some in scored if some.run.split == kind] for kind in kinds}
    files = [f"crops/c{i:03d}.png" for i in range(len(truth.labels))]
    counts = {name: int((truth.labels == c).sum()) for c, name in enumerate(truth.classes)}
    found = {
        "schema": 1, "classes": list(truth.classes), "positive": truth.classes[0] if len(truth.classes) == 2 else None,
        "n": len(truth.labels), "n_per_class": counts, "n_groups": 12, "group": "slide", "folds": 3, "splits": list(kinds),
        "n_resamples": 30, "budget_minutes": None, "seed": 17, "device": "cpu", "weights": "none", "epochs": None, "imgsz": None,
        "warnings": [], "dropped": [], "seconds": 4000.0,
        "about": {"command": "compare", "seed": 17, "versions": {}, "git": None,
                  "data": [{"name": "taleqani", "source": "a place", "licence": "CC BY"}]},
        "rows": make_rows(truth, runs, scored),
        "tests": {kind: compare_pairs(truth, some) for kind, some in by_kind.items()},
        "all_wrong": {kind: all_wrong(truth, some, files) for kind, some in by_kind.items()},
    }  # fmt: skip
    return found | also


def both(truth: Truth, name: str, *, skill: float = 1.0, **also: Any) -> list[Run]:
    return [run_of(truth, name, kind, skill=skill + (kind == "random"), **also) for kind in KINDS]


@pytest.fixture(scope="module")
def report() -> dict[str, Any]:
    """Two systems of one paper, one of another, one that failed."""
    truth = truth_of()
    fold = {"best_epoch": 2, "history": history(0)}
    runs = [*both(truth, "compact_net", skill=0.4), *both(truth, "compact_net_vgg16", skill=1.5, **fold)]
    runs += [*both(truth, "deep_leuko", paper="deep_leuko"), *both(truth, "deep_leuko_knn", paper="deep_leuko", failed=(0, 1, 2))]
    return report_of(truth, *runs)


@pytest.fixture(scope="module")
def page(report: dict[str, Any]) -> str:
    return render_page(report)


class Reader(HTMLParser):
    """Tags that are opened but not closed, everything that is loaded, and the words."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.is_broken = False
        self.open, self.links, self.tags, self.words = [], [], set(), []  # type: ignore[var-annotated]
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.links += [value for key, value in attrs if key in ("src", "href", "xlink:href", "srcset", "data", "action")]
        self.links += [key for key, _ in attrs if key.startswith("on")]
        self.is_broken = tag == "wbr"
        if tag not in ("img", "meta", "br", "wbr", "link"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.is_broken:
            self.words[-1] += data
        elif self.open[-1:] != ["style"]:
            self.words.append(data)
        self.is_broken = False


def words_of(page: str) -> str:
    return re.sub(r"\s+", " ", " ".join(Reader(page).words))


@pytest.mark.parametrize("kinds", [KINDS, ("grouped",), ("random",)])
def test_without_any_system_the_page_says_so(kinds: tuple[str, ...]) -> None:
    text = words_of(render_page(report_of(truth_of(), kinds=kinds)))
    assert "0 systems on 120 crops" in text
    assert "No system was asked for" in text
    assert "★" not in text.replace("★ best of a column", "")


def test_when_nothing_finished_every_system_is_named_with_its_reason() -> None:
    truth = truth_of()
    text = words_of(render_page(report_of(truth, *both(truth, "compact_net", failed=(0, 1, 2)))))
    assert "0 of 1 system on 120 crops" in text
    assert "No system finished all of its folds" in text
    assert text.count("the loss is nan") == 2  # in the table, once for both splits, and under what was not run
    assert "98.63 %" in text  # the paper's claim stands beside the dash


def test_the_numbers_of_the_json_stand_in_the_page(report: dict[str, Any], page: str) -> None:
    text = words_of(page)
    for row in report["rows"]:
        assert row["system"] in text
        if row["accuracy"] is not None:
            assert f"{100 * row['accuracy']:.1f} %" in text
            assert f"{100 * row['accuracy_low']:.1f} to {100 * row['accuracy_high']:.1f} %" in text
            assert f"{row['roc_auc']:.3f}" in text
            assert f"{row['ece']:.3f}" in text
            assert f"{100 * row['gap_accuracy']:+.1f}".replace("-", "−").replace("+0.0", "±0.0") in text
    for fact in ("7.0 M", "28.0", "3 min 20 s", "seed 17", "12 groups by the column “slide”", "random 80/20", "C-NMC", "Research use only"):
        assert fact in text, fact


def test_the_page_is_well_formed_and_loads_nothing(page: str) -> None:
    reader = Reader(page)
    assert reader.open == []
    assert "script" not in reader.tags
    assert "link" not in reader.tags
    assert reader.links
    assert all(link.startswith("data:") for link in reader.links)
    assert "url(" not in page
    assert "@import" not in page


def test_the_same_report_gives_the_same_page(report: dict[str, Any], page: str) -> None:
    assert render_page(copy.deepcopy(report)) == page


def test_names_and_messages_are_escaped(report: dict[str, Any]) -> None:
    odd = copy.deepcopy(report)
    for row in odd["rows"]:
        row["about"], row["note"] = EVIL, f"it said {EVIL}"
    odd |= {"warnings": [EVIL], "dropped": [{"file": EVIL, "error": EVIL}]}
    odd["about"]["data"][0]["name"] = f"{EVIL}\udcff"
    for cell in odd["all_wrong"]["grouped"]["cells"]:
        cell["file"] = cell["group"] = EVIL
    page = render_page(odd)
    assert '<img src="http' not in page
    assert all(link.startswith("data:") for link in Reader(page).links)
    assert EVIL in "".join(Reader(page).words)


def test_odd_class_names_are_escaped_in_the_figures_too() -> None:
    truth = truth_of(("<b>A & co</b>", '"H"'))
    page = render_page(report_of(truth, *both(truth, "compact_net"), *both(truth, "compact_net_vgg16")))
    assert "<b>A" not in page
    assert "<b>A & co</b>" in "".join(Reader(page).words)


def test_four_classes_have_matrices_of_four_and_no_test_of_areas() -> None:
    truth = truth_of(("Benign", "Early", "Pre", "Pro"))
    report = report_of(truth, *both(truth, "compact_net"), *both(truth, "compact_net_vgg16"))
    page = render_page(report)
    assert "means over the 4 classes" in words_of(page)
    assert "DeLong’s test by group" not in page
    assert page.count('class="matrix"') == 2
    for row in (row for row in report["rows"] if row["split"] == "grouped"):
        assert all(f"{n}<span>" in page for counts in row["confusion_matrix"] for n in counts)


def test_systems_stand_under_their_paper_the_best_area_first(report: dict[str, Any]) -> None:
    systems = systems_of(report)
    assert [system.name for system in systems] == ["compact_net_vgg16", "compact_net", "deep_leuko", "deep_leuko_knn"]
    assert [system.number for system in systems] == [1, 2, 3, 4]
    assert [system.short for system in systems] == ["vgg16", "compact_net", "deep_leuko", "knn"]


def test_a_random_split_alone_is_what_the_page_is_about() -> None:
    truth = truth_of()
    text = words_of(render_page(report_of(truth, run_of(truth, "compact_net", "random", skill=1.0), kinds=("random",))))
    assert "On a random split" in text
    assert "groups apart" not in text.split("In plain words")[0].lower()


def test_the_best_of_a_column_is_marked_by_more_than_colour(report: dict[str, Any], page: str) -> None:
    best = best_of([row for row in report["rows"] if row["split"] == "grouped"])
    assert best["ece"] == min(row["ece"] for row in report["rows"] if row["split"] == "grouped" and row["ece"] is not None)
    assert re.search(rf'class="best">{best["roc_auc"]:.3f}</span><span class="star"', page)
    assert best_of([{"accuracy": 0.5}, {"accuracy": None}]) == {}  # alone nobody is the best


def test_all_pairs_are_in_the_matrix_with_opposite_signs(report: dict[str, Any]) -> None:
    systems = systems_of(report)
    rows = matrix(systems, report["tests"]["grouped"], "accuracy")
    assert [row["system"].name for row in rows] == [system.name for system in systems[:3]]
    assert all(rows[i]["cells"][i] is None for i in range(3))
    swap = str.maketrans("+−", "−+")
    assert rows[0]["cells"][1]["points"].translate(swap) == rows[1]["cells"][0]["points"]
    change = 100 * (systems[0].main["accuracy"] - systems[1].main["accuracy"])
    assert rows[0]["cells"][1]["points"] == f"{change:+.0f}".replace("-", "−")


@pytest.mark.parametrize(("by_group", "by_label", "alike"), [(0.2, 0.001, ["b"]), (0.01, 0.9, []), (None, 0.2, ["b"]), (None, None, ["b"])])
def test_alike_is_what_the_test_by_group_does_not_tell_apart(by_group: float | None, by_label: float | None, alike: list[str]) -> None:
    pair = {"second": "b", "delong_group_p_holm": by_group, "mcnemar_p_holm": by_label}
    assert cannot_be_told_apart({"against_best": [pair]}) == alike


def test_cells_are_drawn_in_turn_from_classes_and_groups() -> None:
    cells = [{"row": i, "label": "ALL" if i < 300 else "HEM", "group": "big" if i < 280 else f"g{i % 5}"} for i in range(310)]
    chosen = choose_cells(cells)
    assert len(chosen) == MOST_CELLS
    assert sum(cell["label"] == "HEM" for cell in chosen) == 10
    assert {cell["group"] for cell in chosen if cell["label"] == "ALL"} == {"big", "g0", "g1", "g2", "g3", "g4"}
    assert choose_cells([]) == []
    assert choose_cells(cells[:7]) == cells[:7]


def test_the_cells_that_all_get_wrong_are_shown_and_counted(report: dict[str, Any], tmp_path: Path) -> None:
    cells = report["all_wrong"]["grouped"]["cells"]
    paths = [tmp_path / f"c{i}.png" for i in range(report["n"])]
    for cell in cells[1:]:  # the first one is gone
        write_image(paths[cell["row"]], np.full((20, 20, 3), 200, np.uint8))
    pictures = picture_cells(report, paths)
    assert sorted(pictures) == [cell["row"] for cell in cells[1:]]
    page = render_page(report, pictures)
    assert page.count("data:image/jpeg") == len(cells) - 1
    assert f'<span class="missing">{cells[0]["file"]}</span>' in page
    assert f"{len(cells)} of 120 crops, by all of 3 systems" in words_of(page)


def test_members_of_an_ensemble_have_a_history_each() -> None:
    truth = truth_of()
    mixed = [*history(0, member="a"), *history(0, member="b")]
    report = report_of(truth, *both(truth, "compact_net", history=mixed))
    (system,) = systems_of(report)
    drawn = histories(system)
    assert [each["title"] for each in drawn] == ["a", "b"]
    assert [fold["best_epoch"] for fold in drawn[0]["folds"]] == [2, 2, 2]
    assert "Kept: epochs 2, 2, 2 of 3, 3, 3" in words_of(render_page(report))


def test_a_note_of_both_splits_is_said_once(report: dict[str, Any]) -> None:
    (system,) = [system for system in systems_of(report) if system.name == "deep_leuko_knn"]
    assert notes(system) == [("failed", "", "folds 0, 1, 2: the loss is nan")]
    assert words_of(render_page(report)).count("the loss is nan") == 2


def test_the_front_holds_what_nothing_cheaper_beats(report: dict[str, Any]) -> None:
    systems = [system for system in systems_of(report) if system.has_scores]
    front = front_of(systems, "accuracy", "ms_per_crop")
    for system in systems:
        better = [other for other in systems if other is not system and other.main["accuracy"] >= system.main["accuracy"]]
        assert (system in front) == all(other.main["ms_per_crop"] > system.main["ms_per_crop"] for other in better)


def test_a_mean_curve_is_the_mean_over_classes() -> None:
    false, true = mean_curve({"a": [[0, 0, 1], [0, 1, 1]], "b": [[0, 1], [0, 1]]})
    assert np.interp(0.5, false, true) == pytest.approx((1 + 0.5) / 2)
    assert mean_curve({"a": [[0, 1], [0, 1]]}) == ([0, 1], [0, 1])


@pytest.mark.parametrize(("n", "told"), [(None, "–"), (512, "512"), (23_456, "23 k"), (6_956_000, "7.0 M"), (999_900, "1.0 M")])
def test_counts_are_short(n: int | None, told: str) -> None:
    assert short_count(n) == told


@pytest.mark.parametrize(("seconds", "told"), [(None, "–"), (0.42, "0.4 s"), (12.4, "12 s"), (59.7, "1 min 0 s"), (7505.0, "2 h 5 min")])
def test_times_are_read_at_a_glance(seconds: float | None, told: str) -> None:
    assert duration(seconds) == told
