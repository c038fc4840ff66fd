"""The files that the demonstration pushes: a small tree with everything that a published tree must preserve."""

import struct
import zlib

from local.origin import EXECUTABLE, LINK, FileContent

_DAG = b'''"""Loads yesterday's readings, an hour after midnight."""
from datetime import datetime

from lib.stations import STATIONS

SCHEDULE = "0 1 * * *"
START = datetime(2025, 1, 1)


def load() -> int:
    return sum(len(readings) for readings in STATIONS.values())
'''

_SCRIPT = b"""#!/bin/sh
# Checks that the tables are there before the day's run.
set -eu
exec python -m weather.check --tables readings,stations "$@"
"""


def _picture(side: int = 16) -> bytes:
    """Return a small PNG: bytes that converting line ends or text would break."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    rows = b"".join(
        b"\0" + bytes(value for column in range(side) for value in (16 * row, 16 * column, 13)) for row in range(side)
    )
    head = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    # Stored, not deflated: compressors differ, and the sample's commit has to be the same everywhere.
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows, 0)) + chunk(b"IEND", b"")


def first_push() -> dict[bytes, FileContent]:
    """Return the tree of the first commit: path -> content."""
    return {
        b"README.md": FileContent(b"# Weather\n\nDAGs and pages of the weather team.\n"),
        b"bin/check.sh": FileContent(_SCRIPT, EXECUTABLE),
        b"dags/daily.py": FileContent(_DAG),
        b"dags/latest.py": FileContent(b"daily.py", LINK),
        b"dags/lib/__init__.py": FileContent(b""),
        b"dags/lib/stations.py": FileContent(b'STATIONS = {"K\xc3\xb6ln": [4, 7, 11], "Malm\xc3\xb6": [1, 2, 5]}\n'),
        b"site/index.html": FileContent(b"<!doctype html>\r\n<title>Weather</title>\r\n<h1>Sunny</h1>\r\n"),
        b"site/img/sun.png": FileContent(_picture()),
        "site/städte.txt".encode(): FileContent("Köln\nMalmö\n".encode()),
    }


def third_push() -> dict[bytes, FileContent]:
    """Return the tree of the third commit: one file differs from the second."""
    files, _, _ = second_push()
    files[b"site/index.html"] = FileContent(b"<!doctype html>\r\n<title>Weather</title>\r\n<h1>Snow</h1>\r\n")
    return files


def second_push() -> tuple[dict[bytes, FileContent], list[bytes], list[bytes]]:
    """Return the tree of the second commit, the paths that it changes, and those that it removes."""
    files = first_push()
    files[b"site/index.html"] = FileContent(b"<!doctype html>\r\n<title>Weather</title>\r\n<h1>Rain</h1>\r\n")
    del files["site/städte.txt".encode()]
    return files, [b"site/index.html"], ["site/städte.txt".encode()]
