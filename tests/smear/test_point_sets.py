"""smear.point_sets: what `datasets.all_idb1` writes comes back, and mistakes are named."""

import json
from pathlib import Path

import pytest

from smear.errors import AnnotationError
from smear.point_sets import read_points

ROWS = ("images/a.png,ALL,2,80,100,test", "images/b.png,HEM,0,80,100,test", "images/c.png,ALL,1,80,100,val")
FIELDS = "\n".join(("file,label,n_points,height,width,split", *ROWS, ""))
POINTS = "field,x,y,label\nimages/a.png,12,30,ALL\nimages/a.png,5.5,6,ALL\nimages/c.png,1,1,ALL\n"


@pytest.fixture
def points(tmp_path: Path) -> Path:
    (tmp_path / "fields.csv").write_text(FIELDS)
    (tmp_path / "points.csv").write_text(POINTS)
    return tmp_path / "points.csv"


def test_fields_without_a_point_are_there_too(points: Path) -> None:
    found = read_points(points, "test")
    assert [f.id for f in found.fields] == ["images/a.png", "images/b.png"]
    assert [p.tolist() for p in found.points] == [[[12, 30], [5.5, 6]], []]
    assert found.points[1].shape == (0, 2)
    assert found.labels == (("ALL", "ALL"), ())
    assert found.fields[0].path == points.parent / "images/a.png"


def test_slides_come_from_the_manifest(points: Path) -> None:
    (points.parent / "manifest.json").write_text(json.dumps({"files": [{"file": "images/b.png", "slide": "s", "patient": "p"}]}))
    found = read_points(points, "test")
    assert [(f.slide, f.patient) for f in found.fields] == [("", None), ("s", "p")]


@pytest.mark.parametrize(
    ("name", "text", "why"),
    [
        ("points.csv", None, "cannot read it"),
        ("fields.csv", None, "cannot read it"),
        ("points.csv", "field,x,y\n", "no column 'label'"),
        ("points.csv", "field,x,y,label\nimages/a.png,1,ALL\n", "not as many values"),
        ("points.csv", "field,x,y,label\nimages/a.png,one,2,ALL\n", r"points.csv:2: x, y: expected two numbers"),
        ("points.csv", "field,x,y,label\nimages/a.png,-1,2,ALL\n", "must be pixels from 0 on"),
        ("points.csv", "field,x,y,label\nimages/a.png,nan,2,ALL\n", "must be pixels from 0 on"),
        ("points.csv", "field,x,y,label\nimages/z.png,1,2,ALL\n", "'images/z.png' is not in fields.csv"),
        ("fields.csv", "file,split\n", "no field in split 'test'"),
    ],
)
def test_mistakes_are_named(points: Path, name: str, text: str | None, why: str) -> None:
    path = points.parent / name
    path.unlink()
    if text is not None:
        path.write_text(text)
    with pytest.raises(AnnotationError, match=why):
        read_points(points, "test")
