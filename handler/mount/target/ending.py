"""How a run ends: the record, the release's event, and the outcome.

The event goes between flip and record: so the record says that it is pending, until the network side has put it.
"""

from dataclasses import replace

from handler.model import Counts, Durations, Outcome, OutcomeKind, PushEvent
from handler.mount.git.fetch import Fetched
from handler.mount.git.objects import Objects
from handler.mount.target.notify import notify
from handler.mount.target.record import PublishedRecord
from handler.mount.target.run import Run


def record_published(run: Run, objects: Objects, fetched: Fetched, *, visible_at: float, counts: Counts) -> None:
    """Hand out the event of the commit that was just published, and record it. `objects` say what changed."""
    record = replace(
        _record(run, fetched, published_at=visible_at),
        files_written=counts.files_written,
        files_removed=counts.files_removed,
        bytes_fetched=fetched.bytes_fetched,
    )
    # After the flip: a record that is ahead of `current` would tell monitors of a commit that no reader has.
    _notify_and_write(run, objects, record)


def record_confirmed(run: Run, objects: Objects, fetched: Fetched) -> None:
    """Record that the remote confirmed what is published, where that matters to a later run.

    It matters where a killed run left no record of this commit, where a push is newer, and where the event is pending.
    """
    record = run.published.record
    # What readers have may be an earlier commit's, where the rule publishes the same of both.
    commit = (fetched.commit if run.target.is_copy else run.published.commit) or ""
    # Killed after a flip to the same commit by another rule, a run left the record of the rule before.
    is_of_this = record is not None and record.commit == commit and record.filter == run.filter
    if record is not None and is_of_this and record.ref == run.target.ref:
        fresh = replace(
            record,
            asked_at=fetched.asked_at,
            answered_at=fetched.answered_at,
            pushed_at=_latest_pushed_at(run),
            gone_since=None,
        )
    else:
        previous = None
        if record is not None:
            previous = record.previous_commit if is_of_this else record.commit or None
        fresh = replace(_record(run, fetched, published_at=run.clock()), commit=commit, previous_commit=previous)
    later = fetched.commit if fetched.commit != commit else None
    fresh = replace(fresh, filter=run.filter, confirmed_commit=later)
    if not is_of_this or run.has_pending_event:
        _notify_and_write(run, objects, fresh)
    elif record is None or replace(fresh, asked_at=record.asked_at, answered_at=record.answered_at) != record:
        # A record that differs in these two alone is not written: that would be a write for every redelivery.
        run.directory.write_record(fresh)


def _notify_and_write(run: Run, objects: Objects, record: PublishedRecord) -> None:
    # The event first: killed between the two, the record is still of another commit, and the next run hands the event
    # out again. The other way round it would be lost.
    if run.emit is not None:
        record = notify(run.emit, record, run.published, run.target.path, objects)
    run.directory.write_record(record, run.reserved_record)


def _record(run: Run, fetched: Fetched, *, published_at: float) -> PublishedRecord:
    assert fetched.commit is not None
    return PublishedRecord(
        repository=run.repository.full_name,
        ref=run.target.ref,
        commit=fetched.commit,
        previous_commit=run.published.commit,
        published_at=published_at,
        asked_at=fetched.asked_at,
        answered_at=fetched.answered_at,
        pushed_at=_latest_pushed_at(run),
        delivery=run.request.delivery,
        filter=run.filter,
    )


def _latest_pushed_at(run: Run) -> int | None:
    """Return the latest of all deliveries' `pushed_at`, in GitHub's clock."""
    # GitHub's clock alone is compared with GitHub's clock: ours may be off by more than two pushes are apart.
    push = run.request.push
    known = (run.confirmed_pushed_at, push.pushed_at if push is not None else None)
    return max((at for at in known if at is not None), default=None)


def unchanged(run: Run) -> Outcome:
    """Return the outcome of a run that finds its work done."""
    return Outcome(
        kind=OutcomeKind.UNCHANGED,
        reason="already_published",
        repository=run.repository.full_name,
        ref=run.target.ref,
        path=run.target.path,
        commit=run.published.commit,
        previous_commit=run.published.commit,
        last_success_age_seconds=0.0,
    )


def held(run: Run) -> Outcome:
    """Return the outcome of a run that finds an operator's hold."""
    # No age: that readers have something older is a person's wish, and no failure.
    return replace(unchanged(run), kind=OutcomeKind.IGNORED, reason="held", last_success_age_seconds=None)


def confirmed(run: Run, fetched: Fetched, durations: Durations, *, notes: tuple[str, ...]) -> Outcome:
    """Return the outcome of a run that found the fetched commit, or the same part of an earlier one, published."""
    outcome = fetched_only(run, fetched, durations, notes=notes)
    if not run.target.is_copy and fetched.commit != run.published.commit:
        outcome = replace(outcome, reason="subdirectory_unchanged")
    return replace(outcome, commit=fetched.commit, previous_commit=fetched.commit)


def fetched_only(run: Run, fetched: Fetched, durations: Durations, *, notes: tuple[str, ...]) -> Outcome:
    """Return the outcome of a run that fetched, and changed nothing."""
    counts = Counts(bytes_fetched=fetched.bytes_fetched)
    return replace(unchanged(run), counts=counts, durations=durations, notes=notes)


def published(run: Run, fetched: Fetched, *, visible_at: float, counts: Counts, durations: Durations) -> Outcome:
    """Return the outcome of a run that published the fetched commit."""
    return replace(
        unchanged(run),
        kind=OutcomeKind.PUBLISHED,
        reason=_reason(fetched, run.request.push),
        commit=fetched.commit,
        counts=replace(counts, bytes_fetched=fetched.bytes_fetched),
        durations=durations,
        push_to_visible_seconds=_push_to_visible(run.request.push, fetched, visible_at),
    )


def _reason(fetched: Fetched, push: PushEvent | None) -> str:
    if not fetched.is_confirmed:
        return "payload_trusted"
    return "pushed" if push is not None and fetched.object_id == push.after else "ref_moved_on"


def _push_to_visible(push: PushEvent | None, fetched: Fetched, visible_at: float) -> float | None:
    """Return the seconds from the push until readers see it; None where they see another commit than the pushed one."""
    if push is None:
        return None
    pushed_at = push.pushed_at if push.pushed_at is not None else push.committed_at
    if pushed_at is None or fetched.object_id != push.after:
        return None
    return max(0.0, visible_at - pushed_at)
