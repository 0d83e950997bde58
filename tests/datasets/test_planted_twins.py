"""The measure of the finder: what is planted is found, what is not is not, and the counts are right."""

import json

import numpy as np
import pytest

from datasets import planted_twins
from datasets.planted_twins import DISGUISES, describe, measure
from smear import images
from smear.audit.twins import TRANSFORMS, Twin


@pytest.fixture
def originals(tmp_path, paint):
    paths = [tmp_path / "originals" / f"{i}.png" for i in range(12)]
    for i, path in enumerate(paths):
        images.write_image(path, paint(i, (90, 120))[0])
    return paths


def test_every_disguise_is_found_with_precision_1_and_recall_1(originals, tmp_path):
    found = measure(originals, tmp_path / "copies", seed=1)
    assert list(found) == list(DISGUISES)
    for name, row in found.items():
        assert (row["planted"], row["precision"]) == (6, 1.0), name
        assert row["recall"] >= 5 / 6, name
    assert len(describe(found)) == 1 + len(found)


def test_a_finder_that_finds_nothing_or_everything_is_told_so(originals, tmp_path, monkeypatch):
    monkeypatch.setattr(planted_twins, "find_twins", lambda a, b: [])
    (row,) = measure(originals[:8], tmp_path / "copies", names=["recoloured"]).values()
    assert (row["found"], row["recall"], row["precision"]) == (0, 0.0, None)
    everything = lambda a, b: [Twin(x, y, "near", "identity", 0.0) for x in a for y in b]  # noqa: E731
    monkeypatch.setattr(planted_twins, "find_twins", everything)
    (row,) = measure(originals[:8], tmp_path / "copies", names=["recoloured"]).values()
    assert (row["found"], row["wrong"], row["recall"], row["precision"]) == (4, 28, 1.0, 0.125)


@pytest.mark.parametrize("index", range(len(TRANSFORMS)))
def test_a_turned_image_has_its_pixels(index):
    image = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    turned = planted_twins.turn(image, np.random.default_rng(0), index)
    wanted = np.rot90(image[:, ::-1] if index >= 4 else image, index % 4)
    np.testing.assert_array_equal(turned, wanted)


def test_the_command_leaves_real_twins_out(originals, tmp_path, capsys):
    for path in originals[4:]:
        path.unlink()
    images.write_image(originals[0].with_name("again.png"), images.read_image(originals[0]))
    arguments = ["--source", str(originals[0].parent), "--images", "5", "--out", str(tmp_path / "out"), "--quiet"]
    assert planted_twins.main(arguments) == 0
    assert "all but trimmed" in capsys.readouterr().out
    found = json.loads((tmp_path / "out/planted.json").read_text())
    assert {(row["planted"], row["wrong"]) for row in found.values()} == {(2, 0)}
    assert planted_twins.main(["--images", "1"]) == 2
    assert capsys.readouterr().err.startswith("error: --images")
