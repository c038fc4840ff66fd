"""Figures as CloudWatch keeps them: a metric's value at a time. Pure."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Sample:
    """One value. `at` is in seconds since the run began."""

    at: float
    namespace: str
    name: str
    dimensions: Mapping[str, str]
    value: float


def samples_of(line: Mapping[str, Any], began_at: float) -> list[Sample]:
    """Return the figures that a line in the embedded metric format holds; none for any other line.

    `began_at` is in seconds since the epoch.
    """
    about = line.get("_aws", {})
    found = []
    for directive in about.get("CloudWatchMetrics", []):
        for names in directive["Dimensions"]:
            dimensions = {name: str(line[name]) for name in names}
            for metric in directive["Metrics"]:
                values = line[metric["Name"]]
                for value in values if isinstance(values, list) else [values]:
                    at = about["Timestamp"] / 1000 - began_at
                    found.append(Sample(at, directive["Namespace"], metric["Name"], dimensions, float(value)))
    return found


def statistic(stat: str, values: Sequence[float]) -> float | None:
    """Return one of CloudWatch's statistics (Sum, p99, ...) of the values of a period; None without values.

    Raises ValueError for an unknown statistic.
    """
    if not values:
        return None
    if stat.startswith("p"):
        ordered = sorted(values)
        return ordered[max(0, math.ceil(float(stat[1:]) / 100 * len(ordered)) - 1)]
    functions = {"Sum": math.fsum, "Maximum": max, "Minimum": min, "SampleCount": len, "Average": _average}
    if stat not in functions:
        raise ValueError(f"no statistic: {stat}")
    return float(functions[stat](values))  # type: ignore[operator]


def series(samples: Iterable[Sample], stat: str, seconds: float, periods: int) -> list[float | None]:
    """Return the statistic for each period of the run."""
    buckets: list[list[float]] = [[] for _ in range(periods)]
    for sample in samples:
        buckets[min(periods - 1, max(0, int(sample.at / seconds * periods)))].append(sample.value)
    return [statistic(stat, bucket) for bucket in buckets]


def _average(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)
