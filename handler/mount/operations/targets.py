"""Find on the mount what an operator names: a target by its path, or all targets of a repository.

Nothing here asks Parameter Store: an operator must be able to roll back while it is away, or while the repository's
parameter is wrong. The target's record names its repository, and the repository's registry has to name the target.
"""

import os
import stat
from collections.abc import Callable, Iterator

from handler.config.names import is_full_name, path_problem
from handler.errors import TargetUnknown
from handler.exchange.operations import MountedTarget
from handler.mount.target.directory import TargetDirectory, holds_target
from handler.mount.target.layout import COPY, RELEASES, STAGING, RepositoryPaths
from handler.mount.target.record import PublishedRecord
from handler.mount.target.registry import TargetRegistry


def repositories_on(mount: str) -> Iterator[str]:
    """Yield the full names of the repositories that have targets on the mount. Raises OSError."""
    for owner in sorted(each for each in _directories(mount) if not each.startswith(".")):
        for name in sorted(_directories(f"{mount}/{owner}")):
            full_name = f"{owner}/{name}"
            if is_full_name(full_name) and _has_targets(mount, full_name):
                yield full_name


def _has_targets(mount: str, full_name: str) -> bool:
    """Whether the repository's registry is there, and names a target: it stays when the last one is gone."""
    try:
        return os.lstat(RepositoryPaths.of(mount, full_name).targets).st_size > 0
    except (FileNotFoundError, NotADirectoryError):
        return False


def find_targets(mount: str, name: str | None) -> tuple[MountedTarget, ...]:
    """Return the target at the path `name`, or all targets of the repository `name`; None: all targets on the mount.

    Raises TargetUnknown where a name matches nothing, or where a link would lead elsewhere; and OSError.
    """
    if name is None:
        return tuple(target for each in repositories_on(mount) for target in _targets_of(mount, each))
    if problem := path_problem(name):
        raise TargetUnknown(f"the path {problem}")
    refuse_links(mount, name)
    if is_target(mount, name):
        return (target_at(mount, name),)
    found = _targets_of(mount, name) if is_full_name(name) else ()
    if not found:
        raise TargetUnknown(f"nothing is published at {name}")
    return found


def open_target(mount: str, target: MountedTarget, clock: Callable[[], float]) -> TargetDirectory:
    """Return the directory of a target that `find_targets` found earlier.

    Raises TargetUnknown where it is not the repository's any more, or leads elsewhere; and OSError.
    """
    # The target comes back from the network side, after a while: nothing that was checked then is certain now.
    if path_problem(target.path):
        raise TargetUnknown("the target has no path on the mount")
    refuse_links(mount, target.path)
    if target_at(mount, target.path) != target:
        raise TargetUnknown(f"{target.path} is not {target.repository}'s any more")
    return TargetDirectory.at(mount, target.path, clock)


def refuse_links(mount: str, path: str) -> None:
    """Raise TargetUnknown where `path`, or a directory above it, is missing or not a directory. Raises OSError.

    git2efs makes no links there; one that somebody else made could lead out of the mount.
    """
    directory = mount
    for part in path.split("/"):
        directory = f"{directory}/{part}"
        try:
            mode = os.lstat(directory).st_mode
        except (FileNotFoundError, NotADirectoryError):
            raise TargetUnknown(f"nothing is published at {path}") from None
        if not stat.S_ISDIR(mode):
            raise TargetUnknown(f"{path} leads through something that is not a directory")


def refuse_unregistered(mount: str, path: str, record: PublishedRecord) -> None:
    """Raise TargetUnknown unless the registry of the record's repository names the target at `path`. Raises OSError."""
    # Anybody who may write to the target could write its record, and name another repository in it.
    if not is_full_name(record.repository):
        raise TargetUnknown(f"{path} has a record that names no repository")
    refuse_links(mount, record.repository)
    if path not in TargetRegistry.of(mount, record.repository).target_paths():
        raise TargetUnknown(f"{path} is not on the list of {record.repository}, which its record names")


def is_target(mount: str, path: str) -> bool:
    """Whether something is published at `path`, or was, and left its record."""
    return holds_target(f"{mount}/{path}")


def target_at(mount: str, path: str) -> MountedTarget:
    """Return the target at `path`, which leads through no link (`refuse_links`), by its record.

    Raises TargetUnknown where no record says whose it is, or that repository's registry does not name it; and OSError.
    """
    directory = TargetDirectory.at(mount, path)
    for inner in (COPY,) if directory.is_copy else (RELEASES, STAGING):
        if os.path.lexists(f"{mount}/{path}/{inner}"):
            refuse_links(mount, f"{path}/{inner}")
    record = directory.read_record()
    if record is None:
        raise TargetUnknown(f"{path} has no record that says whose it is: publish it first")
    refuse_unregistered(mount, path, record)
    return MountedTarget(record.repository, path)


def _targets_of(mount: str, full_name: str) -> tuple[MountedTarget, ...]:
    """Return the registered targets of a repository that are published, and from that repository."""
    found = []
    for path in TargetRegistry.of(mount, full_name).target_paths():
        try:
            refuse_links(mount, path)
            target = target_at(mount, path)
        except TargetUnknown:
            continue
        if target.repository == full_name:
            found.append(target)
    return tuple(found)


def _directories(path: str) -> list[str]:
    with os.scandir(path) as entries:
        return [each.name for each in entries if each.is_dir(follow_symlinks=False)]
