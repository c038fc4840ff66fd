"""A dashboard's body and a run's figures as one SVG, by matplotlib. The same input gives the same text.

Each widget lies on a card of its own with an opaque ground, so that the picture can be read on a light and on a dark
page. A widget without figures from a local run says so.
"""

import io
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch, Patch
from matplotlib.ticker import EngFormatter, FuncFormatter, MaxNLocator
from matplotlib.transforms import IdentityTransform

from benchmarks.dashboard.lines import PERIODS, Line, lines_of
from benchmarks.dashboard.samples import Sample

UNIT_X, UNIT_Y, GAP, HEAD = 50, 25, 6, 34
"""Pixels: a column and a row of CloudWatch's grid, the gap between cards, the head above them."""
MARGIN, TITLE, LEGEND_ROW, LABELS, TICKS = 14, 32, 15, 28, 20
"""Pixels within a card: left and right, above the legend, of each row of it, left of the graph, below it."""
PIXELS = IdentityTransform()
"""An SVG has 72 dots an inch, so that points and pixels are the same."""
ALARMS_A_ROW = 7
LONG_LABEL = 15
INKS = ("#1f77b4", "#d9730d", "#2a9d4a", "#c0392b", "#7a52b3", "#8c6239", "#c2418f", "#5f6b76", "#9a8b00", "#148f9e")
TEXT, SOFT, GROUND, EDGE, GRID = "#1f2328", "#59636e", "#ffffff", "#c4ccd4", "#e6eaee"
STYLE: Any = {
    "svg.fonttype": "none",  # text stays text: it can be searched, and tests read it
    "svg.hashsalt": "git2efs",  # else every picture has other ids
    "text.parse_math": False,  # a repository's name may have dollars
    "font.family": ["DejaVu Sans", "sans-serif"],  # matplotlib brings the first: the same layout on every machine
    "font.size": 10,
    "text.color": TEXT,
    "axes.edgecolor": EDGE,
    "axes.spines.top": False,
    "axes.spines.left": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "xtick.color": EDGE,
    "xtick.labelcolor": SOFT,
    "xtick.labelsize": 9,
    "ytick.labelcolor": SOFT,
    "ytick.labelsize": 9,
    "ytick.major.size": 0,
    "lines.linewidth": 1.6,
    "legend.frameon": False,
    "legend.fontsize": 10,
    "legend.borderpad": 0,
    "legend.borderaxespad": 0,
    "legend.handlelength": 0.9,
    "legend.handleheight": 0.9,
    "legend.handletextpad": 0.4,
    "legend.columnspacing": 1.2,
    "legend.labelspacing": 0.3,
}


class _Card:
    """A widget's place on the figure. Points are in pixels from the card's upper left corner."""

    def __init__(self, figure: Figure, x: float, y: float, width: float, height: float) -> None:
        """Draw the empty card."""
        self.figure, self.width, self.height = figure, width, height
        self._x, self._y = x, y
        corner = self.place(GAP / 2, height - GAP / 2)
        box = FancyBboxPatch(corner, width - GAP, height - GAP, "round,pad=0,rounding_size=6", transform=PIXELS)
        box.set(facecolor=GROUND, edgecolor=EDGE, zorder=-1)
        figure.add_artist(box)

    def place(self, x: float, y: float) -> tuple[float, float]:
        """Return a point in the figure's own pixels, which count from the bottom."""
        return self._x + x, self.figure.get_figheight() * 72 - self._y - y

    def text(self, x: float, y: float, text: str, **style: Any) -> None:
        """Write a text."""
        self.figure.text(*self.place(x, y), text, transform=PIXELS, **({"va": "center_baseline"} | style))

    def axes(self, top: float, right: float) -> Axes:
        """Return a graph's axes below `top`, and so far from the card's right edge."""
        left, bottom = self.place(MARGIN + LABELS, self.height - GAP / 2 - TICKS)
        width = self.width - MARGIN - LABELS - right
        height = self.place(0, top)[1] - bottom
        full_width, full_height = self.figure.get_size_inches() * 72
        return self.figure.add_axes((left / full_width, bottom / full_height, width / full_width, height / full_height))


