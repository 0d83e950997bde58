"""Out with smear.exports and in with datasets: the same boxes within the format's precision, and the same labels."""

import json
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as pillow

from smear import annotations
from smear.exports import coco, geojson, labelme, voc
from smear.exports.marks import make_batch
from smear.exports.write import export
from smear.images import read_image, write_image
from smear.types import UNKNOWN_SCALE, Detections, Field, FieldResult

SHAPE = (96, 128)
DETECTOR, CLASSES = ("WBC", "RBC", "Platelets"), ("ALL", "HEM")
PRECISION_PX = 1.2e-3  # a thousandth of a pixel, and six relative digits of what is imported
NAME_IN = {  # how a format names a field, by the field's stem
    **dict.fromkeys(("coco", "labelme", "geojson"), lambda stem: stem),
    **dict.fromkeys(("yolo", "voc"), lambda stem: stem.replace("/", "__")),
}


def result_of(field: Field, boxes: np.ndarray, labels: np.ndarray) -> FieldResult:
    white = labels == 0
    p = np.linspace(0.02, 0.98, len(labels), dtype=np.float32)
    probabilities = np.where(white[:, None], np.stack([p, 1 - p], axis=1), np.nan).astype(np.float32)
    scores = np.linspace(0.99, 0.3, len(labels))
    return FieldResult(field, SHAPE, Detections(boxes, scores, labels), DETECTOR, white, probabilities, CLASSES, 0.8, UNKNOWN_SCALE)


