"""Thousands of pushes in a row: `python -m benchmarks.soak --help`. It ends with 1 where a promise was broken.

Three runs, each with the service's default settings unless it says otherwise:
readers    readers loop over the published tree, with a grace of one second; none may see a torn tree
mirror     pushes of one file, minutes apart, to one repository, with its daily maintenance; the last costs what the
           tenth did, and the target never holds more trees than README's formula allows
bursts     ten pushes in one grace, then minutes of peace; how many of them wrote the whole tree
"""

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.histories import History
from benchmarks.minutes import do_background, hold_background, let_minutes_pass
from benchmarks.places import Place, make_place
from benchmarks.readme import PROJECT
from benchmarks.report import with_section
from handler.exchange.schedule_state import CHORES
from local.origin import FileContent, SampleOrigin
from testing.answers import Answer
from testing.deliveries import NULL_OID, push_payload, webhook_request
from testing.reader import reading, tree_of
from testing.service import Service

TITLE = "Endurance"
_WINDOW = 100
_PUSHES_A_DAY = 100
"""So many pushes lie between two runs of the daily maintenance."""
_GRACE_SECONDS = 1
_KEPT_AND_SPARE = 3 + 8
"""Trees that a target may hold outside the grace: `keep_releases`, and the most spares that a repository may set."""
_MOST_GROWTH = 1.5
"""How many times the tenth push's time the last may take: a machine is noisy, a cost that grows is not a half."""


@dataclass(slots=True)
class Report:
    """A run's table, and the promises that it broke."""

    title: str
    lines: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)

    def row(self, *cells: object) -> None:
        """Add a line to the table; the first is its head."""
        self.lines.append(f"| {' | '.join(map(str, cells))} |")
        if len(self.lines) == 1:
            self.lines.append(f"|{'|'.join(['---:'] * len(cells))}|")

    def hold(self, is_kept: bool, promise: str) -> None:
        """Note a promise that was broken."""
        if not is_kept:
            self.broken.append(promise)

    @property
    def text(self) -> str:
        """The run's part of the section."""
        verdict = "; ".join(self.broken)
        return "\n".join([f"### {self.title}\n", *self.lines, "", f"**Broken**: {verdict}" if verdict else "Kept.", ""])


def main() -> None:
    """Do the runs, and print their tables; with `--record` also write them into benchmarks/results.md."""
    options = _options(sys.argv[1:])
    hold_background()
    runs: dict[str, Callable[[Place, argparse.Namespace], Report]] = {
        "readers": readers,
        "mirror": mirror,
        "bursts": bursts,
    }
    started, reports = time.monotonic(), []
    for name in options.runs.split(","):
        with make_place(None, None) as place:
            reports.append(runs[name](place, options))
        print(reports[-1].text, flush=True)
    about = f"`make soak`, {time.strftime('%Y-%m-%d')}: {(time.monotonic() - started) / 60:.0f} minutes.\n"
    if options.record:
        results = PROJECT / "benchmarks" / "results.md"
        section = "\n".join([about, *(report.text for report in reports)])
        results.write_text(with_section(results.read_text(), TITLE, section))
    sys.exit(any(report.broken for report in reports))


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.soak", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", default="readers,mirror,bursts", help="which (%(default)s)")
    parser.add_argument(
        "--pushes", type=int, default=10_000, help="pushes under readers, and to one mirror (%(default)s)"
    )
    parser.add_argument("--bursts", type=int, default=100, help="bursts of ten pushes (%(default)s)")
    parser.add_argument("--files", type=int, default=2_000, help="files of a tree (%(default)s)")
    parser.add_argument("--readers", type=int, default=3, help="processes that read at once (%(default)s)")
    parser.add_argument("--record", action="store_true", help="write the tables into benchmarks/results.md")
    return parser.parse_args(arguments)


def readers(place: Place, options: argparse.Namespace) -> Report:
    """Publish under readers. Each tree tells its number in every file, so no mix goes unseen."""
    report = Report(f"{options.pushes:,} pushes under {options.readers} readers")
    with _started(place) as service, SampleOrigin("octo/site") as origin, ExitStack() as stack:
        service.put_repository(url=origin.url, grace_seconds=_GRACE_SECONDS, publish=[{"ref": "refs/heads/main"}])
        target = service.mount / "octo/site/main"
        seen = [stack.enter_context(reading(target, _GRACE_SECONDS)) for _ in range(options.readers)]
        before = NULL_OID
        for number in _counted(options.pushes, "pushes under readers"):
            files = {path: FileContent(content, mode) for path, (mode, content) in tree_of(number).items()}
            after = origin.commit("refs/heads/main", files, f"Push {number}")
            payload = push_payload("octo/site", "refs/heads/main", before, after, pushed_at=1_750_000_000 + number)
            _published(service, service.send(webhook_request("push", payload, service.secret)))
            do_background()
            before = after
        stack.close()
    report.row("reader", "whole trees read", "pushes seen", "read for longer than the grace", "torn")
    for number, each in enumerate(seen, 1):
        report.row(number, f"{each.whole:,}", f"{len(each.numbers):,}", each.late, len(each.torn))
        report.hold(not each.torn, f"reader {number} saw {each.torn[:1]}")
        report.hold(each.numbers == sorted(each.numbers), f"reader {number} saw the tree go back")
    return report


