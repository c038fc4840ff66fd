"""The lines that a widget shows of a run's figures. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from benchmarks.dashboard.samples import Sample, series
from testing.dashboard import Shown, shown_by

PERIODS = 30
"""The number of points in a line."""


@dataclass(frozen=True)
class Line:
    """One line of a graph: its label, its value in each period, and which axis it belongs to."""

    label: str
    values: Sequence[float | None]
    is_right: bool


def lines_of(widget: Mapping[str, Any], samples: Sequence[Sample], seconds: float) -> list[Line]:
    """Return a widget's lines, those without a value left out; `seconds` is how long the run was."""
    lines = [line for shown in shown_by(widget) for line in _lines(shown, samples, seconds)]
    return [line for line in lines if any(value is not None for value in line.values)]


def _lines(shown: Shown, samples: Sequence[Sample], seconds: float) -> Iterator[Line]:
    """Yield a line for each combination of values of the dimensions that a search leaves open."""
    of_metric = [each for each in samples if (each.namespace, each.name) == (shown.namespace, shown.name)]
    fixed = {name: value for name, value in shown.dimensions.items() if value}
    matching = [each for each in of_metric if fixed.items() <= each.dimensions.items()]
    is_right = shown.options.get("yAxis") == "right"

    def key(sample: Sample) -> str:
        return " ".join(sample.dimensions[name] for name in shown.dimensions if name not in fixed)

    for label, members in groupby(sorted(matching, key=key), key):
        values = series(members, str(shown.options["stat"]), seconds, PERIODS)
        yield Line(label or str(shown.options.get("label", shown.name)), values, is_right)
