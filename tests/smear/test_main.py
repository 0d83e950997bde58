"""`python -m smear`: what a user types, the files that appear, the exit code."""

import csv
import hashlib
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from smear import __main__, annotations
from smear.finder import Finder
from smear.images import encode, read_image, write_image
from smear.report.tables import CELL_COLUMNS
from smear.types import Detections

SPEEDS = ("seconds", "versions")


def report_of(out: Path) -> dict:
    """The report without what differs from run to run."""
    report = json.loads((out / "report.json").read_text(encoding="utf-8"))
    report["fields"] = [{key: value for key, value in row.items() if key not in SPEEDS} for row in report["fields"]]
    return {key: value for key, value in report.items() if key not in SPEEDS}


def rows_of(out: Path) -> list[dict[str, str]]:
    with (out / "cells.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def names_below(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def digest(folder: Path) -> dict[str, str]:
    return {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in names_below(folder)}


class TestAnalyze:
    def test_every_cell_is_found_labelled_and_written(self, slides, run, tmp_path, capsys):
        assert run(slides, tmp_path / "out") == 0
        rows = rows_of(tmp_path / "out")
        assert tuple(rows[0]) == CELL_COLUMNS
        for field in ("a/one.png", "a/two.jpg", "b/one.png", "b/three.png"):
            assert sorted(r["label"] for r in rows if r["field"] == field) == ["ALL", "HEM", "HEM"]
        assert {r["slide"] for r in rows} == {"a", "b"}
        report = report_of(tmp_path / "out")
        assert (report["total"]["n_fields"], report["total"]["n_white"], report["total"]["n_red"]) == (4, 12, 36)
        assert [s["slide"] for s in report["slides"]] == ["a", "b"]
        assert str(tmp_path / "out" / "report.html") in capsys.readouterr().out

    def test_the_output_is_named_by_the_field(self, slides, run, tmp_path):
        run(slides, tmp_path / "out", "--crops")
        fields = ("a/one", "a/two", "b/one", "b/three")
        expected = {"cells.csv", "fields.csv", "slides.csv", "report.html", "report.json", "annotated/a/two.jpg"}
        expected |= {f"fields/{f}.json" for f in fields} | {f"annotated/{f}.png" for f in fields if f != "a/two"}
        expected |= {f"crops/{f}/{k}.png" for f in fields for k in range(3)}
        assert set(names_below(tmp_path / "out")) == expected

    def test_the_fields_of_the_user_are_not_touched(self, slides, run, tmp_path):
        before = digest(slides)
        run(slides, tmp_path / "out")
        assert digest(slides) == before

    def test_without_slides_all_fields_are_one(self, slides, run, tmp_path):
        assert run(slides, tmp_path / "out", "--no-slides") == 0
        assert {r["slide"] for r in rows_of(tmp_path / "out")} == {""}

    def test_a_field_without_cells_is_a_result(self, slides, run, tmp_path):
        write_image(slides / "b" / "blank.png", np.full((200, 200, 3), 235, np.uint8))
        assert run(slides, tmp_path / "out", "--set", "um_per_px=null") == 0
        report = report_of(tmp_path / "out")
        assert report["total"]["n_fields"] == 5
        assert "b/blank.png" not in {r["field"] for r in rows_of(tmp_path / "out")}
        assert any("scale unknown" in w["warning"] and w["fields"] == ["b/blank.png"] for w in report["warnings"])

    def test_a_folder_without_any_cell_still_gives_the_table(self, run, tmp_path):
        (tmp_path / "in").mkdir()
        write_image(tmp_path / "in" / "blank.png", np.full((200, 200, 3), 235, np.uint8))
        assert run(tmp_path / "in", tmp_path / "out") == 0
        assert rows_of(tmp_path / "out") == []

    def test_without_a_classifier_cells_are_found_and_not_labelled(self, slides, run, tmp_path):
        assert run(slides, tmp_path / "out", "--classifier", "none") == 0
        rows = rows_of(tmp_path / "out")
        assert len(rows) == 12
        assert {r["label"] for r in rows} == {""}

    def test_a_given_scale_is_used(self, slides, run, tmp_path):
        assert run(slides, tmp_path / "out", "--set", "um_per_px=null", "--um-per-px", str(7.5 / 40)) == 0
        assert report_of(tmp_path / "out")["total"]["scale"]["sources"] == {"given": 4}
        assert len(rows_of(tmp_path / "out")) == 12

    def test_some_failed_fields_are_named_and_the_exit_code_is_1(self, slides, run, tmp_path, capsys):
        (slides / "a" / "empty.jpg").write_bytes(b"")
        assert run(slides, tmp_path / "out") == 1
        report = report_of(tmp_path / "out")
        assert [(f["field"], f["stage"]) for f in report["failures"]] == [("a/empty.jpg", "read")]
        assert report["total"]["n_white"] == 12
        assert "failed: a/empty.jpg: not a readable image (0 bytes)" in capsys.readouterr().err


class TestResume:
    def test_a_second_run_analyses_nothing_and_changes_nothing(self, slides, run, tmp_path, monkeypatch):
        run(slides, tmp_path / "out")
        before = digest(tmp_path / "out")
        searched = []
        monkeypatch.setattr(Finder, "search", lambda self, works: searched.extend(works))
        assert run(slides, tmp_path / "out") == 0
        assert searched == []
        assert digest(tmp_path / "out") == before

    @pytest.mark.parametrize("n_before", [1, 3])
    def test_a_killed_run_goes_on_and_ends_the_same(self, slides, run, tmp_path, monkeypatch, n_before):
        run(slides, tmp_path / "whole", "--set", "fields_per_batch=1")
        from smear import store

        keep, kept = store.Store.keep, []

        def killed(self, outcome, image):
            if len(kept) == n_before:
                raise KeyboardInterrupt
            kept.append(outcome.field.id)
            keep(self, outcome, image)

        monkeypatch.setattr(store.Store, "keep", killed)
        assert run(slides, tmp_path / "out", "--set", "fields_per_batch=1") == __main__.STOPPED
        assert not (tmp_path / "out" / "report.json").exists()

        again = []
        monkeypatch.setattr(store.Store, "keep", lambda self, o, i: (again.append(o.field.id), keep(self, o, i))[1])
        assert run(slides, tmp_path / "out", "--set", "fields_per_batch=1") == 0
        assert set(kept) & set(again) == set()
        assert (tmp_path / "out" / "cells.csv").read_bytes() == (tmp_path / "whole" / "cells.csv").read_bytes()
        assert report_of(tmp_path / "out") == report_of(tmp_path / "whole")
        for name in names_below(tmp_path / "whole" / "annotated"):
            assert (tmp_path / "out" / "annotated" / name).read_bytes() == (tmp_path / "whole" / "annotated" / name).read_bytes()

    def test_a_changed_field_is_analysed_again_and_no_other(self, slides, run, tmp_path, monkeypatch, paint):
        run(slides, tmp_path / "out")
        write_image(slides / "a" / "one.png", paint((360, 480), rbc_px=40, n_all=3, n_hem=0, n_red=9, seed=9))
        again = searched_fields(monkeypatch)
        assert run(slides, tmp_path / "out") == 0
        assert again == ["a/one.png"]
        assert [r["label"] for r in rows_of(tmp_path / "out") if r["field"] == "a/one.png"] == ["ALL"] * 3

    @pytest.mark.parametrize("change", [("--confidence", "0.6"), ("--set", "review_below=0.99"), ("--classifier", "none")])
    def test_other_settings_are_another_analysis(self, slides, run, tmp_path, monkeypatch, change):
        run(slides, tmp_path / "out")
        again = searched_fields(monkeypatch)
        run(slides, tmp_path / "out", *change)
        assert len(again) == 4

    def test_crops_asked_for_later_are_written(self, slides, run, tmp_path):
        run(slides, tmp_path / "out")
        run(slides, tmp_path / "out", "--crops")
        assert len(list((tmp_path / "out" / "crops").rglob("*.png"))) == 12

    def test_a_folder_named_another_way_is_recalled(self, slides, run, tmp_path, monkeypatch):
        run(slides, tmp_path / "out")
        again = searched_fields(monkeypatch)
        monkeypatch.chdir(tmp_path)
        assert run(Path("fields"), Path("out")) == 0
        assert again == []

    @pytest.mark.parametrize("damage", [b"", b"[]", b"{", b'{"key": 3}'])
    def test_a_damaged_record_is_made_again(self, slides, run, tmp_path, damage):
        run(slides, tmp_path / "out")
        before = (tmp_path / "out" / "cells.csv").read_bytes()
        (tmp_path / "out" / "fields" / "a" / "one.json").write_bytes(damage)
        assert run(slides, tmp_path / "out") == 0
        assert (tmp_path / "out" / "cells.csv").read_bytes() == before

    def test_a_field_that_fails_now_keeps_no_old_picture(self, slides, run, tmp_path):
        run(slides, tmp_path / "out")
        (slides / "a" / "one.png").write_bytes(b"text")
        assert run(slides, tmp_path / "out") == 1
        assert not (tmp_path / "out" / "annotated" / "a" / "one.png").exists()
        write_image(slides / "a" / "one.png", read_image(slides / "b" / "one.png"))
        assert run(slides, tmp_path / "out") == 0
        assert (tmp_path / "out" / "annotated" / "a" / "one.png").is_file()


class TestMistakes:
    @pytest.mark.parametrize(
        ("more", "said"),
        [
            (("--set", "tile=640"), "unknown key; did you mean 'tile_px'"),
            (("--set", "overlap_px=10"), "overlap_px: must be at least"),
            (("--um-per-px", "-1"), "um_per_px: must be more than 0"),
            (("--um-per-px", "nan"), "um_per_px"),
            (("--confidence", "2"), "confidence: must be less than 1"),
            (("--device", "tpu"), "device: must be 'auto'"),
            (("--runtime", "tensorflow"), "runtime: must be"),
            (("--detector", "no/such/model"), "no/such/model: no such folder"),
            (("--detector", "none"), "none: no such folder"),
            (("--config", "no.yaml"), "no.yaml: cannot read it"),
        ],
    )
    def test_each_is_one_line_and_exit_code_2(self, slides, run, tmp_path, capsys, more, said):
        assert run(slides, tmp_path / "out", *more) == 2
        error = capsys.readouterr().err
        assert error.splitlines()[-1].startswith("error: ")
        assert said in error.splitlines()[-1]
        assert "Traceback" not in error

    def test_results_inside_the_folder_of_fields_are_refused(self, slides, run, capsys):
        assert run(slides, slides / "a" / "out") == 2
        assert "lies inside" in capsys.readouterr().err
        assert not (slides / "a" / "out").exists()

    @pytest.mark.parametrize("name", ["annotated", "fields", "crops"])
    def test_results_among_the_fields_are_refused(self, slides, run, tmp_path, capsys, name):
        """Otherwise `annotated/a.png` would be written over the field `a.png`."""
        (tmp_path / "out").mkdir()
        slides.rename(tmp_path / "out" / name)
        before = digest(tmp_path / "out")
        assert run(tmp_path / "out" / name, tmp_path / "out") == 2
        assert "among the fields" in capsys.readouterr().err
        assert digest(tmp_path / "out") == before

    def test_bundles_of_the_wrong_task_are_refused(self, slides, run, models, tmp_path, capsys):
        assert run(slides, tmp_path / "out", "--detector", str(models / "classifier")) == 2
        assert "a model to detect is needed here" in capsys.readouterr().err

    def test_a_mistake_leaves_the_results_of_an_earlier_run(self, slides, run, tmp_path):
        run(slides, tmp_path / "out")
        before = digest(tmp_path / "out")
        run(slides, tmp_path / "out", "--set", "tile=640")
        assert digest(tmp_path / "out") == before

    def test_a_model_folder_may_have_any_name(self, slides, run, models, tmp_path):
        (tmp_path / "modèle 😀: [x]").symlink_to(models)
        assert run(slides, tmp_path / "out", "--detector", str(tmp_path / "modèle 😀: [x]" / "detector")) == 0


class TestEvaluate:
    @pytest.fixture
    def labelled(self, tmp_path, paint) -> Path:
        """Three painted fields with their truth, classes ALL, HEM, RBC."""
        root = tmp_path / "set"
        for i in range(3):
            image = paint((360, 480), rbc_px=40, n_all=1 + i % 2, n_hem=1, n_red=8, seed=i)
            (root / "images/test").mkdir(parents=True, exist_ok=True)
            (root / "images/test" / f"{i}.png").write_bytes(encode(image, ".png"))
            annotations.write_labels(root / "labels/test" / f"{i}.txt", truth_of(image), image.shape[:2])
        return annotations.write_data_yaml(root, ("ALL", "HEM", "RBC"), ("test",))

    def test_numbers_on_fields_that_it_reads_well_are_perfect(self, labelled, models, tmp_path, capsys):
        bundles = given(models)
        assert __main__.main(["evaluate", "--data", str(labelled), "--out", str(tmp_path / "out"), *bundles]) == 0
        metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
        for key in ("map50", "precision", "recall", "white_recall", "white_precision", "accuracy", "f1", "roc_auc"):
            assert metrics[key] == pytest.approx(1, abs=0.01), key
        assert set(metrics["ap50"]) == {"WBC", "RBC"}
        assert metrics["cells_on_truth"]["accuracy"] == metrics["end_to_end"]["all"]["accuracy"] == 1
        assert "mAP@50" in capsys.readouterr().out
        assert len(rows_of(tmp_path / "out")) == 7

    def test_an_evaluation_draws_and_counts_what_an_analysis_does(self, labelled, models, run, tmp_path):
        """Its curves need detections below the operating point; the scale, the cells and the table must not see them."""
        bundles = given(models)
        __main__.main(["evaluate", "--data", str(labelled), "--out", str(tmp_path / "out"), *bundles])
        run(labelled.parent / "images", tmp_path / "plain")
        evaluated, plain = ([{**r, "field": Path(r["field"]).name, "slide": ""} for r in rows_of(tmp_path / o)] for o in ("out", "plain"))
        assert evaluated == plain

    def test_its_numbers_can_be_put_into_the_cards_of_both_models(self, labelled, models, tmp_path):
        shutil.copytree(models, tmp_path / "models")
        given_out = ["--out", str(tmp_path / "out"), "--record", "here"]
        assert __main__.main(["evaluate", "--data", str(labelled), *given_out, *given(tmp_path / "models")]) == 0
        for name, key in (("detector", "white_recall"), ("classifier", "end_to_end.accuracy")):
            evaluation = json.loads((tmp_path / "models" / name / "card.json").read_text())["evaluations"][0]
            assert (evaluation["name"], evaluation["split"]) == ("here", "test")
            assert [row["value"] for row in evaluation["numbers"] if row["key"] == key] == [1]

    def test_without_a_classifier_detection_alone_is_scored(self, labelled, models, tmp_path):
        command = ["evaluate", "--data", str(labelled), "--out", str(tmp_path / "out"), *given(models)]
        assert __main__.main([*command, "--classifier", "none"]) == 0
        metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
        assert metrics["map50"] == pytest.approx(1, abs=0.01)
        assert "accuracy" not in metrics

    def test_a_wrong_label_file_is_one_line(self, labelled, models, tmp_path, capsys):
        (labelled.parent / "labels/test/1.txt").write_text("0 .5 .5 .1 .1\n7 .5 .5 .1 .1\n")
        bundles = given(models)
        assert __main__.main(["evaluate", "--data", str(labelled), "--out", str(tmp_path / "out"), *bundles]) == 2
        assert "labels/test/1.txt:2: unknown class 7" in capsys.readouterr().err

    def test_a_missing_split_is_one_line(self, labelled, models, tmp_path, capsys):
        bundles = given(models)
        assert __main__.main(["evaluate", "--data", str(labelled), "--split", "val", "--out", str(tmp_path / "out"), *bundles]) == 2
        assert "no images in split 'val'" in capsys.readouterr().err


def test_without_a_command_the_usage_is_shown(capsys):
    with pytest.raises(SystemExit) as stop:
        __main__.main([])
    assert stop.value.code == 2
    assert "analyze" in capsys.readouterr().err


def test_the_device_may_be_given_as_an_index(slides, run, tmp_path, capsys):
    assert run(slides, tmp_path / "out", "--device", "0") in (0, 2)  # 2 where there is no such device
    assert os.path.exists(tmp_path / "out") or "device: '0'" in capsys.readouterr().err


def given(models: Path) -> list[str]:
    return ["--detector", str(models / "detector"), "--classifier", str(models / "classifier"), "--um-per-px", str(7.5 / 40)]


def searched_fields(monkeypatch) -> list[str]:
    """The ids of the fields that the analyser searches from now on."""
    search, ids = Finder.search, []
    monkeypatch.setattr(Finder, "search", lambda self, works: (ids.extend(w.field.id for w in works), search(self, works))[1])
    return ids


def truth_of(image: np.ndarray) -> Detections:
    """Boxes of the painted discs, by their exact colours at the centre: 0 ALL, 1 HEM, 2 RBC."""
    import cv2

    n, _, stats, centres = cv2.connectedComponentsWithStats((image[:, :, 1] < 200).astype(np.uint8))
    kinds = {(150, 40, 140): 0, (60, 40, 140): 1, (205, 120, 170): 2}
    rows = [(x, y, x + w, y + h) for x, y, w, h, _ in stats[1:n]]
    labels = [kinds[tuple(int(v) for v in image[round(cy), round(cx)])] for cx, cy in centres[1:n]]
    return Detections(np.array(rows, np.float32), np.ones(len(rows), np.float32), np.array(labels, np.int64))
