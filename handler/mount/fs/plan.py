"""What a check-out is to do to a directory. Pure: paths in bytes, and the ids of blobs, which mean nothing here."""

from dataclasses import dataclass
from typing import NamedTuple


class FileWrite(NamedTuple):
    """A regular file to write. `path` is relative to the tree, in bytes as git has it; `blob` is a hex id."""

    path: bytes
    blob: bytes
    is_executable: bool
    is_replacing: bool


class LinkWrite(NamedTuple):
    """A symbolic link to make; `target` is checked."""

    path: bytes
    target: bytes
    is_replacing: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class TreePlan:
    """The steps that bring a directory from one tree to another, in the order of the fields.

    Each step may be repeated: to finish a plan that was interrupted anywhere, apply it again. `removed_directories`
    come deepest first, `made_directories` parents first. What is `touched` is right already, and only gets a new mtime.
    `submodules` become empty directories; they are listed here for the log.
    """

    removed_files: tuple[bytes, ...] = ()
    removed_directories: tuple[bytes, ...] = ()
    made_directories: tuple[bytes, ...] = ()
    files: tuple[FileWrite, ...] = ()
    links: tuple[LinkWrite, ...] = ()
    touched_files: tuple[bytes, ...] = ()
    touched_directories: tuple[bytes, ...] = ()
    submodules: tuple[bytes, ...] = ()
