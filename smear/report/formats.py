"""How the page writes numbers: a share is never rounded to none or all, an unknown is a dash, a picture is a data URI."""

import base64
import json
from typing import Any

UNKNOWN = "–"
THIN_SPACE = "\u202f"
SIGNATURES = {b"\x89PNG": "image/png", b"\xff\xd8\xff": "image/jpeg"}


def percent(value: float | None, digits: int = 0) -> str:
    """A share as per cent; one that is not quite 0 or 1 is never rounded to it."""
    if value is None:
        return UNKNOWN
    step = 10.0**-digits
    if 0 < value < step / 2 / 100:
        return f"< {step:.{digits}f} %"
    if 1 - step / 2 / 100 <= value < 1:
        return f"> {100 - step:.{digits}f} %"
    return f"{100 * value:.{digits}f} %"


def bound(value: float | None) -> str:
    """The end of an interval as per cent, with a decimal where it is within 1 % of none or all."""
    return percent(value, 1 if value is not None and (0 < value < 0.01 or 0.99 < value < 1) else 0)


def number(value: float | None, digits: int = 0) -> str:
    """A number with thin spaces between thousands."""
    return UNKNOWN if value is None else f"{value:,.{digits}f}".replace(",", THIN_SPACE)


def signed(value: float | None, digits: int = 3) -> str:
    """A change, with its sign; one that rounds to nothing has none."""
    if value is None:
        return UNKNOWN
    text = f"{abs(value):.{digits}f}"
    return f"±{text}" if float(text) == 0 else f"{'+' if value > 0 else '−'}{text}"


def ratio(value: float | None) -> str:
    """White cells per red cell as 1 : n."""
    return UNKNOWN if not value else f"1 : {1 / value:.0f}" if value < 0.1 else f"1 : {1 / value:.1f}"


def plural(n: int, noun: str) -> str:
    """1 field, 2 fields."""
    return f"{number(n)} {noun}{'' if n == 1 else 's'}"


def words(key: str) -> str:
    """A key of the metrics as a reader sees it: `white_recall` is white recall."""
    return key.replace("_", " ")


def picture(data: bytes) -> str:
    """PNG or JPEG bytes as a data URI.

    Raises:
        ValueError: they are neither.
    """
    kind = next((mime for start, mime in SIGNATURES.items() if data.startswith(start)), None)
    if kind is None:
        raise ValueError("a gallery picture must be PNG or JPEG bytes")
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def figure(svg: str) -> str:
    """An SVG text as a data URI."""
    return f"data:image/svg+xml;base64,{base64.b64encode(svg.encode()).decode()}"


def pretty(value: Any) -> str:
    """Indented JSON."""
    return json.dumps(value, indent=2, ensure_ascii=False)


FILTERS = {f.__name__: f for f in (percent, bound, number, signed, ratio, plural, words, picture, figure, pretty)}
