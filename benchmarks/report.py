"""The results as Markdown. Pure."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from benchmarks import figures
from benchmarks.calls import MILLISECONDS, model_seconds
from benchmarks.figures import COPY, GIT_CLONE, GIT_CLONE_PARALLEL, GIT_PULL, OURS, Cell, Results, Row, middle, ratio

_TITLE = "# Benchmarks\n"
_ABOUT = """
Written by `make bench ARGS=--record`; see `python -m benchmarks --help`. Times are medians in milliseconds, from the
start (for git2efs the signed request, to a handler that was called before) until the new content is visible. Ratios
are git2efs ÷ the other, pair by pair on the same push, as median (first quartile–third). All use the same local `git
http-backend`. git2efs has its default settings, and pushes are minutes apart: between them it makes its spares, and
the grace of what was replaced ends. That is neither timed nor counted.
"""


@dataclass(frozen=True, slots=True)
class Bar:
    """A promise: its subject, its bound, and the measured value (None: not in this run)."""

    about: str
    most: float
    measured: float | None


def report(results: Results, about: Sequence[str], *, is_slow_mount: bool) -> str:
    """Return the section for a run; `about` says where and how it was measured, one line each."""
    parts: list[str] = ["".join(f"{line}  \n" for line in about)]
    if results.pushes:
        parts += ["### Pushes\n", _pushes(results)]
    if any(COPY in row for row in results.pushes.values()):
        parts += ["### Pushes to a working copy\n", _COPIES, _copies(results)]
    if results.apart:
        parts += ["### Pushes seconds apart\n", _APART, _apart(results)]
    if results.firsts:
        parts += ["### First publish\n", _firsts(results.firsts)]
    if results.texts:
        parts += ["### First publish of text\n", _TEXTS, _firsts(results.texts)]
    if results.previews:
        parts += ["### Preview branches\n", _PREVIEWS, _previews(results)]
    if any(cell.calls for row in _rows(results) for cell in row.values()):
        parts += ["### File calls on the mount\n", _CALLS, _calls(results)]
    if results.large or any(cell.peak_mib for row in _rows(results) for cell in row.values()):
        parts += ["### Memory\n", _memory(results)]
    bars = [bar for bar in _bars(results, is_slow_mount=is_slow_mount) if bar.measured is not None]
    if bars:
        parts += ["### Bounds\n", _table(["", "at most", "measured", ""], map(_bar, bars))]
    return "\n".join(parts)


def with_section(document: str, title: str, section: str) -> str:
    """Return the document with the section of this title replaced, or appended."""
    if not document.startswith(_TITLE):
        document = _TITLE + _ABOUT
    head, *sections = re.split(r"^(?=## )", document, flags=re.MULTILINE)
    fresh = f"## {title}\n\n{section.rstrip()}\n"
    at = next((at for at, each in enumerate(sections) if each.startswith(f"## {title}\n")), None)
    if at is None:
        sections.append(fresh)
    else:
        sections[at] = fresh
    return "\n".join(each.rstrip() + "\n" for each in (head, *sections))


_COPIES = """\
The other mode, until it has answered, against the pull that it does the same as. With a local commit both replay it.
"""
_APART = """\
All within one grace, so that nothing which was replaced can be recycled: each push takes a spare, which git2efs made
after its last answer. That is not timed here; a push that comes before it is made writes the tree whole.
"""
_TEXTS = """\
Trees like those that people have: files of one to twelve kilobytes, most of them packed as deltas.
"""
_PREVIEWS = """\
A new branch, one file off main, which is published already: fetched is the difference, written is a tree.
"""
_CALLS = """\
Counted with strace, whatever their cost; for git2efs in the median of seven pushes. The model has them one after the
other at EFS's latencies (see `benchmarks/calls.py`); git2efs has many in flight at a first publish.
"""


def _rows(results: Results) -> Iterator[Row]:
    yield from results.pushes.values()
    yield from results.replays.values()
    yield from results.firsts.values()


def _pushes(results: Results) -> str:
    names = list(next(iter(results.pushes.values())))
    others = [name for name in names if name not in (OURS, COPY)]
    head = ["files", "changed", OURS, "until answered", *others, *(f"÷ {name}" for name in others)]
    lines = []
    for (files, changes), row in sorted(results.pushes.items()):
        ours = row[OURS]
        times = [_milliseconds(middle(row[name])) for name in others]
        ratios = [str(ratio(ours.timings, row[name].timings)) for name in others]
        answered = _milliseconds(middle(ours, figures.done))
        lines.append([f"{files:,}", f"{changes:,}", _milliseconds(middle(ours)), answered, *times, *ratios])
    return _table(head, lines)


def _copies(results: Results) -> str:
    head = ["files", "changed", "local commits", COPY, GIT_PULL, f"÷ {GIT_PULL}", f"÷ {OURS}"]
    lines = []
    for local, rows in (0, results.pushes), (1, results.replays):
        for (files, changes), row in sorted(rows.items()):
            cells = [row[COPY], *(row[name] for name in (GIT_PULL,) if name in row)]
            ratios = [
                str(ratio(row[COPY].timings, row[name].timings)) if name in row else "–" for name in (GIT_PULL, OURS)
            ]
            times = [_milliseconds(middle(cell)) for cell in cells]
            lines.append([f"{files:,}", f"{changes:,}", str(local), *times, *["–"] * (2 - len(times)), *ratios])
    return _table(head, lines)


def _apart(results: Results) -> str:
    lines = []
    for (files, changes), row in sorted(results.apart.items()):
        ours, pull = row[OURS], row[GIT_PULL]
        most = max(timing.files_written for timing in ours.timings)
        times = [_milliseconds(middle(cell)) for cell in (ours, pull)]
        lines.append(
            [f"{files:,}", f"{changes:,}", times[0], f"{most:,}", times[1], str(ratio(ours.timings, pull.timings))]
        )
    head = ["files", "changed", OURS, "files written, most", GIT_PULL, f"÷ {GIT_PULL}"]
    return _table(head, lines)


def _previews(results: Results) -> str:
    lines = []
    for files, row in sorted(results.previews.items()):
        ours, clone = row[OURS], row[GIT_CLONE]
        fetched = max(timing.bytes_fetched for timing in ours.timings)
        times = [_milliseconds(middle(cell)) for cell in (ours, clone)]
        lines.append([f"{files:,}", times[0], f"{fetched:,}", times[1], str(ratio(ours.timings, clone.timings))])
    return _table(["files", OURS, "bytes fetched, most", f"`{GIT_CLONE}`", f"÷ `{GIT_CLONE}`"], lines)


def _firsts(firsts: Mapping[int, Row]) -> str:
    others = [GIT_CLONE, GIT_CLONE_PARALLEL]
    head = ["files", OURS, *(f"`{name}`" for name in others), "÷ the first", "÷ the second"]
    lines = []
    for files, row in sorted(firsts.items()):
        times = [_milliseconds(middle(row[name])) for name in (OURS, *others)]
        ratios = [str(ratio(row[OURS].timings, row[name].timings)) for name in others]
        lines.append([f"{files:,}", *times, *ratios])
    return _table(head, lines)


def _calls(results: Results) -> str:
    cells = [
        *((f"push of {changes:,} to {files:,}", row) for (files, changes), row in sorted(results.pushes.items())),
        *((f"push of {changes:,} to {files:,} and a commit", row) for (files, changes), row in results.replays.items()),
        *((f"first publish of {files:,}", row) for files, row in sorted(results.firsts.items())),
    ]
    traced = [(about, name, cell) for about, row in cells for name, cell in row.items() if cell.calls]
    kinds = [kind for kind in MILLISECONDS if any(kind in calls for _, _, cell in traced for calls in cell.calls)]
    head = ["", "", "calls", "most", "EFS model, s", *kinds]
    lines = [[about, name, *_counted(cell, kinds)] for about, name, cell in traced]
    return _table(head, lines)


def _counted(cell: Cell, kinds: Iterable[str]) -> list[str]:
    calls = figures.typical(cell.calls)
    most = max(each.total() for each in cell.calls)
    return [f"{calls.total():,}", f"{most:,}", f"{model_seconds(calls):.2f}", *(f"{calls[kind]:,}" for kind in kinds)]


def _memory(results: Results) -> str:
    lines = [
        *(
            [f"push of {changes:,} to {files:,}", name, f"{cell.peak_mib:.0f}"]
            for (files, changes), row in [*sorted(results.pushes.items()), *results.replays.items()]
            for name, cell in row.items()
            if cell.peak_mib
        ),
        *(
            [f"first publish of {files:,}", name, f"{cell.peak_mib:.0f}"]
            for files, row in sorted(results.firsts.items())
            for name, cell in row.items()
            if cell.peak_mib
        ),
    ]
    text = _table(["", "", "peak RSS, MiB"], lines) + "GitPython's is without the git that it runs.\n"
    large = results.large
    if large is None:
        return text
    return text + (
        f"\nFirst fetch and publish of a pack of {large.pack_mib:.0f} MiB that does not compress, peak RSS and time: "
        f"git2efs {large.peak_mib:.0f} MiB ({large.idle_mib:.0f} before it; {large.anonymous_mib:.0f} at the peak "
        f"without mapped files), {large.seconds:.1f} s; `{GIT_CLONE}` {large.git_peak_mib:.0f} MiB, "
        f"{large.git_seconds:.1f} s.\n"
    )


def _bars(results: Results, *, is_slow_mount: bool) -> Iterator[Bar]:
    pull, clone, copy = (0.08, 0.06, 0.15) if is_slow_mount else (0.20, 1.5, 0.6)
    yield Bar("push of 1 to 10,000 files ÷ git pull --rebase", pull, _against(results, 10_000, GIT_PULL))
    yield Bar(f"the same to a working copy ÷ {GIT_PULL}", copy, _against(results, 10_000, GIT_PULL, ours=COPY))
    if is_slow_mount:
        yield Bar(f"first publish of 10,000 ÷ {GIT_CLONE}", clone, _first_against(results, GIT_CLONE))
        yield Bar("the same ÷ with 32 checkout workers", 0.8, _first_against(results, GIT_CLONE_PARALLEL))
        return
    yield Bar("push of 1 to 50,000 files ÷ git pull --rebase", 0.13, _against(results, 50_000, GIT_PULL))
    yield Bar("push of 1 to 50,000 files ÷ to 1,000", 1.3, _growth(results))
    yield Bar(f"first publish of 10,000 ÷ {GIT_CLONE}", clone, _first_against(results, GIT_CLONE))
    yield Bar("files written by a push of 1, seconds after the last", 2, _written_apart(results))
    if row := results.texts.get(10_000):
        measured = ratio(row[OURS].timings, row[GIT_CLONE].timings).middle
        yield Bar(f"first publish of 10,000 files of text ÷ {GIT_CLONE}", 1.5, measured)
    # `other` never leaves the client; a working copy may have six calls more a changed file.
    for name, most, about in (OURS, 60, "file calls of a push of 1"), (COPY, 126, "the same to a working copy"):
        if totals := _totals(results, name):
            yield Bar(f"{about}, the largest of all sizes", most, max(totals))
            yield Bar(f"{about}, largest - smallest", 3, max(totals) - min(totals))


def _written_apart(results: Results) -> float | None:
    timings = [timing for row in results.apart.values() for timing in row[OURS].timings]
    return max((timing.files_written for timing in timings), default=None)


def _totals(results: Results, name: str) -> list[int]:
    rows = [row for (_, changes), row in results.pushes.items() if changes == 1]
    typical = [figures.typical(row[name].calls) for row in rows if name in row and row[name].calls]
    return [calls.total() - calls["other"] for calls in typical]


def _against(results: Results, files: int, name: str, *, ours: str = OURS) -> float | None:
    row = results.pushes.get((files, 1), {})
    return ratio(row[ours].timings, row[name].timings).middle if name in row and ours in row else None


def _first_against(results: Results, name: str) -> float | None:
    row = results.firsts.get(10_000)
    return ratio(row[OURS].timings, row[name].timings).middle if row else None


def _growth(results: Results) -> float | None:
    large, small = results.pushes.get((50_000, 1)), results.pushes.get((1_000, 1))
    return ratio(large[OURS].timings, small[OURS].timings).middle if large and small else None


def _bar(bar: Bar) -> list[str]:
    assert bar.measured is not None
    return [bar.about, f"{bar.most:g}", f"{bar.measured:.3g}", "reached" if bar.measured <= bar.most else "**missed**"]


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:,.0f}" if seconds >= 0.1 else f"{seconds * 1000:.1f}"


def _table(head: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    line: Callable[[Sequence[str]], str] = lambda cells: "| " + " | ".join(cells) + " |\n"  # noqa: E731
    ruler = ["---"] + ["---:"] * (len(head) - 1)
    return line(head) + line(ruler) + "".join(map(line, lines))
