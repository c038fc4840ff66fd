"""What says "look now": a verified push, or a timer or operator who know no more than the ref. Pure."""

from dataclasses import dataclass

from handler.model import PushEvent

MARGIN_SECONDS = 20.0
"""How long before Lambda ends the process a run has to have stopped: for its last step, the log line, the queue."""


@dataclass(frozen=True, slots=True)
class Trigger:
    """A request to reconcile what publishes `ref`.

    `push` is None for a timer or an operator. `delivery` is the id that correlates log lines. `received_at` is when it
    came, `deadline` when the run has to have stopped (both seconds, our clock); None: it may take its time. `is_late`
    says that it had to wait, so that others may have published more meanwhile.
    """

    ref: str
    push: PushEvent | None
    delivery: str
    received_at: float
    is_late: bool = False
    deadline: float | None = None


def deadline_of(context: object, now: float) -> float | None:
    """Return when a run under Lambda's `context` has to have stopped, in the clock of `now`; None where none says."""
    remaining = getattr(context, "get_remaining_time_in_millis", None)
    return now + remaining() / 1000 - MARGIN_SECONDS if callable(remaining) else None
