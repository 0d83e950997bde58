"""Fields of cells as the audit meets them: textured, with noise, no two alike."""

from collections.abc import Callable
from typing import Any

import pytest


@pytest.fixture(scope="session")
def paint(paint_cells: Callable[..., Any]) -> Callable[..., Any]:
    return paint_cells
