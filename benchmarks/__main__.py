"""The benchmarks' command line."""

import argparse
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from benchmarks import cold, figures, imports, readme
from benchmarks.figures import Results
from benchmarks.histories import History, TextHistory
from benchmarks.places import Place, make_place
from benchmarks.report import report, with_section
from benchmarks.rounds import Field, fields_of, first_publishes, large_fetch, play_pushes, previews
from benchmarks.tracing import has_strace
from testing.repositories import archive, has_git, snapshot

_REPLAYED_FILES = 10_000
"""The largest tree in which pushes onto a local commit are measured."""
_APART_FILES = 10_000
"""The largest tree with pushes seconds apart: each takes a tree of disk, for nothing is removed within the grace."""
PEERS = {"git": figures.GIT_PULL, "gitpython": figures.GITPYTHON, "pygit2": figures.PYGIT2}


def main() -> None:
    """Measure, print the results, and write them into a file: outside the project, unless `--record` says otherwise."""
    options = _options(sys.argv[1:])
    if not has_git():
        sys.exit("the benchmarks need git with its http-backend (Debian and macOS: part of git; Alpine: git-daemon)")
    # Before the environment is replaced, and its temporary directory with it.
    output: Path = options.output or Path(tempfile.mkdtemp(prefix="git2efs-bench-results-"), "results.md")
    began, load = time.monotonic(), os.getloadavg()[0]
    is_traced = has_strace() and not options.no_strace and options.mount is None
    with make_place(options.mount, options.workers, options.git_sync) as place:
        results = _measure(place, options, is_traced=is_traced)
        file_system = _said_by("stat", "--file-system", "--format=%T", str(place.trees))
    about = _about(options, file_system, time.monotonic() - began, load, is_traced=is_traced)
    section = report(results, about, is_slow_mount=options.mount is not None)
    print(section)
    title = "On a mount with the latency of EFS" if options.mount else "On a local disk"
    document = with_section(output.read_text() if output.exists() else "", title, section)
    if options.mount is None:
        imported = imports.section(imports.measure(imports.ROUNDS, _say))
        print(imported)
        document = with_section(document, imports.TITLE, imported)
        _say("cold starts")
        with make_place(None, None) as place:
            started = cold.section(cold.measure(place))
        print(started)
        document = with_section(document, cold.TITLE, started)
    output.write_text(document)
    _say(f"the results are in {output}")
    if output == readme.RESULTS:
        readme.write_table()


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small trees and few rounds: about a minute")
    parser.add_argument("--files", type=_numbers, help="sizes of trees (1000,10000,50000)")
    parser.add_argument("--pushes", type=_numbers, help="how many files a push changes (1,100,2000)")
    parser.add_argument("--first", type=_numbers, help="sizes of first publishes (1000,10000); 0 for none")
    parser.add_argument("--rounds", type=int, help="rounds of the smallest push (15); others have fewer")
    parser.add_argument("--first-rounds", type=int, help="rounds of first publishes (5)")
    parser.add_argument("--peers", default="git,gitpython,pygit2", help="who takes part besides git2efs (%(default)s)")
    parser.add_argument("--git-sync", type=Path, help="kubernetes/git-sync's program (v4), which then takes part")
    parser.add_argument("--large", type=int, help="MiB of the large repository (300); 0 for none")
    parser.add_argument("--mount", type=Path, help="a directory to put the trees in, on NFS or a slow file system")
    parser.add_argument("--pause", type=float, help="idle seconds before each measured push (4 with --mount, else 0)")
    parser.add_argument("--workers", type=int, help="checkout_workers (the product's default)")
    parser.add_argument("--no-strace", action="store_true", help="count no calls")
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--output", type=Path, help="the results' file (one in a new temporary directory)")
    where.add_argument(
        "--record",
        action="store_const",
        const=readme.RESULTS,
        dest="output",
        help="write benchmarks/results.md, and README's table from it",
    )
    options = parser.parse_args(arguments)
    quick = {"files": [1000], "pushes": [1, 100], "first": [1000], "rounds": 5, "first_rounds": 3, "large": 50}
    whole = {
        "files": [1000, 10_000, 50_000],
        "pushes": [1, 100, 2000],
        "first": [1000, 10_000],
        "rounds": 15,
        "first_rounds": 5,
        "large": 300,
    }
    # There a first publish takes git two minutes; strace counts the same calls as on a local disk.
    slow = {"files": [1000, 10_000], "pushes": [1, 100], "first": [10_000], "rounds": 9, "first_rounds": 2, "large": 0}
    if options.pause is None:
        options.pause = 4.0 if options.mount else 0.0
    defaults = quick if options.quick else slow if options.mount else whole
    for name, value in defaults.items():
        if getattr(options, name) is None:
            setattr(options, name, value)
    return options


