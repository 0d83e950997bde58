"""A write either happens as a whole or leaves everything as it was."""

import os

import pytest

from smear.files import write_atomic


def test_text_is_utf8_and_folders_are_made(tmp_path):
    write_atomic(tmp_path / "a/b/c.txt", "µm\n")
    assert (tmp_path / "a/b/c.txt").read_bytes() == b"\xc2\xb5m\n"


def test_a_failed_write_keeps_the_old_file_and_leaves_nothing(tmp_path, monkeypatch):
    write_atomic(tmp_path / "a", b"old")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="No space left"):
        write_atomic(tmp_path / "a", b"new")
    assert (os.listdir(tmp_path), (tmp_path / "a").read_bytes()) == (["a"], b"old")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no full device here")
def test_a_full_disk_is_an_error_and_not_a_short_file(tmp_path, monkeypatch):
    """The temporary file is a link to a device that is always full."""
    monkeypatch.setattr("uuid.UUID.hex", "x")
    os.symlink("/dev/full", tmp_path / ".tmp-x")
    with pytest.raises(OSError, match="No space left"):
        write_atomic(tmp_path / "a", bytes(10**6))
    assert os.listdir(tmp_path) == []


def test_the_longest_name_a_disk_takes_is_written(tmp_path):
    name = "a" * os.pathconf(tmp_path, "PC_NAME_MAX")
    write_atomic(tmp_path / name, b"x")
    assert (tmp_path / name).read_bytes() == b"x"


def test_permissions_are_those_of_an_ordinary_file(tmp_path):
    write_atomic(tmp_path / "a", b"x")
    (tmp_path / "b").write_bytes(b"x")
    assert (tmp_path / "a").stat().st_mode == (tmp_path / "b").stat().st_mode
