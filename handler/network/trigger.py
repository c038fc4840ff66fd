"""What triggers a reconcile: a verified push, or a timer or operator that names only the ref. Pure."""

from dataclasses import dataclass

from handler.deadline import NO_DEADLINE, Deadline
from handler.model import PushEvent


@dataclass(frozen=True, slots=True, kw_only=True)
class Trigger:
    """A request to reconcile what publishes `ref`.

    `push` is None for a timer or an operator. `delivery` is the id that correlates log lines. `received_at` is when the
    request came, in seconds of our clock. `is_late` says that it waited, so that a newer push may be published already.
    `is_first` is False for all targets of a delivery but the first.
    """

    ref: str
    push: PushEvent | None
    delivery: str
    received_at: float
    is_late: bool = False
    is_first: bool = True
    deadline: Deadline = NO_DEADLINE
