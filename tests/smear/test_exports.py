"""smear.exports: what other tools are given, read back by their own rules, and never written over somebody's work."""

import io
import json
import shutil
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import yaml
from faster_coco_eval import COCO
from PIL import Image as pillow

from smear import annotations
from smear.__main__ import main
from smear.draw import CLASS_COLOURS, OTHER_COLOURS
from smear.errors import ConfigError, ImageError
from smear.exports import FORMATS, geojson, labelme, parse_formats, voc
from smear.exports.marks import flat_names, make_batch, marks_of
from smear.exports.pictures import picture, without_metadata
from smear.exports.read import read_outcomes
from smear.exports.write import export
from smear.files import write_atomic
from smear.images import decode, read_image, write_image
from smear.report.records import to_json
from smear.report.summary import summarise
from smear.report.tables import cell_columns, cell_rows
from smear.types import Detections, Field, FieldFailure, FieldResult, Scale

CLASSES, DETECTOR = ("ALL", "HEM"), ("WBC", "RBC", "Platelets")
SHAPE = (90, 120)


def result_of(field: Field, n: int = 5, *, seed: int = 0, classes=CLASSES, shape_hw=SHAPE) -> FieldResult:
    """A result with `n` sub-pixel boxes in turn WBC, RBC, Platelets, …; the first white cell is sure, the second is not."""
    rng = np.random.default_rng(seed)
    corner = rng.uniform(0, 60, (n, 2)).astype(np.float32)
    labels = np.arange(n) % 3
    p = np.where(np.arange(n) < 3, 0.9, 0.55).astype(np.float32)
    probabilities = np.where(labels[:, None] == 0, np.stack([p, 1 - p], axis=1), np.nan).astype(np.float32)[:, : len(classes)]
    boxes = np.concatenate([corner, corner + rng.uniform(5, 25, (n, 2)).astype(np.float32)], axis=1)
    return FieldResult(
        field=field,
        shape_hw=shape_hw,
        detections=Detections(boxes, np.linspace(0.95, 0.3, n), labels),
        detector_classes=DETECTOR,
        is_white=labels == 0,
        probabilities=probabilities,
        classes=classes,
        review_below=0.7,
        scale=Scale(30.5, 0.1, 12, "red cells"),
        warnings=("stain is foreign",),
        cell_warnings=tuple(("cut by the edge",) if i == 0 else () for i in range(n)),
    )


@pytest.fixture
def outcomes(tmp_path) -> list:
    """Unicode names, two files that differ in their suffix alone, a field without cells, and one that failed."""
    found = []
    for i, name in enumerate(("slide ä/日 one.png", "slide ä/日 one.jpg", "b/one.png", "blank.png")):
        path = tmp_path / "fields" / name
        write_image(path, np.random.default_rng(i).integers(0, 255, (*SHAPE, 3)).astype(np.uint8))
        slide = name.rpartition("/")[0]
        found.append(result_of(Field(name, path, slide, patient="p7"), 0 if name == "blank.png" else 5, seed=i))
    return [*found, FieldFailure(Field("c/bad.jpg", tmp_path / "bad.jpg", "c"), "decode", "c/bad.jpg: damaged")]


