"""The directories of a run: the remote and the traces on a local disk, the published trees on the mount."""

import os
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory, mkdtemp

from testing.guards import isolated_environment, replace_environment
from testing.origin import GitOrigin
from testing.parameters import ParameterStore
from testing.service import Service


@dataclass(frozen=True, slots=True)
class Place:
    """`local` is a directory on the local disk, `trees` one on the mount; `workers` a setting, None its default.

    `git_sync` is kubernetes/git-sync's program, where it takes part.
    """

    local: Path
    trees: Path
    origin: GitOrigin
    store: ParameterStore
    workers: int | None = None
    git_sync: Path | None = None

    def service(self, mount: Path, **settings: object) -> Service:
        """Return a stack of its own, with the product's settings except for these."""
        service = Service(mount, self.store, self.origin)
        service.settings = {"checkout_workers": self.workers} | settings
        return service


@contextmanager
def make_place(mount: Path | None, workers: int | None, git_sync: Path | None = None) -> Iterator[Place]:
    """Make it, in an environment without the user's configuration; remove it at the end."""
    with TemporaryDirectory(prefix="git2efs-bench-") as name:
        local = Path(name)
        (local / "origin").mkdir()
        replace_environment(os.environ, isolated_environment(local, os.environ))
        trees = Path(mkdtemp(prefix="git2efs-bench-", dir=mount or local))
        store = ParameterStore()
        try:
            with GitOrigin(local / "origin") as origin:
                yield Place(local, trees, origin, store, workers, git_sync)
        finally:
            store.stop()
            discard(trees)


def discard(directory: Path) -> None:
    """Remove a tree with many removals in flight: one by one they take minutes on a slow mount."""
    with ThreadPoolExecutor(32) as pool:
        directories = [Path(at) for at, _, files in os.walk(directory) if files]
        for _ in pool.map(_remove_files, directories):
            pass
    shutil.rmtree(directory, ignore_errors=True)


def _remove_files(directory: Path) -> None:
    for entry in list(os.scandir(directory)):
        if not entry.is_dir(follow_symlinks=False):
            os.unlink(entry.path)
