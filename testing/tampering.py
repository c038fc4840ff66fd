"""A tree with every kind of entry, and every way in which somebody may tamper with it on the mount."""

import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

from testing.repositories import Entry, Executable, Link, Submodule

SITE: Mapping[str, Entry] = MappingProxyType(
    {
        "README": b"one\n",
        "run": Executable(b"#!/bin/sh\n"),
        "to-docs": Link(b"docs/guide"),
        "docs/guide/deep/file": b"deep\n",
        "docs/guide/deep/empty": b"",
        "docs/guide/deep/tool": Executable(b"tool\n"),
        "docs/guide/deep/link": Link(b"../../index"),
        "docs/index": b"index\n",
        "docs/other/a": b"a\n",
        "docs/other/b/c": b"c\n",
        "vendor/module": Submodule("1" * 40),
        "untouched": b"untouched\n",
    }
)
"""Nothing below tampers with `untouched`."""


def write(path: str, content: bytes) -> Callable[[Path], None]:
    """Write over a file in place; its times stay, as whoever wants to go unseen would have it."""

    def change(root: Path) -> None:
        about = (root / path).stat()
        (root / path).write_bytes(content)
        os.utime(root / path, ns=(about.st_atime_ns, about.st_mtime_ns))

    return change


def replace(path: str, make: Callable[[Path], object]) -> Callable[[Path], None]:
    """Remove what is there, and make something else (or nothing) of that name."""

    def change(root: Path) -> None:
        if (root / path).is_dir() and not (root / path).is_symlink():
            shutil.rmtree(root / path)
        elif os.path.lexists(root / path):
            os.unlink(root / path)
        make(root / path)

    return change


def chmod(path: str, mode: int) -> Callable[[Path], None]:
    """Set a mode."""
    return lambda root: (root / path).chmod(mode)


def add(path: str, content: bytes = b"extra") -> Callable[[Path], None]:
    """Add a file, in directories of its own if need be."""

    def change(root: Path) -> None:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(content)

    return change


def _nothing(_: Path) -> None:
    """Make nothing."""


TAMPERINGS: Mapping[str, tuple[str, Callable[[Path], None]]] = MappingProxyType(
    {
        "content of the same size, at the root": ("changed README", write("README", b"two\n")),
        "content of the same size, deep": ("changed docs/guide/deep/file", write("docs/guide/deep/file", b"DEEP\n")),
        "a longer file": ("changed docs/index", write("docs/index", b"index\nmore\n")),
        "a shorter file": ("changed docs/index", write("docs/index", b"ind")),
        "an emptied file": ("changed docs/index", write("docs/index", b"")),
        "a filled file": ("changed docs/guide/deep/empty", write("docs/guide/deep/empty", b"x")),
        "an executable that is none any more": ("changed run", chmod("run", 0o644)),
        "a file that is executable": ("changed docs/guide/deep/file", chmod("docs/guide/deep/file", 0o755)),
        "a file that only its owner reads": ("changed docs/index", chmod("docs/index", 0o600)),
        "a directory that only its owner reads": ("changed docs/guide", chmod("docs/guide", 0o700)),
        "a root that only its owner reads": ("changed ", chmod(".", 0o700)),
        "a link's target": ("changed to-docs", replace("to-docs", lambda path: path.symlink_to("docs/other"))),
        "a link's target, deep": (
            "changed docs/guide/deep/link",
            replace("docs/guide/deep/link", lambda path: path.symlink_to("/etc/passwd")),
        ),
        "a link to a file": ("changed to-docs", replace("to-docs", lambda path: path.write_bytes(b"docs/guide"))),
        "a link to a directory": ("changed to-docs", replace("to-docs", Path.mkdir)),
        "a file to a link to its like": (
            "changed docs/index",
            replace("docs/index", lambda path: path.symlink_to("../README")),
        ),
        "a file to a pipe": ("changed docs/index", replace("docs/index", os.mkfifo)),
        "a file to a directory": ("changed docs/guide/deep/file", replace("docs/guide/deep/file", Path.mkdir)),
        "a file to a directory with something in it": (
            "changed README",
            replace("README", add("a/b/c")),
        ),
        "a directory to a file": ("changed docs/other", replace("docs/other", lambda path: path.write_bytes(b"x"))),
        "a directory to a link to another": (
            "changed docs/other",
            replace("docs/other", lambda path: path.symlink_to("guide")),
        ),
        "a file gone, deep": ("missing docs/guide/deep/file", replace("docs/guide/deep/file", _nothing)),
        "a file gone, at the root": ("missing README", replace("README", _nothing)),
        "a link gone": ("missing docs/guide/deep/link", replace("docs/guide/deep/link", _nothing)),
        "a directory gone": ("missing docs", replace("docs", _nothing)),
        "a directory gone, deep": ("missing docs/other/b", replace("docs/other/b", _nothing)),
        "a submodule's directory gone": ("missing vendor/module", replace("vendor/module", _nothing)),
        "a file too many, deep": ("extra docs/guide/deep/more", add("docs/guide/deep/more")),
        "a file too many, at the root": ("extra .hidden", add(".hidden")),
        "a link too many": ("extra docs/l", replace("docs/l", lambda path: path.symlink_to("index"))),
        "a directory too many": ("extra docs/__pycache__", add("docs/__pycache__/deeper/x.pyc")),
        "a file in a submodule's directory": ("extra vendor/module/f", add("vendor/module/f")),
    }
)
"""What is done to the tree, and the first thing that is told about it."""
