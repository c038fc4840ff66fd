"""The capacity model's command line."""

import argparse
import sys
from pathlib import Path

from benchmarks.scale.report import all_tables, with_tables
from benchmarks.scale.scenarios import make_days

DOCUMENT = Path(__file__).parents[2] / "docs" / "scale.md"


def main() -> None:
    """Simulate, print the tables, and put them into docs/scale.md."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale", description=__doc__)
    parser.add_argument("--check", action="store_true", help="play a burst through the local service too, and compare")
    parser.add_argument("--print", action="store_true", dest="is_printed", help="only print")
    options = parser.parse_args(sys.argv[1:])
    tables = all_tables(make_days())
    if options.check:
        from benchmarks.scale.check import check_table

        tables["checked"] = check_table()
    for name, text in tables.items():
        print(f"{name}\n\n{text}")
    if not options.is_printed:
        DOCUMENT.write_text(with_tables(DOCUMENT.read_text(), tables))


if __name__ == "__main__":
    main()
