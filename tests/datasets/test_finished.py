"""A second run is recognised by its inputs and by the files that it left."""

from pathlib import Path

from datasets.finished import inputs_digest, is_finished
from smear.annotations import ManifestEntry, write_manifest


def test_the_digest_depends_on_values_not_on_order() -> None:
    assert inputs_digest(a=1, b="x") == inputs_digest(b="x", a=1)
    assert inputs_digest(a=1) != inputs_digest(a=2)


def test_finished_means_same_inputs_and_every_file_there(tmp_path: Path) -> None:
    assert not is_finished(tmp_path, "abc")
    (tmp_path / "a.png").write_bytes(b"x")
    write_manifest(tmp_path, [ManifestEntry("a.png", "0" * 64, "train", "a.png")], inputs_sha256="abc")
    assert is_finished(tmp_path, "abc")
    assert not is_finished(tmp_path, "abd")
    (tmp_path / "a.png").unlink()
    assert not is_finished(tmp_path, "abc")
