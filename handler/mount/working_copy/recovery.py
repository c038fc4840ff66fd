"""What a killed run left of a working copy: brought to its end, or back to where it began."""

import os

from handler.errors import CopyUnusable
from handler.mount.working_copy import apply
from handler.mount.working_copy.apply import PathState
from handler.mount.working_copy.autostash import keep_stash
from handler.mount.working_copy.branch import branch_begun, write_refs
from handler.mount.working_copy.gitdir.locks import drop_leftover
from handler.mount.working_copy.journal import PullJournal, read_journal, remove_journal
from handler.mount.working_copy.local_changes import ChangeSet
from handler.mount.working_copy.open_copy import OpenCopy


def recover(copy: OpenCopy) -> tuple[str, ...]:
    """Finish or undo what a killed run was doing; returns a sentence for the log if there was anything.

    It is finished wherever that loses nothing. If somebody changed a file of it meanwhile, what was done already is
    undone, file by file, and that one is left: then the copy is the old commit's with an uncommitted change, which is
    what that person sees it as, and a pull refuses it by name. Raises CopyBusy, CopyUnusable, MirrorDamaged, OSError.
    """
    drop_leftover(copy.refs.lock_path(copy.config.tracking_ref))
    journal = read_journal(copy.paths)
    if journal is None:
        _let_go(copy)
        return ()
    drop_leftover(copy.refs.lock_path(journal.branch))
    head = copy.head()
    if head == journal.new:
        with copy.locked():
            remove_journal(copy.paths)
            return ("a killed run had all but ended",)
    if head != journal.old or copy.branch != journal.branch:
        # Somebody took the lock away and moved the branch: the copy is theirs now, as it stands.
        with copy.locked():
            remove_journal(copy.paths)
            return ("somebody took over what a killed run had begun: it is neither finished nor undone",)
    with copy.locked():
        try:
            copy.read_index()
        except CopyUnusable:
            remove_journal(copy.paths)  # somebody is at something else here, and must not be kept from ending it
            raise
        is_finished = _bring(copy, journal)
        remove_journal(copy.paths)
    return (f"what a killed run had begun is {'finished' if is_finished else 'undone: somebody changed a file of it'}",)


def _let_go(copy: OpenCopy) -> None:
    """Drop the locks in `.git` that a killed run held while nothing was half done: nobody else would.

    A journal that cannot be read goes too, as it would keep the index locked for ever.
    """
    if copy.config.locks:
        remove_journal(copy.paths)
    for name in copy.config.locks:
        drop_leftover(os.path.join(copy.paths.git, name))


def undo(copy: OpenCopy, journal: PullJournal) -> None:
    """Go back after a failure, under the copy's lock, and forget the journal. Raises what `recover` raises.

    Where this fails too, the journal stays, and with it the lock, for the next run.
    """
    if copy.head() == journal.new:
        return  # the last step had been taken, and only its tidying failed
    _bring(copy, journal, is_wanted=False)
    remove_journal(copy.paths)


def _bring(copy: OpenCopy, journal: PullJournal, *, is_wanted: bool = True) -> bool:
    """Bring the copy to the new commit if that is wanted and loses nothing, else back; returns whether it is there."""
    difference = copy.differences(copy.store, journal.old, journal.new)
    changes = ChangeSet.of(difference).with_kept(journal.kept)
    index = copy.read_index()
    if is_wanted and apply.has_all(index, changes):
        # All files were done; what differs from them since is of somebody who saw the new ones.
        _write_refs(copy, journal)
        return True
    with copy.worktree() as worktree:
        states = apply.states_of(copy.compare_index(worktree, index, changes), changes)
        by_state = {each: {path for path, (state, _) in states.items() if state is each} for each in PathState}
        is_forward = is_wanted and not by_state[PathState.NEITHER]
        if is_forward:
            keep_stash(copy.refs, journal)
            todo = changes.only(by_state[PathState.BEFORE] | by_state[PathState.BETWEEN])
            entries = apply.entries_of(changes.only(by_state[PathState.AFTER]), states)
        else:
            # What somebody put in the way of an old file stays: that file is then one that was removed.
            todo, entries = changes.only(by_state[PathState.AFTER] | by_state[PathState.BETWEEN]).reversed(), {}
        entries |= apply.apply(worktree, todo, copy.store, crew=copy.crew, leaves_blocked=not is_forward)[0]
    apply.write_index(
        copy.paths, copy.store.scratch, index.patch(entries, difference.new_trees if is_forward else None)
    )
    if is_forward:
        _write_refs(copy, journal)
    return is_forward


def _write_refs(copy: OpenCopy, journal: PullJournal) -> None:
    with branch_begun(copy.refs, journal) as branch:
        write_refs(copy.refs, journal, branch.result())
