"""Update the branch and its reflogs: the last step of a pull, and what can be prepared for it."""

from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from functools import partial

from handler.mount.fs.parallel import IN_TURN, Executor, wait_for
from handler.mount.working_copy.gitdir.names import decode_name
from handler.mount.working_copy.gitdir.ref_logs import LogEntry
from handler.mount.working_copy.gitdir.refs import Refs, RefTransaction
from handler.mount.working_copy.journal import PullJournal


@contextmanager
def prepared_branch(
    refs: Refs, journal: PullJournal, executor: Executor = IN_TURN
) -> Iterator["Future[RefTransaction]"]:
    """Prepare the update of the branch beside the block, which waits for it by the future that it gets.

    The preparation locks the branch, checks that nobody moved it, and writes ORIG_HEAD. At the end of the block the
    branch is unlocked. Raises CopyBusy, CopyUnusable.
    """
    preparing = executor.submit(partial(_prepare, refs, journal))
    try:
        yield preparing
    finally:
        transaction = None
        with suppress(Exception):  # the block has raised it, if it came to wait
            transaction = preparing.result()
        if transaction is not None:
            transaction.close()


def _prepare(refs: Refs, journal: PullJournal) -> RefTransaction:
    old, new = None if journal.old is None else journal.old.encode(), journal.new.encode()
    transaction = refs.prepare(journal.branch, new, {old, new})
    if old is not None:
        try:
            refs.write_pseudoref("ORIG_HEAD", old + b"\n")
        except BaseException:
            transaction.close()
            raise
    return transaction


def update_refs(
    refs: Refs, journal: PullJournal, branch: RefTransaction, executor: Executor = IN_TURN, *, is_retry: bool = True
) -> None:
    """Append the journal's lines to the reflogs, then move the branch. Raises CopyUnusable.

    `is_retry`: a killed run may have appended some of the lines.
    """
    entries: dict[str, list[LogEntry]] = {}
    for line in journal.lines:
        entries.setdefault(decode_name(line.ref), []).append(LogEntry(line.old, line.new, line.message))
    # The logs first, as git does it, under the branch's lock. A killed run leaves a log with lines too many, and the
    # next run finds them there. The branch last: as soon as it moves, the pull is done.
    wait_for(
        executor.submit_all(
            partial(refs.append_log, ref, each, journal.committer, journal.timestamp, is_retry=is_retry)
            for ref, each in entries.items()
        )
    )
    branch.commit()
