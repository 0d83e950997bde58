"""The command from end to end on painted cells: what was planted is found and said, and nothing else is written, loaded or run."""

import csv
import json
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from classification import eda
from classification.exploration import maps
from classification.exploration.crops import read_all
from classification.exploration.numbers import measure
from classification.exploration.report import explore
from classification.exploration.rows import COLUMNS
from smear.audit import suspects
from smear.images import write_image
from tests.pages import Reader

UMAP = maps.umap_map
EVIL = '<img src=x onerror="alert(1)">'  # without a slash, so that a file can have this name
NUCLEUS = {"ALL": 0.82, "HEM": 0.5}  # of the cell, diameters: nothing but the nucleus tells the classes
GROUND = (228, 216, 226)
Row = dict[str, str]
Ran = tuple[Path, dict[str, Any]]  # the folder and eda.json


def paint(
    seed: int,
    label: str,
    *,
    side: int = 64,
    tint: Sequence[float] = (1, 1, 1),
    cytoplasm: Sequence[int] = (176, 150, 206),
    radius: float = 0.3,
) -> np.ndarray:
    """A white cell of that radius, in sides, among red ones, all tinted as a stain would; (side, side, 3) uint8."""
    rng = np.random.default_rng(seed)
    image = np.full((side, side, 3), GROUND, np.uint8)
    for turn in rng.uniform(0, 2 * np.pi, 4):
        x, y = (0.5 + 0.52 * np.array([np.cos(turn), np.sin(turn)])) * side
        cv2.circle(image, (round(x), round(y)), round(0.13 * side), tuple(map(int, rng.integers((190, 120, 120), (220, 160, 160)))), -1)
    middle, size = (side // 2, side // 2), radius * side * rng.uniform(0.94, 1.06)
    cv2.circle(image, middle, round(size), tuple(cytoplasm), -1)
    axes = size * NUCLEUS.get(label, 0.6) * rng.uniform(0.92, 1.08, 2)
    cv2.ellipse(image, middle, (round(axes[0]), round(axes[1])), rng.uniform(0, 180), 0, 360, (92, 44, 150), -1)
    texture = cv2.resize(rng.normal(0, 10, (12, 12)), (side, side), interpolation=cv2.INTER_CUBIC)
    return np.clip(image * np.array(tint) + texture[..., None] + rng.normal(0, 3, image.shape), 0, 255).astype(np.uint8)


def row(i: int, **changes: str) -> Row:
    """Classes by turns, four crops a slide, slides in train, train, val, test by turns, both stains in each."""
    split, label = ("train", "train", "val", "test")[(i // 4) % 4], ("ALL", "HEM")[i % 2]
    made = {"file": f"c{i:03d}.png", "label": label, "patient": "", "slide": f"s{i // 4}", "field": f"f{i}", "split": split}
    return {**made, "stain": "ab"[(i // 2) % 2], **changes}


def save(folder: Path, rows: Sequence[Row], images: dict[str, np.ndarray] | None = None, *, seed: int = 0) -> Path:
    """crops.csv with the pictures of its rows: those given, none where there is a file already, else painted."""
    for i, each in enumerate(rows):
        if not (folder / each["file"]).exists():
            write_image(folder / each["file"], (images or {}).get(each["file"], paint(seed + i, each["label"])))
    with (folder / "crops.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return folder / "crops.csv"


def run_eda(out: Path, *words: object) -> dict[str, Any]:
    """Its JSON; words: tables, then options."""
    assert eda.main(["--out", str(out), "--workers", "0", "--data", *map(str, words)]) == 0
    found: dict[str, Any] = json.loads((out / "eda.json").read_text())
    return found


def explored(table: Path, **options: Any) -> dict[str, Any]:
    """What is told of a table, without its page."""
    crops = read_all([table], **options)
    return explore(crops, measure(crops)).report


def said(found: dict[str, Any]) -> str:
    return " ".join([found["answer"]["verdict"], *(line["text"] for line in found["answer"]["said"])])


@pytest.fixture(scope="module", autouse=True)
def quick() -> Iterator[None]:
    """The map is another test's subject and takes half a minute to compile; threads of two workers would wait for each other."""
    import sklearn.ensemble  # noqa: F401  its threads are limited below
    from threadpoolctl import threadpool_limits

    with pytest.MonkeyPatch.context() as patch, threadpool_limits(1):
        patch.setattr(maps, "umap_map", lambda scores, *, seed: 2 * scores[:, :2])
        yield


SWAPPED = ("c010.png", "c021.png", "c026.png")  # in north


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two sources of 32 crops. North has twins and swapped labels besides, south an odd cell, a broken file and an empty crop."""
    root = tmp_path_factory.mktemp("planted")
    north, south = root / "north", root / "south"
    save(north, [row(i) for i in range(32)])
    (north / "exact.png").write_bytes((north / "c000.png").read_bytes())  # ALL, in train
    turned = np.ascontiguousarray(np.rot90(cv2.imread(str(north / "c001.png"))))  # HEM, in train
    (north / "near.jpg").write_bytes(cv2.imencode(".jpg", turned, [cv2.IMWRITE_JPEG_QUALITY, 80])[1].tobytes())
    other = {"ALL": "HEM", "HEM": "ALL"}
    rows = [row(i, label=other[row(i)["label"]]) if row(i)["file"] in SWAPPED else row(i) for i in range(32)]
    rows += [
        row(32, file="exact.png", label="ALL", slide="x1", split="test"),
        row(33, file="near.jpg", label="ALL", slide="x2", split="train"),
    ]
    save(north, rows)
    south.mkdir()
    (south / "broken.png").write_bytes(b"no picture")
    strange = {"green.png": paint(7, "HEM", cytoplasm=(40, 200, 60), radius=0.36), "empty.png": np.full((64, 64, 3), 220, np.uint8)}
    first, last = ([row(28, file=name, field=name) for name in names] for names in (("empty.png", "broken.png"), ("green.png",)))
    rows = [*first, *(row(i) for i in range(32)), *last]
    save(south, rows, strange, seed=100)
    return [north / "crops.csv", south / "crops.csv"]


@pytest.fixture(scope="module")
def planted(tables: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Ran:
    out = tmp_path_factory.mktemp("explored") / "out"
    return out, run_eda(out, *tables)


def page_of(out: Path) -> Reader:
    return Reader((out / "eda.html").read_text(encoding="utf-8"))


def rows_of(out: Path) -> list[dict[str, str]]:
    with (out / "eda.csv").open() as file:
        return list(csv.DictReader(file))


def pixels(picture: bytes) -> np.ndarray:
    return np.asarray(cv2.imdecode(np.frombuffer(picture, np.uint8), cv2.IMREAD_COLOR))


def test_the_json_says_what_was_explored(planted: Ran, tables: list[Path]) -> None:
    _, found = planted
    assert (found["schema"], found["group"], found["n_groups"], found["seed"]) == (1, "slide", 18, 0)
    assert (found["classes"], found["n"], found["n_per_class"]) == (["ALL", "HEM"], 68, {"ALL": 35, "HEM": 33})
    assert found["spread"]["split"]["test"] == {"ALL": 11, "HEM": 8}
    assert found["spread"]["source"] == {"north": {"ALL": 17, "HEM": 17}, "south": {"ALL": 18, "HEM": 16}}
    assert set(found["spread"]["stain"]) == {"north/a", "north/b", "south/a", "south/b"}
    assert not found["made_stains"]
    assert (found["maps"]["n_drawn"], found["maps"]["n_known"], found["maps"]["umap"]) == (67, 67, {"why_not": None})
    assert [entry["name"] for entry in found["about"]["data"]] == ["north", "south"]
    assert found["about"]["command"].startswith("python -m classification.eda --out ")


def test_planted_twins_leak_and_contradict_and_the_answer_says_so(planted: Ran) -> None:
    _, found = planted
    nothing = {"pairs": 1, "within_groups": 0, "splits": 0, "labels": 0, "groups": 1, "sources": 0}
    assert found["twins"]["counts"] == {"exact": nothing | {"splits": 1}, "near": nothing | {"labels": 1}}
    leak, contradiction = found["twins"]["pairs"]
    assert (leak["files"], leak["splits"], leak["distance"]) == (["north/c000.png", "north/exact.png"], ["train", "test"], 0)
    assert (contradiction["files"], contradiction["labels"]) == (["north/c001.png", "north/near.jpg"], ["HEM", "ALL"])
    assert contradiction["transform"] == "rot90"
    assert found["answer"]["verdict"].startswith("The splits leak: 1 pair of crops on both sides of a split shows the same cell")
    opened = [line["text"] for line in found["answer"]["said"] if line["kind"] == "open"]
    assert "1 pair of twins in two splits: what is learned from one is scored on the other." in opened
    assert "1 pair of twins under two labels: one of the two is wrong." in opened


def test_only_what_is_planted_in_the_cell_tells_the_class(planted: Ran) -> None:
    _, found = planted
    tells = {clue["name"] for clue in found["clues"] if clue["tells"]}
    assert "diameter of the nucleus" in tells
    assert {clue["kind"] for clue in found["clues"] if clue["tells"]} <= {"size", "colour"}
    assert {"stain", "source", "ground, lightness"} <= {clue["name"] for clue in found["clues"] if clue["kind"] == "shortcut"}
    assert "side of the crop" not in {clue["name"] for clue in found["clues"]}  # all have one size
    assert "Nothing outside the cell tells the class" in said(found)


def test_the_planted_odd_cell_is_the_oddest_and_its_colour_the_reason(planted: Ran) -> None:
    _, found = planted
    oddest = found["odd"]["cells"][0]
    assert oddest["file"] == "south/green.png"
    assert oddest["score"] > 2
    assert any(name.startswith("cell_a_") for name, _ in oddest["reasons"])
    assert found["odd"]["n_beyond"] == len(found["odd"]["cells"]) <= 5
    assert (found["odd"]["n_looked_at"], found["odd"]["n_unmeasured"]) == (67, 1)


def test_swapped_labels_are_doubted(planted: Ran) -> None:
    _, found = planted
    wrong = {"north/near.jpg", *(f"north/{name}" for name in SWAPPED)}
    doubted = {each["file"]: each for each in found["suspects"]["found"]}
    assert len(wrong & set(doubted)) >= 3
    assert len(set(doubted) - wrong) <= 2
    assert all(doubted[file]["suggested"] != doubted[file]["label"] for file in wrong & set(doubted))
    assert found["suspects"]["skill"] > 0.8


def test_sizes_and_colours_are_those_that_were_painted(planted: Ran) -> None:
    _, found = planted
    for label, share in NUCLEUS.items():
        assert found["sizes"]["crop_side_px"][label]["median"] == 64
        assert found["sizes"]["cell_diameter_px"][label]["median"] == pytest.approx(2 * 0.3 * 64, rel=0.06)
        assert found["sizes"]["nucleus_diameter_px"][label]["median"] == pytest.approx(2 * 0.3 * 64 * share, rel=0.1)
    painted = cv2.cvtColor(np.array([[GROUND]], np.float32) / 255, cv2.COLOR_RGB2Lab)[0, 0]
    for i, channel in enumerate("Lab"):
        assert found["colours"]["ground"]["class"][channel]["ALL"]["median"] == pytest.approx(painted[i], abs=2.5)


def test_a_corrupt_crop_is_named_and_the_rest_goes_on(planted: Ran) -> None:
    out, found = planted
    (dropped,) = found["dropped"]
    assert dropped["file"] == "broken.png"
    assert "broken.png: not a readable image" in dropped["error"]
    assert any(told.startswith("1 of 69 crops cannot be read and were left out") for told in found["warnings"])
    assert "1 crop cannot be read and was left out." in said(found)
    assert dropped["error"] in page_of(out).text


def test_the_table_has_one_row_a_crop_with_the_numbers_of_the_json(planted: Ran) -> None:
    out, found = planted
    rows = rows_of(out)
    assert tuple(rows[0]) == COLUMNS
    assert len(rows) == found["n"]
    by_file = {each["file"]: each for each in rows}
    assert by_file["north/exact.png"]["twin_of"] == "north/c000.png"
    assert by_file["north/c001.png"]["twin_of"] == "north/near.jpg"
    assert [each["file"] for each in rows if each["twin_of"]] == [f"north/{n}" for n in ("c000.png", "c001.png", "exact.png", "near.jpg")]
    assert {file for file, each in by_file.items() if each["suspect"]} == {each["file"] for each in found["suspects"]["found"]}
    assert {f for f, each in by_file.items() if float(each["outlier_score"] or 0) > 1} == {cell["file"] for cell in found["odd"]["cells"]}
    assert float(by_file["south/green.png"]["outlier_score"]) == pytest.approx(found["odd"]["cells"][0]["score"], abs=1e-4)
    first = by_file["north/c000.png"]
    told = {key: first[key] for key in ("source", "label", "split", "group", "stain")}
    assert told == {"source": "north", "label": "ALL", "split": "train", "group": "north/s0", "stain": "north/a"}
    assert float(first["umap1"]) == pytest.approx(2 * float(first["pca1"]), abs=1e-3) != 0  # as the fixture maps them


def test_a_crop_without_a_nucleus_has_empty_places_and_sizes(planted: Ran) -> None:
    out, found = planted
    (empty,) = (each for each in rows_of(out) if each["file"] == "south/empty.png")
    assert {empty[key] for key in ("cell_diameter_px", "nucleus_diameter_px", "pca1", "umap2", "outlier_score", "twin_of")} == {""}
    assert "In 1 crop no cell with a nucleus was found; on the maps and among the odd it is missing." in said(found)


def test_the_page_says_what_was_found_and_loads_nothing(planted: Ran) -> None:
    out, found = planted
    page = page_of(out)
    assert all((link or "").startswith("data:") for link in page.links)
    assert "Research use only" in page.text
    assert found["answer"]["verdict"] in page.text
    for line in found["answer"]["said"]:
        assert line["text"] in page.text
    assert "68 crops of north, south" in page.text
    assert "Twins across splits1of 2 pairs" in page.text
    for clue in found["clues"]:
        assert f"{clue['name']}{' tells' if clue['tells'] else ''}{clue['n_values']}{clue['agreement']:.2f}" in page.text


def test_the_pictures_of_the_page_are_the_twins_the_odd_and_the_doubted(planted: Ran, tables: list[Path]) -> None:
    out, found = planted
    shown = dict(page_of(out).pictures)
    twins = [file for pair in found["twins"]["pairs"] for file in pair["files"]]
    others = [each["file"] for each in (*found["odd"]["cells"], *found["suspects"]["found"])]
    assert set(shown) == {f"crop {file}" for file in (*twins, *others)}
    for name, picture in shown.items():
        file = cv2.imread(str(tables[0].parent.parent / name.removeprefix("crop ")))
        on_page = cv2.resize(pixels(picture), file.shape[:2], interpolation=cv2.INTER_AREA)
        assert np.abs(on_page.astype(int) - file).mean() < 8  # JPEG


STAINED = {"stain", "ground, green to red", "ground, blue to yellow"}
SHORTCUTS = {
    "stain": ({"tint": (1, 0.92, 0.97)}, {"tint": (0.88, 0.96, 1)}, STAINED),
    "side of the crop": ({"side": 64}, {"side": 80}, {"side of the crop"}),
}


@pytest.mark.parametrize("name", SHORTCUTS)
def test_a_planted_shortcut_is_told_and_nothing_else(name: str, tmp_path: Path) -> None:
    """A slide is of one class, as in most sets, and one thing besides the cell goes with it; the tables say no stain."""
    of_all, of_hem, expected = SHORTCUTS[name]
    rows = [row(i, label=("ALL", "HEM")[(i // 2) % 2], slide=f"s{i // 2}", stain="") for i in range(24)]
    images = {each["file"]: paint(i, "either", **(of_all if each["label"] == "ALL" else of_hem)) for i, each in enumerate(rows)}
    found = explored(save(tmp_path, rows, images), n_stains=2)
    tells = {clue["name"] for clue in found["clues"] if clue["kind"] == "shortcut" and clue["tells"]}
    assert tells - {"ground, lightness"} == expected  # both tints are nearly as light
    assert re.match("A model could cheat: the (stain|ground|side of the crop).* gives the class away", found["answer"]["verdict"])
    assert f"The {name} alone tells the class with a balanced accuracy of 100.0 % on slides not looked at (chance 50 %)." in said(found)


def test_classes_that_only_cells_tell_have_no_shortcut(tmp_path: Path) -> None:
    rows = [row(i, label=("ALL", "HEM")[(i // 2) % 2], slide=f"s{i // 2}", stain="") for i in range(24)]
    found = explored(save(tmp_path, rows), n_stains=2)
    assert [clue["name"] for clue in found["clues"] if clue["kind"] == "shortcut" and clue["tells"]] == []
    assert found["made_stains"]
    assert found["answer"]["verdict"].startswith("Nothing found that a model could cheat with")


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """24 crops without a stain; tests must not change them."""
    return save(tmp_path_factory.mktemp("few"), [row(i, stain="") for i in range(24)])


FEWER = ("--max-cells", 20, "--map-cells", 5, "--stains", 3, "--group", "field", "--families", "colour")


@pytest.fixture(scope="module")
def fewer(few: Path, tmp_path_factory: pytest.TempPathFactory) -> Ran:
    out = tmp_path_factory.mktemp("fewer") / "out"
    return out, run_eda(out, few, *FEWER)


def test_fewer_cells_are_read_and_mapped_when_asked(fewer: Ran) -> None:
    out, found = fewer
    assert (found["n"], found["group"], found["families"]) == (20, "field", ["nucleus_shape", "shape", "colour"])
    assert "20 of 24 crops were drawn, seed 0" in found["warnings"]
    assert set(found["spread"]["stain"]) == {"colour 0", "colour 1", "colour 2"}
    assert found["maps"]["n_drawn"] == 5
    assert all(each["pca1"] and not each["umap1"] for each in rows_of(out))
    page = page_of(out).text
    assert "5 of 20 measured cells, drawn so that every field keeps its share" in page
    assert "No UMAP: 5 cells have no neighbourhoods to map; it takes 15." in page


def test_the_same_seed_writes_the_same_files(fewer: Ran, few: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, found = fewer
    again = run_eda(tmp_path, few, *FEWER)
    printed = capsys.readouterr()
    assert {**again, "about": None} == {**found, "about": None}
    assert (tmp_path / "eda.csv").read_bytes() == (out / "eda.csv").read_bytes()
    pages = [re.sub("<pre>.*?</pre>", "", (folder / "eda.html").read_text(), flags=re.DOTALL) for folder in (tmp_path, out)]
    assert pages[0] == pages[1]
    assert printed.out.splitlines()[0] == found["answer"]["verdict"]
    assert printed.out.splitlines()[-1] == f"page: {tmp_path / 'eda.html'}"
    assert "warning: 20 of 24 crops were drawn, seed 0" in printed.err


def test_without_the_optional_packages_all_else_is_made_and_the_page_says_what_to_install(
    few: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(suspects, "MIN_PER_CLASS", 12)
    monkeypatch.setattr(maps, "umap_map", UMAP)
    monkeypatch.setitem(sys.modules, "umap", None)
    monkeypatch.setitem(sys.modules, "cleanlab.filter", None)
    found = run_eda(tmp_path, few)
    wanted = {"umap-learn": "leukofield[explain]", "cleanlab": "leukofield[audit]"}
    told = {"umap-learn": found["maps"]["umap"]["why_not"], "cleanlab": found["suspects"]["why_not"]}
    page = page_of(tmp_path).text
    for package, extra in wanted.items():
        assert f"needs the package '{package}'; install it with: pip install '{extra}'" in told[package]
        assert told[package] in page
    assert found["suspects"]["found"] == []
    assert found["suspects"]["n_looked_at"] == 24
    assert found["odd"]["why_not"] is None
    assert all(each["pca1"] and each["outlier_score"] and not each["umap1"] for each in rows_of(tmp_path))


SETS = {
    "one crop": [row(0)],
    "three crops": [row(i, stain="") for i in range(3)],
    "one class": [row(2 * i) for i in range(6)],
    "no nucleus": [row(i, file=f"flat{i}.png", stain="") for i in range(6)],
}
TELLS = {
    "one crop": "Odd cells are not told: 1 measured cells have no middle",
    "three crops": "Labels in doubt are not told: fewer than two classes have 20 crops",
    "one class": "All crops are of one class, so there is nothing to give away.",
    "no nucleus": "In 6 crops no cell with a nucleus was found",
}


@pytest.mark.parametrize("name", SETS)
def test_a_set_that_can_tell_little_says_so(name: str, tmp_path: Path) -> None:
    flat = {f"flat{i}.png": np.full((64, 64, 3), 190 + 8 * i, np.uint8) for i in range(6)}
    found = run_eda(tmp_path / "out", save(tmp_path, SETS[name], flat))
    assert found["n"] == len(SETS[name]) == len(rows_of(tmp_path / "out"))
    assert TELLS[name] in page_of(tmp_path / "out").text
    assert found["suspects"]["why_not"] is not None
    assert found["odd"]["why_not"] is not None
    assert found["maps"]["umap"]["why_not"] is not None
    assert (found["clues"] == []) == (name in ("one crop", "one class"))


def test_names_and_labels_are_text_and_never_markup(tmp_path: Path) -> None:
    names = [f"{EVIL}{i}.png" for i in range(6)]
    rows = [row(i, file=name, label=f"{EVIL}{i % 2}", slide=f"{EVIL}{i}", stain=EVIL) for i, name in enumerate(names)]
    table = save(tmp_path / EVIL, rows)
    (table.parent / names[4]).write_bytes((table.parent / names[0]).read_bytes())  # a twin, so that names stand beside pictures
    (table.parent / names[5]).write_bytes(b"no picture")
    run_eda(tmp_path / "out", table)
    page = page_of(tmp_path / "out")
    assert all((link or "").startswith("data:") for link in page.links)
    assert {f"crop {names[0]}", f"crop {names[4]}"} == {alt for alt, _ in page.pictures}
    for text in (names[0], names[5], f"{EVIL}1"):
        assert text in page.text


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("--data", "{tmp}/none.csv"), r"none\.csv: cannot read it"),
        (("--data", "{tmp}/empty.csv"), r"empty\.csv: holds no crops"),
        (("--data", "{tmp}/broken.csv"), r"broken\.csv: no crop can be read; the first: .*bad\.png: not a readable image"),
        (("--group", "nobody"), r"--group: there is no column 'nobody'; group by one of slide, field"),
        (("--group", "patient"), r"--group: column 'patient' is empty"),
        (("--label-column", "kind"), r"column 'kind' is missing; it has file, label"),
        (("--families", "glmc"), r"families: must be some of .*got 'glmc'; did you mean 'glcm'\?"),
    ],
)
def test_a_wrong_request_is_one_line(
    words: tuple[str, str], expected: str, few: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    header = ",".join(row(0))
    (tmp_path / "empty.csv").write_text(f"{header}\n")
    (tmp_path / "broken.csv").write_text(f"{header}\nbad.png,ALL,,s,f,train,a\nbad.png,HEM,,s,f,train,a\n")
    (tmp_path / "bad.png").write_bytes(b"no picture")
    given = {"--data": str(few), "--workers": "0", words[0]: words[1].format(tmp=tmp_path)}
    assert eda.main([*(word for pair in given.items() for word in pair), "--out", str(tmp_path / "out")]) == 2
    told = capsys.readouterr()
    lines = [line for line in re.split(r"[\r\n]", told.err) if line.startswith("error: ")]  # a progress bar ends in \r
    assert len(lines) == 1
    assert re.search(expected, lines[0])
    assert "Traceback" not in told.err
    assert told.out == ""
    assert not (tmp_path / "out").exists()


def test_a_file_in_the_way_is_one_line(few: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "out").write_text("in the way")
    assert eda.main(["--data", str(few), "--max-cells", "2", "--workers", "0", "--out", str(tmp_path / "out")]) == 2
    assert re.search(r"error: .*out: cannot write it", capsys.readouterr().err)


@pytest.mark.parametrize("word", ["--max-cells", "--map-cells", "--stains", "--seed", "--workers"])
def test_numbers_out_of_range_are_refused_by_the_parser(word: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        eda.main(["--data", "crops.csv", word, "-1"])
    assert stopped.value.code == 2
    assert f"{word}: must be at least" in capsys.readouterr().err


def test_asking_for_help_loads_nothing_heavy() -> None:
    code = (
        "import sys, classification.eda as e\ntry: e.main(['--help'])\nexcept SystemExit: pass\n"
        "heavy = {'torch', 'sklearn', 'umap', 'numba', 'cleanlab', 'matplotlib'} & set(sys.modules)\nprint('heavy:', sorted(heavy))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2])
    assert done.stdout.endswith("heavy: []\n")