def mirror(place: Place, options: argparse.Namespace) -> Report:
    """Push to one repository, minutes apart. A row is about the pushes before the number in its first column."""
    report = Report(f"{options.pushes:,} pushes of one file to one tree of {options.files:,} files")
    with _published_once(place, options.files) as (service, history, target):
        report.row("push", "ms, median of 100", "files written, most", "trees held", "mirror: packs", "mirror: MiB")
        medians: list[float] = []
        took: list[float] = []
        wrote: list[int] = []
        every = max(_WINDOW, options.pushes // 10)
        for number in _counted(options.pushes, "pushes to one mirror"):
            history.push(1)
            let_minutes_pass(service.mount)
            started = time.perf_counter()
            answer = _published(service, service.push(history.upstream))
            took.append((time.perf_counter() - started) * 1000)
            wrote.append(int(answer.content["files_written"]))
            if number % _PUSHES_A_DAY == 0:
                _maintain(service)
            if number in (10, _WINDOW) or number % every == 0:
                trees, store = _trees(target), target.parent / "mirror.git"
                # The first push after the whole tree's has no spare yet.
                since = max(1, number - _WINDOW)
                most = max(wrote[since:])
                medians.append(statistics.median(took[since:]))
                packs = len(list(store.glob("objects/pack/*.pack")))
                report.row(f"{number:,}", f"{medians[-1]:.1f}", most, trees, packs, f"{_mebibytes(store):.1f}")
                report.hold(trees <= _KEPT_AND_SPARE, f"{trees} trees at push {number}")
                report.hold(number == 10 or most <= 2, f"a push before {number} wrote {most} files")
    growth = medians[-1] / medians[0]
    report.lines.append(f"\nThe last hundred pushes took {growth:.2f} times what the first ten did.")
    report.hold(growth <= _MOST_GROWTH, f"the last pushes took {growth:.2f} times what the first did")
    return report


def bursts(place: Place, options: argparse.Namespace) -> Report:
    """Push ten times within a grace, then wait for it. Between two pushes there is time to make a spare."""
    report = Report(f"{options.bursts:,} bursts of ten pushes, one file of {options.files:,} each")
    with _published_once(place, options.files) as (service, history, target):
        do_background()
        wrote: list[int] = []
        held: list[int] = []
        for number in _counted(options.bursts * 10, "pushes in bursts"):
            history.push(1)
            wrote.append(int(_published(service, service.push(history.upstream)).content["files_written"]))
            do_background()
            held.append(_trees(target))
            if number % 10 == 0:
                let_minutes_pass(service.mount)
                service.clear()
    whole = [number for number, files in enumerate(wrote, 1) if files >= options.files]
    report.row("pushes", "files written: median", "most", "wrote the tree whole", "trees held, most")
    report.row(f"{len(wrote):,}", statistics.median(wrote), max(wrote), len(whole), max(held))
    report.hold(not whole, f"pushes {whole[:5]} wrote the whole tree")
    report.hold(max(held) <= _KEPT_AND_SPARE + 11, f"the target held {max(held)} trees")
    return report


@contextmanager
def _started(place: Place) -> Iterator[Service]:
    service = place.service(place.trees, background=True).start()
    try:
        yield service
    finally:
        service.stop()


@contextmanager
def _published_once(place: Place, files: int) -> Iterator[tuple[Service, History, Path]]:
    """Yield a service, a repository whose first commit it has published, and the target's directory."""
    history = History(place.origin.root, files)
    name = history.upstream.full_name
    with _started(place) as service:
        service.put_repository(name)
        _published(service, service.push(history.upstream))
        yield service, history, service.mount / name / "main"


def _maintain(service: Service) -> None:
    done = service.run_schedule(CHORES)
    if (done["outcome"], done.get("failing")) != ("done", 0):
        raise SystemExit(f"the maintenance ended with {done}\n{service.text[-2000:]}")
    service.clear()


def _published(service: Service, answer: Answer) -> Answer:
    if answer.outcome != "published":
        raise SystemExit(f"a push was answered {answer.status} {answer.text}\n{service.text[-2000:]}")
    return answer


def _counted(pushes: int, what: str) -> Iterator[int]:
    """Count from 1, and say on standard error how far it is."""
    started = time.monotonic()
    for number in range(1, pushes + 1):
        yield number
        if number % max(1, pushes // 20) == 0:
            rate = number / (time.monotonic() - started)
            print(f"{what}: {number:,} of {pushes:,}, {rate:.0f} a second", file=sys.stderr, flush=True)


def _trees(target: Path) -> int:
    """Return how many trees a target holds: releases, and what has a file in staging."""
    staged = [path for path in (target / "staging").iterdir() if path.is_dir()]
    return len(list((target / "releases").iterdir())) + len(staged)


def _mebibytes(directory: Path) -> float:
    return (
        sum(os.lstat(os.path.join(at, name)).st_size for at, _, files in os.walk(directory) for name in files) / 2**20
    )


if __name__ == "__main__":
    main()
