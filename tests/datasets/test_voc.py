from pathlib import Path

import numpy as np
import pytest

from datasets import bccd, voc
from smear import annotations, images
from smear.errors import AnnotationError

XML = """<annotation verified="yes">
<filename> a.jpg </filename><size><width>128</width>
      <height>96</height><depth>3</depth></size>
  <object><name>
     RBC </name><bndbox><xmin>10</xmin><ymin>20</ymin>
  <xmax>30</xmax><ymax> 44 </ymax></bndbox></object>
<object><name>WBC</name><bndbox><ymax>90</ymax><ymin>40</ymin><xmax>100</xmax><xmin>50.5</xmin></bndbox></object></annotation>"""


def tree(folder: Path, pattern: str) -> dict[str, str]:
    return {p.relative_to(folder).as_posix(): p.read_text() for p in sorted(folder.glob(pattern))}


@pytest.fixture
def source(paint, tmp_path):
    """A VOC folder of three images, one in each list, the XML of a.jpg indented oddly and with one empty box."""
    root = tmp_path / "voc"
    for split, stem, seed in (("train", "a", 1), ("val", "b", 2), ("test", "c", 3)):
        image, truth = paint(seed)
        images.write_image(root / "JPEGImages" / f"{stem}.jpg", image)
        voc.write_xml(root / "Annotations" / f"{stem}.xml", f"{stem}.jpg", truth, image.shape[:2], bccd.CLASSES)
        (root / "ImageSets/Main").mkdir(parents=True, exist_ok=True)
        (root / "ImageSets/Main" / f"{split}.txt").write_text(f"{stem}\n")
    empty = "<object><name>RBC</name><bndbox><xmin>5</xmin><ymin>6</ymin><xmax>5</xmax><ymax>6</ymax></bndbox></object></annotation>"
    (root / "Annotations/a.xml").write_text(XML.replace("</annotation>", empty))
    return root


def test_values_are_read_whatever_the_indentation_and_order(tmp_path):
    (tmp_path / "a.xml").write_text(XML)
    found = voc.read_xml(tmp_path / "a.xml")
    assert (found.filename, found.shape_hw, found.names) == ("a.jpg", (96, 128), ("RBC", "WBC"))
    np.testing.assert_array_equal(found.boxes, [[10, 20, 30, 44], [50.5, 40, 100, 90]])


def test_one_based_corners_cover_the_same_pixels(tmp_path):
    """The challenge's 11..30 inclusive is the 20 pixels 10..29, half-open 10, 30."""
    (tmp_path / "a.xml").write_text(XML.replace("<xmin>10<", "<xmin>11<").replace("<ymin>20<", "<ymin>21<"))
    np.testing.assert_array_equal(voc.read_xml(tmp_path / "a.xml", one_based=True).boxes[0], [10, 20, 30, 44])


def test_bccd_keeps_its_own_lists_and_drops_the_empty_box(source, tmp_path):
    assert bccd.main(["--source", str(source), "--out", str(tmp_path / "out"), "--quiet"]) == 0
    prepared = annotations.read_data_yaml(tmp_path / "out/data.yaml")
    assert {s: [p.stem for p in paths] for s, paths in prepared.splits.items()} == {"train": ["a"], "val": ["b"], "test": ["c"]}
    truth = annotations.read_labels(tmp_path / "out/labels/train/a.txt", (96, 128), 3)
    np.testing.assert_allclose(truth.boxes, [[10, 20, 30, 44], [50.5, 40, 100, 90]], atol=1e-3)
    np.testing.assert_array_equal(truth.labels, [1, 0])
    assert annotations.read_manifest(tmp_path / "out")["notes"] == {"empty box dropped": ["images/train/a.jpg"]}


def test_out_to_voc_and_back_changes_no_label(prepared, tmp_path):
    data = prepared("round", {"train": [1, 2], "test": [3]})
    assert voc.main(["--source", str(data), "--out", str(tmp_path / "voc"), "--quiet"]) == 0
    back = ["--source", str(tmp_path / "voc"), "--out", str(tmp_path / "back"), "--classes", "WBC,RBC,Platelets", "--quiet"]
    assert voc.main(back) == 0
    assert tree(tmp_path / "back", "labels/*/*.txt") == tree(data.parent, "labels/*/*.txt")
    assert len(tree(data.parent, "labels/*/*.txt")) == 3
    for path in data.parent.glob("images/*/*.png"):
        assert path.read_bytes() == (tmp_path / "back" / path.relative_to(data.parent)).read_bytes()


def test_classes_are_found_when_none_are_given(source, tmp_path):
    assert voc.main(["--source", str(source), "--out", str(tmp_path / "out"), "--quiet"]) == 0
    assert annotations.read_data_yaml(tmp_path / "out/data.yaml").classes == ("RBC", "WBC")


def test_without_lists_all_images_go_to_the_named_split(source, tmp_path):
    for path in (source / "ImageSets/Main").iterdir():
        path.unlink()
    assert voc.main(["--source", str(source), "--out", str(tmp_path / "out"), "--split", "test", "--quiet"]) == 0
    assert list(annotations.read_data_yaml(tmp_path / "out/data.yaml").splits) == ["test"]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("</annotation>", "", "not XML"),
        ("<xmax>30</xmax>", "", "bndbox/xmax: missing"),
        ("<xmax>30</xmax>", "<xmax>wide</xmax>", "expected a number, got 'wide'"),
        ("<width>128</width>", "", "size/width: missing"),
        ("WBC", "Blast", "unknown class 'Blast'"),
        ("<width>128</width>", "<width>96</width>", "annotated as"),
    ],
)
def test_a_wrong_xml_is_one_line_and_exit_2(source, tmp_path, capsys, old, new, message):
    (source / "Annotations/a.xml").write_text(XML.replace(old, new))
    assert bccd.main(["--source", str(source), "--out", str(tmp_path / "out"), "--quiet"]) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: ")
    assert message in said
    assert said.count("\n") == 1


def test_a_stem_in_two_lists_is_a_leak_and_refused(source):
    (source / "ImageSets/Main/test.txt").write_text("a\nc\n")
    with pytest.raises(AnnotationError, match="a is in train and in test"):
        voc.read_lists(source)


def test_a_missing_image_is_named(source, tmp_path, capsys):
    (source / "JPEGImages/b.jpg").unlink()
    assert bccd.main(["--source", str(source), "--out", str(tmp_path / "out"), "--quiet"]) == 2
    assert "b.xml" in capsys.readouterr().err


@pytest.mark.parametrize("present", [(), ("Annotations",)])
def test_a_missing_source_is_one_line_and_exit_2(tmp_path, capsys, present):
    for name in present:
        (tmp_path / "in" / name).mkdir(parents=True)
    assert bccd.main(["--source", str(tmp_path / "in"), "--out", str(tmp_path / "out"), "--quiet"]) == 2
    assert capsys.readouterr().err.startswith("error: ")
    assert not (tmp_path / "out").exists()


def test_the_source_itself_is_no_place_to_write(source, capsys):
    assert bccd.main(["--source", str(source), "--out", str(source), "--quiet"]) == 2
    assert "is the source itself" in capsys.readouterr().err