def draw(body: Mapping[str, Any], samples: Sequence[Sample], seconds: float) -> str:
    """Return the picture of the dashboard `body`, filled with the figures of a run of so many seconds."""
    widgets = body["widgets"]
    width = max(each["x"] + each["width"] for each in widgets) * UNIT_X
    height = max(each["y"] + each["height"] for each in widgets) * UNIT_Y + HEAD
    caption = f"git2efs, Delivery=queued: {seconds:.0f} s on one machine, {seconds / PERIODS:.0f} s a point"
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(width / 72, height / 72), facecolor="none")
        head = _Card(figure, 0, 0, width, HEAD)
        head.text(MARGIN, HEAD / 2, caption, size=13, weight="bold")
        source = "the template's dashboard, drawn by python -m benchmarks.dashboard"
        head.text(width - MARGIN, HEAD / 2, source, color=SOFT, ha="right")
        for widget in widgets:
            x, y = widget["x"] * UNIT_X, widget["y"] * UNIT_Y + HEAD
            card = _Card(figure, x, y, widget["width"] * UNIT_X, widget["height"] * UNIT_Y)
            _fill(card, widget, samples, seconds)
        picture = io.StringIO()
        # The date and matplotlib's version would make each picture another one.
        figure.savefig(picture, format="svg", metadata={"Date": None, "Creator": None, "Title": caption})
    return picture.getvalue()


def _fill(card: _Card, widget: Mapping[str, Any], samples: Sequence[Sample], seconds: float) -> None:
    properties = widget["properties"]
    card.text(MARGIN, 19, properties["title"], size=12, weight="bold")
    if widget["type"] == "alarm":
        _alarms(card, properties["alarms"])
    elif lines := lines_of(widget, samples, seconds):
        _graph(card, lines, seconds, bool(properties.get("stacked")))
    else:
        card.text(card.width / 2, card.height / 2 + 4, "measured by AWS, not in a local run", color=SOFT, ha="center")


def _alarms(card: _Card, arns: Sequence[str]) -> None:
    column = (card.width - 2 * MARGIN) / ALARMS_A_ROW
    pill = {"boxstyle": "round,pad=0.45,rounding_size=0.9", "facecolor": GRID, "edgecolor": EDGE}
    for number, arn in enumerate(arns):
        row, at = divmod(number, ALARMS_A_ROW)
        name = arn.strip("<>").removesuffix(".Arn").removesuffix("Alarm")
        card.text(MARGIN + at * column + 5, 42 + 20 * row, name, color=SOFT, size=9, va="center", bbox=pill)


def _figure(value: float, _: int | None = None) -> str:
    """Return 0.4 as it is, and 4000 as 4k."""
    return f"{value:g}" if abs(value) < 1000 else EngFormatter(sep="")(value)


def _graph(card: _Card, lines: Sequence[Line], seconds: float, is_stacked: bool) -> None:
    columns = 3 if any(len(line.label) > LONG_LABEL for line in lines) else 4
    rows = -(-len(lines) // columns)
    has_right = any(line.is_right for line in lines)
    left = card.axes(TITLE + LEGEND_ROW * rows + 6, MARGIN + (LABELS if has_right else 6))
    right = left.twinx() if has_right else left
    times = [(period + 0.5) * seconds / PERIODS for period in range(PERIODS)]
    inks = [INKS[number % len(INKS)] for number in range(len(lines))]
    if is_stacked:
        left.stackplot(times, *[[value or 0.0 for value in line.values] for line in lines], colors=inks)
    else:
        for line, ink in zip(lines, inks, strict=True):
            known = [(at, value) for at, value in zip(times, line.values, strict=True) if value is not None]
            marker = "o" if len(known) == 1 else ""
            axes = right if line.is_right else left
            axes.plot(*zip(*known, strict=True), color=ink, marker=marker, markersize=4, clip_on=False, zorder=3)
    for axes in {left: None, right: None}:
        if not axes.has_data():
            axes.set(xlim=(0, seconds), yticks=[])
            continue
        ticks = MaxNLocator(nbins=3, steps=[1, 2, 4, 5, 10]).tick_values(0, axes.dataLim.ymax or 1.0)
        axes.set(xlim=(0, seconds), ylim=(0, ticks[-1]), yticks=ticks)
        axes.yaxis.set_major_formatter(FuncFormatter(_figure))
    left.xaxis.set_major_locator(MaxNLocator(nbins=6, steps=[1, 2, 5, 10]))
    left.xaxis.set_major_formatter(EngFormatter(unit="s", sep=" "))
    left.grid(axis="y")
    left.legend(
        handles=[Patch(color=ink, label=line.label) for line, ink in zip(lines, inks, strict=True)],
        loc="upper left",
        bbox_to_anchor=card.place(MARGIN, TITLE),
        bbox_transform=PIXELS,
        ncols=columns,
    )
