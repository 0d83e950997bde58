"""The command from end to end, on networks and models that learned discs in seconds; what is written is what was found."""

import csv
import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from classification import explain
from classification.compare_runs import MODEL
from classification.ensemble import FittedEnsemble
from classification.explanations.heat import SHOWN_PX
from classification.recipes import Recipe
from classification.systems import Cells, Fitted, open_system
from classification.train import Trained
from smear.images import read_image
from tests.pages import Reader

METHODS, ZONES = ("grad_cam", "layer_cam"), ("nucleus", "cytoplasm", "outside")
EVIL = '<img src="http://evil.example/x.png" onerror="alert(1)">'
NETWORK = {"model": "tiny", "head": "plain", "imgsz": 32, "epochs": 2, "batch": 8, "normalise": "unit", "precision": "float32"}
FOREST = {"features": ["colour"], "imgsz": 64, "model": {"name": "random_forest", "params": {"n_estimators": 5}}}


def fit(kind: str, content: dict[str, Any], cells: Cells) -> Fitted:
    recipe = Recipe.model_validate({"name": kind, "paper": "leukodetect", "about": "", "kind": kind, kind: content})
    return open_system(recipe).fit(cells, cells, seed=0, device="cpu", deadline=None, out=Path("unused"))


@pytest.fixture(scope="module")
def systems(cells: Callable[..., Cells], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Folders as `classification.compare --keep-models` writes them: a network, a forest, and both together."""
    few, root = cells(24, size=64), tmp_path_factory.mktemp("systems")
    network = fit("network", NETWORK | {"select": "val_accuracy", "optimiser": {"lr": 0.01, "warmup_epochs": 0}}, few)
    forest = fit("classical", FOREST, few)
    both = FittedEnsemble(("net", "forest"), (network, forest), (0.75, 0.25), few.classes, {"note": ""})
    folders = {}
    for name, fitted in (("net", network), ("forest", forest), ("both", both)):
        folders[name] = root / name / "grouped-0" / MODEL
        fitted.save(folders[name])
    return folders


def run_explain(model: Path, table: Path, out: Path, *words: object) -> dict[str, Any]:
    given = {"--cells": "6", "--resamples": "30", "--device": "cpu", "--out": str(out), "--data": str(table)}
    given |= dict(zip(map(str, words[::2]), map(str, words[1::2]), strict=True))
    assert explain.main([str(model), *(word for pair in given.items() for word in pair)]) == 0
    found: dict[str, Any] = json.loads((out / "explain.json").read_text())
    return found


@pytest.fixture(scope="module")
def of_bundle(run: tuple[Path, Trained], table: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """One explanation of the trained bundle: its folder and its JSON."""
    out = tmp_path_factory.mktemp("explained")
    return out, run_explain(run[0] / "bundle", table, out)


@pytest.fixture(scope="module")
def of_ensemble(systems: dict[str, Path], table: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    out = tmp_path_factory.mktemp("ensemble")
    return out, run_explain(systems["both"], table, out, "--split", "all")


def page_of(out: Path) -> Reader:
    return Reader((out / "explain.html").read_text(encoding="utf-8"))


def rows_of(out: Path) -> list[dict[str, str]]:
    with (out / "explain.csv").open() as file:
        return list(csv.DictReader(file))


def pixels(jpeg: bytes) -> np.ndarray:
    return np.asarray(cv2.cvtColor(cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB))


def test_a_bundle_is_explained_by_two_maps_beside_their_controls(of_bundle: tuple[Path, dict[str, Any]]) -> None:
    _, found = of_bundle
    assert (found["schema"], found["split"], found["group"], found["n_labelled"]) == (1, "test", "slide", 16)
    assert found["model"]["classes"] == ["ALL", "HEM"]
    assert all(re.fullmatch("[0-9a-f]{64}", digest) for digest in found["model"]["files"].values())
    assert {"grad-cam", "shap", "torch"} <= found["about"]["versions"].keys()
    (part,) = found["parts"]
    assert (part["kind"], part["architecture"], part["input_px"], part["weight"]) == ("network", "tiny", 64, 1.0)
    for method in METHODS:
        scores = part["methods"][method]
        assert scores["places"] == ([8, 8] if method == "grad_cam" else [16, 16])
        assert scores["road"]["n"] == len(found["cells"]) - scores["n_empty"]
        assert -1 <= scores["road"]["low"] <= scores["road"]["mean"] <= scores["road"]["high"] <= 1
        assert set(scores["beats"]) == {"chance", "centre"}
        assert sum(scores["shares"][zone]["mean"] for zone in ZONES) == pytest.approx(1, abs=1e-4)


def test_means_are_those_of_the_cells(of_bundle: tuple[Path, dict[str, Any]]) -> None:
    _, found = of_bundle
    (part,) = found["parts"]
    for method, scores in part["methods"].items():
        own = [cell["parts"][part["name"]]["methods"][method] for cell in found["cells"]]
        roads = [each["road"] for each in own if each["road"] is not None]
        assert scores["road"]["mean"] == pytest.approx(np.mean(roads))
        assert scores["chance"]["mean"] == pytest.approx(np.mean([each["chance"] for each in own]))
        gains = [each["road"] - each["chance"] for each in own if each["road"] is not None]
        assert scores["over_chance"]["mean"] == pytest.approx(np.mean(gains))


def test_the_table_has_one_row_a_cell_with_the_numbers_of_the_json(of_bundle: tuple[Path, dict[str, Any]]) -> None:
    out, found = of_bundle
    rows = rows_of(out)
    assert [row["file"] for row in rows] == [cell["file"] for cell in found["cells"]]
    for row, cell in zip(rows, found["cells"], strict=True):
        (scored,) = cell["parts"].values()
        assert (row["label"], row["predicted"], row["right"]) == (cell["label"], cell["predicted"], str(cell["right"]))
        assert float(row["layer_cam_road"]) == pytest.approx(scored["methods"]["layer_cam"]["road"], abs=1e-4)
        assert float(row["grad_cam_outside"]) == pytest.approx(scored["methods"]["grad_cam"]["shares"]["outside"], abs=1e-4)
        assert (out / row["overlay"]).is_file()


def test_the_pictures_of_the_page_are_those_of_the_chosen_cells(of_bundle: tuple[Path, dict[str, Any]], table: Path) -> None:
    out, found = of_bundle
    shown = page_of(out).pictures
    assert len(shown) == len(found["cells"]) == len(list((out / "overlays").glob("*.png"))) == 6
    for (alt, jpeg), cell in zip(shown, found["cells"], strict=True):
        (scored,) = cell["parts"].values()
        strip, on_page = read_image(out / scored["overlay"]), pixels(jpeg)
        assert alt.startswith(f"{cell['label']} crop of {cell['group']}")
        assert strip.shape == on_page.shape
        assert strip.shape[0] == SHOWN_PX
        assert np.abs(strip.astype(int) - on_page).mean() < 8  # JPEG
        crop = cv2.resize(read_image(table.parent / cell["file"]), (SHOWN_PX, SHOWN_PX), interpolation=cv2.INTER_CUBIC)
        others = [
            cv2.resize(read_image(table.parent / c["file"]), (SHOWN_PX, SHOWN_PX), interpolation=cv2.INTER_CUBIC) for c in found["cells"]
        ]
        nearest = min(np.abs(strip[:, :SHOWN_PX].astype(int) - other).mean() for other in others)
        assert np.abs(strip[:, :SHOWN_PX].astype(int) - crop).mean() == nearest


def test_the_page_says_what_was_found_and_loads_nothing(of_bundle: tuple[Path, dict[str, Any]]) -> None:
    out, found = of_bundle
    page = page_of(out)
    assert all((link or "").startswith("data:") for link in page.links)
    (part,) = found["parts"]
    assert "Research use only" in page.text
    assert "explained on 6 cells of discs" in page.text
    assert "It is a correlation, not a reason" in page.text
    for scores in part["methods"].values():
        assert f"{scores['title']}" in page.text
        assert f"{abs(scores['road']['mean']):.3f}" in page.text
    for name, counts in found["labelled"].items():
        assert f"{name} labelled rightly{counts['right']}of {counts['right'] + counts['wrong']}" in page.text


def test_the_same_seed_writes_the_same_files(
    of_bundle: tuple[Path, dict[str, Any]], run: tuple[Path, Trained], table: Path, tmp_path: Path
) -> None:
    out, found = of_bundle
    again = run_explain(run[0] / "bundle", table, tmp_path)
    assert again["cells"] == found["cells"]
    assert again["parts"] == found["parts"]
    for name in ("explain.csv", "overlays/000.png"):
        assert (tmp_path / name).read_bytes() == (out / name).read_bytes()


def test_a_kept_network_is_explained_and_may_have_learned_from_the_crops(systems: dict[str, Path], table: Path, tmp_path: Path) -> None:
    found = run_explain(systems["net"], table, tmp_path, "--cells", 2)
    assert found["model"]["name"] == "net"
    assert set(found["model"]["files"]) == {"fitted.json", "weights.safetensors"}
    assert found["parts"][0]["input_px"] == 32
    assert any("may have learned" in told for told in found["warnings"])


def test_every_member_of_an_ensemble_is_explained_for_the_label_of_the_whole(of_ensemble: tuple[Path, dict[str, Any]]) -> None:
    out, found = of_ensemble
    assert [(part["name"], part["kind"], part["weight"]) for part in found["parts"]] == [
        ("net", "network", 0.75),
        ("forest", "features", 0.25),
    ]
    for cell in found["cells"]:
        net, forest = cell["parts"]["net"], cell["parts"]["forest"]
        assert 0.75 * net["p"] + 0.25 * forest["p"] == pytest.approx(cell["p"], abs=1e-5)
        assert forest["output"] == pytest.approx(forest["p"], abs=1e-5)
        assert net["overlay"].startswith("overlays/net-")
    assert {"net_layer_cam_road", "forest_top_features"} <= rows_of(out)[0].keys()
    page = page_of(out)
    assert "What moves the label" in page.text
    assert len(page.pictures) == len(found["cells"])


def test_features_are_ranked_and_their_families_sum_to_all(of_ensemble: tuple[Path, dict[str, Any]]) -> None:
    _, found = of_ensemble
    forest = found["parts"][1]
    strengths = [entry["mean_abs_shap"] for entry in forest["top"]]
    assert forest["method"] == "tree"
    assert strengths == sorted(strengths, reverse=True)
    assert sum(entry["share"] for entry in forest["families"]) == pytest.approx(1)
    for cell in found["cells"]:
        for each in cell["parts"]["forest"]["top"]:
            assert each["name"].split("_")[0] in ("cell", "nucleus", "crop", "colour", "ratio", "something missing")


def test_a_crop_that_cannot_be_read_is_named_and_the_rest_goes_on(
    systems: dict[str, Path], rows: Callable[[int], list[dict[str, str]]], write_table: Callable[..., Path], tmp_path: Path
) -> None:
    table = write_table(tmp_path / "discs", rows(64))
    broken = [row["file"] for row in rows(64) if row["split"] == "test"][3]
    (table.parent / broken).write_bytes(b"not a picture")
    found = run_explain(systems["forest"], table, tmp_path / "out")
    assert [entry["file"] for entry in found["dropped"]] == [broken]
    assert found["n_labelled"] == 15
    assert broken not in [cell["file"] for cell in found["cells"]]
    assert broken in page_of(tmp_path / "out").text


def test_no_cell_is_an_empty_page_and_not_an_error(systems: dict[str, Path], table: Path, tmp_path: Path) -> None:
    found = run_explain(systems["both"], table, tmp_path, "--cells", 0)
    assert found["cells"] == []
    assert [part["name"] for part in found["parts"]] == ["net", "forest"]
    assert found["parts"][0]["methods"]["grad_cam"]["road"] == {"mean": None, "low": None, "high": None, "n": 0}
    assert rows_of(tmp_path) == []
    page = page_of(tmp_path)
    assert "No cell was explained" in page.text
    assert page.pictures == []


def test_names_from_files_are_text_and_never_markup(
    systems: dict[str, Path], rows: Callable[[int], list[dict[str, str]]], write_table: Callable[..., Path], tmp_path: Path
) -> None:
    evil = [row | {"slide": f"{EVIL}{row['slide']}"} for row in rows(64)]
    run_explain(systems["net"], write_table(tmp_path / "discs", evil), tmp_path / "out", "--cells", 2)
    page = page_of(tmp_path / "out")
    assert all((link or "").startswith("data:") for link in page.links)
    assert 'onerror="alert(1)"' in page.text


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ("missing", r"missing: no such folder"),
        ("empty", r"empty: holds neither model\.json .* nor fitted\.json"),
        ("fold", r"did you mean .*model\?"),
        ("detector", r"is a model to detect, a classifier is needed"),
        ("damaged", r"weights\.safetensors: does not hold the weights"),
    ],
)
def test_a_folder_that_is_no_model_is_one_line(
    model: str, said: str, systems: dict[str, Path], table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    damaged = tmp_path / "damaged"
    damaged.mkdir()
    (damaged / "fitted.json").write_bytes((systems["net"] / "fitted.json").read_bytes())
    (damaged / "weights.safetensors").write_bytes(b"\x80\x04 a pickle")
    detector = Path(__file__).parents[2] / "models" / "wbc-yolov8n"
    folder = {"fold": systems["net"].parent, "detector": detector}.get(model, tmp_path / model)
    assert explain.main([str(folder), "--data", str(table), "--out", str(tmp_path / "out")]) == 2
    _refused(capsys, said, tmp_path)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--data", "{tmp}/none.csv"), r"none\.csv: cannot read it"),
        (("--data", "{other}"), r"label: must be one of ALL, HEM, got 'Early'"),
        (("--group", "nobody"), r"--group: there is no column 'nobody'"),
        (("--group", "patient"), r"--group: column 'patient' is empty"),
        (("--device", "tpu"), r"device: must be 'auto'"),
    ],
)
def test_a_wrong_request_is_one_line(
    words: tuple[str, str],
    said: str,
    systems: dict[str, Path],
    rows: Callable[[int], list[dict[str, str]]],
    write_table: Callable[..., Path],
    table: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    other = write_table(tmp_path / "other", [row | {"label": "Early"} for row in rows(4)])
    given = {"--data": str(table), words[0]: words[1].format(tmp=tmp_path, other=other)}
    assert explain.main([str(systems["net"]), *(w for pair in given.items() for w in pair), "--out", str(tmp_path / "out")]) == 2
    _refused(capsys, said, tmp_path)


@pytest.mark.parametrize(("package", "system", "extra"), [("pytorch_grad_cam", "net", "grad-cam"), ("shap", "both", "shap")])
def test_without_a_package_nothing_is_begun(
    package: str,
    system: str,
    extra: str,
    systems: dict[str, Path],
    table: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    assert explain.main([str(systems[system]), "--data", str(table), "--out", str(tmp_path / "out")]) == 2
    _refused(capsys, rf"needs the package '{extra}'; install it with: pip install 'leukofield\[explain\]'", tmp_path)


def test_crops_cut_by_another_contract_are_refused(
    run: tuple[Path, Trained],
    rows: Callable[[int], list[dict[str, str]]],
    write_table: Callable[..., Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    table = write_table(tmp_path / "discs", rows(16), manifest={"crop": {"width": 9.0}})
    assert explain.main([str(run[0] / "bundle"), "--data", str(table), "--out", str(tmp_path / "out")]) == 2
    _refused(capsys, "wants crops cut as", tmp_path)


def test_a_file_in_the_way_is_one_line(systems: dict[str, Path], table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "out").write_text("in the way")
    assert explain.main([str(systems["forest"]), "--data", str(table), "--cells", "1", "--out", str(tmp_path / "out")]) == 2
    assert re.search(r"error: .*out: cannot write it", capsys.readouterr().err)


@pytest.mark.parametrize(("word", "value"), [("--cells", "-1"), ("--pool", "0"), ("--split", "holdout")])
def test_numbers_out_of_range_are_refused_by_the_parser(word: str, value: str) -> None:
    with pytest.raises(SystemExit) as stopped:
        explain.main(["model", "--data", "crops.csv", word, value])
    assert stopped.value.code == 2


def test_asking_for_help_loads_nothing_heavy() -> None:
    code = (
        "import sys, classification.explain as e\ntry: e.main(['--help'])\nexcept SystemExit: pass\n"
        "heavy = {'torch', 'sklearn', 'shap', 'pytorch_grad_cam', 'matplotlib'} & set(sys.modules)\nprint('heavy:', sorted(heavy))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2])
    assert done.stdout.endswith("heavy: []\n")


def _refused(capsys: pytest.CaptureFixture[str], said: str, tmp_path: Path) -> None:
    """One line on stderr, and nothing written."""
    told = capsys.readouterr()
    lines = [line for line in re.split(r"[\r\n]", told.err) if line.startswith("error: ")]  # a progress bar ends in \r
    assert len(lines) == 1
    assert re.search(said, lines[0])
    assert "Traceback" not in told.err
    assert not (tmp_path / "out").exists()
