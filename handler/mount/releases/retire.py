"""Take a target away: its ref is gone, and its grace is over. Raises OSError for what the mount answers."""

import errno
import os
from contextlib import suppress
from dataclasses import replace

from handler.exchange.events import PendingEvent, retired_event
from handler.model import Outcome, OutcomeKind
from handler.mount.fs.directories import make_directories, open_directory, remove_tree
from handler.mount.fs.files import unlink_if_there
from handler.mount.target.directory import TargetDirectory, list_names, take_away
from handler.mount.target.layout import (
    RepositoryPaths,
    TargetPaths,
    is_filter_file,
    is_passing,
    is_release,
    is_staged,
    trash_name,
)
from handler.mount.target.registry import TargetRegistry
from handler.mount.target.run import Run


def retire(run: Run, unchanged: Outcome) -> Outcome:
    """Take the target away, if a pattern made it and its ref has been gone for the grace; returns the outcome.

    A ref that the configuration names, or the default branch, is more likely gone by mistake: what readers have stays.
    `unchanged` is the outcome of doing nothing.
    """
    target, record = run.target, run.published.record
    if not target.is_retirable or target.path not in run.registry.read():
        return replace(unchanged, kind=OutcomeKind.IGNORED, reason="ref_gone")
    if run.published.commit is None:
        # A run was killed while it took the target away, or the target was never published. Then the record is gone,
        # or says whose the rest is.
        record = run.directory.read_record()
    if record is not None:
        if (record.repository, record.ref) != (run.repository.full_name, target.ref):
            return replace(unchanged, kind=OutcomeKind.IGNORED, reason="ref_gone")
        if record.gone_since is None:
            # The first run that finds the ref gone only writes that down: one wrong answer of the remote takes no
            # target away.
            record = replace(record, gone_since=run.directory.clock())
            run.directory.write_record(record)
        if run.directory.clock() - (record.gone_since or 0) < run.repository.grace_seconds:
            return replace(unchanged, kind=OutcomeKind.IGNORED, reason="retiring")
        _remove_trees(run.directory)
        # Somebody may have damaged the record's commit. That must not keep the target: the event says then that it is
        # not known.
        event = retired_event(
            run.repository.full_name,
            target,
            commit=record.commit or None,
            delivery=run.request.delivery,
            at=run.clock(),
        )
        if run.emit is not None:
            run.emit(event)
            # The record stays until the bus has taken the event: by the record the schedule finds what is left to do.
            return replace(unchanged, kind=OutcomeKind.IGNORED, reason="retiring")
    _forget(run.directory, run.paths, run.registry)
    return replace(unchanged, kind=OutcomeKind.RETIRED, reason="ref_gone", commit=None, last_success_age_seconds=None)


def finish(
    directory: TargetDirectory, event: PendingEvent, paths: RepositoryPaths, registry: TargetRegistry
) -> Outcome | None:
    """Forget a target whose trees `retire` removed, once the bus has taken its event. Only the lock's holder may.

    Returns the outcome; None where the target is published again, or somebody else's. Raises OSError.
    """
    # Read again: between the event and this the branch may have come back, and a push have published it.
    record, published = directory.read_record(), directory.read_published()
    if record is None or record.gone_since is None or published.commit is not None:
        return None
    if (record.repository, record.commit or None) != (event.repository, event.commit):
        return None
    _forget(directory, paths, registry)
    return Outcome(
        kind=OutcomeKind.RETIRED,
        reason="ref_gone",
        repository=record.repository,
        ref=record.ref,
        path=event.path,
        previous_commit=record.commit or None,
    )


def _forget(directory: TargetDirectory, paths: RepositoryPaths, registry: TargetRegistry) -> None:
    directory.check_lock()
    # The registry last: while the target is on it, a later run comes back to what is left.
    _remove_rest(directory, paths.directory)
    registry.remove(directory.path, directory.check_lock)


def _remove_trees(paths: TargetDirectory) -> None:
    """Remove `current`, and every tree. The record stays, since it says whose all this was: after a kill the next run
    goes on. Raises LockLost."""
    make_directories(paths.staging)
    # `current` goes first, so that no reader finds a tree that is half gone.
    with suppress(FileNotFoundError):
        take_away(paths, paths.current, trash_name())
    # Only names that git2efs makes: another repository's target may have come to lie in here.
    for name in filter(is_release, list_names(paths.releases)):
        # Renamed before it is removed: half removed it must not bear a release's name for a moment.
        take_away(paths, paths.release(name), trash_name())
    # Spares and half-made trees too: another run that takes one over while it is being removed would publish holes.
    for name in list_names(paths.staging):
        if is_staged(name) and not is_passing(name):
            take_away(paths, paths.staged(name), trash_name())
    # After all trees: one that is left without these files would pass for the whole of its commit.
    for name in filter(is_filter_file, list_names(paths.releases)):
        take_away(paths, paths.release(name), trash_name())
    with open_directory(paths.staging) as staging:
        for name in filter(is_passing, os.listdir(staging)):
            try:
                remove_tree(name, dir_fd=staging)
            except NotADirectoryError:
                os.unlink(name, dir_fd=staging)
    for directory in (paths.releases, paths.staging):
        try:
            os.rmdir(directory)
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ENOTEMPTY, errno.EEXIST):
                raise


def _remove_rest(paths: TargetPaths, below: str) -> None:
    """Remove the record, the target's directory, and those above it that this leaves empty, as far as `below`.

    What somebody else put into one of them stays, and the directory with it.
    """
    unlink_if_there(paths.record)
    directory = paths.root
    with suppress(OSError):
        while directory.startswith(below + "/"):
            os.rmdir(directory)
            directory = os.path.dirname(directory)