def random_boxes(seed: int, n: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    corner = rng.uniform(0, 60, (n, 2))
    return np.concatenate([corner, corner + rng.uniform(1.5, 30, (n, 2))], axis=1).astype(np.float32)


@pytest.fixture
def results(tmp_path) -> list[FieldResult]:
    """Unicode names, names that differ in their suffix or folder alone, a field without cells, two pages of a TIFF."""
    root, rng = tmp_path / "fields", np.random.default_rng(0)
    names = ("slide ä/日本 1.png", "slide ä/日本 1.jpg", "a/x.png", "b/x.png", "a.b/c d.png", "images/x.png", "blank.png")
    found = []
    for seed, name in enumerate(names):
        write_image(root / name, rng.integers(0, 255, (*SHAPE, 3)).astype(np.uint8))
        n = 0 if name == "blank.png" else 7
        slide = name.rpartition("/")[0]
        found.append(result_of(Field(name, root / name, slide), random_boxes(seed, n), np.arange(n) % 3))
    pages = [pillow.fromarray(np.full((*SHAPE, 3), v, np.uint8)) for v in (50, 180)]
    pages[0].save(root / "stack.tif", save_all=True, append_images=pages[1:])
    for page in range(2):
        field = Field(f"stack.tif#{page + 1}", root / "stack.tif", page=page)
        found.append(result_of(field, random_boxes(90 + page, 4), np.arange(4) % 3))
    return found


def labels_of(result: FieldResult) -> list[str]:
    cells = {int(row): cell.label for row, cell in zip(np.flatnonzero(result.is_white), result.cells(), strict=True)}
    return [cells.get(row, DETECTOR[label]) for row, label in enumerate(result.detections.labels)]


def bring_back(name: str, source: Path, out: Path, *more: str) -> annotations.DataSet:
    command = import_module(f"datasets.{name}").main
    assert command(["--source", str(source), "--out", str(out), "--quiet", *more]) == 0
    return annotations.read_data_yaml(out / "data.yaml")


def compare(prepared: annotations.DataSet, results: list[FieldResult], name: str) -> None:
    stems = {sheet.result.field.id: NAME_IN[name](sheet.stem) for sheet in make_batch(results).sheets}
    found = {p.relative_to(prepared.root / "images/train").as_posix().rpartition(".")[0]: p for p in prepared.images("train")}
    assert set(found) == set(stems.values())
    for result in results:
        path = found[stems[result.field.id]]
        truth = annotations.read_labels(annotations.label_path(path), SHAPE, len(prepared.classes))
        np.testing.assert_allclose(truth.boxes, result.detections.boxes, atol=PRECISION_PX)
        assert [prepared.classes[i] for i in truth.labels] == labels_of(result)
        original = read_image(result.field.path, page=result.field.page)
        np.testing.assert_array_equal(read_image(path), original)


@pytest.mark.parametrize("name", ["coco", "yolo", "voc", "labelme"])
def test_what_is_exported_comes_back_with_the_same_boxes_labels_and_pixels(results, tmp_path, name):
    folder = export(results, tmp_path / "out", [name])[name]
    compare(bring_back(name, folder, tmp_path / "back"), results, name)


def test_geojson_comes_back_to_the_users_own_images(results, tmp_path):
    folder = export(results, tmp_path / "out", ["geojson"])["geojson"]
    compare(bring_back("geojson", folder, tmp_path / "back", "--images", str(tmp_path / "fields")), results, "geojson")


@pytest.mark.parametrize("name", ["coco", "labelme", "geojson"])
def test_slides_come_back_where_the_format_has_a_place_for_them(results, tmp_path, name):
    folder = export(results, tmp_path / "out", [name])[name]
    more = ["--images", str(tmp_path / "fields")] if name == "geojson" else []
    bring_back(name, folder, tmp_path / "back", *more)
    slides = {f["slide"] for f in annotations.read_manifest(tmp_path / "back")["files"]}
    assert slides == {"slide ä", "a", "b", "a.b", "images", None}


@pytest.mark.parametrize("name", ["labelme", "geojson"])
def test_a_correction_by_hand_comes_back(results, tmp_path, name):
    """One box moved, one label changed, one object deleted, one drawn, as the tool would save it."""
    folder = export(results, tmp_path / "out", [name])[name]
    path = folder / ("a/x.json" if name == "labelme" else "a/x.geojson")
    content = json.loads(path.read_text(encoding="utf-8"))
    new = [20.0, 30.0, 50.0, 70.0]
    if name == "labelme":
        shapes = content["shapes"]
        shapes[0]["points"] = [[1.0, 2.0], [11.0, 22.0]]
        shapes[1]["label"] = "HEM"
        content["shapes"] = [*shapes[:2], *shapes[3:], labelme.rectangle("RBC", new)]
    else:
        features = content["features"]
        features[0]["geometry"]["coordinates"] = [geojson.ring((1.0, 2.0, 11.0, 22.0))]
        features[1]["properties"]["classification"] = {"name": "HEM", "color": [1, 2, 3]}
        drawn = {"type": "Feature", "geometry": {"type": "Polygon", "coordinates": [geojson.ring(tuple(new))]}}
        drawn["properties"] = {"objectType": "annotation", "classification": {"name": "RBC"}}
        content = {"type": "FeatureCollection", "features": [*features[:2], *features[3:], drawn]}  # QuPath forgets our own keys
    path.write_text(json.dumps(content), encoding="utf-8")
    prepared = bring_back(name, folder, tmp_path / "back", *(["--images", str(tmp_path / "fields")] if name == "geojson" else []))
    before = next(r for r in results if r.field.id == "a/x.png")
    truth = annotations.read_labels(prepared.root / "labels/train/a/x.txt", SHAPE, len(prepared.classes))
    kept = [0, 1, *range(3, 7)]
    boxes, labels = before.detections.boxes[kept].copy(), [labels_of(before)[i] for i in kept]
    boxes[0], labels[1] = (1, 2, 11, 22), "HEM"
    np.testing.assert_allclose(truth.boxes, [*boxes, new], atol=PRECISION_PX)
    assert [prepared.classes[i] for i in truth.labels] == [*labels, "RBC"]


corners = st.tuples(st.floats(0, 100, width=32), st.floats(0, 80, width=32), st.floats(1, 28, width=32), st.floats(1, 16, width=32))


@settings(max_examples=40)
@given(st.lists(corners, max_size=6))
def test_any_box_is_written_to_a_thousandth_of_a_pixel(rows):
    """The law behind all formats, without files: what their documents say is the box."""
    boxes = np.array([(x, y, x + w, y + h) for x, y, w, h in rows], np.float32).reshape(-1, 4)
    batch = make_batch([result_of(Field("f.png", Path("f.png")), boxes, np.arange(len(rows)) % 3)])
    (sheet,) = batch.sheets
    coco_boxes = [a["bbox"] for a in coco.document(batch)["annotations"]]
    labelme_boxes = [np.ravel(s["points"]) for s in json.loads(dict(labelme.write(batch))["f.json"])["shapes"]]
    rings = [np.array(f["geometry"]["coordinates"][0]) for f in geojson.document(sheet)["features"]]
    texts = dict(voc.write(batch))["Annotations/f.xml"].decode()
    for i, box in enumerate(boxes):
        x, y, w, h = coco_boxes[i]
        for found in ((x, y, x + w, y + h), labelme_boxes[i], (*rings[i].min(axis=0), *rings[i].max(axis=0))):
            np.testing.assert_allclose(found, box, atol=5.1e-4)
    assert texts.count("<object>") == len(boxes)
