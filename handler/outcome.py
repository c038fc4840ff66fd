"""The one place where exceptions become outcomes, and outcomes one answer. Pure: no I/O, no clock."""

import traceback
from collections.abc import Sequence
from dataclasses import replace
from functools import cache

from handler.errors import (
    Git2EfsError,
    NotACommit,
    ObjectTooLarge,
    PackTooLarge,
    Rejected,
    Stalled,
    SubdirectoryMissing,
    Transient,
    TreeTooLarge,
    TreeUnsafe,
    Unexpected,
)
from handler.model import Counts, Durations, Outcome, OutcomeKind, PushEvent

_OF_THE_COMMIT = frozenset(
    each.reason for each in (NotACommit, ObjectTooLarge, PackTooLarge, SubdirectoryMissing, TreeTooLarge, TreeUnsafe)
)
"""The reasons whose detail says nothing but what is in the commit: whoever signs pushes of it has it already."""


class RunFailed(Exception):  # no failure of its own: `error` is
    """A run ended with `error`: what it was to publish (None: that is not known), and what it cost until then."""

    def __init__(
        self,
        error: Git2EfsError,
        *,
        refused_commit: str | None = None,
        counts: Counts | None = None,
        durations: Durations | None = None,
    ) -> None:
        super().__init__(str(error))
        self.error = error
        self.refused_commit = refused_commit
        self.counts = counts or Counts()
        self.durations = durations or Durations()


def outcome_of(error: Git2EfsError) -> Outcome:
    """Return the outcome of a failure."""
    kind = OutcomeKind.REJECTED if isinstance(error, Rejected) else OutcomeKind.FAILED
    return Outcome(kind=kind, reason=error.reason, status=error.status, detail=str(error))


def failed_push(error: Git2EfsError, push: PushEvent) -> Outcome:
    """Return the outcome of a push that failed before its targets were found."""
    refused = None if push.is_deleted else push.after
    return replace(outcome_of(error), repository=push.repository, ref=push.ref, refused_commit=refused)


def ignored(reason: str, repository: str, ref: str) -> Outcome:
    """Return the outcome of a push that changes no target."""
    return Outcome(kind=OutcomeKind.IGNORED, reason=reason, repository=repository, ref=ref)


def is_transient(outcome: Outcome) -> bool:
    """Whether the outcome is a failure that passes by itself."""
    return outcome.kind is OutcomeKind.FAILED and outcome.status == Transient.status


def unexpected(error: Exception) -> Unexpected:
    """Return the failure for a defect: the exception's type and where it was raised, without its text.

    The text of an exception that is not ours may hold anything, such as a URL or a piece of a payload.
    """
    frames = traceback.extract_tb(error.__traceback__)[-6:]
    places = " < ".join(f"{frame.filename.rpartition('/')[2]}:{frame.lineno}" for frame in reversed(frames))
    return Unexpected(f"{type(error).__name__} at {places}")


def as_failure(error: Exception) -> Git2EfsError:
    """Return the exception itself if it is one of ours, else `Unexpected`."""
    return error if isinstance(error, Git2EfsError) else unexpected(error)


def failure_of(reason: str, message: str) -> Git2EfsError:
    """Return the failure with this `reason`, as it came from the other side; Unexpected for a reason that is none."""
    return _leaves().get(reason, Unexpected)(message)


@cache
def _leaves() -> dict[str, type[Git2EfsError]]:
    branches: tuple[type[Git2EfsError], ...] = (Rejected, Transient, Stalled)
    # Of the tree's own module alone: elsewhere a failure may have kinds of its own, under the same reason.
    leaves = (leaf for branch in branches for leaf in branch.__subclasses__())
    return {leaf.reason: leaf for leaf in leaves if leaf.__module__ == Git2EfsError.__module__}


def summary_of(error: Exception) -> str:
    """Return `<reason>: <message>` of a failure, for an operator. A defect tells its kind and place alone."""
    failure = as_failure(error)
    return f"{failure.reason}: {failure}"


def answer_of(outcomes: Sequence[Outcome], duration_ms: float) -> tuple[int, dict[str, object]]:
    """Return the answer to these outcomes: the HTTP status, and the content of its JSON body.

    Of several outcomes the worst gives the status and the top-level fields, and all of them stand in `targets`: the
    delivery succeeds only if every target does.
    """
    worst = max(outcomes, key=lambda each: (each.status, each.kind is OutcomeKind.PUBLISHED))
    content = _content(worst)
    if len(outcomes) > 1:
        content["targets"] = [{"path": each.path, **_content(each)} for each in outcomes]
    content["duration_ms"] = round(duration_ms, 1)
    return worst.status, content


def _content(outcome: Outcome) -> dict[str, object]:
    content: dict[str, object] = {"outcome": str(outcome.kind), "reason": outcome.reason}
    if outcome.repository is None:
        return content
    if outcome.reason in _OF_THE_COMMIT:
        content["detail"] = outcome.detail
    if outcome.kind is OutcomeKind.FAILED:
        content["refused_commit"] = outcome.refused_commit
    return content | {
        "repository": outcome.repository,
        "ref": outcome.ref,
        "commit": outcome.commit,
        "previous_commit": outcome.previous_commit,
        "files_written": outcome.counts.files_written,
        "files_removed": outcome.counts.files_removed,
        "bytes_fetched": outcome.counts.bytes_fetched,
    }
