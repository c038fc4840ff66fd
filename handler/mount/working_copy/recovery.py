"""Recover from a killed run: finish its pull, or restore the old commit."""

import os

from handler.errors import CopyUnusable
from handler.mount.working_copy import apply
from handler.mount.working_copy.apply import PathState
from handler.mount.working_copy.autostash import store_stash
from handler.mount.working_copy.branch import prepared_branch, update_refs
from handler.mount.working_copy.gitdir.locks import release_stale_lock
from handler.mount.working_copy.journal import PullJournal, read_journal, remove_journal
from handler.mount.working_copy.local_changes import ChangeSet
from handler.mount.working_copy.open_copy import OpenCopy


def recover(copy: OpenCopy) -> tuple[str, ...]:
    """Finish or undo the pull of a killed run. Returns a note for the outcome if there was one.

    The pull is finished unless that would lose a change. If somebody has changed one of its files since, everything
    that was done is undone, file by file, except that file. The copy is then the old commit's with an uncommitted
    change, as that person sees it, and a pull refuses it by name. Raises CopyBusy, CopyUnusable, MirrorDamaged.
    """
    release_stale_lock(copy.refs.lock_path(copy.config.tracking_ref))
    journal = read_journal(copy.paths)
    if journal is None:
        _release_stale_locks(copy)
        return ()
    release_stale_lock(copy.refs.lock_path(journal.branch))
    head = copy.head()
    if head == journal.new:
        with copy.locked():
            remove_journal(copy.paths)
            return ("a killed run had all but ended",)
    if head != journal.old or copy.branch != journal.branch:
        # Somebody removed the lock and moved the branch: the copy is theirs now, as it is.
        with copy.locked():
            remove_journal(copy.paths)
            return ("somebody took over what a killed run had begun: it is neither finished nor undone",)
    with copy.locked():
        try:
            copy.read_index()
        except CopyUnusable:
            # Somebody is in the middle of a merge. The journal would keep the index locked, so they could not end it.
            remove_journal(copy.paths)
            raise
        is_finished = _finish_or_undo(copy, journal)
        remove_journal(copy.paths)
    return (f"what a killed run had begun is {'finished' if is_finished else 'undone: somebody changed a file of it'}",)


def _release_stale_locks(copy: OpenCopy) -> None:
    """Release the locks in `.git` of a run that was killed before it had a journal: nobody else would."""
    if copy.config.locks:
        # There may be a journal that cannot be read. It would keep the index locked for ever.
        remove_journal(copy.paths)
    for name in copy.config.locks:
        release_stale_lock(os.path.join(copy.paths.git, name))


def undo(copy: OpenCopy, journal: PullJournal) -> None:
    """Restore the old commit after a failure, under the copy's lock, and remove the journal.

    If this fails too, journal and lock stay, for the next run. Raises what `recover` raises.
    """
    if copy.head() == journal.new:
        return  # the branch has moved: only the tidying after it failed
    _finish_or_undo(copy, journal, may_finish=False)
    remove_journal(copy.paths)


def _finish_or_undo(copy: OpenCopy, journal: PullJournal, *, may_finish: bool = True) -> bool:
    """Finish the pull if it may be finished and no change is lost, else undo it. Returns whether it is finished."""
    difference = copy.diff(copy.store, journal.old, journal.new)
    changes = ChangeSet.of(difference).with_local_changes(journal.local_changes)
    index = copy.read_index()
    if may_finish and apply.matches_index(index, changes):
        # All files were written. Whoever changed one since has seen the new ones.
        _update_refs(copy, journal)
        return True
    with copy.worktree() as worktree:
        states = apply.path_states(copy.compare_index(worktree, index, changes), changes)
        by_state = {each: {path for path, (state, _) in states.items() if state is each} for each in PathState}
        finishes = may_finish and not by_state[PathState.NEITHER]
        if finishes:
            store_stash(copy.refs, journal)
            todo = changes.only(by_state[PathState.BEFORE] | by_state[PathState.BETWEEN])
            entries = apply.index_entries(changes.only(by_state[PathState.AFTER]), states)
        else:
            # A file that somebody put in the place of an old one stays; the old one then counts as removed.
            todo, entries = changes.only(by_state[PathState.AFTER] | by_state[PathState.BETWEEN]).reversed(), {}
        entries |= apply.apply(worktree, todo, copy.store, workers=copy.workers, skip_blocked=not finishes)[0]
    new_trees = difference.new_trees if finishes else None
    apply.write_index(copy.paths, copy.store.staging, index.patch(entries, new_trees))
    if finishes:
        _update_refs(copy, journal)
    return finishes


def _update_refs(copy: OpenCopy, journal: PullJournal) -> None:
    with prepared_branch(copy.refs, journal) as branch:
        update_refs(copy.refs, journal, branch.result())
