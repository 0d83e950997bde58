import json
from pathlib import Path

import numpy as np
import pytest

from datasets import coco
from smear import annotations, images


def tree(folder: Path, pattern: str) -> dict[str, str]:
    return {p.relative_to(folder).as_posix(): p.read_text() for p in sorted(folder.glob(pattern))}


@pytest.fixture
def roboflow(paint, tmp_path):
    """The layout that Roboflow exports: images beside `_annotations.coco.json`, category 0 a mere heading."""
    root = tmp_path / "roboflow"
    for number, folder in enumerate(("train", "valid")):
        image, truth = paint(number)
        images.write_image(root / folder / "a.jpg", image)
        x0, y0, x1, y1 = truth.boxes[-1].tolist()
        content = {
            "images": [{"id": 7, "file_name": "a.jpg", "height": 96, "width": 128}],
            "categories": [
                {"id": 0, "name": "cells", "supercategory": "none"},
                {"id": 1, "name": "WBC", "supercategory": "cells"},
                {"id": 2, "name": "RBC", "supercategory": "cells"},
            ],
            "annotations": [
                {"id": 1, "image_id": 7, "category_id": 1, "bbox": [x0, y0, x1 - x0, y1 - y0], "area": 1, "iscrowd": 0},
                {"id": 2, "image_id": 7, "category_id": 2, "bbox": [100, 50, 60, 30], "area": 1800},
                {"id": 3, "image_id": 7, "category_id": 2, "bbox": [0, 0, 128, 96], "area": 1, "iscrowd": 1},
            ],
        }
        (root / folder / "_annotations.coco.json").write_text(json.dumps(content))
    return root


def run(source: Path, out: Path, *more: str) -> int:
    return coco.main(["--source", str(source), "--out", str(out), "--quiet", *more])


def test_a_roboflow_export_is_read_with_its_splits_and_without_its_heading(roboflow, paint, tmp_path):
    assert run(roboflow, tmp_path / "out") == 0
    prepared = annotations.read_data_yaml(tmp_path / "out/data.yaml")
    assert prepared.classes == ("WBC", "RBC")
    assert sorted(prepared.splits) == ["train", "val"]
    truth = annotations.read_labels(tmp_path / "out/labels/val/a.txt", (96, 128), 2)
    np.testing.assert_allclose(truth.boxes, [paint(1)[1].boxes[-1], [100, 50, 128, 80]], atol=1e-3)
    notes = annotations.read_manifest(tmp_path / "out")["notes"]
    assert {k: len(v) for k, v in notes.items()} == {"box clipped to the image": 2, "crowd region dropped": 2}


def test_out_to_coco_and_back_changes_no_label(prepared, tmp_path):
    data = prepared("round", {"train": [1, 2], "val": [3], "test": [4]})
    assert run(data, tmp_path / "coco") == 0
    assert run(tmp_path / "coco", tmp_path / "back") == 0
    assert tree(tmp_path / "back", "labels/*/*.txt") == tree(data.parent, "labels/*/*.txt")
    assert len(tree(data.parent, "labels/*/*.txt")) == 4
    assert annotations.read_data_yaml(tmp_path / "back/data.yaml").classes == ("WBC", "RBC", "Platelets")


def test_what_we_write_is_what_coco_says(prepared, paint, tmp_path):
    assert run(prepared("one", {"val": [5]}), tmp_path / "coco") == 0
    content = json.loads((tmp_path / "coco/annotations/instances_val.json").read_text())
    truth = paint(5)[1]
    bboxes = np.array([a["bbox"] for a in content["annotations"]])
    np.testing.assert_allclose(bboxes[:, :2], truth.boxes[:, :2], atol=1e-3)
    np.testing.assert_allclose(bboxes[:, 2:], truth.boxes[:, 2:] - truth.boxes[:, :2], atol=1e-3)
    np.testing.assert_allclose([a["area"] for a in content["annotations"]], bboxes[:, 2] * bboxes[:, 3], rtol=1e-4)
    assert [c["name"] for c in content["categories"]] == ["WBC", "RBC", "Platelets"]
    assert {a["image_id"] for a in content["annotations"]} == {i["id"] for i in content["images"]}


def test_a_second_run_both_ways_changes_no_file(prepared, tmp_path):
    data = prepared("round", {"train": [1]})

    def stamps() -> dict[str, int]:
        files = [*(tmp_path / "coco").rglob("*.*"), *(tmp_path / "back").rglob("*.*")]
        return {str(p): p.stat().st_mtime_ns for p in files if p.suffix in (".png", ".txt", ".json")}

    seen = []
    for _ in range(2):
        assert run(data, tmp_path / "coco") == 0
        assert run(tmp_path / "coco", tmp_path / "back") == 0
        seen.append({k: v for k, v in stamps().items() if not k.endswith("manifest.json")})
    assert seen[0] == seen[1]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c["annotations"][0].update(category_id=9), "unknown class '9'"),
        (lambda c: c["annotations"][0].pop("bbox"), "'bbox' is missing"),
        (lambda c: c["images"][0].update(file_name="gone.jpg"), "expected one image file of that name, found 0"),
        (lambda c: c["images"][0].update(width=64), "annotated as"),
        (lambda c: c.pop("categories"), "no COCO file"),
    ],
)
def test_a_wrong_file_is_one_line_and_exit_2(roboflow, tmp_path, capsys, change, message):
    (roboflow / "valid/_annotations.coco.json").unlink()
    path = roboflow / "train/_annotations.coco.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
    assert run(roboflow, tmp_path / "out") == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1


def test_broken_json_and_a_missing_source_are_one_line_and_exit_2(tmp_path, capsys):
    (tmp_path / "a.json").write_text("{")
    assert run(tmp_path / "a.json", tmp_path / "out") == 2
    assert run(tmp_path / "gone", tmp_path / "out") == 2
    first, second = capsys.readouterr().err.splitlines()
    assert "a.json" in first
    assert "no such folder" in second
