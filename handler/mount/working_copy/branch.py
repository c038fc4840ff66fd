"""Say where the branch is: the last step of a pull, and what can be done for it before."""

from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from functools import partial

from handler.mount.fs.executor import IN_TURN, Executor, wait_for
from handler.mount.working_copy.gitdir.ref_logs import LogEntry
from handler.mount.working_copy.gitdir.refs import RefChange, Refs
from handler.mount.working_copy.journal import PullJournal


@contextmanager
def branch_begun(refs: Refs, journal: PullJournal, beside: Executor = IN_TURN) -> Iterator["Future[RefChange]"]:
    """Do what can be done for the refs already, beside what the block does; it waits for that with what it gets.

    The branch is locked, and nobody moved it; ORIG_HEAD says where it was. At the block's end the branch is let go of.
    Raises CopyBusy, CopyUnusable, OSError.
    """
    beginning = beside.submit(partial(_begin, refs, journal))
    try:
        yield beginning
    finally:
        begun = None
        with suppress(Exception):  # raised already, if the block came to wait for it
            begun = beginning.result()
        if begun is not None:
            begun.end()


def _begin(refs: Refs, journal: PullJournal) -> RefChange:
    before, after = None if journal.old is None else journal.old.encode(), journal.new.encode()
    begun = refs.begin(journal.branch, after, {before, after})
    if before is not None:
        try:
            refs.write_loose("ORIG_HEAD", before + b"\n")
        except BaseException:
            begun.end()
            raise
    return begun


def write_refs(
    refs: Refs, journal: PullJournal, branch: RefChange, beside: Executor = IN_TURN, *, is_first: bool = False
) -> None:
    """Say where the branch is now, and in the logs how it came there. Raises CopyUnusable, OSError.

    The logs first, as git does it, under the branch's lock: of a killed run they may say more than is so, and the next
    one sees that it is written. The branch last: from then on all is done. `is_first`: none was killed here.
    """
    by_log: dict[str, list[LogEntry]] = {}
    for log, old, new, message in journal.lines:
        entry = LogEntry(old.encode(), new.encode(), message.encode("utf-8", "surrogateescape"))
        by_log.setdefault(log, []).append(entry)
    committer = journal.committer.encode("utf-8", "surrogateescape")
    wait_for(
        beside.submit_all(
            partial(refs.append_log, log, lines, committer, journal.at, is_again=not is_first)
            for log, lines in by_log.items()
        )
    )
    branch.finish()