def files_in(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


class TestMarks:
    def test_a_field_without_cells_has_none(self):
        assert list(marks_of(result_of(Field("a.png", Path("a.png")), 0))) == []

    def test_white_cells_carry_the_classifiers_label_and_others_the_detectors(self):
        marks = list(marks_of(result_of(Field("a.png", Path("a.png")))))
        assert [m.label for m in marks] == ["ALL", "RBC", "Platelets", "ALL", "RBC"]
        assert [m.detected_as for m in marks] == ["WBC", "RBC", "Platelets", "WBC", "RBC"]
        assert [m.cell for m in marks] == [0, None, None, 1, None]
        assert [m.needs_review for m in marks] == [False, False, False, True, False]
        assert marks[0].warnings == ("cut by the edge",)
        assert dict(marks[3].probabilities) == {"ALL": 0.55, "HEM": 0.45}

    def test_without_a_classifier_a_white_cell_keeps_the_detectors_class(self):
        marks = list(marks_of(result_of(Field("a.png", Path("a.png")), classes=())))
        assert marks[0].label == "WBC"
        assert marks[0].needs_review
        assert marks[0].probabilities == ()

    def test_files_that_differ_in_suffix_page_or_folder_get_different_names(self):
        names = ("a/x.png", "a/x.jpg", "a__x.png", "s.tif#1", "s.tif#2", "n" * 240 + ".png", "images/x.png")
        fields = [Field(n, Path(n), page=int(n[-1]) - 1 if "#" in n else 0) for n in names]
        batch = make_batch([result_of(f) for f in fields])
        flat = flat_names([s.stem for s in batch.sheets])
        assert len({s.stem for s in batch.sheets}) == len(set(flat.values())) == len(names)
        assert all("/" not in name and len(name.encode()) < 240 for name in flat.values())
        assert [s.image for s in batch.sheets if s.result.field.id.startswith("s.tif")] == ["s-1.png", "s-2.png"]


class TestCoco:
    def test_the_usual_reader_loads_it(self, outcomes, tmp_path):
        folder = export(outcomes, tmp_path / "out", ["coco"])["coco"]
        loaded = COCO(str(folder / "annotations/instances_default.json"))
        assert len(loaded.imgs) == 4
        assert len(loaded.anns) == 15
        for image in loaded.loadImgs(loaded.getImgIds()):
            assert read_image(folder / "images" / image["file_name"]).shape[:2] == (image["height"], image["width"])
        result = next(o for o in outcomes if o.field.id == "b/one.png")
        (number,) = (i for i, image in loaded.imgs.items() if image["field"] == "b/one.png")
        items = loaded.loadAnns(loaded.getAnnIds(imgIds=[number]))
        expected = result.detections.boxes.copy()
        expected[:, 2:] -= expected[:, :2]
        np.testing.assert_allclose([a["bbox"] for a in items], expected, atol=1.1e-3)
        assert [loaded.cats[a["category_id"]]["name"] for a in items] == ["ALL", "RBC", "Platelets", "ALL", "RBC"]
        assert [a["score"] for a in items] == [round(float(s), 7) for s in result.detections.scores]

    def test_doubts_and_probabilities_stand_in_the_attributes(self, outcomes, tmp_path):
        folder = export(outcomes, tmp_path / "out", ["coco"])["coco"]
        content = json.loads((folder / "annotations/instances_default.json").read_text(encoding="utf-8"))
        first = next(a for a in content["annotations"] if a["image_id"] == content["images"][0]["id"])
        known = {"detected_as": "WBC", "cell": 0, "needs_review": False, "p_ALL": 0.9, "warnings": "cut by the edge"}
        assert known.items() <= first["attributes"].items()
        assert content["info"]["failed"] == ["c/bad.jpg"]
        assert {c["name"]: c["supercategory"] for c in content["categories"]} == {
            "ALL": "WBC",
            "HEM": "WBC",
            "WBC": "",
            "RBC": "",
            "Platelets": "",
        }


class TestYolo:
    def test_the_folder_is_a_set_of_ours(self, outcomes, tmp_path):
        folder = export(outcomes, tmp_path / "out", ["yolo"])["yolo"]
        prepared = annotations.read_data_yaml(folder / "data.yaml")
        assert prepared.classes == ("ALL", "HEM", "WBC", "RBC", "Platelets")
        assert yaml.safe_load((folder / "data.yaml").read_text(encoding="utf-8"))["white_classes"] == ["ALL", "HEM"]
        paths = {p.stem: p for p in prepared.images("train")}
        assert set(paths) == {"slide ä__日 one.png", "slide ä__日 one.jpg", "b__one", "blank"}
        truth = annotations.read_labels(annotations.label_path(paths["b__one"]), SHAPE, 5)
        result = next(o for o in outcomes if o.field.id == "b/one.png")
        np.testing.assert_allclose(truth.boxes, result.detections.boxes, atol=1e-3)
        assert truth.labels.tolist() == [0, 3, 4, 0, 3]
        assert annotations.label_path(paths["blank"]).read_text() == ""


class TestVoc:
    def test_every_annotation_has_its_picture_and_stands_in_the_list(self, outcomes, tmp_path):
        folder = export(outcomes, tmp_path / "out", ["voc"])["voc"]
        listed = (folder / "ImageSets/Main/default.txt").read_text(encoding="utf-8").splitlines()
        assert sorted(listed) == sorted(p.name.removesuffix(".xml") for p in (folder / "Annotations").iterdir())
        for name in listed:
            root = ElementTree.parse(folder / "Annotations" / f"{name}.xml").getroot()
            image = read_image(folder / "JPEGImages" / str(root.findtext("filename")))
            assert image.shape[:2] == (int(root.findtext("size/height")), int(root.findtext("size/width")))
        names = [o.findtext("name") for o in ElementTree.parse(folder / "Annotations/b__one.xml").getroot().iter("object")]
        assert names == ["ALL", "RBC", "Platelets", "ALL", "RBC"]

    def test_text_that_means_something_in_xml_stays_text(self):
        made = voc.document("a&b<c>.png", SHAPE, [((1, 2, 3.5, 4), "A<B", {"k": '"&'})], folder="s & t")
        root = ElementTree.fromstring(made)
        assert (root.findtext("filename"), root.findtext("folder"), root.findtext("object/name")) == ("a&b<c>.png", "s & t", "A<B")
        assert root.findtext("object/attributes/attribute/value") == '"&'
        assert [root.findtext(f"object/bndbox/{c}") for c in voc.CORNERS] == ["1", "2", "3.5", "4"]


class TestLabelMe:
    def test_a_file_is_what_labelmes_reader_asks_for(self, outcomes, tmp_path):
        """By the rules of labelme/_label_file.py: keys, types, and a picture of the stated size beside it."""
        folder = export(outcomes, tmp_path / "out", ["labelme"])["labelme"]
        paths = sorted(folder.rglob("*.json"))
        assert len(paths) == 4
        for path in paths:
            content = json.loads(path.read_text(encoding="utf-8"))
            assert {"version", "imageData", "imagePath", "shapes", "flags", "imageHeight", "imageWidth"} <= content.keys()
            assert read_image(path.parent / content["imagePath"]).shape[:2] == (content["imageHeight"], content["imageWidth"])
            assert path.stem == Path(content["imagePath"]).stem  # or LabelMe would not open both together
            for shape in content["shapes"]:
                assert isinstance(shape["label"], str)
                assert shape["shape_type"] == "rectangle"
                assert np.shape(shape["points"]) == (2, 2)
                assert all(isinstance(v, float) for point in shape["points"] for v in point)
                assert all(isinstance(k, str) and isinstance(v, bool) for k, v in shape["flags"].items())
                assert isinstance(shape["description"], str)
                assert shape["group_id"] is None
                assert shape["mask"] is None

    def test_doubts_are_flags_and_words(self):
        batch = make_batch([result_of(Field("a/b.png", Path("b.png"), "a"))])
        text = dict(labelme.write(batch))["a/b.json"]
        shapes = json.loads(text)["shapes"]
        assert [s["flags"] for s in shapes if s["flags"]] == [{"needs_review": False}, {"needs_review": True}]
        assert shapes[0]["description"] == "cell 0; ALL 0.90; HEM 0.10; WBC 0.95; cut by the edge"
        assert shapes[3]["attributes"]["p_HEM"] == 0.45
        assert json.loads(text)["slide"] == "a"


class TestGeoJson:
    def test_features_are_closed_rectangles_with_qupaths_properties(self):
        result = result_of(Field("a/b.png", Path("b.png")))
        content = json.loads(dict(geojson.write(make_batch([result])))["a/b.geojson"])
        assert content["type"] == "FeatureCollection"
        assert (content["image"], content["imageHeight"], content["imageWidth"]) == ("a/b.png", *SHAPE)
        for feature, box in zip(content["features"], result.detections.boxes, strict=True):
            (ring,) = feature["geometry"]["coordinates"]
            assert ring[0] == ring[-1]
            assert len(ring) == 5
            np.testing.assert_allclose([*np.min(ring, axis=0), *np.max(ring, axis=0)], box, atol=1e-3)
            x, y = np.array(ring).T
            assert float(np.sum(x[:-1] * y[1:] - x[1:] * y[:-1])) > 0  # exterior rings run counter-clockwise (RFC 7946, 3.1.6)
            assert feature["properties"]["objectType"] == "detection"
            assert all(isinstance(v, int | float) for v in feature["properties"]["measurements"].values())
        assert len({f["id"] for f in content["features"]}) == 5

    def test_classes_have_the_colours_of_the_annotated_field(self):
        content = geojson.document(make_batch([result_of(Field("a.png", Path("a.png")))]).sheets[0])
        kinds = [f["properties"]["classification"] for f in content["features"]]
        colours = {kind["name"]: tuple(kind["color"]) for kind in kinds}
        assert colours == {"ALL": CLASS_COLOURS[0], "RBC": OTHER_COLOURS["RBC"], "Platelets": OTHER_COLOURS["Platelets"]}

    def test_measurements_hold_what_qupath_can_filter_by(self):
        content = geojson.document(make_batch([result_of(Field("a.png", Path("a.png")))]).sheets[0])
        properties = content["features"][3]["properties"]
        assert properties["measurements"] == {"score": 0.4625, "cell": 1, "needs_review": 1, "p_ALL": 0.55, "p_HEM": 0.45}
        assert properties["metadata"] == {"detected_as": "WBC"}


class TestParquet:
    def test_the_cells_are_those_of_the_csv(self, outcomes, tmp_path):
        folder = export(outcomes, tmp_path / "out", ["parquet"])["parquet"]
        table = pl.read_parquet(folder / "cells.parquet")
        assert set(cell_columns(CLASSES)) <= set(table.columns)
        rows = [r for o in outcomes if isinstance(o, FieldResult) for r in cell_rows(o, CLASSES)]
        assert table.height == len(rows) == 6
        for row, found in zip(rows, table.select(cell_columns(CLASSES)).rows(named=True), strict=True):
            known = dict(zip(cell_columns(CLASSES), row, strict=True))
            assert (found["field"], str(found["cell"]), found["label"]) == (known["field"], known["cell"], known["label"])
            assert [f"{found[k]:.2f}" for k in ("x0", "y0", "x1", "y1")] == [known[k] for k in ("x0", "y0", "x1", "y1")]
            assert [f"{found[k]:.4f}" for k in ("p_ALL", "p_HEM")] == [known[k] for k in ("p_ALL", "p_HEM")]
            assert str(found["needs_review"]).lower() == known["needs_review"]
            assert "; ".join(found["warnings"]) == known["warnings"]

    def test_boxes_and_probabilities_are_the_same_float32(self, outcomes, tmp_path):
        table = pl.read_parquet(export(outcomes, tmp_path / "out", ["parquet"])["parquet"] / "cells.parquet")
        result = next(o for o in outcomes if o.field.id == "b/one.png")
        mine = table.filter(pl.col("field") == "b/one.png")
        np.testing.assert_array_equal(mine.select("x0", "y0", "x1", "y1").to_numpy(), result.detections.boxes[result.is_white])
        np.testing.assert_array_equal(mine.select("p_ALL", "p_HEM").to_numpy(), result.probabilities[result.is_white])

    def test_every_field_has_a_row_also_an_empty_or_failed_one(self, outcomes, tmp_path):
        table = pl.read_parquet(export(outcomes, tmp_path / "out", ["parquet"])["parquet"] / "fields.parquet")
        rows = {r["field"]: r for r in table.rows(named=True)}
        assert len(rows) == 5
        assert (rows["b/one.png"]["n_RBC"], rows["b/one.png"]["n_ALL"], rows["b/one.png"]["n_needs_review"]) == (2, 2, 1)
        assert rows["blank.png"]["n_white"] == 0
        assert rows["c/bad.jpg"]["error"] == "c/bad.jpg: damaged"
        assert rows["c/bad.jpg"]["n_white"] is None

    def test_no_result_still_gives_both_tables_with_their_columns(self, tmp_path):
        folder = export([], tmp_path / "out", ["parquet"])["parquet"]
        assert pl.read_parquet(folder / "cells.parquet").schema["x0"] == pl.Float32
        assert pl.read_parquet(folder / "fields.parquet").height == 0


class TestPictures:
    def jpeg(self, **options) -> bytes:
        content = io.BytesIO()
        pixels = np.random.default_rng(3).integers(0, 255, (*SHAPE, 3)).astype(np.uint8)
        pillow.fromarray(pixels).save(content, "JPEG", **options)
        return content.getvalue()

    @pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 0, "icc_profile": b"profile of PATIENT"}])
    def test_a_jpeg_loses_its_notes_and_no_pixel(self, tmp_path, options):
        exif = pillow.Exif()
        exif[0x010E] = "PATIENT NAME"
        data = self.jpeg(exif=exif, comment=b"PATIENT again", **options) + b"PATIENT behind the end"
        (tmp_path / "a.jpg").write_bytes(data)
        made = picture(Field("a.jpg", tmp_path / "a.jpg"), SHAPE, ".jpg")
        assert b"PATIENT" in data
        assert b"PATIENT" not in made
        np.testing.assert_array_equal(decode(made, name="a"), decode(data, name="a"))
        assert made == without_metadata(data)

    def test_a_turned_photo_is_written_upright(self, tmp_path):
        exif = pillow.Exif()
        exif[0x0112] = 6
        (tmp_path / "a.jpg").write_bytes(self.jpeg(exif=exif))
        made = decode(picture(Field("a.jpg", tmp_path / "a.jpg"), SHAPE[::-1], ".jpg"), name="a")
        assert made.shape[:2] == SHAPE[::-1]
        assert np.abs(made.astype(int) - read_image(tmp_path / "a.jpg")).mean() < 20  # of noise, which JPEG keeps badly

    def test_the_pages_of_a_tiff_become_pictures_of_their_own(self, tmp_path):
        pages = [np.full((*SHAPE, 3), v, np.uint8) for v in (40, 200)]
        pillow.fromarray(pages[0]).save(tmp_path / "s.tif", save_all=True, append_images=[pillow.fromarray(pages[1])])
        results = [result_of(Field(f"s.tif#{i + 1}", tmp_path / "s.tif", page=i)) for i in range(2)]
        folder = export(results, tmp_path / "out", ["labelme"])["labelme"]
        for page, name in zip(pages, ("s-1", "s-2"), strict=True):
            np.testing.assert_array_equal(read_image(folder / f"{name}.png"), page)
            assert json.loads((folder / f"{name}.json").read_text())["imagePath"] == f"{name}.png"

    def test_an_image_that_changed_its_size_is_an_error(self, outcomes, tmp_path):
        write_image(tmp_path / "fields/b/one.png", np.zeros((10, 10, 3), np.uint8))
        with pytest.raises(ImageError, match=r"b/one\.png: is \(10, 10\).* analyse it again"):
            export(outcomes, tmp_path / "out", ["coco"])
        assert not (tmp_path / "out/coco").exists()

    def test_images_that_were_moved_are_found_where_the_user_says(self, outcomes, tmp_path):
        (tmp_path / "fields").rename(tmp_path / "moved")
        with pytest.raises(ImageError, match=r"one\.png: cannot read it"):
            export(outcomes, tmp_path / "out", ["coco"])
        folder = export(outcomes, tmp_path / "out", ["coco"], images=tmp_path / "moved")["coco"]
        assert len(list((folder / "images").rglob("*.*g"))) == 4

    def test_labels_alone_name_the_users_own_files(self, outcomes, tmp_path):
        shutil.rmtree(tmp_path / "fields")
        written = export(outcomes, tmp_path / "out", list(FORMATS), with_images=False)
        assert not [p for folder in written.values() for p in folder.rglob("*") if p.suffix in (".png", ".jpg")]
        content = json.loads((written["coco"] / "annotations/instances_default.json").read_text(encoding="utf-8"))
        assert {i["file_name"] for i in content["images"]} == {o.field.id for o in outcomes if isinstance(o, FieldResult)}


