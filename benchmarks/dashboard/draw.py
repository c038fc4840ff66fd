"""A dashboard's body and figures, as one SVG. Pure; the same input gives the same text.

Each widget lies on a card of its own with an opaque ground, so that the picture can be read on a light and on a dark
page. A widget of which a local run has no figures says so.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any
from xml.sax.saxutils import escape

from benchmarks.dashboard.samples import Sample, series
from testing.dashboard import Shown, shown_by

UNIT_X, UNIT_Y, GAP, HEAD = 50, 25, 6, 34
"""Pixels: of a column and a row of CloudWatch's grid, between cards, and above them all."""
PERIODS = 30
INKS = ("#1f77b4", "#d9730d", "#2a9d4a", "#c0392b", "#7a52b3", "#8c6239", "#c2418f", "#5f6b76", "#9a8b00", "#148f9e")
TEXT, SOFT, GROUND, EDGE, GRID = "#1f2328", "#59636e", "#ffffff", "#c4ccd4", "#e6eaee"


@dataclass(frozen=True)
class Line:
    """One line of a graph: its label, its values by period, and which axis it belongs to."""

    label: str
    values: list[float | None]
    is_right: bool


def draw(body: Mapping[str, Any], samples: Sequence[Sample], seconds: float) -> str:
    """Return the picture of the dashboard `body`, filled with the figures of a run of so many seconds."""
    widgets = body["widgets"]
    width = max(each["x"] + each["width"] for each in widgets) * UNIT_X
    height = max(each["y"] + each["height"] for each in widgets) * UNIT_Y + HEAD
    caption = f"git2efs, Delivery=queued: {seconds:.0f} s on one machine, {seconds / PERIODS:.0f} s a point"
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        'font-family="-apple-system,Segoe UI,Helvetica,Arial,sans-serif" role="img">',
        f"<title>{escape(caption)}</title>",
        _card(0, 0, width, HEAD),
        _text(12, 22, caption, TEXT, 14, "600"),
        _text(width - 12, 22, "the template's dashboard, drawn by python -m benchmarks.dashboard", SOFT, 11, end=True),
    ]
    for widget in widgets:
        parts += _widget(widget, samples, seconds)
    return "\n".join([*parts, "</svg>", ""])


def _widget(widget: Mapping[str, Any], samples: Sequence[Sample], seconds: float) -> list[str]:
    x, y = widget["x"] * UNIT_X, widget["y"] * UNIT_Y + HEAD
    width, height = widget["width"] * UNIT_X, widget["height"] * UNIT_Y
    properties = widget["properties"]
    parts = [_card(x, y, width, height), _text(x + 14, y + 23, properties["title"], TEXT, 13, "600")]
    if widget["type"] == "alarm":
        return parts + _alarms(properties["alarms"], x + 14, y + 34, width - 28)
    lines = [line for shown in shown_by(widget) for line in _lines(shown, samples, seconds)]
    lines = [line for line in lines if any(value is not None for value in line.values)]
    if not lines:
        return [
            *parts,
            _text(x + width / 2, y + height / 2 + 8, "measured by AWS, not in a local run", SOFT, 12, mid=True),
        ]
    return parts + _graph(lines, x + 14, y + 34, width - 28, height - 44, bool(properties.get("stacked")))


def _lines(shown: Shown, samples: Sequence[Sample], seconds: float) -> Iterable[Line]:
    of_metric = [each for each in samples if (each.namespace, each.name) == (shown.namespace, shown.name)]
    fixed = {name: value for name, value in shown.dimensions.items() if value}
    matching = [each for each in of_metric if fixed.items() <= each.dimensions.items()]
    is_right = shown.options.get("yAxis") == "right"

    def key(sample: Sample) -> str:
        return " ".join(sample.dimensions[name] for name in shown.dimensions if name not in fixed)

    for label, members in groupby(sorted(matching, key=key), key):
        values = series(members, str(shown.options["stat"]), seconds, PERIODS)
        yield Line(label or str(shown.options.get("label", shown.name)), values, is_right)


