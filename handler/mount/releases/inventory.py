"""Which releases a target has, what lies in its staging, and the flip. Raises OSError for what the mount answers."""

import os
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass

from handler.mount.releases.seal import read_release
from handler.mount.releases.strategy import Release
from handler.mount.target.layout import TargetPaths, is_commit


@dataclass(frozen=True, slots=True)
class Inventory:
    """What lies beside `current`: the names in staging, and the releases."""

    staged: tuple[str, ...]
    releases: tuple[Release, ...]

    def has(self, commit: str) -> bool:
        """Whether the commit's release is there: `current` may lead nowhere after somebody removed it."""
        return any(each.commit == commit for each in self.releases)


def list_releases(paths: TargetPaths, known: Collection[str] | None = None) -> Inventory:
    """List what lies beside `current`.

    `known` names the releases where this process is sure of them, and sure that staging is empty: then it lists no
    directory. It reads the releases' clocks all the same, since they tell whether somebody else changed a release.
    """
    names = _list(paths.releases) if known is None else known
    releases = []
    for name in names:
        if is_commit(name):
            with suppress(FileNotFoundError):
                releases.append(read_release(paths.release(name), name, is_sure=known is not None))
    return Inventory(tuple(_list(paths.staging)) if known is None else (), tuple(releases))


def flip(paths: TargetPaths, link: str) -> None:
    """Put the temporary link in the place of `current`: the one step that readers see."""
    # One rename. Unlinking `current` first would leave a moment, and after a kill a mount, without any tree.
    os.rename(link, paths.current)


def _list(path: str) -> list[str]:
    try:
        return os.listdir(path)
    except FileNotFoundError:
        return []
