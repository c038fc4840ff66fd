"""What the command shows beside its output: sentences and progress on standard error, colours where they are wanted."""

import os
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TextIO

from handler.network.operations.render import plain

_SAY_SECONDS = 2.0
_TICK_SECONDS = 0.5


def say(sentence: str) -> None:
    """Write a sentence on standard error."""
    sys.stderr.write(f"{plain(sentence)}\n")


def wants_colours(stream: TextIO, environment: Mapping[str, str]) -> bool:
    """Whether a stream is a terminal that shows colours, and nobody asked for none (no-color.org)."""
    return stream.isatty() and not environment.get("NO_COLOR") and environment.get("TERM") != "dumb"


class CheckoutProgress:
    """Says how far a check-out is, every two seconds or so."""

    def __init__(self) -> None:
        self._said_at = 0.0

    def __call__(self, about: str, done: int, total: int) -> None:
        now = time.monotonic()
        if now - self._said_at >= _SAY_SECONDS and done < total:
            self._said_at = now
            say(f"checking out {about}: {done} of {total} files")


@contextmanager
def waiting(sentence: str) -> Iterator[None]:
    """Say what is waited for; on a terminal, for how long already, on one line that goes away at the end."""
    if not sys.stderr.isatty() or os.environ.get("TERM") == "dumb":
        say(sentence)
        yield
        return
    is_over = threading.Event()
    thread = threading.Thread(target=_count, args=(plain(sentence), is_over), name="waiting", daemon=True)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()


def _count(sentence: str, is_over: threading.Event) -> None:
    started = time.monotonic()
    sys.stderr.write(sentence)
    sys.stderr.flush()
    while not is_over.wait(_TICK_SECONDS):
        sys.stderr.write(f"\r{sentence}: {time.monotonic() - started:.0f} s")
        sys.stderr.flush()
    # Back to the line's beginning, and clear it: the output comes next.
    sys.stderr.write("\r\x1b[K")
    sys.stderr.flush()