def _graph(lines: list[Line], x: float, y: float, width: float, height: float, is_stacked: bool) -> list[str]:
    parts, used = _legend(lines, x, y, width)
    top, left, right = y + used + 8, x + 34, x + width - (34 if any(line.is_right for line in lines) else 4)
    bottom = y + height - 2
    if is_stacked:
        lines = _stacked(lines)
    for is_right in (False, True):
        axis = [line for line in lines if line.is_right is is_right]
        if not axis:
            continue
        most = _nice(max(value for line in axis for value in line.values if value is not None))
        edge = right + 4 if is_right else left - 4
        parts += [
            _text(edge, at, label, SOFT, 10, end=not is_right) for at, label in ((top + 4, _short(most)), (bottom, "0"))
        ]
        if not is_right:
            parts += [_rule(left, right, top + (bottom - top) * part / 2) for part in range(3)]
        for line in reversed(axis):
            ink = INKS[lines.index(line) % len(INKS)]
            points = [
                (left + (right - left) * at / (PERIODS - 1), bottom - (bottom - top) * value / most)
                for at, value in enumerate(line.values)
                if value is not None
            ]
            parts.append(_area(points, bottom, ink) if is_stacked else _path(points, ink))
    return parts


def _stacked(lines: list[Line]) -> list[Line]:
    """Return the lines each on top of those before it; what is missing counts as nothing."""
    below = [0.0] * PERIODS
    stacked = []
    for line in lines:
        below = [low + (value or 0.0) for low, value in zip(below, line.values, strict=True)]
        stacked.append(Line(line.label, list(below), line.is_right))
    return stacked


def _legend(lines: list[Line], x: float, y: float, width: float) -> tuple[list[str], float]:
    """Return the legend, and how high it is."""
    parts, at, row = [], 0.0, 0
    for number, line in enumerate(lines):
        needed = 6.1 * len(line.label) + 26
        if at + needed > width and at:
            at, row = 0.0, row + 1
        top = y + row * 15
        parts.append(
            f'<rect x="{x + at:.1f}" y="{top:.1f}" width="9" height="9" rx="2" fill="{INKS[number % len(INKS)]}"/>'
        )
        parts.append(_text(x + at + 13, top + 9, line.label, TEXT, 11))
        at += needed
    return parts, row * 15 + 12


def _alarms(arns: Sequence[str], x: float, y: float, width: float) -> list[str]:
    parts, at, row = [], 0.0, 0
    for arn in arns:
        name = arn.strip("<>").removesuffix(".Arn").removesuffix("Alarm")
        needed = 6.6 * len(name) + 18
        if at + needed > width:
            at, row = 0.0, row + 1
        top = y + row * 20
        shape = f'<rect x="{x + at:.1f}" y="{top:.1f}" width="{needed - 6:.1f}" height="16" rx="8" '
        parts += [shape + f'fill="{GRID}" stroke="{EDGE}"/>', _text(x + at + 6, top + 12, name, SOFT, 11)]
        at += needed
    return parts


def _card(x: float, y: float, width: float, height: float) -> str:
    place = f'x="{x + GAP / 2:g}" y="{y + GAP / 2:g}" width="{width - GAP:g}" height="{height - GAP:g}"'
    return f'<rect {place} rx="6" fill="{GROUND}" stroke="{EDGE}"/>'


def _text(
    x: float, y: float, text: str, ink: str, size: int, weight: str = "", *, end: bool = False, mid: bool = False
) -> str:
    anchor = ' text-anchor="end"' if end else ' text-anchor="middle"' if mid else ""
    bold = f' font-weight="{weight}"' if weight else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" fill="{ink}" font-size="{size}"{bold}{anchor}>{escape(text)}</text>'


def _rule(left: float, right: float, y: float) -> str:
    return f'<path d="M{left:.1f} {y:.1f}H{right:.1f}" stroke="{GRID}"/>'


def _path(points: Sequence[tuple[float, float]], ink: str) -> str:
    if len(points) == 1:
        return f'<circle cx="{points[0][0]:.1f}" cy="{points[0][1]:.1f}" r="2.5" fill="{ink}"/>'
    return f'<path d="M{_joined(points)}" fill="none" stroke="{ink}" stroke-width="1.6" stroke-linejoin="round"/>'


def _area(points: Sequence[tuple[float, float]], bottom: float, ink: str) -> str:
    return f'<path d="M{points[0][0]:.1f} {bottom:.1f}L{_joined(points)}V{bottom:.1f}Z" fill="{ink}"/>'


def _joined(points: Sequence[tuple[float, float]]) -> str:
    return "L".join(f"{x:.1f} {y:.1f}" for x, y in points)


def _nice(most: float) -> float:
    """Return a round number that is not below `most`."""
    if most <= 0:
        return 1.0
    power = 10.0 ** (len(f"{int(most)}") - 1) if most >= 1 else 0.1
    return next(step * power for step in (1, 1.5, 2, 3, 4, 5, 6, 8, 10) if step * power >= most)


def _short(value: float) -> str:
    for bound, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= bound:
            return f"{value / bound:g}{unit}"
    return f"{value:g}"
