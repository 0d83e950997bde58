"""Painted fields: the same seed paints the same, the truth is exact, and only the shape of a cell tells its class."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from datasets.painted import CLASSES, CLASSES_WBC, PaintedField, draw_style, main, paint_field, paint_set, split_slides
from smear import annotations, boxes

N_SLIDES, CROWDED_RBC_PX = 36, 36
APART = {"white_cohesion": 0.25, "white_closest": 0.97}  # cells that do not hide each other can be measured


def paint(seed: int, *, shape_hw: tuple[int, int] = (240, 320), rbc_px: float = 40, classes=CLASSES, blank=False, **style) -> PaintedField:
    rng = np.random.default_rng(seed)
    return paint_field(rng, replace(draw_style(rng), **style), shape_hw=shape_hw, rbc_px=rbc_px, classes=classes, blank=blank)


@pytest.fixture(scope="module")
def crowded() -> list[PaintedField]:
    """One field of each of N_SLIDES slides, with more white cells than usual."""
    return [paint(seed, shape_hw=(420, 420), rbc_px=CROWDED_RBC_PX, white_rate=0.12, coverage=0.2, **APART) for seed in range(N_SLIDES)]


@pytest.fixture(scope="module")
def white_cells(crowded: list[PaintedField]) -> dict[str, np.ndarray]:
    """Every whole white cell: slide, is_blast, mean colour (RGB), diameter (red cells), contrast, grain."""
    rows = [(slide, *row) for slide, field in enumerate(crowded) for row in measure_white(field)]
    slide, is_blast, colour, diameter, texture = (np.array(column) for column in zip(*rows, strict=True))
    return {"slide": slide, "is_blast": is_blast, "colour": colour, "diameter": diameter, "texture": texture}


def measure_white(field: PaintedField) -> Iterator[tuple[bool, np.ndarray, float, np.ndarray]]:
    cut = boxes.touches_edge(field.truth.boxes, field.image.shape[:2])
    for row in np.flatnonzero((field.truth.labels < 2) & ~cut):
        x0, y0, x1, y1 = field.truth.boxes[row].round().astype(int)
        mask, crop = field.masks[y0:y1, x0:x1] == row + 1, field.image[y0:y1, x0:x1].astype(float)
        grey = crop.mean(axis=2)
        neighbours = np.abs(np.diff(grey, axis=1))[mask[:, 1:] & mask[:, :-1]].mean()
        spread = grey[mask].std()
        yield (
            field.truth.labels[row] == 0,
            crop[mask].mean(axis=0),
            (x1 - x0 + y1 - y0) / 2 / CROWDED_RBC_PX,
            np.array([spread, neighbours / spread]),
        )


def auc_on_unseen_slides(features: np.ndarray, white_cells: dict[str, np.ndarray]) -> float:
    """Mean AUC of a linear classifier trained on one half of the slides and asked about the other."""
    truth, odd = white_cells["is_blast"], white_cells["slide"] % 2 == 1
    scores = []
    for train in (odd, ~odd):
        model = make_pipeline(StandardScaler(), LogisticRegression(class_weight="balanced"))
        scores.append(roc_auc_score(truth[~train], model.fit(features[train], truth[train]).decision_function(features[~train])))
    return float(np.mean(scores))


def test_a_blank_field_has_no_cell_and_keeps_its_shape() -> None:
    field = paint(0, blank=True)
    assert field.image.shape == (240, 320, 3)
    assert field.truth.boxes.shape == (0, 4)
    assert field.kinds == ()
    assert not field.masks.any()
    assert field.image.std(axis=(0, 1)).max() < 30  # background, not a black or torn picture


def test_the_same_seed_paints_the_same_bytes() -> None:
    one, two, other = paint(3), paint(3), paint(4)
    assert one.image.tobytes() == two.image.tobytes()
    assert np.array_equal(one.truth.boxes, two.truth.boxes)
    assert one.image.tobytes() != other.image.tobytes()


@pytest.mark.parametrize("rbc_px", [12, 25.5, 48, 120])
def test_boxes_lie_inside_the_field_at_any_scale(rbc_px: float) -> None:
    field = paint(5, rbc_px=rbc_px, shape_hw=(241, 317))
    found = field.truth.boxes
    assert field.image.shape == (241, 317, 3)
    assert len(found) > 0
    assert (found[:, :2] >= 0).all()
    assert (found[:, 2:] <= (317, 241)).all()
    assert (found[:, 2:] - found[:, :2] > 0).all()
    assert len(field.kinds) == len(found)


def test_a_cell_that_hangs_far_over_the_border_is_cut_not_refused() -> None:
    from datasets.paint import field as module
    from datasets.paint.places import Place

    rng = np.random.default_rng(0)
    style = draw_style(rng)
    canvas = module._empty_canvas(rng, style, (100, 100), 40.0)
    module._lay(rng, style, canvas, Place("blast", 20.0, -45.0, 75.0), 1)  # the patch begins above the canvas
    assert (canvas.owner == 1).any()


def test_a_box_is_the_tight_box_of_what_was_painted() -> None:
    apart = {"cohesion": 0.0, "closest": 1.1, "white_cohesion": 0.0, "white_closest": 1.1}
    field = paint(14, shape_hw=(400, 400), rbc_px=60, coverage=0.2, platelet_rate=0.0, **apart)
    for row, box in enumerate(field.truth.boxes):
        y, x = np.nonzero(field.masks == row + 1)
        assert np.allclose(box, (x.min(), y.min(), x.max() + 1, y.max() + 1))


def test_a_cell_stands_out_from_the_background_where_its_box_is() -> None:
    field = paint(8, shape_hw=(480, 640), rbc_px=60, red_density=0.5, pallor=0.1, vignette=0.0, gradient=0.0, defocus=0.01)
    dark = (field.image.mean(axis=2) < 0.85 * np.median(field.image[field.masks == 0].mean(axis=1)))[4:-4, 4:-4]
    agree = (dark & (field.masks[4:-4, 4:-4] > 0)).sum() / (dark | (field.masks[4:-4, 4:-4] > 0)).sum()
    assert agree > 0.85


@pytest.mark.parametrize("rbc_px", [14, 33, 60])
def test_the_ruler_is_the_median_red_cell(rbc_px: float) -> None:
    diameters = []
    for seed in range(4):
        field = paint(seed + 20, shape_hw=(int(9 * rbc_px), int(12 * rbc_px)), rbc_px=rbc_px)
        whole = (field.truth.labels == CLASSES.index("RBC")) & ~boxes.touches_edge(field.truth.boxes, field.image.shape[:2])
        diameters.append(boxes.diameters(field.truth.boxes[whole]))
    assert np.median(np.concatenate(diameters)) == pytest.approx(rbc_px, rel=0.05)


def test_wbc_classes_join_both_kinds_of_white_cell() -> None:
    fine, coarse = (paint(13, classes=classes, white_rate=0.1) for classes in (CLASSES, CLASSES_WBC))
    assert np.array_equal(fine.truth.boxes, coarse.truth.boxes)
    assert np.array_equal(fine.truth.labels <= 1, coarse.truth.labels == 0)
    assert (fine.truth.labels <= 1).any()
    with pytest.raises(ValueError, match="classes"):
        paint(13, classes=("WBC",))


def test_colour_does_not_tell_the_class(white_cells: dict[str, np.ndarray]) -> None:
    assert len(white_cells["slide"]) > 200
    colour = white_cells["colour"]
    own = np.stack([colour[white_cells["slide"] == slide].mean(axis=0) for slide in white_cells["slide"]])
    assert 0.35 < auc_on_unseen_slides(colour, white_cells) < 0.65
    assert 0.35 < auc_on_unseen_slides(colour - own, white_cells) < 0.65  # nor does colour relative to the slide's other cells


def test_no_single_feature_tells_the_class_but_several_do(white_cells: dict[str, np.ndarray]) -> None:
    size, texture = white_cells["diameter"][:, None], white_cells["texture"]
    assert 0.6 < auc_on_unseen_slides(size, white_cells) < 0.9
    assert auc_on_unseen_slides(texture, white_cells) < 0.97
    assert auc_on_unseen_slides(np.hstack([size, texture]), white_cells) > 0.8


def test_every_slide_mixes_both_classes() -> None:
    shares = np.array([draw_style(np.random.default_rng(seed)).blast_share for seed in range(200)])
    assert 0.15 <= shares.min() < 0.3 < 0.7 < shares.max() <= 0.85


@pytest.mark.parametrize(
    ("n", "counts"), [(1, (1, 0, 0)), (2, (1, 0, 1)), (3, (1, 1, 1)), (10, (6, 2, 2)), (60, (42, 9, 9))], ids=lambda value: str(value)
)
def test_slides_are_split_70_15_15_and_no_split_is_empty(n: int, counts: tuple[int, int, int]) -> None:
    splits = split_slides(n)
    assert tuple(splits.count(split) for split in ("train", "val", "test")) == counts


def test_a_field_does_not_depend_on_how_many_are_painted() -> None:
    few = list(paint_set(n_fields=2, n_slides=2, seed=1, shape_hw=(96, 128), rbc_px=30))
    many = list(paint_set(n_fields=4, n_slides=2, seed=1, shape_hw=(96, 128), rbc_px=30))
    assert few[1].image is not None
    assert many[1].image is not None
    assert np.array_equal(few[1].image, many[1].image)


def test_the_command_writes_a_prepared_set_and_changes_nothing_the_second_time(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = f"--fields 4 --slides 2 --seed 5 --size 256x192 --classes wbc --blank-share 0 --quiet --out {tmp_path}".split()
    assert main(command) == 0
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert main(command) == 0
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
    data = annotations.read_data_yaml(tmp_path / "data.yaml")
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    assert data.classes == CLASSES_WBC
    assert (len(data.images("train")), len(data.images("test"))) == (2, 2)
    assert manifest["painted"] is True
    assert "never clinical data" in manifest["note"]
    assert all(30 <= entry["rbc_px"] <= 90 and entry["slide"] for entry in manifest["files"])
    assert len({entry["rbc_px"] for entry in manifest["files"]}) == 2
    for image in data.images("train"):
        assert len(annotations.read_labels(annotations.label_path(image), (192, 256), 3)) > 0


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("--fields 0", "--fields: must be at least 1"),
        ("--fields 2 --slides 3", "--slides: must be in 1 to --fields (2)"),
        ("--fields 1 --size 640", "--size: must be WIDTHxHEIGHT"),
        ("--fields 1 --rbc-px 2", "--rbc-px: must be in 8 to 300"),
        ("--fields 1 --rbc-px nan", "--rbc-px: must be in 8 to 300"),
        ("--fields 1 --blank-share 2", "--blank-share: must be in 0 to 1"),
        ("--fields 1 --seed -1", "--seed: must be at least 0"),
    ],
)
def test_a_mistake_in_the_request_is_one_line(flags: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*flags.split(), "--out", str(tmp_path / "set")]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: {message}")
    assert error.count("\n") == 1
    assert not (tmp_path / "set").exists()