def _numbers(text: str) -> list[int]:
    return [int(each) for each in text.split(",")]


def _measure(place: Place, options: argparse.Namespace, *, is_traced: bool) -> Results:
    results = Results()
    root = place.local / "origin"
    histories = {files: History(root, files) for files in sorted({*options.files, *options.first} - {0})}
    for files in options.first:
        if files:
            _say(f"first publishes of {files:,} files")
            results.firsts[files] = first_publishes(
                place, histories[files], options.first_rounds, is_weighed=options.mount is None, is_traced=is_traced
            )
        if files and options.mount is None:
            _say(f"first publishes of {files:,} files of text, and previews")
            texts = TextHistory(root, files)
            results.texts[files] = first_publishes(
                place, texts, options.first_rounds, is_weighed=False, is_traced=False
            )
            results.previews[files] = previews(place, histories[files], options.first_rounds)
    peers = [PEERS[name] for name in options.peers.split(",")]
    peers += [figures.GIT_SYNC] if options.git_sync else []
    names = (figures.OURS, figures.COPY, *peers)
    if options.files != [0]:
        with fields_of(place, {files: histories[files] for files in options.files}, names, _say) as fields:
            for number, changes in enumerate(sorted(options.pushes)):
                rounds = max(3, options.rounds // (number + 1))
                results.pushes |= play_pushes(
                    fields, changes, rounds, _say, is_traced=is_traced, pause_seconds=options.pause
                )
            if options.mount is None:
                _check_published(fields.values())
    if options.mount is None and (sizes := [files for files in options.files if files and files <= _APART_FILES]):
        taking_part = {files: histories[files] for files in sizes}
        names = (figures.OURS, figures.GIT_PULL)
        with fields_of(place, taking_part, names, _say, pause="seconds") as fields:
            results.apart = play_pushes(fields, 1, options.rounds, _say, is_weighed=False, is_traced=False)
    if sizes := [files for files in options.files if files and files <= _REPLAYED_FILES]:
        taking_part = {max(sizes): histories[max(sizes)]}
        names = (figures.COPY, figures.GIT_PULL)
        with fields_of(place, taking_part, names, _say, is_committed_in=True) as fields:
            results.replays = play_pushes(
                fields, 1, options.rounds, _say, is_traced=is_traced, pause_seconds=options.pause
            )
    if options.large:
        _say(f"a first fetch of {options.large} MiB")
        results.large = large_fetch(place, options.large)
    return results


def _check_published(fields: Iterable[Field]) -> None:
    """Fail unless both modes published the commit's tree."""
    for field in fields:
        wanted = archive(field.history.upstream, field.history.tip)
        for name in (figures.OURS, figures.COPY):
            tree = snapshot(field.trees[name].resolve())
            published = {path: content for path, content in tree.items() if not path.startswith(b".git/")}
            assert published == wanted, f"what {name} published is not the commit's tree"


def _about(options: argparse.Namespace, file_system: str, seconds: float, load: float, *, is_traced: bool) -> list[str]:
    git = _said_by("git", "--version").split()[2]
    workers = options.workers or "the default"
    return [
        f"{datetime.now(UTC):%Y-%m-%d}, {os.cpu_count()} processors, {platform.system()} {platform.release()}, "
        f"Python {platform.python_version()}, git {git}; the run took {seconds / 60:.0f} minutes.",
        f"Load when it started {load:.1f}, when it ended {os.getloadavg()[0]:.1f}. "
        f"Check-out workers: {workers}. The trees were on {file_system}.",
        *([f"Before each push everybody was idle for {options.pause:g} s."] if options.pause else []),
        *([] if is_traced or options.mount else ["File calls were not counted: no strace."]),
    ]


def _said_by(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def _say(sentence: str) -> None:
    print(f"{datetime.now(UTC):%H:%M:%S} {sentence}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
