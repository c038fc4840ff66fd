"""Where a store's new packs and its file `shallow` go, and in which order each step shows something."""

import os
import secrets
from abc import ABC, abstractmethod
from contextlib import suppress
from typing import BinaryIO

from handler.mount.fs.files import create, read_whole, write_whole
from handler.mount.git.ingest import IndexedPack, PackSpool
from handler.mount.git.packs import SMALL_BYTES

TEMPORARY_PREFIX = "tmp_"


class PackWriter(ABC):
    """Writes below one git directory."""

    @abstractmethod
    def pack_name(self, trailer: str) -> str:
        """Return the name, without extension, of the pack with this trailer (40 hex digits)."""

    @abstractmethod
    def create_spool(self) -> tuple[BinaryIO, str]:
        """Create the file that a large pack is received into; return it with its path."""

    @abstractmethod
    def write_hidden(self, path: str, spool: PackSpool, indexed: IndexedPack) -> None:
        """Write what comes first, and shows nothing yet. `path` is the pack's, without extension."""

    @abstractmethod
    def write_visible(self, path: str, spool: PackSpool, indexed: IndexedPack) -> None:
        """Write what comes second, and makes the pack visible: complete, or detectably incomplete."""

    @abstractmethod
    def flush(self) -> None:
        """Wait until what was written is on the mount."""

    @abstractmethod
    def shallow_commits(self) -> set[bytes]:
        """Return the commits (40 hex digits) whose parents are left out."""

    @abstractmethod
    def change_shallow(self, added: set[bytes], removed: set[bytes]) -> None:
        """Add commits to the file `shallow`, and remove others from it."""


class InPlaceWriter(PackWriter):
    """Writes a mirror's packs where they belong, as far as a killed run cannot do harm. The lock's holder is alone."""

    def __init__(self, git_directory: str) -> None:
        self._git_directory = git_directory
        self._pack_directory = os.path.join(git_directory, "objects", "pack")
        self._shallow: set[bytes] | None = None

    def pack_name(self, trailer: str) -> str:
        """Return the name that git gives to a pack."""
        return f"pack-{trailer}"

    def create_spool(self) -> tuple[BinaryIO, str]:
        """Create a temporary file beside the packs; `Mirror.refresh` sweeps what a killed run leaves."""
        path = self._temporary("pack")
        return create(path), path

    def write_hidden(self, path: str, spool: PackSpool, indexed: IndexedPack) -> None:
        """Write a small pack's index, or a large pack: neither is anything without the other."""
        if spool.name is not None:
            os.rename(spool.name, path + ".pack")
        elif _is_small(spool):
            # The index first, and the pack in place after it, which spares the rename: whoever opens a small pack reads
            # all of it, and sees by its checksum whether a killed run had written all (see `open_pack`).
            write_whole(path + ".idx", indexed.index)
        else:
            # In place too: while no index shows it, nobody minds that it is incomplete.
            write_whole(path + ".pack", spool.content())

    def write_visible(self, path: str, spool: PackSpool, indexed: IndexedPack) -> None:
        """Write a small pack, or a large pack's index."""
        if _is_small(spool):
            write_whole(path + ".pack", spool.content())
        else:
            # Renamed: half an index would show a pack that cannot be read.
            self._replace(path + ".idx", indexed.index, "idx")

    def flush(self) -> None:
        """Do nothing: each write has closed its file."""

    def shallow_commits(self) -> set[bytes]:
        """Return what the file holds, read once until `forget_shallow`."""
        if self._shallow is None:
            self._shallow = set((read_whole(os.path.join(self._git_directory, "shallow")) or b"").split())
        return self._shallow

    def forget_shallow(self) -> None:
        """Read the file again the next time."""
        self._shallow = None

    def change_shallow(self, added: set[bytes], removed: set[bytes]) -> None:
        """Replace the file; nobody else writes it."""
        self.write_shallow((self.shallow_commits() | added) - removed)

    def write_shallow(self, commits: set[bytes]) -> None:
        """Replace the file's commits by these."""
        self._replace(os.path.join(self._git_directory, "shallow"), shallow_file(commits), "shallow")
        self._shallow = commits

    def _replace(self, path: str, content: bytes, kind: str) -> None:
        temporary = self._temporary(kind)
        write_whole(temporary, content)
        os.rename(temporary, path)

    def _temporary(self, kind: str) -> str:
        return os.path.join(self._pack_directory, f"{TEMPORARY_PREFIX}{kind}_{secrets.token_hex(8)}")


def shallow_file(commits: set[bytes]) -> bytes:
    """Return the content of a file `shallow`."""
    return b"".join(commit + b"\n" for commit in sorted(commits))


def unlink_if_there(path: str) -> None:
    """Remove a file that somebody may have removed already."""
    with suppress(FileNotFoundError):
        os.unlink(path)


def _is_small(spool: PackSpool) -> bool:
    # Not by the spool's own size: what completes a thin pack was added to it.
    return spool.name is None and len(spool.content()) <= SMALL_BYTES
