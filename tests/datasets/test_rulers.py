import numpy as np
import pytest

from datasets.rulers import measure, median_diameter
from smear.types import Detections

SHAPE = (300, 400)
WHITE, RED = 0, 1


def truth(red: list[float], white: list[float] = (), *, at: float = 20.0) -> Detections:
    """Square boxes of those sides in a row."""
    rows = [(at + 5 * i, at, at + 5 * i + side, at + side) for i, side in enumerate([*red, *white])]
    labels = [RED] * len(red) + [WHITE] * len(white)
    return Detections(np.array(rows, np.float32).reshape(-1, 4), np.ones(len(rows), np.float32), np.array(labels, np.int64))


def rulers(*truths: Detections, groups: list[str] | None = None) -> list[tuple[float, str]]:
    found = measure(truths, [SHAPE] * len(truths), groups or [""] * len(truths), white=WHITE, red=RED)
    return [(round(r.rbc_px, 3), r.origin) for r in found]


def test_no_images_have_no_rulers():
    assert rulers() == []


def test_three_whole_red_cells_are_a_ruler_and_two_are_not():
    assert rulers(truth([40, 50, 44])) == [(44.0, "red cells")]
    assert rulers(truth([40, 50]))[0][1] == "unknown"


def test_a_cell_cut_by_the_border_does_not_measure():
    assert np.isnan(median_diameter(truth([40, 40, 40], at=0), RED, SHAPE, at_least=1))


def test_without_red_cells_the_white_cells_speak_through_the_ratio_of_their_set():
    found = rulers(truth([40, 40, 40], [80]), truth([50, 50, 50], [100]), truth([], [60]))
    assert found[2] == (30.0, "white cells")


def test_without_any_cell_the_set_speaks_only_if_it_agrees_with_itself():
    alike = [truth([side] * 3) for side in (40, 41, 42, 43)]
    assert rulers(*alike, truth([]))[-1] == (41.5, "group")
    apart = [truth([side] * 3) for side in (20, 30, 60, 90)]
    assert rulers(*apart, truth([]))[-1][1] == "unknown"


def test_a_group_speaks_for_itself_when_it_has_enough_images():
    small, large = [truth([20] * 3)] * 5, [truth([60] * 3)] * 5
    found = rulers(*small, *large, truth([]), groups=["a"] * 5 + ["b"] * 6)
    assert found[-1] == (60.0, "group")


@pytest.mark.parametrize("factor", [0.5, 3.0])
def test_the_ruler_scales_with_the_image(factor):
    plain = truth([40, 50, 44], at=30)
    scaled = plain.rescale((factor, factor))
    big = (int(SHAPE[0] * factor), int(SHAPE[1] * factor))
    (found,) = measure([scaled], [big], [""], white=WHITE, red=RED)
    assert found.rbc_px == pytest.approx(44 * factor)
