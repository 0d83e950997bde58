"""`python -m detection.train`: what a run leaves, how it goes on, what it refuses."""

import csv
import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from detection import train as module
from detection import yolo
from detection.settings import DetectSettings
from smear import annotations
from smear.config import load
from smear.errors import TrainingError
from smear.images import encode
from smear.models import open_bundle
from smear.watch import IMAGES_PER_S, WAITING_SHARE

pytestmark = pytest.mark.slow


def epochs_of(run: Path) -> list[int]:
    with (run / "results.csv").open() as file:
        return [int(float(row["epoch"])) for row in csv.DictReader(file, skipinitialspace=True)]


def copy_of(data: Path, folder: Path) -> Path:
    shutil.copytree(data.parent, folder)
    return folder / "data.yaml"


def one_line(capsys) -> str:
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("error: ")
    return error


class TestARun:
    def test_it_leaves_all_that_another_person_needs(self, trained, painted):
        config = load(trained / "config.yaml", DetectSettings)
        assert (config.model, config.epochs, config.weights, config.seed) == ("yolov8n", 2, "none", 0)
        about = json.loads((trained / "about.json").read_text())
        assert about["splits"]["train"]["files"] > 0
        assert set(about["splits"]) >= {"train", "val"}
        assert about["manifest_sha256"] == hashlib.sha256((painted.parent / "manifest.json").read_bytes()).hexdigest()
        assert about["command"].startswith("python -m detection.train --data")
        assert {"torch", "ultralytics", "python"} <= set(about["versions"])
        assert epochs_of(trained) == [1, 2]
        assert (trained / "curves.png").read_bytes().startswith(b"\x89PNG")

    def test_every_epoch_says_how_fast_it_was_and_how_long_it_waited(self, trained):
        with (trained / "results.csv").open() as file:
            rows = list(csv.DictReader(file, skipinitialspace=True))
        assert all(float(row[IMAGES_PER_S]) > 0 and 0 < float(row[WAITING_SHARE]) < 1 for row in rows)
        found = json.loads((trained / "about.json").read_text())["throughput"]
        assert found[IMAGES_PER_S] == pytest.approx(np.median([float(row[IMAGES_PER_S]) for row in rows]))
        assert (found["device"], found["workers"], found["kept_in_memory"]) == ("cpu", 0, True)
        assert open_bundle(trained / "bundle").card.training["throughput"] == found

    def test_its_bundle_says_what_it_is(self, trained):
        card = open_bundle(trained / "bundle").card
        assert (card.task, card.classes, card.white_classes, card.red_class) == ("detect", ("WBC", "RBC", "Platelets"), ("WBC",), "RBC")
        assert card.rbc_px == pytest.approx(24 * 64 / 128, rel=0.2)  # as the network saw it, letterboxed to 64
        assert 0 <= card.training["onnx_max_difference"] < 1e-2
        assert card.training["seed"] == 0
        assert card.data[0]["name"] == "painted"
        assert set(card.files) == {"model.onnx"}

    def test_it_writes_nothing_beside_the_images_of_the_user(self, trained, painted):
        manifest = json.loads((painted.parent / "manifest.json").read_text())
        known = {entry["file"] for entry in manifest["files"]}
        found = {p.relative_to(painted.parent).as_posix() for p in painted.parent.rglob("*") if p.is_file()}
        labels = {annotations.label_path(Path(f)).as_posix() for f in known}
        assert found - known - labels == {"data.yaml", "manifest.json", "card.json", "card.html"}

    def test_exactly_the_images_of_the_split_are_trained_on(self, trained, painted):
        """A split may be a list of files; its folder may hold others, even those of the test split."""
        data = annotations.read_data_yaml(painted)
        for split in ("train", "val"):
            listed = (trained / f"{split}.txt").read_text().splitlines()
            assert listed == [str(path) for path in data.images(split)]

    def test_the_same_seed_gives_the_same_weights_whoever_prepares_and_keeps_the_fields(self, trained, painted, train, tmp_path):
        assert train(painted, tmp_path / "again", "--set", "workers=1", "--set", "cache=0") == 0
        assert json.loads((tmp_path / "again" / "about.json").read_text())["throughput"]["kept_in_memory"] is False
        first, second = (open_bundle(run / "bundle").card.files for run in (trained, tmp_path / "again"))
        assert first == second

    def test_a_second_run_into_the_same_folder_is_refused(self, trained, painted, train, capsys):
        before = (trained / "results.csv").read_bytes()
        assert train(painted, trained) == 2
        assert "holds a run already; continue it with --resume or choose another --out" in one_line(capsys)
        assert (trained / "results.csv").read_bytes() == before