class TestFolder:
    def test_a_second_export_writes_the_same_bytes(self, outcomes, tmp_path):
        written = export(outcomes, tmp_path / "out", list(FORMATS))
        before = files_in(tmp_path / "out")
        assert set(written) == set(FORMATS)
        export(outcomes, tmp_path / "out", list(FORMATS))
        assert files_in(tmp_path / "out") == before

    def test_fields_of_an_earlier_run_do_not_stay(self, outcomes, tmp_path):
        export(outcomes, tmp_path / "out", ["labelme"])
        export(outcomes[2:3], tmp_path / "out", ["labelme"])
        assert sorted(files_in(tmp_path / "out/labelme")) == [".exported", "b/one.json", "b/one.png"]

    @pytest.mark.parametrize("change", [lambda f: (f / "b/one.json").write_text("{}"), lambda f: (f / "b/new.json").write_text("{}")])
    def test_what_was_corrected_by_hand_is_never_overwritten(self, outcomes, tmp_path, change):
        folder = export(outcomes, tmp_path / "out", ["labelme"])["labelme"]
        change(folder)
        before = files_in(folder)
        with pytest.raises(ConfigError, match="changed since it was exported"):
            export(outcomes, tmp_path / "out", ["labelme"])
        assert files_in(folder) == before
        assert [p.name for p in (tmp_path / "out").iterdir()] == ["labelme"]

    def test_a_killed_export_leaves_the_old_folder(self, outcomes, tmp_path, monkeypatch):
        folder = export(outcomes, tmp_path / "out", ["coco"])["coco"]
        before = files_in(tmp_path / "out")

        def killed(self, *args, **how):
            raise KeyboardInterrupt

        monkeypatch.setattr("smear.exports.pictures.Pictures.place", killed)
        with pytest.raises(KeyboardInterrupt):
            export(outcomes[:1], tmp_path / "out", ["coco"])
        assert files_in(tmp_path / "out") == before
        assert folder.is_dir()

    def test_pictures_of_several_formats_take_the_disk_once(self, outcomes, tmp_path):
        written = export(outcomes, tmp_path / "out", ["coco", "labelme"])
        pair = [written["coco"] / "images/b/one.png", written["labelme"] / "b/one.png"]
        assert len({p.stat().st_ino for p in pair}) == 1

    @pytest.mark.parametrize(("text", "message"), [("coco,pascal", "unknown format 'pascal'; use coco, yolo"), (" , ", "name a format")])
    def test_an_unknown_format_is_named(self, text, message):
        with pytest.raises(ConfigError, match=message):
            parse_formats(text)

    def test_formats_are_taken_in_any_case_and_once(self):
        assert parse_formats("COCO, voc,coco") == ("coco", "voc")


