"""`python -m handler.cli` is the `git2efs` command."""

import sys

from handler.cli.command_line import main

if __name__ == "__main__":
    sys.exit(main())
