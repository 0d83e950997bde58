"""smear.report.formats: numbers as the page writes them."""

import pytest

from smear.report.formats import bound, number, percent, picture, plural, ratio, signed


@pytest.mark.parametrize(
    ("value", "digits", "text"),
    [
        *((None, 0, "–"), (0.0, 0, "0 %"), (1.0, 0, "100 %"), (0.5, 0, "50 %"), (0.01, 0, "1 %")),
        *((0.996, 0, "> 99 %"), (0.004, 0, "< 1 %"), (0.996, 1, "99.6 %"), (0.9997, 1, "> 99.9 %")),
    ],
)
def test_a_share_is_never_rounded_to_none_or_all(value, digits, text):
    assert percent(value, digits) == text


@pytest.mark.parametrize(
    ("value", "text"), [(None, "–"), (0.0, "0 %"), (0.004, "0.4 %"), (0.5, "50 %"), (0.9949, "99.5 %"), (1.0, "100 %")]
)
def test_the_end_of_an_interval_has_a_decimal_near_none_and_all(value, text):
    assert bound(value) == text


@pytest.mark.parametrize(("value", "text"), [(None, "–"), (0.0, "–"), (0.01, "1 : 100"), (0.4, "1 : 2.5"), (2.0, "1 : 0.5")])
def test_a_ratio_is_one_to_so_many(value, text):
    assert ratio(value) == text


@pytest.mark.parametrize(("value", "text"), [(None, "–"), (0.0, "±0.000"), (-0.0004, "±0.000"), (0.25, "+0.250"), (-0.25, "−0.250")])
def test_a_change_has_its_sign_unless_it_is_none(value, text):
    assert signed(value) == text


def test_thousands_are_spaced_and_one_is_singular():
    assert number(12345) == "12\u202f345"
    assert [plural(n, "field") for n in (0, 1, 2)] == ["0 fields", "1 field", "2 fields"]


def test_a_picture_is_png_or_jpeg():
    assert picture(b"\xff\xd8\xff\x00").startswith("data:image/jpeg;base64,")
    with pytest.raises(ValueError, match="PNG or JPEG"):
        picture(b"<svg/>")
