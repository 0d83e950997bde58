"""Whatever a folder of images looks like, it becomes one list; what is missing or left over is told."""

from pathlib import Path

import numpy as np
import pytest

from datasets.listing import list_images, real_groups
from smear import images
from smear.errors import AnnotationError


def put(path: Path, value: int = 200) -> Path:
    images.write_image(path, np.full((20, 30, 3), value, np.uint8))
    return path


def test_a_folder_without_images_is_refused(tmp_path):
    with pytest.raises(AnnotationError, match="no images"):
        list_images(tmp_path)
    with pytest.raises(AnnotationError, match="no such folder"):
        list_images(tmp_path / "gone")


def test_a_prepared_set_tells_splits_classes_and_label_files(prepared):
    data = prepared("one", {"train": [1, 2], "test": [3]})
    for where in (data, data.parent):
        listing = list_images(where)
        assert (listing.kind, listing.classes, listing.problems) == ("set", ("WBC", "RBC", "Platelets"), ())
        assert [item.split for item in listing.items] == ["train", "train", "test"]
        assert all(item.label_file is not None and item.label_file.is_file() and item.sha256 for item in listing.items)


def test_orphans_and_missing_images_of_a_set_are_told(prepared):
    root = prepared("one", {"train": [1, 2]}).parent
    (root / "labels/train/stray.txt").write_text("")
    (root / "labels/train/classes.txt").write_text("WBC\n")
    (root / "images/train/field_1.png").unlink()
    kinds = sorted((p.kind, Path(p.file).name) for p in list_images(root).problems)
    assert kinds == [
        ("label file without an image", "field_1.txt"),
        ("label file without an image", "stray.txt"),
        ("listed image is missing", "field_1.png"),
    ]


def test_an_image_in_two_lists_is_one_image_and_told(prepared):
    root = prepared("one", {"train": [1, 2], "test": [3]}).parent
    (root / "train.txt").write_text("images/train/field_1.png\nimages/train/field_1.png\nimages/test/field_3.png\n")
    (root / "data.yaml").write_text("train: train.txt\ntest: images/test\nnames: [WBC, RBC, Platelets]\n")
    listing = list_images(root)
    assert sorted(item.path.name for item in listing.items) == ["field_1.png", "field_3.png"]
    assert sorted(p.kind for p in listing.problems) == ["image in two splits", "image listed twice", "label file without an image"]


def test_a_crops_table_tells_labels_and_groups_and_its_mistakes(tmp_path):
    put(tmp_path / "crops/a.png")
    put(tmp_path / "crops/b.png")
    put(tmp_path / "crops/stray.png")
    rows = [
        "file,label,patient,slide,field,split",
        "crops/a.png,ALL,p1,,f1,train",
        "crops/b.png,,,s1,f2,test",
        "crops/gone.png,ALL,,,,test",
    ]
    (tmp_path / "crops.csv").write_text("\n".join([*rows, "crops/a.png,HEM,p1,,f1,train"]) + "\n")
    listing = list_images(tmp_path)
    assert listing.kind == "crops"
    assert [(i.label, dict(i.groups)) for i in listing.items] == [
        ("ALL", {"patient": "p1", "field": "f1"}),
        (None, {"slide": "s1", "field": "f2"}),
    ]
    assert sorted(p.kind for p in listing.problems) == [
        "image listed twice",
        "image not in the table",
        "listed image is missing",
        "no label",
    ]


def test_a_voc_folder_tells_its_lists(tmp_path):
    for stem in "abc":
        put(tmp_path / f"JPEGImages/{stem}.jpg")
    (tmp_path / "Annotations").mkdir()
    for stem in "abd":
        (tmp_path / f"Annotations/{stem}.xml").write_text("<annotation/>")
    (tmp_path / "ImageSets/Main").mkdir(parents=True)
    (tmp_path / "ImageSets/Main/train.txt").write_text("a\nb\n")
    (tmp_path / "ImageSets/Main/test.txt").write_text("b\ngone\n")
    listing = list_images(tmp_path)
    assert [(i.path.stem, i.split) for i in listing.items] == [("a", "train"), ("b", "train"), ("c", "")]
    assert [(p.kind, Path(p.file).stem) for p in listing.problems] == [
        ("image in two splits", "b"),
        ("listed image is missing", "gone"),
        ("label file without an image", "d"),
    ]


def test_loose_images_take_labels_beside_them_or_from_their_folder(tmp_path):
    put(tmp_path / "yolo/a.png")
    put(tmp_path / "yolo/test/b.png")
    (tmp_path / "yolo/a.txt").write_text("0 .5 .5 .2 .2\n")
    (tmp_path / "yolo/classes.txt").write_text("WBC\nRBC\n")
    loose = list_images(tmp_path / "yolo")
    assert (loose.kind, loose.classes, loose.problems) == ("set", ("WBC", "RBC"), ())
    assert [(i.path.name, i.split, i.label) for i in loose.items] == [("a.png", "", None), ("b.png", "test", None)]
    put(tmp_path / "folders/ALL/a.png")
    put(tmp_path / "folders/HEM/b.png")
    assert [i.label for i in list_images(tmp_path / "folders").items] == ["ALL", "HEM"]
    put(tmp_path / "plain/only/a.png")
    assert [i.label for i in list_images(tmp_path / "plain").items] == [None]


def test_what_only_looks_like_a_slide_is_none():
    told = {"slide": "txl/lab 3", "patient": "p", "field": ""}
    assert real_groups({}, told) == {"slide": "txl/lab 3", "patient": "p"}
    assert real_groups({"slide_is": "the laboratory"}, told) == {"patient": "p"}
    composed = {"sets": [{"name": "txl", "slide_is": "the laboratory"}, {"name": "bccd"}, {"name": "painted"}]}
    assert real_groups(composed, told) == {"patient": "p"}
    assert real_groups(composed, {"slide": "bccd"}) == {}
    assert real_groups(composed, {"slide": "painted/slide 1"}) == {"slide": "painted/slide 1"}
