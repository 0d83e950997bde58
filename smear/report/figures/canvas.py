"""The canvas of every figure: colours and type of the page, and SVG text that loads nothing (matplotlib without its global state)."""

import io
from collections.abc import Callable

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

INK, QUIET, RULE = "#26241f", "#6f6b63", "#e4e0d8"
ACCENT = "#00619a"
COLOURS = ("#00785a", "#8a8378", "#9a6a00", "#a8507f", "#00619a")  # white cells, red cells and platelets as in the annotated fields
LINES = ("-", "--", "-.", ":")
FONTS = "Inter, 'Source Sans 3', 'Segoe UI', 'Helvetica Neue', Arial, 'DejaVu Sans', sans-serif"  # those of the page
MARGINS = (0.56, 0.46, 0.14, 0.08)  # inches left, below, right, above the axes: room for the labels
SETTINGS = {
    "svg.hashsalt": "leukofield",
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 9,
    "text.color": INK,
    "axes.edgecolor": RULE,
    "axes.labelcolor": QUIET,
    "xtick.color": QUIET,
    "ytick.color": QUIET,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
}
NO_METADATA = {"Date": None, "Creator": None, "Format": None, "Type": None}  # keeps the file the same from run to run

Margins = tuple[float, float, float, float]


def one_figure(paint: Callable[[Axes], None], size_inches: tuple[float, float], margins: Margins = MARGINS) -> str:
    """SVG text of one pair of axes: the same for the same strokes; it loads nothing and its words stay text.

    Args:
        paint: draws on the empty axes. size_inches: width and height of the figure. margins: as `MARGINS`.
    """
    (width, height), (left, below, right, above) = size_inches, margins
    place = (left / width, below / height, 1 - (left + right) / width, 1 - (below + above) / height)
    return several(lambda figure: paint(plain_axes(figure, place)), size_inches)


def several(paint: Callable[[Figure], None], size_inches: tuple[float, float]) -> str:
    """As `one_figure`, for a figure whose axes `paint` adds itself, by `plain_axes`."""
    with mpl.rc_context(SETTINGS):
        figure = Figure(figsize=size_inches)
        FigureCanvasSVG(figure)
        paint(figure)
        sink = io.StringIO()
        figure.savefig(sink, format="svg", metadata=NO_METADATA, transparent=True)
    text = sink.getvalue().replace("'DejaVu Sans', sans-serif", FONTS).replace("'DejaVu Sans'", FONTS)
    return text[text.index("<svg") :]


def plain_axes(figure: Figure, place: Margins) -> Axes:
    """Axes with a quiet grid behind what is drawn; `place`: left, bottom, width, height as shares of the figure."""
    axes = figure.add_axes(place)
    axes.grid(color=RULE, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(length=0)
    return axes
