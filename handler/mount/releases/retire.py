"""A target whose ref is gone: it goes too, after its grace."""

from dataclasses import replace

from handler.exchange.events import retired
from handler.model import Outcome, OutcomeKind
from handler.mount.releases.removal import remove_rest, remove_trees
from handler.mount.target.run import Run


def retire(work: Run, about: Outcome) -> Outcome:
    """Take the target away, if a pattern made it and its ref has been gone for the grace; returns the outcome.

    A ref that the configuration names, or the default branch, is more likely gone by mistake: what readers have stays.
    The first run that finds the ref gone only writes that down, so nothing goes by a single answer of the remote.
    Raises OSError.
    """
    record = work.published.record
    if not work.target.is_retirable or work.target.path not in work.registry.read():
        return replace(about, kind=OutcomeKind.IGNORED, reason="ref_gone")
    if work.published.commit is None:
        # Killed while it was taken away, or never published: then the record is gone, or says whose the rest is.
        record = work.directory.read_record()
    if record is not None:
        if (record.repository, record.ref) != (work.repository.full_name, work.target.ref):
            return replace(about, kind=OutcomeKind.IGNORED, reason="ref_gone")
        if record.gone_since is None:
            record = replace(record, gone_since=work.clock())
            work.directory.write_record(record)
        if work.clock() - (record.gone_since or 0) < work.repository.grace_seconds:
            return replace(about, kind=OutcomeKind.IGNORED, reason="retiring")
        remove_trees(work.directory.paths)
        if work.emit is not None and not work.emit(
            retired(work.repository.full_name, work.target, record.commit, work.trigger.delivery, work.clock())
        ):
            # The record stays until the bus has taken it: by that the schedule finds what is left to do.
            return replace(about, kind=OutcomeKind.IGNORED, reason="retiring")
    remove_rest(work.directory.paths, work.paths.directory)
    work.registry.remove(work.target.path)
    return replace(about, kind=OutcomeKind.RETIRED, reason="ref_gone", commit=None, last_success_age_seconds=None)
