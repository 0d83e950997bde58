"""datasets.geojson: what QuPath exports, in each of its forms, becomes boxes of the right image."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as pillow

from datasets import geojson
from smear import annotations, images

SHAPE = (96, 128)


def run(source: Path, out: Path, *more: str) -> int:
    return geojson.main(["--source", str(source), "--out", str(out), "--quiet", *more])


def feature(name: object, points: list, kind: str = "Polygon", **properties: object) -> dict:
    """As QuPath 0.5 writes an annotation."""
    coordinates = [points] if kind == "Polygon" else [[ring] for ring in points] if kind == "MultiPolygon" else points
    kept = {"objectType": "annotation", **properties}
    if name is not None:
        kept["classification"] = {"name": name, "color": [200, 0, 0]} if isinstance(name, str) else name
    return {"type": "Feature", "id": "e7a5", "geometry": {"type": kind, "coordinates": coordinates}, "properties": kept}


def square(x0: float, y0: float, x1: float, y1: float) -> list:
    return [[x0, y0], [x1, y0], [x1, y1], [x0, y1], [x0, y0]]


def write(path: Path, content: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")


@pytest.fixture
def source(tmp_path, paint) -> Path:
    """A slide with one image, its objects of every kind."""
    images.write_image(tmp_path / "source/slide ä/one.png", paint(1)[0])
    features = [
        feature("ALL", square(10, 20, 40.5, 50.25)),
        feature({"names": ["HEM", "Positive"], "colorRGB": -3}, [[60, 10], [80, 5], [90, 30], [60, 10]]),
        feature("RBC", [square(1, 1, 5, 5), square(3, 3, 9, 12)], "MultiPolygon"),
        feature("RBC", [3, 4], "Point"),
        feature(None, square(0, 0, 90, 90), childObjects=[feature("ALL", square(70, 70, 90, 88))]),
    ]
    write(tmp_path / "source/slide ä/one.geojson", {"type": "FeatureCollection", "features": features})
    return tmp_path / "source"


def test_polygons_of_any_form_become_the_box_around_them(source, tmp_path):
    assert run(source, tmp_path / "out") == 0
    prepared = annotations.read_data_yaml(tmp_path / "out/data.yaml")
    assert prepared.classes == ("ALL", "HEM: Positive", "RBC")
    truth = annotations.read_labels(tmp_path / "out/labels/train/slide ä/one.txt", SHAPE, 3)
    np.testing.assert_allclose(truth.boxes, [[10, 20, 40.5, 50.25], [60, 5, 90, 30], [1, 1, 9, 12], [70, 70, 90, 88]], atol=1e-3)
    assert truth.labels.tolist() == [0, 1, 2, 0]


def test_what_is_dropped_is_told_and_a_subfolder_is_a_slide(source, tmp_path):
    assert run(source, tmp_path / "out") == 0
    manifest = annotations.read_manifest(tmp_path / "out")
    file = "images/train/slide ä/one.png"
    assert manifest["notes"] == {"object without area dropped": [file], "object without a class dropped": [file]}
    assert [(f["file"], f["slide"]) for f in manifest["files"]] == [(file, "slide ä")]


@pytest.mark.parametrize("wrap", [lambda f: {"type": "FeatureCollection", "features": [f]}, lambda f: [f], lambda f: f])
def test_a_collection_a_list_and_one_feature_are_read(source, tmp_path, wrap):
    write(source / "slide ä/one.geojson", wrap(feature("ALL", square(10, 20, 40, 50))))
    assert run(source, tmp_path / "out") == 0
    truth = annotations.read_labels(tmp_path / "out/labels/train/slide ä/one.txt", SHAPE, 1)
    np.testing.assert_allclose(truth.boxes, [[10, 20, 40, 50]], atol=1e-3)


def test_an_empty_collection_is_an_image_without_cells(source, tmp_path, paint):
    images.write_image(source / "two.png", paint(2)[0])
    write(source / "two.geojson", {"type": "FeatureCollection", "features": []})
    assert run(source, tmp_path / "out") == 0
    assert (tmp_path / "out/labels/train/two.txt").read_text() == ""
    slides = {f["file"]: f["slide"] for f in annotations.read_manifest(tmp_path / "out")["files"]}
    assert slides["images/train/two.png"] is None


def test_the_whole_file_name_tells_two_images_apart(source, tmp_path, paint):
    images.write_image(source / "slide ä/one.jpg", paint(3)[0])
    assert run(source, tmp_path / "out") == 2
    (source / "slide ä/one.geojson").rename(source / "slide ä/one.jpg.geojson")
    assert run(source, tmp_path / "out") == 0
    copied = (tmp_path / "out/images/train/slide ä/one.jpg.jpg").read_bytes()
    assert copied == (source / "slide ä/one.jpg").read_bytes()


def test_the_page_of_a_tiff_is_the_one_that_the_file_says(source, tmp_path):
    pages = [np.full((*SHAPE, 3), v, np.uint8) for v in (40, 200)]
    pillow.fromarray(pages[0]).save(source / "s.tif", save_all=True, append_images=[pillow.fromarray(pages[1])])
    for page in (1, 2):
        item = feature("ALL", square(page, 2, 30, 40))
        write(source / f"s-{page}.geojson", {"type": "FeatureCollection", "image": f"s.tif#{page}", "features": [item]})
    assert run(source, tmp_path / "out") == 0
    for page, pixels in enumerate(pages, 1):
        np.testing.assert_array_equal(images.read_image(tmp_path / f"out/images/train/s-{page}.png"), pixels)


def test_images_may_lie_elsewhere(source, tmp_path):
    (source / "slide ä/one.png").rename(tmp_path / "one.png")
    (tmp_path / "scans/slide ä").mkdir(parents=True)
    (tmp_path / "one.png").rename(tmp_path / "scans/slide ä/one.png")
    assert run(source, tmp_path / "out") == 2
    assert run(source, tmp_path / "out", "--images", str(tmp_path / "scans")) == 0


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"type": "FeatureCollection", "features": {}}, "features: expected a list, got dict"),
        ([{"type": "Feature"}], "feature 1: expected a feature with a geometry"),
        (["x"], "feature 1: expected a feature with a geometry"),
        ([feature("ALL", [[1, 2], [3]])], "feature 1: coordinates: expected rings"),
        ([feature("ALL", [[1, 2], [3, 4]])], "expected three or more finite positions, got 2"),
        ([feature("ALL", 5)], "feature 1: coordinates: expected rings"),
        ([feature({"name": 3}, square(1, 2, 9, 9))], "classification: expected a name, got 3"),
        ([feature("XYZ", square(1, 2, 9, 9))], "unknown class 'XYZ'"),
        ({"type": "FeatureCollection", "features": [], "imageHeight": 96, "imageWidth": 64}, "annotated as (96, 64)"),
    ],
)
def test_a_wrong_file_is_one_line_and_exit_2(source, tmp_path, capsys, content, message):
    write(source / "slide ä/one.geojson", content)
    assert run(source, tmp_path / "out", "--classes", "ALL") == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1


def test_broken_json_no_file_no_image_and_no_folder_are_one_line_and_exit_2(tmp_path, capsys):
    (tmp_path / "a.geojson").write_text("{")
    (tmp_path / "empty").mkdir()
    write(tmp_path / "lost/b.geojson", [])
    for source in ("a.geojson", "empty", "lost", "gone"):
        assert run(tmp_path / source, tmp_path / "out") == 2
    first, second, third, fourth = capsys.readouterr().err.splitlines()
    assert "a.geojson: not readable as JSON" in first
    assert "no .geojson file" in second
    assert "expected one image b.* in" in third
    assert "no such folder" in fourth