@pytest.fixture
def finished(outcomes, tmp_path) -> Path:
    """The output folder of an analysis that ended, and a record that an earlier one left."""
    out = tmp_path / "finished"
    gone = result_of(Field("a/gone.png", tmp_path / "gone.png"))
    for number, outcome in enumerate([*outcomes, gone]):
        write_atomic(out / "fields" / f"{number}.json", json.dumps({**to_json(outcome), "key": "k", "gallery": []}))
    write_atomic(out / "report.json", json.dumps(summarise(outcomes)))
    return out


class TestRead:
    def test_the_outcomes_of_the_last_run_come_back_without_those_of_an_earlier_one(self, finished, outcomes):
        assert read_outcomes(finished) == sorted(outcomes, key=lambda o: o.field.id)

    @pytest.mark.parametrize(
        ("break_it", "message"),
        [
            (lambda out: (out / "report.json").unlink(), "report.json: cannot read it"),
            (lambda out: (out / "report.json").write_text("[1"), "report.json: not JSON"),
            (lambda out: (out / "report.json").write_text("[1]"), "report.json: expected an object, got list"),
            (lambda out: (out / "report.json").write_text("{}"), "report.json: not a report of ours"),
            (lambda out: (out / "fields/2.json").unlink(), "1 of 5 fields have no record, b/one.png first"),
            (lambda out: (out / "fields/2.json").write_text("{}"), "2.json: not a field record"),
        ],
    )
    def test_a_broken_output_folder_is_one_line_and_exit_2(self, finished, capsys, break_it, message):
        break_it(finished)
        assert main(["export", str(finished), "--to", "coco"]) == 2
        said = capsys.readouterr().err
        assert message in said
        assert said.count("\n") == 1