class TestResume:
    def test_a_killed_run_goes_on_from_its_last_epoch(self, painted, train, tmp_path, monkeypatch):
        with monkeypatch.context() as patch:
            patch.setattr(module, "_say", lambda epoch, metrics: (_ for _ in ()).throw(KeyboardInterrupt))
            with pytest.raises(KeyboardInterrupt):
                train(painted, tmp_path / "run")
        assert epochs_of(tmp_path / "run") == [1]
        seen = []
        monkeypatch.setattr(module, "_say", lambda epoch, metrics: seen.append(epoch))
        assert train(painted, tmp_path / "run", "--resume") == 0
        assert seen == [2]
        assert epochs_of(tmp_path / "run") == [1, 2]
        assert open_bundle(tmp_path / "run" / "bundle").card.classes == ("WBC", "RBC", "Platelets")

    def test_the_table_of_an_earlier_version_keeps_its_columns(self, trained, painted, train, tmp_path, monkeypatch):
        with monkeypatch.context() as patch:
            patch.setattr(module, "_say", lambda epoch, metrics: (_ for _ in ()).throw(KeyboardInterrupt))
            with pytest.raises(KeyboardInterrupt):
                train(painted, tmp_path / "run")
        rows = [line.rsplit(",", 2)[0] for line in (tmp_path / "run" / "results.csv").read_text().splitlines()]  # without the pace
        (tmp_path / "run" / "results.csv").write_text("\n".join(rows) + "\n")
        assert train(painted, tmp_path / "run", "--resume") == 0
        assert {len(line.split(",")) for line in (tmp_path / "run" / "results.csv").read_text().splitlines()} == {rows[0].count(",") + 1}

    def test_a_run_killed_before_its_export_is_only_exported(self, trained, painted, train, tmp_path, monkeypatch):
        run = Path(shutil.copytree(trained, tmp_path / "run"))
        shutil.rmtree(run / "bundle")
        monkeypatch.setattr(yolo, "train", lambda *a, **k: pytest.fail("trained again"))
        assert train(painted, run, "--resume") == 0
        assert open_bundle(run / "bundle").card.files == open_bundle(trained / "bundle").card.files

    def test_without_a_checkpoint_there_is_nothing_to_resume(self, painted, train, tmp_path, capsys):
        assert train(painted, tmp_path / "run", "--resume") == 2
        assert "--resume: no checkpoint at" in one_line(capsys)

    def test_other_settings_are_refused_not_ignored(self, trained, painted, train, capsys):
        assert train(painted, trained, "--resume", "--epochs", 5) == 2
        assert "--resume: epochs: the run was begun with 2, got 5" in one_line(capsys)


class TestNaN:
    def test_a_loss_that_is_not_finite_ends_the_run_in_one_line(self, painted, train, tmp_path, capsys, monkeypatch):
        """In the second epoch a weight becomes NaN: the run stops there and keeps the first epoch."""
        prepare = yolo.FieldTrainer.preprocess_batch

        def poisoned(self, batch):
            if self.epoch == 1:
                with torch.no_grad():
                    next(self.model.parameters()).fill_(float("nan"))
            return prepare(self, batch)

        monkeypatch.setattr(yolo.FieldTrainer, "preprocess_batch", poisoned)
        assert train(painted, tmp_path / "run") == 2
        error = one_line(capsys)
        assert "epoch 2: the loss is nan; lower lr0 or check the labels" in error
        assert epochs_of(tmp_path / "run") == [1]
        assert yolo.load_model(tmp_path / "run" / "weights" / "last.pt")
        assert not (tmp_path / "run" / "bundle").exists()

    def test_it_is_one_of_the_errors_that_a_user_may_meet(self):
        assert TrainingError.__module__ == "smear.errors"


