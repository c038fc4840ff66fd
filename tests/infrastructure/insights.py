"""As much of CloudWatch Logs Insights as the saved queries use: fields, filter, stats, sort, limit. Pure.

https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/CWL_QuerySyntax.html
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

Row = dict[str, Any]

_NAME = r"@?[A-Za-z_][A-Za-z0-9_.]*"
_COMPARISON = re.compile(rf'({_NAME}) = "([^"]*)"')
_AGGREGATE = re.compile(rf"(count|latest)\((\*|{_NAME})\) as ({_NAME})")


def flat(line: Mapping[str, Any], prefix: str = "") -> Row:
    """Return a log line's fields as Insights discovers them in JSON: nested ones with dots between."""
    row: Row = {}
    for name, value in line.items():
        if isinstance(value, dict):
            row |= flat(value, f"{prefix}{name}.")
        else:
            row[prefix + name] = value
    return row


def rows_of(lines: Iterable[Mapping[str, Any]]) -> list[Row]:
    """Return log lines as rows; their order is their time."""
    return [flat(line) | {"@timestamp": number} for number, line in enumerate(lines)]


def names_in(query: str) -> set[str]:
    """Return the fields that a query reads, without those that it makes."""
    names: set[str] = set()
    made: set[str] = set()
    for command, rest in _commands(query):
        if command == "fields":
            names |= set(_list(rest))
        elif command == "filter":
            names |= {name for name, _ in _COMPARISON.findall(rest)}
        elif command == "stats":
            names |= {name for _, name, _ in _AGGREGATE.findall(rest)} - {"*"}
            names |= set(_list(rest.partition(" by ")[2]))
            made |= {name for _, _, name in _AGGREGATE.findall(rest)}
        elif command == "sort":
            names.add(rest.split()[0])
    return names - made


def run(query: str, rows: Sequence[Row]) -> list[Row]:
    """Return what a query answers. Raises ValueError for what is not understood."""
    found = list(rows)
    shown: list[str] | None = None
    for command, rest in _commands(query):
        if command == "fields":
            shown = _list(rest)
        elif command == "filter":
            keep = _condition(rest)
            found = [row for row in found if keep(row)]
        elif command == "stats":
            found = _stats(rest, found)
        elif command == "sort":
            name, order = rest.split()
            found.sort(key=lambda row: (row.get(name) is not None, row.get(name)), reverse=order == "desc")
        else:
            found = found[: int(rest)]
    return found if shown is None else [{name: row.get(name) for name in shown} for row in found]


def _commands(query: str) -> list[tuple[str, str]]:
    commands = []
    for part in query.strip().split("\n| "):
        command, _, rest = part.strip().partition(" ")
        if command not in ("fields", "filter", "stats", "sort", "limit"):
            raise ValueError(f"no command: {part!r}")
        commands.append((command, rest))
    return commands


def _list(text: str) -> list[str]:
    names = [name.strip() for name in text.split(",") if name.strip()]
    if strange := [name for name in names if not re.fullmatch(_NAME, name)]:
        raise ValueError(f"no fields: {strange}")
    return names


def _condition(text: str) -> Callable[[Row], bool]:
    if " or " in text and " and " in text:
        raise ValueError("which binds closer is not for a reader to guess")
    parts = re.split(r" (?:and|or) ", text)
    comparisons = [_COMPARISON.fullmatch(part.strip()) for part in parts]
    if None in comparisons:
        raise ValueError(f"no condition: {text!r}")
    pairs = [(each[1], each[2]) for each in comparisons if each]
    quantifier = any if " or " in text else all
    return lambda row: quantifier(str(row.get(name)) == value for name, value in pairs)


def _stats(text: str, rows: Sequence[Row]) -> list[Row]:
    aggregates, _, by = text.partition(" by ")
    wanted = [_AGGREGATE.fullmatch(part.strip()) for part in re.split(r",(?![^(]*\))", aggregates)]
    if None in wanted:
        raise ValueError(f"no aggregates: {aggregates!r}")
    groups: dict[tuple[Any, ...], list[Row]] = {}
    names = _list(by)
    for row in rows:
        groups.setdefault(tuple(row.get(name) for name in names), []).append(row)
    answer = []
    for key, members in groups.items():
        one = dict(zip(names, key, strict=True))
        for each in wanted:
            assert each is not None
            one[each[3]] = len(members) if each[1] == "count" else max(members, key=_time).get(each[2])
        answer.append(one)
    return answer


def _time(row: Row) -> Any:
    return row["@timestamp"]
