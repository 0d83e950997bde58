"""The fields that are timed hold what their name says, and are painted once."""

from pathlib import Path

import pytest

from benchmarks.fields import Kind, painted, repeated
from smear.images import header

SMALL = Kind("small", (240, 320), 2, 2, 4)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("bench")
    painted(SMALL, found)
    return found


def test_fields_are_jpegs_of_their_size(root: Path) -> None:
    fields = painted(SMALL, root)
    told = [header(f.path.read_bytes(), name=f.id) for f in fields]
    assert [(h.format, h.shape_hw) for h in told] == [("JPEG", (240, 320))] * 2


def test_fields_are_painted_once_and_again_when_the_seed_changes(root: Path) -> None:
    before = [(f.path.read_bytes(), f.path.stat().st_mtime_ns) for f in painted(SMALL, root)]
    assert [(f.path.read_bytes(), f.path.stat().st_mtime_ns) for f in painted(SMALL, root)] == before
    assert before[0][0] != before[1][0]
    other = [f.path.read_bytes() for f in painted(SMALL, root / "other", seed=1)]
    assert other[0] != before[0][0]


def test_the_same_seed_gives_the_same_bytes(root: Path, tmp_path: Path) -> None:
    assert [f.path.read_bytes() for f in painted(SMALL, tmp_path)] == [f.path.read_bytes() for f in painted(SMALL, root)]


def test_repeated_fields_have_ids_of_their_own(root: Path) -> None:
    fields = repeated(painted(SMALL, root), 5)
    assert len({f.id for f in fields}) == 5
    assert len({f.path for f in fields}) == 2


def test_too_many_white_cells_for_the_room_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="no field with 500 white cells"):
        painted(Kind("full", (64, 64), 500, 1, 1), tmp_path)
