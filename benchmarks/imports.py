"""Compare a cold start's imports with everything that it could import: `python -m benchmarks.imports`.

Each round imports every set once, in an interpreter of its own, and starts with another set than the round before. The
measure is processor time, so that waiting for a busy machine does not count; ratios are taken pair by pair.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from types import MappingProxyType

from benchmarks.figures import Ratio, Timing, ratio

PROJECT = Path(__file__).resolve().parents[1]
TITLE = "Imports of a cold start"
ROUNDS = 15
MOST = 0.55
"""The most that any entry point may take, as a part of everything."""

SETS: Mapping[str, str] = MappingProxyType(
    {
        "webhook, queued": "import handler.webhook",
        "webhook, direct": "import handler.webhook, handler.network.deliver",
        "webhook, direct, with its client": "\n".join(
            [
                "import handler.webhook, handler.network.deliver",
                "from handler.network.aws.ssm import make_ssm_client",
                "make_ssm_client()",
            ]
        ),
        "worker": "import handler.worker",
        "schedule": "import handler.schedule",
        "everything": "\n".join(
            [
                "import handler.webhook, handler.network.deliver",
                "from aws_lambda_powertools import Tracer",
                "Tracer(service='git2efs')",
                "from aws_lambda_powertools.event_handler import APIGatewayHttpResolver",
                "APIGatewayHttpResolver(enable_validation=True)",
                "from aws_lambda_powertools.utilities import parameters",
                "parameters.SSMProvider()",
                "import dulwich.porcelain",
            ]
        ),
    }
)
"""The imports of each set. `everything` has what the same libraries offer for the handler's tasks, and the handler does
without: tracing, a validating router, cached parameters (with boto3 and its client), git's commands."""
EVERYTHING = "everything"

_MEASURE = """
import json, sys, time
modules, started = set(sys.modules), time.process_time()
{imports}
took = time.process_time() - started
print(json.dumps([took, len(set(sys.modules) - modules)]))
"""


@dataclass(slots=True)
class Imported:
    """Seconds of processor time of a set in each round, and the number of modules that it loads."""

    seconds: list[float] = field(default_factory=list)
    modules: int = 0


def measure(rounds: int, say: Callable[[str], None] = lambda text: None) -> dict[str, Imported]:
    """Import every set once in each round. Raises CalledProcessError for a set that cannot be imported."""
    results = {name: Imported() for name in SETS}
    names = list(SETS)
    for name in names:
        imported(SETS[name])  # the first import reads from the disk, and writes bytecode
    for number in range(rounds):
        say(f"imports: round {number + 1} of {rounds}")
        start = number % len(names)
        for name in names[start:] + names[:start]:
            took, results[name].modules = imported(SETS[name])
            results[name].seconds.append(took)
    return results


def imported(imports: str) -> tuple[float, int]:
    """Run imports in a new interpreter; return their seconds of processor time, and the number of modules."""
    code = _MEASURE.format(imports=imports)
    result = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        cwd=PROJECT,
        env={"PATH": "", "PYTHONPATH": ":".join(filter(None, sys.path)), "AWS_DEFAULT_REGION": "us-east-1"},
        capture_output=True,
        text=True,
        check=True,
    )
    took, modules = json.loads(result.stdout)
    return float(took), int(modules)


def compared(results: Mapping[str, Imported], name: str) -> Ratio:
    """Return a set ÷ everything, pair by pair."""
    ours, theirs = ([Timing(each, each) for each in results[key].seconds] for key in (name, EVERYTHING))
    return ratio(ours, theirs)


def section(results: Mapping[str, Imported]) -> str:
    """Return the figures as Markdown."""
    lines = [
        f"Processor time of the imports alone, {len(results[EVERYTHING].seconds)} rounds, Python "
        f"{sys.version.split()[0]}, with bytecode. `{EVERYTHING}` is the direct webhook with Powertools' Tracer, "
        "APIGatewayHttpResolver with validation, parameters with an SSMProvider, and dulwich.porcelain.",
        "",
        "| imports of | ms | modules | ÷ everything | at most |  |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for name, result in results.items():
        text = [name, f"{median(result.seconds) * 1000:.0f}", f"{result.modules}"]
        if name == EVERYTHING:
            text += ["1", "", ""]
        else:
            against = compared(results, name)
            text += [str(against), f"{MOST:g}", "reached" if against.middle <= MOST else "**missed**"]
        lines.append(f"| {' | '.join(text)} |")
    return "\n".join(lines) + "\n"


def main(arguments: Sequence[str]) -> int:
    """Measure and print; return 1 if an entry point exceeds the bound, else 0."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.imports", description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="(%(default)s)")
    options = parser.parse_args(arguments)
    results = measure(options.rounds, lambda text: print(text, file=sys.stderr, flush=True))
    print(section(results))
    return int(any(compared(results, name).middle > MOST for name in SETS if name != EVERYTHING))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