class TestCommands:
    def test_analyze_exports_and_export_writes_the_same_again(self, slides, run, tmp_path, capsys):
        assert run(slides, tmp_path / "out", "--export", ",".join(FORMATS)) == 0
        assert f"coco: {tmp_path / 'out/exports/coco'}" in capsys.readouterr().out
        assert main(["export", str(tmp_path / "out"), "--to", ",".join(FORMATS), "--out", str(tmp_path / "again")]) == 0
        assert files_in(tmp_path / "again") == files_in(tmp_path / "out/exports")
        content = json.loads((tmp_path / "again/coco/annotations/instances_default.json").read_text(encoding="utf-8"))
        assert len(content["images"]) == 4
        assert sum(c["attributes"].get("cell") is not None for c in content["annotations"]) == 12
        # and what was corrected stops the next analysis before it begins
        (tmp_path / "out/exports/labelme/a/one.json").write_text("{}")
        (tmp_path / "out/report.json").unlink()
        assert run(slides, tmp_path / "out", "--export", "labelme") == 2
        assert "a/one.json: changed since it was exported" in capsys.readouterr().err
        assert not (tmp_path / "out/report.json").exists()

    def test_failed_fields_are_told(self, finished, tmp_path, capsys):
        assert main(["export", str(finished), "--to", "geojson,parquet", "--out", str(tmp_path / "out"), "--no-images"]) == 0
        assert "4 fields; 1 that failed are not among them" in capsys.readouterr().out
        assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["geojson", "parquet"]

    def test_an_unknown_format_is_one_line_and_exit_2(self, slides, run, tmp_path, capsys):
        assert run(slides, tmp_path / "out", "--export", "xls") == 2
        assert "unknown format 'xls'" in capsys.readouterr().err
        assert not (tmp_path / "out").exists()
