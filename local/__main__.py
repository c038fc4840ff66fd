"""`python -m local serve …` and `python -m local demo`."""

import os
import sys
from collections.abc import Sequence

from local.options import build_parser, serve_options


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return the process's exit status."""
    parser = build_parser()
    parsed = parser.parse_args(arguments)
    # Imported late: `--help` and a wrong argument should not wait for moto.
    if parsed.command == "serve":
        options = serve_options(parser, parsed, os.environ)
        from local.serve import serve

        return serve(options)
    from local.demo import demo

    return demo(keep=parsed.keep)


if __name__ == "__main__":
    sys.exit(main())
