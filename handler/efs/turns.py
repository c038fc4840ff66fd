"""Which directory becomes the next release, and which ones go. Pure: names and times in, a decision out."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum, auto


@dataclass(frozen=True, slots=True)
class Release:
    """A complete tree on the mount. `retired_at` is its directory's mtime: the flip that replaced it touched it."""

    commit: str
    retired_at: float


class TurnKind(Enum):
    """How the wanted tree comes to be."""

    FLIP = auto()
    """It is there: only the link changes."""
    RESUME = auto()
    """A killed run left a recycled release half patched: finish it, and go on from there."""
    RECYCLE = auto()
    """A release past its grace is patched."""
    WHOLE = auto()
    """The tree is written from nothing."""


@dataclass(frozen=True, slots=True)
class Turn:
    """What to do. `base` is the commit to patch from; `halfway` the commit a killed run was patching it to."""

    kind: TurnKind
    base: str | None = None
    halfway: str | None = None


def choose_turn(
    wanted: str,
    current: str | None,
    releases: Sequence[Release],
    patches: Sequence[tuple[str, str]],
    now: float,
    grace_seconds: float,
) -> Turn:
    """Return how `wanted` is published.

    Of the releases past their grace the one that was retired first is recycled: the younger ones are what somebody
    would go back to. `patches` are the (base, wanted) that stand half done in staging.
    """
    if any(release.commit == wanted for release in releases):
        return Turn(TurnKind.FLIP)
    if patches:
        base, halfway = min(patches)
        return Turn(TurnKind.RESUME, base, halfway)
    ready = [each for each in releases if each.commit != current and now - each.retired_at >= grace_seconds]
    if ready:
        return Turn(TurnKind.RECYCLE, min(ready, key=lambda each: (each.retired_at, each.commit)).commit)
    return Turn(TurnKind.WHOLE)


def choose_pruned(
    current: str, releases: Iterable[Release], now: float, grace_seconds: float, keep_releases: int
) -> list[str]:
    """Return the releases that go, as commits: past their grace, and beyond `keep_releases`, counting `current`."""
    retired = sorted((each for each in releases if each.commit != current), key=lambda each: -each.retired_at)
    beyond = retired[max(keep_releases - 1, 0) :]
    return [each.commit for each in beyond if now - each.retired_at >= grace_seconds]
