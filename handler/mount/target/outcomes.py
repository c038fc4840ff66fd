"""The outcomes of a run. Pure: no I/O, no clock."""

from dataclasses import replace

from handler.model import Counts, Durations, Outcome, OutcomeKind, PushEvent
from handler.mount.git.fetch import Fetched
from handler.mount.target.mode import FlipResult
from handler.mount.target.run import Run


def unchanged(run: Run) -> Outcome:
    """Return the outcome of a run that finds its work done."""
    return Outcome(
        OutcomeKind.UNCHANGED,
        "already_published",
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


def fetched(run: Run, result: Fetched, durations: Durations, *, notes: tuple[str, ...]) -> Outcome:
    """Return the outcome of a run that fetched, and changed nothing."""
    counts = Counts(bytes_fetched=result.bytes_fetched)
    return replace(unchanged(run), counts=counts, durations=durations, notes=notes)


def confirmed(run: Run, result: Fetched, durations: Durations, *, notes: tuple[str, ...]) -> Outcome:
    """Return the outcome of a run that found the fetched commit published."""
    outcome = fetched(run, result, durations, notes=notes)
    return replace(outcome, commit=result.commit, previous_commit=result.commit)


def published(
    run: Run, result: Fetched, flipped: FlipResult, durations: Durations, *, notes: tuple[str, ...]
) -> Outcome:
    """Return the outcome of a run that published the fetched commit."""
    return replace(
        unchanged(run),
        kind=OutcomeKind.PUBLISHED,
        reason=_reason(result, run.trigger.push),
        commit=result.commit,
        counts=Counts(
            files_written=flipped.files_written,
            files_removed=flipped.files_removed,
            bytes_written=flipped.bytes_written,
            bytes_fetched=result.bytes_fetched,
        ),
        durations=durations,
        push_to_visible_seconds=_push_to_visible(run.trigger.push, result, flipped.visible_at),
        notes=notes,
    )


def _reason(result: Fetched, push: PushEvent | None) -> str:
    if not result.is_confirmed:
        return "payload_trusted"
    return "pushed" if push is not None and result.object_id == push.after else "ref_moved_on"


def _push_to_visible(push: PushEvent | None, result: Fetched, visible_at: float) -> float | None:
    """Return the seconds from the push until readers see it; None where they see another commit than the pushed one."""
    if push is None:
        return None
    pushed_at = push.pushed_at if push.pushed_at is not None else push.committed_at
    if pushed_at is None or result.object_id != push.after:
        return None
    return max(0.0, visible_at - pushed_at)
