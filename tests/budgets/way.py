"""Follow one push through the code: which files it enters, which classes it makes, how deep the first write is."""

import os
import sys
import threading
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

HANDLER = str(Path(__file__).parents[2] / "handler") + os.sep
DOOR = "mount/publisher.py:publish"
"""Where the network side hands a run to the mount side."""
_WRITES = ("write", "writev", "pwrite")


@dataclass(slots=True)
class Way:
    """What was seen. `first_write_frames` are our own frames at the first byte written, the entry point first."""

    files: set[str] = field(default_factory=set)
    classes: set[str] = field(default_factory=set)
    functions: set[tuple[str, str, int]] = field(default_factory=set)
    first_write_frames: list[str] = field(default_factory=list)

    @property
    def frames_by_side(self) -> tuple[int, int]:
        """How many frames of each side, the door's among the mount side's."""
        at = self.first_write_frames.index(DOOR)
        return at, len(self.first_write_frames) - at


def follow(push: Callable[[], object]) -> Way:
    """Return the way of what `push()` does, in all threads."""
    way = Way()

    def profile(frame: FrameType, event: str, argument: Any) -> None:
        code = frame.f_code
        if event == "call":
            if code.co_filename.startswith(HANDLER):
                way.files.add(code.co_filename.removeprefix(HANDLER))
                way.functions.add((code.co_filename, code.co_name, code.co_firstlineno))
            if code.co_name == "__init__" and "self" in frame.f_locals:
                made = type(frame.f_locals["self"])
                if made.__module__.startswith("handler"):
                    way.classes.add(f"{made.__module__}.{made.__qualname__}")
        elif event == "c_call" and not way.first_write_frames and _is_write(argument):
            way.first_write_frames = _frames(frame)

    with _profiling(profile):
        push()
    return way


def _is_write(function: Any) -> bool:
    return getattr(function, "__module__", None) == "posix" and function.__name__ in _WRITES


def _frames(frame: FrameType | None) -> list[str]:
    found = []
    while frame is not None:
        if frame.f_code.co_filename.startswith(HANDLER):
            found.append(f"{frame.f_code.co_filename.removeprefix(HANDLER)}:{frame.f_code.co_name}")
        frame = frame.f_back
    return found[::-1]


@contextmanager
def _profiling(profile: Callable[[FrameType, str, Any], None]) -> Any:
    threading.setprofile(profile)
    sys.setprofile(profile)
    try:
        yield
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
