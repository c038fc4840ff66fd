"""Prints the template as CloudFormation gets it, for linters: `python -m tests.infrastructure Delivery=queued`.

Each argument is a parameter's value; it becomes the default, and what the conditions leave out is gone.
"""

import json
import sys

from testing.stack import read_stack


def main() -> None:
    """Print it as JSON."""
    given = dict(argument.split("=", 1) for argument in sys.argv[1:])
    print(json.dumps(read_stack().under(given).plain, indent=1))


if __name__ == "__main__":
    main()
