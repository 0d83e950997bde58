"""The doctor finds what is wrong and never falls ill itself."""

import json
import shutil

import pytest

from smear import __main__, doctor
from smear.images import write_image


@pytest.fixture
def healthy(models, paint, tmp_path, monkeypatch):
    """Bundles under their shipped names, and a golden field that fits them; returns the folder of models."""
    shutil.copytree(models / "detector", tmp_path / "models" / "wbc-yolov8n")
    shutil.copytree(models / "classifier", tmp_path / "models" / "all-hem-densenet121")
    monkeypatch.setattr(doctor, "GOLDEN", tmp_path / "golden")
    write_image(tmp_path / "golden" / "field.png", paint((360, 480), rbc_px=40, n_all=1, n_hem=2, n_red=9))
    (tmp_path / "golden" / "expected.json").write_text(json.dumps(doctor.measure_golden(tmp_path / "models")))
    return tmp_path / "models"


def bad(lines) -> list[str]:
    return [line for line in lines if line.startswith("BAD")]


def test_a_healthy_installation_has_no_bad_line(healthy):
    lines, fine = doctor.examine(healthy)
    assert fine, bad(lines)
    text = "\n".join(lines)
    for said in ("python ", "OpenCV", "codec .png: mean error 0.00", "wbc-yolov8n in onnx", "golden field"):
        assert said in text, said


def test_a_changed_weight_is_found(healthy):
    with (healthy / "wbc-yolov8n" / "model.onnx").open("ab") as file:
        file.write(b"\x00")
    lines, fine = doctor.examine(healthy)
    assert not fine
    assert any("sha256 of model.onnx" in line for line in bad(lines))


def test_missing_models_are_found(tmp_path):
    lines, fine = doctor.examine(tmp_path)
    assert not fine
    assert any("golden field" in line for line in bad(lines))


def test_a_missing_golden_field_is_found(healthy, tmp_path):
    shutil.rmtree(tmp_path / "golden")
    lines, fine = doctor.examine(healthy)
    assert not fine
    assert [line for line in bad(lines) if "golden" in line]


@pytest.mark.parametrize(("key", "value"), [("n_white", 4), ("rbc_px", 100.0), ("p_first_class", [0.0, 0.0, 0.0])])
def test_other_findings_in_the_golden_field_are_found(healthy, tmp_path, key, value):
    path = tmp_path / "golden" / "expected.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), key: value}))
    lines, fine = doctor.examine(healthy)
    assert not fine
    assert "expected" in bad(lines)[0]


def test_a_broken_codec_is_found(monkeypatch, tmp_path):
    monkeypatch.setattr(doctor, "encode", lambda image, suffix: b"nonsense")
    lines, _ = doctor.examine(tmp_path)
    assert len([line for line in bad(lines) if line.startswith("BAD codec")]) == 4


@pytest.mark.parametrize(("fine", "code"), [(True, 0), (False, 1)])
def test_the_exit_code_says_whether_all_is_well(monkeypatch, capsys, fine, code):
    monkeypatch.setattr("smear.commands.doctor.examine", lambda models: (["ok  one", "BAD two"][: 1 + (not fine)], fine))
    assert __main__.main(["doctor"]) == code
    assert "ok  one" in capsys.readouterr().out
