"""Render a command's content for people: aligned tables, and colours on a terminal. Pure: text in, text out.

It needs the content alone, which may come from a deployed function. A repository chooses its paths and refs, and could
hide control sequences in them: only printable characters reach the terminal.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import chain
from math import isfinite
from typing import Any

_RED, _YELLOW, _GREEN, _PLAIN = "\x1b[31m", "\x1b[33m", "\x1b[32m", "\x1b[0m"
_COLOURS = {
    **dict.fromkeys(("current", "published", "unchanged", "ok", "repaired"), _GREEN),
    **dict.fromkeys(("put", "replaced", "made", "updated"), _GREEN),
    **dict.fromkeys(
        ("held", "behind", "retiring", "unknown", "ignored", "left over", "unpublished", "no ref"), _YELLOW
    ),
    **dict.fromkeys(("failed", "wrong", "drifted", "set_aside", "rejected"), _RED),
}
_HEAD = ("PATH", "COMMIT", "SINCE", "STATE", "CONFIRMED", "PREVIOUS", "RELEASES", "FILES", "SIZE")
_MARKS = {"ok": "ok     ", "wrong": "WRONG  ", "unknown": "unknown"}

Row = Sequence[str]


def render(content: Mapping[str, Any], *, now: float, has_colours: bool) -> str:
    """Return the content as lines of text. `now` is in seconds since the epoch.

    Raises LookupError, TypeError, ValueError, AttributeError or ArithmeticError where the content has another shape: a
    function of another version may have made it.
    """
    if "reason" in content and "detail" in content:
        failed = plain(f"{content.get('action') or 'operate'}: {content['reason']}: {content['detail']}")
        lines: Iterator[str] = chain(_steps(content.get("steps", ()), has_colours=has_colours), [failed])
    elif "checks" in content:
        lines = _checks(content["checks"], has_colours=has_colours)
    elif "steps" in content:
        lines = _steps(content["steps"], has_colours=has_colours)
    elif "repositories" in content:
        lines = _status(content, now, has_colours=has_colours)
    else:
        lines = _outcomes(content.get("targets", []), has_colours=has_colours)
    return "".join(f"{line}\n" for line in lines)


def _status(content: Mapping[str, Any], now: float, *, has_colours: bool) -> Iterator[str]:
    rows = [_row(target, now) for repository in content["repositories"] for target in repository["targets"]]
    if rows:
        yield from _table([_HEAD, *rows], 3, has_colours=has_colours)
    else:
        yield "No target is configured, and none is published."
    for repository in content["repositories"]:
        for problem in repository["problems"]:
            yield f"{plain(repository['repository'])}: {plain(problem)}"
        for target in repository["targets"]:
            yield from (f"{plain(target['path'])}: {plain(each)}" for each in _remarks(target, now))
        if repository["mirror"] and repository["mirror"]["files"]:
            size = _size(repository["mirror"]["bytes"])
            confirmed = repository["confirmed_at"]
            asked = f"; last confirmed {_ago(now, confirmed)}" if confirmed else ""
            yield f"{plain(repository['repository'])}: mirror of {size}{asked}"
    yield from map(plain, content["problems"])


def _row(target: Mapping[str, Any], now: float) -> Row:
    disk = target["disk"]
    return (
        plain(target["path"]),
        _short(target["commit"]),
        _ago(now, target["since"]) if target["commit"] else "-",
        plain(target["state"]),
        _ago(now, target["confirmed_at"]),
        _short(target["previous_commit"]),
        _releases(target["releases"], now),
        f"{disk['files']:,}" if disk else "-",
        _size(disk["bytes"]) if disk else "-",
    )


def _releases(releases: Sequence[Mapping[str, Any]], now: float) -> str:
    """Return how many releases there are, and how long ago the latest retired ones were replaced."""
    kept = [_ago(now, each["retired_at"]).removesuffix(" ago") for each in releases if not each["is_current"]]
    more = ", ..." if len(kept) > 3 else ""
    return f"{len(releases)} ({', '.join(kept[:3])}{more})" if kept else str(len(releases))


def _remarks(target: Mapping[str, Any], now: float) -> Iterator[str]:
    held = target["held"]
    if held:
        who = f" by {held['by']}" if held["by"] else ""
        why = f": {held['why']}" if held["why"] else ""
        yield f"held {_ago(now, held['since'])}{who}{why}"
    if target["tip"] and target["tip"] != target["commit"]:
        yield f"{target['ref']} names {_short(target['tip'])}"
    yield from target["problems"]


def _checks(checks: Sequence[Mapping[str, Any]], *, has_colours: bool) -> Iterator[str]:
    for each in checks:
        verdict = str(each["verdict"])
        mark = _coloured(_MARKS.get(verdict, plain(verdict)), verdict, has_colours=has_colours)
        yield f"{mark}  {plain(each['name'])}: {plain(each['found'])}"
        if each["todo"]:
            yield f"         -> {plain(each['todo'])}"


def _steps(steps: Sequence[Mapping[str, Any]], *, has_colours: bool) -> Iterator[str]:
    rows = [tuple(plain(each[name]) for name in ("step", "done", "name")) for each in steps]
    if rows:
        yield from _table(rows, 1, has_colours=has_colours)


def _outcomes(targets: Sequence[Mapping[str, Any]], *, has_colours: bool) -> Iterator[str]:
    if not targets:
        yield "There was nothing to do: no target."
        return
    rows = []
    for each in targets:
        before, after = each.get("previous_commit"), each.get("commit")
        change = f"{_short(before)} -> {_short(after)}" if before != after else _short(after)
        rows.append((plain(each["path"] or each["ref"]), plain(each["outcome"]), plain(each["reason"]), change))
    yield from _table(rows, 1, has_colours=has_colours)
    for each in targets:
        if each.get("detail"):
            yield f"{plain(each['path'] or each['ref'])}: {plain(each['detail'])}"
        yield from (f"  {plain(note)}" for note in each.get("notes", ()))
        if each["reason"] in ("rolled_back", "held"):
            yield f"{plain(each['path'])}: held there; `resume {plain(each['path'])}` publishes what its ref names"


def _table(rows: Sequence[Row], coloured: int, *, has_colours: bool) -> Iterator[str]:
    """Yield the rows with aligned columns. Column number `coloured` holds the word that decides its colour."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        cells[coloured] = _coloured(cells[coloured], row[coloured], has_colours=has_colours)
        yield "  ".join(cells).rstrip()


def _coloured(text: str, word: str, *, has_colours: bool) -> str:
    colour = _COLOURS.get(word)
    return f"{colour}{text}{_PLAIN}" if has_colours and colour else text


def plain(value: object) -> str:
    """Return the value as text without control characters, on which a terminal would act."""
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in str(value))


def _short(commit: object) -> str:
    return plain(commit)[:12] if commit else "-"


def _ago(now: float, at: object) -> str:
    """Return how long ago `at` was, in one unit; `-` where it is no time."""
    if not isinstance(at, int | float) or not isfinite(at):
        return "-"
    seconds = max(0.0, now - at)
    for unit, size in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            if unit == "d" and seconds >= 60 * size:
                return datetime.fromtimestamp(at, UTC).date().isoformat()
            return f"{int(seconds // size)} {unit} ago"
    return f"{int(seconds)} s ago"


def _size(count: int) -> str:
    size, unit = float(count), "B"
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if size < 1024 or unit == "TiB":
            break
        size /= 1024
    return f"{int(size)} {unit}" if unit == "B" else f"{size:.1f} {unit}"
