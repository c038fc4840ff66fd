"""What a cold start imports, against all that it could use: `python -m benchmarks.imports`.

Each round imports every set once, each in a Python of its own, one after the other and beginning with another one each
time. Processor time is taken, so that who waits for a busy machine does not look slow; and the ratio pair by pair.
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
"""Of everything, at most, for any entry point."""

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
"""What each imports. `everything` is what the libraries at hand offer for what the handler does with less: tracing, a
router that validates, cached parameters (with boto3 and its client), git's own commands."""
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
    """What a set took, in seconds of processor time a round, and how many modules it loaded."""

    seconds: list[float] = field(default_factory=list)
    modules: int = 0


def measure(rounds: int, say: Callable[[str], None] = lambda text: None) -> dict[str, Imported]:
    """Import every set that often, in turn. Raises CalledProcessError where one cannot be imported."""
    results = {name: Imported() for name in SETS}
    names = list(SETS)
    for name in names:
        imported(SETS[name])  # the first time reads from the disk, and writes bytecode
    for number in range(rounds):
        say(f"imports: round {number + 1} of {rounds}")
        start = number % len(names)
        for name in names[start:] + names[:start]:
            took, results[name].modules = imported(SETS[name])
            results[name].seconds.append(took)
    return results


def imported(imports: str) -> tuple[float, int]:
    """Run imports in a Python of their own; return their seconds of processor time, and how many modules they load."""
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
    """Measure and print; return 1 where an entry point is over the bound, else 0."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.imports", description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="(%(default)s)")
    options = parser.parse_args(arguments)
    results = measure(options.rounds, lambda text: print(text, file=sys.stderr, flush=True))
    print(section(results))
    return int(any(compared(results, name).middle > MOST for name in SETS if name != EVERYTHING))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
