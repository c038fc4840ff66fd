"""`python -m benchmarks.dashboard`: run the stack on this machine for a minute, draw docs/dashboard.svg."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from benchmarks.dashboard.draw import draw
from benchmarks.dashboard.run import run
from testing.dashboard import dashboard_of
from testing.stack import MODES, read_stack

PICTURE = Path(__file__).parents[2] / "docs" / "dashboard.svg"


def main(arguments: Sequence[str] | None = None) -> None:
    """Run and draw."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.dashboard", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0, help="how long the run is (default: 60)")
    parser.add_argument("--output", type=Path, default=PICTURE, help="where the picture goes")
    given = parser.parse_args(arguments)
    samples = run(given.seconds)
    body = dashboard_of(read_stack().under(MODES["queued"]))
    given.output.write_text(draw(body, samples, given.seconds), encoding="utf-8")
    print(f"{given.output}: {len(samples)} figures")


if __name__ == "__main__":
    main()
