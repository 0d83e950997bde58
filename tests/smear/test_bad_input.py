"""Every bad input is a named failure or one clear line, and nothing already computed is lost."""

import errno
import io
import json
import os
import pickle
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest

from smear import files, images, store
from smear.images import encode, write_image


def failures(out: Path) -> dict[str, str]:
    return {f["field"]: f["error"] for f in json.loads((out / "report.json").read_text(encoding="utf-8"))["failures"]}


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims a size and holds almost nothing."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")


def truncated_jpeg() -> bytes:
    data = encode(np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8), ".jpg")
    return data[: len(data) // 2]


BAD_FILES = {
    "zero.jpg": (b"", "0 bytes"),
    "half.jpg": (truncated_jpeg(), "damaged or truncated"),
    "text.jpg": (b"this is a note, not an image", "not JPEG, PNG, BMP or TIFF inside"),
    "bomb.png": (png_header(60_000, 60_000), "pixels is more than the limit"),
    "short.png": (png_header(50, 50), "truncated"),
    "page.tif": (b"II*\x00\x08\x00\x00\x00\xff\xff", "not a readable image"),
    "pickle.png": (pickle.dumps({"a": 1}), "not JPEG, PNG, BMP or TIFF inside"),
}


class TestFields:
    @pytest.mark.parametrize("name", BAD_FILES)
    def test_a_bad_file_fails_by_name_and_the_rest_is_analysed(self, slides, run, tmp_path, name):
        content, said = BAD_FILES[name]
        (slides / "a" / name).write_bytes(content)
        assert run(slides, tmp_path / "out") == 1
        found = failures(tmp_path / "out")
        assert list(found) == [f"a/{name}"]
        assert found[f"a/{name}"].startswith(f"a/{name}: ")
        assert said in found[f"a/{name}"]
        assert (tmp_path / "out" / "cells.csv").read_text().count("\n") == 13

    def test_one_pixel_is_a_field_without_cells(self, run, tmp_path):
        (tmp_path / "in").mkdir()
        for i, colour in enumerate((0, 128, 255)):
            write_image(tmp_path / "in" / f"{i}.png", np.full((1, 1, 3), colour, np.uint8))
        assert run(tmp_path / "in", tmp_path / "out", "--set", "um_per_px=null") == 0
        assert (tmp_path / "out" / "cells.csv").read_text().count("\n") == 1

    @pytest.mark.slow
    def test_forty_megapixels_are_analysed(self, run, tmp_path, paint):
        image = np.full((5200, 7700, 3), 235, np.uint8)
        image[2000:3080, 3000:4440] = paint((1080, 1440), rbc_px=120, n_all=1, n_hem=2, n_red=9)
        (tmp_path / "in").mkdir()
        write_image(tmp_path / "in" / "large.png", image)
        assert run(tmp_path / "in", tmp_path / "out", "--um-per-px", str(7.5 / 120)) == 0
        assert (tmp_path / "out" / "cells.csv").read_text().count("large.png") == 3

    def test_a_folder_called_like_an_image_is_walked_not_read(self, slides, run, tmp_path):
        (slides / "a" / "folder.jpg").mkdir()
        assert run(slides, tmp_path / "out") == 0

    def test_a_pipe_is_not_waited_for(self, slides, run, tmp_path):
        os.mkfifo(slides / "a" / "pipe.png")
        assert run(slides, tmp_path / "out") == 1
        assert "not a regular file" in failures(tmp_path / "out")["a/pipe.png"]

    def test_a_link_to_nowhere_fails_by_name(self, slides, run, tmp_path):
        (slides / "a" / "lost.png").symlink_to(tmp_path / "nowhere.png")
        assert run(slides, tmp_path / "out") == 1
        assert "cannot read it" in failures(tmp_path / "out")["a/lost.png"]

    @pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
    def test_an_unreadable_file_fails_by_name(self, slides, run, tmp_path):
        (slides / "a" / "one.png").chmod(0)
        assert run(slides, tmp_path / "out") == 1
        assert "cannot read it" in failures(tmp_path / "out")["a/one.png"]

    def test_a_file_that_may_not_be_read_fails_by_name(self, slides, run, tmp_path, monkeypatch):
        read = Path.read_bytes
        denied = PermissionError(errno.EACCES, "Permission denied")
        monkeypatch.setattr(Path, "read_bytes", lambda p: raise_(denied) if p.name == "three.png" else read(p))
        assert run(slides, tmp_path / "out") == 1
        assert failures(tmp_path / "out") == {"b/three.png": "b/three.png: cannot read it (Permission denied)"}

    @pytest.mark.parametrize("make", ["empty", "other files", "missing", "file"])
    def test_nothing_to_analyse_is_one_line(self, run, tmp_path, capsys, make):
        folder = tmp_path / "in"
        if make == "file":
            folder.write_text("x")
        elif make != "missing":
            folder.mkdir()
            if make == "other files":
                (folder / "notes.txt").write_text("x")
        assert run(folder, tmp_path / "out") == 2
        error = capsys.readouterr().err
        assert error.startswith(f"error: {folder}: ")
        assert error.count("\n") == 1
        assert not (tmp_path / "out").exists()

    def test_names_of_any_language_and_twice_the_same_are_all_written(self, run, tmp_path, paint):
        picture = encode(paint((240, 240), rbc_px=40, n_all=1, n_hem=0, n_red=2), ".png")
        names = [
            *(
                "a.png",
                "a.tif",
                "A.PNG",
                "caf\u00e9.png",
                "cafe\u0301.png",
                "血液.png",
                "мазок 1.png",
                "a#2.png",
                "=1+1.png",
                "x" * 250 + ".png",
            ),
            *("😀.png", "a b;c,d\"e'.png", "new\nline.png", "-.png"),
        ]
        (tmp_path / "in").mkdir()
        for name in names:
            (tmp_path / "in" / name).write_bytes(picture)
        Path(os.fsdecode(os.fsencode(tmp_path / "in") + b"/latin\xe9.png")).write_bytes(picture)
        assert run(tmp_path / "in", tmp_path / "out") == 0
        n_fields = len(names) + 1
        assert len(list((tmp_path / "out" / "annotated").rglob("*.*"))) == n_fields
        assert len(list((tmp_path / "out" / "fields").rglob("*.json"))) == n_fields
        report = json.loads((tmp_path / "out" / "report.json").read_text(encoding="utf-8"))
        assert (report["total"]["n_fields"], report["total"]["n_white"]) == (n_fields, n_fields)
        assert run(tmp_path / "in", tmp_path / "out") == 0


class TestOutput:
    def test_a_folder_that_cannot_be_written_is_one_line(self, slides, run, tmp_path, capsys):
        (tmp_path / "out").write_text("a file")
        assert run(slides, tmp_path / "out") == 2
        error = capsys.readouterr().err
        assert error.startswith(f"error: {tmp_path / 'out'}: cannot write there")
        assert error.count("\n") == 1

    @pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
    def test_a_read_only_folder_is_one_line(self, slides, run, tmp_path, capsys):
        (tmp_path / "out").mkdir(mode=0o500)
        assert run(slides, tmp_path / "out") == 2
        assert "cannot write there (Permission denied)" in capsys.readouterr().err

    def test_a_read_only_file_system_is_one_line(self, slides, run, tmp_path, monkeypatch, capsys):
        monkeypatch.setattr(store, "write_atomic", lambda *_: raise_(OSError(errno.EROFS, "Read-only file system")))
        assert run(slides, tmp_path / "out") == 2
        assert "cannot write there (Read-only file system); choose another --out" in capsys.readouterr().err

    @pytest.mark.parametrize("n_writes", [1, 4, 5, 8, 9, 10])
    def test_a_full_disk_is_one_line_and_the_finished_fields_stay(self, slides, run, tmp_path, monkeypatch, capsys, n_writes):
        write, done = files.write_atomic, []

        def until_full(path, content):
            if len(done) == n_writes:
                raise OSError(errno.ENOSPC, "No space left on device")
            done.append(Path(path))
            write(path, content)

        for module in (store, images):
            monkeypatch.setattr(module, "write_atomic", until_full)
        assert run(slides, tmp_path / "out") == 2
        error = capsys.readouterr().err
        assert error.splitlines()[-1].startswith("error: ")
        assert "No space left on device; what was finished is kept" in error
        assert "Traceback" not in error
        finished = [path for path in done if path.parent.parent.name == "fields"]
        monkeypatch.undo()
        stamps = {path: path.stat().st_mtime_ns for path in finished}
        assert run(slides, tmp_path / "out") == 0
        assert {path: path.stat().st_mtime_ns for path in finished} == stamps  # not made again
        assert (tmp_path / "out" / "cells.csv").read_text().count("\n") == 13


class TestBundles:
    @pytest.fixture
    def copied(self, models, tmp_path) -> Path:
        import shutil

        return Path(shutil.copytree(models, tmp_path / "models"))

    @pytest.mark.parametrize("which", ["detector", "classifier"])
    def test_a_changed_file_is_refused(self, slides, run, copied, tmp_path, capsys, which):
        with (copied / which / "model.onnx").open("ab") as file:
            file.write(b"\x00")
        assert run(slides, tmp_path / "out", f"--{which}", str(copied / which)) == 2
        error = capsys.readouterr().err
        assert "sha256 of model.onnx is" in error
        assert error.count("\n") == 1

    def test_a_pickle_where_onnx_is_expected_is_refused_and_not_run(self, slides, run, copied, tmp_path, capsys):
        import hashlib

        content = pickle.dumps(Touch(str(tmp_path / "ran")))
        card = json.loads((copied / "detector" / "model.json").read_text())
        card["files"]["model.onnx"] = hashlib.sha256(content).hexdigest()
        (copied / "detector" / "model.onnx").write_bytes(content)
        (copied / "detector" / "model.json").write_text(json.dumps(card))
        assert run(slides, tmp_path / "out", "--detector", str(copied / "detector")) == 2
        assert "is a pickle / torch archive, not ONNX" in capsys.readouterr().err
        assert not (tmp_path / "ran").exists()

    @pytest.mark.parametrize("name", ["model.json", "model.onnx"])
    def test_a_missing_file_is_one_line(self, slides, run, copied, tmp_path, capsys, name):
        (copied / "detector" / name).unlink()
        assert run(slides, tmp_path / "out", "--detector", str(copied / "detector")) == 2
        assert f"{name}: cannot read it" in capsys.readouterr().err

    def test_a_network_with_other_outputs_than_the_card_says_is_one_line(self, slides, run, copied, tmp_path, capsys):
        card = json.loads((copied / "detector" / "model.json").read_text())
        (copied / "detector" / "model.json").write_text(json.dumps({**card, "classes": ["WBC", "RBC", "Platelets"]}))
        assert run(slides, tmp_path / "out", "--detector", str(copied / "detector")) == 2
        assert "expected output (B, 7, A)" in capsys.readouterr().err


class Touch:
    """Unpickling this would run a command."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self):
        return io.open, (self.path, "w")


def raise_(error: Exception) -> None:
    raise error
