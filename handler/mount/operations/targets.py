"""What an operator names, found on the mount: a target by its path, or all targets of a repository.

Nothing here asks Parameter Store: who has to go back at once must be able to while that is away, or the repository's
parameter is wrong. What stands on the mount says whose it is, and both sides have to say so.
"""

import os
import stat
from collections.abc import Callable
from dataclasses import dataclass

from handler.config.names import is_full_name, path_problem
from handler.errors import TargetUnknown
from handler.mount.target.directory import TargetDirectory
from handler.mount.target.layout import COPY, CURRENT, RECORD, RELEASES, STAGING, RepositoryPaths
from handler.mount.target.record import PublishedRecord
from handler.mount.target.registry import TargetRegistry


@dataclass(frozen=True, slots=True)
class MountedTarget:
    """A target that stands on the mount, and whose it is."""

    repository: str
    path: str
    paths: RepositoryPaths
    directory: TargetDirectory


def find_target(mount: str, subject: str, clock: Callable[[], float]) -> tuple[MountedTarget, ...]:
    """Return the target at the path `subject`, or all of the repository of that name.

    Raises TargetUnknown where there is none, or where a link would lead somewhere else, and OSError.
    """
    if problem := path_problem(subject):
        raise TargetUnknown(f"the path {problem}")
    refuse_links(mount, subject)
    directory = f"{mount}/{subject}"
    if any(os.path.lexists(f"{directory}/{name}") for name in (CURRENT, RECORD, COPY)):
        return (_standing(mount, subject, clock),)
    found = targets_on_list(mount, subject, clock) if is_full_name(subject) else ()
    if not found:
        raise TargetUnknown(f"nothing is published at {subject}")
    return found


def targets_on_list(mount: str, full_name: str, clock: Callable[[], float]) -> tuple[MountedTarget, ...]:
    """Return the targets of a repository's list that stand and are its own. Raises OSError."""
    return tuple(
        standing
        for path in TargetRegistry.of(mount, full_name).target_paths()
        if (standing := _standing_or_none(mount, path, clock)) is not None and standing.repository == full_name
    )


def refuse_links(mount: str, path: str) -> None:
    """Raise TargetUnknown where a directory on the way to `path`, or it itself, is none, or is a link. Raises OSError.

    git2efs makes no links there; one that somebody put could lead out of the mount.
    """
    way = mount
    for part in path.split("/"):
        way = f"{way}/{part}"
        try:
            mode = os.lstat(way).st_mode
        except (FileNotFoundError, NotADirectoryError):
            raise TargetUnknown(f"nothing is published at {path}") from None
        if not stat.S_ISDIR(mode):
            raise TargetUnknown(f"{path} leads through what is no directory")


def _standing(mount: str, path: str, clock: Callable[[], float]) -> MountedTarget:
    directory = TargetDirectory.at(mount, path, clock)
    for inner in (COPY,) if directory.paths.is_copy else (RELEASES, STAGING):
        if os.path.lexists(f"{mount}/{path}/{inner}"):
            refuse_links(mount, f"{path}/{inner}")
    record = directory.read_record()
    if record is None:
        raise TargetUnknown(f"{path} has no record that says whose it is: publish it first")
    refuse_stranger(mount, path, record)
    return MountedTarget(record.repository, path, RepositoryPaths.of(mount, record.repository), directory)


def refuse_stranger(mount: str, path: str, record: PublishedRecord) -> None:
    """Raise TargetUnknown unless the record's repository has the target on its list. Raises OSError."""
    if not is_full_name(record.repository):
        raise TargetUnknown(f"{path} has a record that names no repository")
    refuse_links(mount, record.repository)
    if path not in TargetRegistry.of(mount, record.repository).target_paths():
        raise TargetUnknown(f"{path} is not on the list of {record.repository}, which its record names")


def _standing_or_none(mount: str, path: str, clock: Callable[[], float]) -> MountedTarget | None:
    try:
        refuse_links(mount, path)
        return _standing(mount, path, clock)
    except TargetUnknown:
        return None
