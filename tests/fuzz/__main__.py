"""`python -m tests.fuzz --seconds 600`: fuzz every target for its share of the time, guided by coverage, with atheris.

What was found stays in `.fuzz/<target>/` and is begun with the next time. Exit status 1 says that a target raised: the
input is `.fuzz/<target>.crash-…`, and `python -m tests.fuzz --target NAME FILE` runs it again.
"""

import argparse
import os
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

FOUND = Path(__file__).resolve().parents[2] / ".fuzz"
LONGEST_INPUT_BYTES = 4096
TOO_SLOW_SECONDS = 10
TOO_MUCH_MEGABYTES = 1024
"""Resident memory of one process, atheris' own and the corpus included."""


def main(arguments: Sequence[str]) -> int:
    """Fuzz; return the exit status: 0 nothing found, 1 something, 2 wrong use."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seconds", type=int, default=600, help="in all (%(default)d)")
    parser.add_argument("--target", help="this one alone")
    parser.add_argument("--in-this-process", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("files", nargs="*", help="run the target on these inputs, and do not fuzz")
    options = parser.parse_args(arguments)
    if options.files or options.in_this_process:
        return _fuzz_here(options.target, options.seconds, options.files)
    from tests.fuzz.targets import TARGETS

    names = [options.target] if options.target else list(TARGETS)
    at_once = min(len(names), os.cpu_count() or 1)
    share = max(1, options.seconds * at_once // len(names))
    found = 0
    waiting, running = list(names), dict[str, subprocess.Popen[str]]()
    while waiting or running:
        while waiting and len(running) < at_once:
            name = waiting.pop(0)
            running[name] = _start(name, share)
        for name, process in list(running.items()):
            if process.poll() is not None:
                del running[name]
                found += _tell(name, process)
        time.sleep(0.2)
    return 1 if found else 0


def _start(name: str, seconds: int) -> subprocess.Popen[str]:
    FOUND.mkdir(exist_ok=True)
    log = (FOUND / f"{name}.log").open("w+", encoding="utf-8", errors="replace")
    command = [sys.executable, "-m", "tests.fuzz", "--in-this-process", "--target", name, "--seconds", str(seconds)]
    return subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, text=True)


def _tell(name: str, process: subprocess.Popen[str]) -> bool:
    """Print one line about a target, after it the end of its log where it found something; return whether it did."""
    log = (FOUND / f"{name}.log").read_text(encoding="utf-8", errors="replace")
    executions = re.findall(r"^stat::number_of_executed_units: +(\d+)", log, re.MULTILINE)
    coverage = re.findall(r"cov: (\d+)", log)
    failed = process.returncode != 0 or not executions
    told = f"{executions[-1] if executions else '?'} executions, {coverage[-1] if coverage else '?'} branches"
    print(f"{name:<12} {told}: {'FOUND SOMETHING' if failed else 'nothing found'}", flush=True)
    if failed:
        print(log[-4000:], flush=True)
    return failed


def _fuzz_here(name: str, seconds: int, files: Sequence[str]) -> int:
    import atheris

    # Guided by what text is compared with, too. Not by patterns: the hook fails on those of bytes.
    atheris.enabled_hooks.add("str")
    with atheris.instrument_imports(include=["handler", "dulwich"]):
        from tests.fuzz.targets import TARGETS
    if name not in TARGETS:
        print(f"the targets are {', '.join(TARGETS)}", file=sys.stderr)
        return 2
    target, corpus = TARGETS[name], FOUND / name
    corpus.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(target.seeds):
        (corpus / f"seed-{number}").write_bytes(seed)
    limits = [
        f"-max_total_time={seconds}",
        f"-max_len={LONGEST_INPUT_BYTES}",
        f"-timeout={TOO_SLOW_SECONDS}",
        f"-rss_limit_mb={TOO_MUCH_MEGABYTES}",
        "-print_final_stats=1",
        f"-artifact_prefix={FOUND}/{name}.",
    ]
    atheris.Setup([sys.argv[0], *(files or [*limits, str(corpus)])], target.run)
    atheris.Fuzz()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
