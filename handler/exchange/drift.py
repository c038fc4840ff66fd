"""Which targets are behind their remote. Pure: no I/O, no clock."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TargetDrift:
    """A configured target, the ref that it publishes now, and the commit that the ref names (None: there is no ref).

    `is_held`: a hold is in its record, so that no push changes it.
    """

    path: str
    ref: str
    commit: str | None
    is_behind: bool
    is_held: bool = False


@dataclass(frozen=True, slots=True)
class RepositoryDrift:
    """The refs to reconcile (`behind`), and every configured target.

    `left_over` are published targets whose ref no rule publishes there any more: their readers get no further pushes.
    """

    behind: tuple[str, ...]
    targets: tuple[TargetDrift, ...] = ()
    left_over: tuple[TargetDrift, ...] = ()
