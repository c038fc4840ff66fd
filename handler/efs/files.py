"""Writing to an open file so that nothing is lost without a word."""

import os


def write_all(descriptor: int, content: bytes) -> None:
    """Write all of `content`. Raises OSError.

    `os.write` may write less than it was given, on a mount that is nearly full say, and only the next call fails.
    """
    view = memoryview(content)
    while view:
        view = view[os.write(descriptor, view) :]