class TestMistakes:
    @pytest.mark.parametrize(
        ("more", "said"),
        [
            (("--set", "augment.mosiac=0.5"), "augment.mosiac: unknown key; did you mean 'augment.mosaic'?"),
            (("--set", "lr0=0.1"), "lr0: unknown key; did you mean 'optimizer.lr0'?"),
            (("--epochs", "0"), "epochs: must be at least 1, got 0"),
            (("--imgsz", "100"), "imgsz"),
            (("--set", "optimizer.lr0=30"), "optimizer.lr0: must be at most 1"),
            (("--model", "yolov8q"), "model: no architecture named 'yolov8q'"),
            (("--model", "yolov8n-cls"), "model: no architecture named 'yolov8n-cls'"),
            (("--device", "7"), "device: '7' asked for, but torch sees"),
            (("--set", "augment.image=[{name: Blurr}]"), "'Blurr': no such transform"),
            (("--set", "augment.image=[{name: GaussianBlur, sigma: 1}]"), "augment.image: GaussianBlur"),
            (("--weights", "no/such.pt"), "no/such.pt: no such file"),
            (("--weights", "no/such.safetensors"), "no/such.safetensors"),
            (("--config", "no.yaml"), "no.yaml: cannot read it"),
            (("--data", "no/data.yaml"), "no/data.yaml: cannot read it"),
        ],
    )
    def test_each_is_one_line_and_exit_code_2(self, painted, train, tmp_path, capsys, more, said):
        assert train(painted, tmp_path / "run", *more) == 2
        assert said in one_line(capsys)
        assert not (tmp_path / "run" / "results.csv").exists()

    @pytest.mark.parametrize(
        ("line", "said"),
        [
            ("3 0.5 0.5 0.1 0.1", "unknown class 3; data.yaml names 3 classes, 0 to 2"),
            ("0 0.5 0.5 1.5 0.1", "out of range"),
            ("0 0.5 0.5 0.1", "expected five numbers"),
            ("0 nan 0.5 0.1 0.1", "out of range"),
        ],
    )
    def test_a_wrong_label_names_its_file_and_line(self, painted, train, tmp_path, capsys, line, said):
        data = copy_of(painted, tmp_path / "set")
        label = annotations.label_path(annotations.read_data_yaml(data).images("val")[0])
        label.write_text(f"0 0.5 0.5 0.1 0.1\n{line}\n")
        assert train(data, tmp_path / "run") == 2
        error = one_line(capsys)
        assert f"{label}:2: " in error
        assert said in error

    def test_a_missing_label_file_is_named(self, painted, train, tmp_path, capsys):
        data = copy_of(painted, tmp_path / "set")
        label = annotations.label_path(annotations.read_data_yaml(data).images("train")[0])
        label.unlink()
        assert train(data, tmp_path / "run") == 2
        assert f"{label}: cannot read it" in one_line(capsys)

    def test_a_damaged_image_is_named(self, painted, train, tmp_path, capsys):
        data = copy_of(painted, tmp_path / "set")
        image = annotations.read_data_yaml(data).images("train")[0]
        image.write_bytes(image.read_bytes()[:200])
        assert train(data, tmp_path / "run") == 2
        assert f"{image}: damaged or truncated image" in one_line(capsys)

    def test_an_image_of_nine_pixels_is_named(self, painted, train, tmp_path, capsys):
        data = copy_of(painted, tmp_path / "set")
        image = annotations.read_data_yaml(data).images("train")[0]
        image.write_bytes(encode(np.zeros((9, 50, 3), np.uint8), ".png"))
        assert train(data, tmp_path / "run") == 2
        assert "50x9 pixels is too small to train on" in one_line(capsys)

    def test_a_set_without_a_box_is_refused(self, painted, train, tmp_path, capsys):
        data = copy_of(painted, tmp_path / "set")
        for label in (tmp_path / "set" / "labels" / "train").rglob("*.txt"):
            label.write_text("")
        assert train(data, tmp_path / "run") == 2
        assert "no training image has a box" in one_line(capsys)

    def test_an_output_that_cannot_be_written_is_one_line(self, painted, train, tmp_path, capsys):
        (tmp_path / "run").write_text("a file")
        assert train(painted, tmp_path / "run") == 2
        assert str(tmp_path / "run") in one_line(capsys)

    def test_without_data_the_flag_is_named(self, capsys):
        assert module.main(["--weights", "none"]) == 2
        assert "--data: is missing" in one_line(capsys)


def test_fields_at_the_scale_of_the_detector_keep_their_pixels(painted, tmp_path):
    """`rbc_px` in data.yaml says that the fields need no letterboxing; the ruler of the bundle is then that number."""
    data = copy_of(painted, tmp_path / "set")
    data.write_text(data.read_text() + "rbc_px: 24\n")
    settings = DetectSettings(data=str(data), imgsz=96, workers=0, device="cpu", augment={"mosaic": 0})
    arguments = module._arguments(settings, annotations.read_data_yaml(data), tmp_path, rbc_px=24)
    described = yaml.safe_load((tmp_path / "data.yaml").read_text())
    assert described["rbc_px"] == 24
    assert arguments["data"] == str(tmp_path / "data.yaml")
    assert arguments["augmentations"] == []


def test_every_augmentation_of_ultralytics_is_set_by_us(painted, tmp_path):
    """Nothing hidden: each of its augmentation arguments is in our configuration or switched off in plain sight."""
    arguments = module._arguments(
        DetectSettings(data=str(painted), device="cpu"), annotations.read_data_yaml(painted), tmp_path, rbc_px=None
    )
    theirs = (
        "hsv_h hsv_s hsv_v degrees translate scale shear perspective flipud fliplr bgr mosaic mixup cutmix copy_paste auto_augment erasing"
    )
    assert set(theirs.split()) | {"multi_scale", "close_mosaic", "augmentations"} <= set(arguments)


@pytest.mark.parametrize(
    ("sizes", "expected"), [([(0, 0, 20, 20), (30, 30, 52, 52), (40, 0, 64, 24)], 11.0), ([], None), ([(0, 0, 20, 20)], None)]
)
def test_the_ruler_seen_in_training_is_that_of_whole_red_cells(sizes, expected):
    from smear.types import Detections

    corners = np.array(sizes, np.float32).reshape(-1, 4)
    truth = Detections(corners, np.ones(len(corners)), np.ones(len(corners), np.int64))
    assert module._seen_ruler([((100, 128), truth)], ("WBC", "RBC"), 64) == expected
