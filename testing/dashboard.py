"""The stack's dashboard: its body as CloudWatch gets it, and the metrics of each widget. Pure: no I/O."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from testing.stack import Stack

_SEARCH = re.compile(r"SEARCH\('\{([^}]*)\} MetricName=\"(\w+)\" service=\"([^\"]*)\"', '(\w+)'\)")


@dataclass(frozen=True)
class Shown:
    """One metric of a widget; `options` are its line's, or the widget's if the line has none."""

    widget: str
    namespace: str
    name: str
    dimensions: Mapping[str, str]
    options: Mapping[str, Any]


def dashboard_of(stack: Stack) -> dict[str, Any]:
    """Return the dashboard's body, as CloudWatch gets it. Raises ValueError if it is not JSON."""
    ((_, dashboard),) = stack.of_type("AWS::CloudWatch::Dashboard").items()
    body: dict[str, Any] = json.loads(stack.resolve(dashboard["Properties"]["DashboardBody"]))
    return body


def shown_by(widget: Mapping[str, Any]) -> Iterator[Shown]:
    """Yield the metrics of a widget; a search is the one metric that it finds, its open dimensions empty."""
    properties = widget["properties"]
    before: list[str] = []
    for line in properties.get("metrics", []):
        options = line[-1] if isinstance(line[-1], dict) else {}
        names = [part for part in line if isinstance(part, str)]
        if expression := options.get("expression"):
            for schema, name, service, stat in _SEARCH.findall(expression):
                namespace, *dimensions = schema.split(",")
                values = dict.fromkeys(dimensions, "") | {"service": service}
                yield Shown(properties["title"], namespace, name, values, {**options, "stat": stat})
            continue
        if names[0] == "...":
            names = before[: len(before) - len(names) + 1] + names[1:]
        before = names
        namespace, name, *rest = names
        values = dict(zip(rest[::2], rest[1::2], strict=True))
        yield Shown(properties["title"], namespace, name, values, {"stat": properties.get("stat")} | options)
