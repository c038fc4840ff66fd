"""What a repository's remote is asked for, and what it answers. Pure: no I/O.

The network side asks, over smart HTTP. The mount side opens no connection: it is given answers (`exchange.answers`).
"""

from collections.abc import Callable
from dataclasses import dataclass

from handler.model import Tip

MAX_BASES = 8
"""So many commits of other refs are claimed at most: they are most likely near the one that is fetched."""
EMPTY_PACK_BYTES = 32
"""The size of a pack without objects: its header and its checksum."""
UNASKED_HISTORY_BYTES = 4_000_000
"""A fetch into a copy whose history is cut has no depth up to here: a merge would bring all its history."""
DEEPENED_BYTES = 16_000_000
"""So much history is fetched at most for each of DEEPENINGS."""
LEAST_DEEPEN = 2
"""The tip and its parents: with them a push of one commit, a merge too, is known to build on what is here."""
DEEPENINGS = (32, 512)
"""The depths that are tried for a copy with local commits, which are compared with all that upstream has since."""
WHOLE_HISTORY = 0x7FFFFFFF
"""The depth that git itself sends for `--unshallow`."""


@dataclass(frozen=True, slots=True)
class RemoteRefs:
    """The answer to `ls-refs`: tips by full ref name, and the ref that HEAD names (None where it was not asked for)."""

    tips: dict[str, Tip]
    head: str | None = None


@dataclass(frozen=True, slots=True)
class ShallowChanges:
    """How a fetch moves the shallow boundary.

    `shallow` are the commits whose parents the remote left out, `unshallow` those whose parents it sent now.
    """

    shallow: frozenset[bytes] = frozenset()
    unshallow: frozenset[bytes] = frozenset()


NO_SHALLOW_CHANGES = ShallowChanges()


@dataclass(frozen=True, slots=True)
class FetchQuery:
    """What to fetch: the object `want`, where the commit `have` is complete here.

    `deepen` is how many commits of history to fetch; 0 is all that is missing. Without this bound the remote would send
    the history of another branch, or of a merge, down to its first commit. `shallow` are the commits here whose parents
    are not. `bases` are more commits that are complete here: of other refs.
    """

    want: str
    have: str | None
    deepen: int
    shallow: tuple[str, ...] = ()
    bases: tuple[str, ...] = ()

    @property
    def haves(self) -> tuple[str, ...]:
        """All commits that are complete here."""
        return (*((self.have,) if self.have is not None else ()), *self.bases)


Sink = Callable[[], Callable[[bytes], object]]
"""Called once for each attempt; returns the function that takes the pack's bytes, from the start."""


def mirror_history(
    have: str | None, depth: int, *, is_next: bool, is_shallow: bool = False
) -> tuple[int, tuple[str, ...]]:
    """Return the `deepen` and the `shallow` of a fetch into a mirror that builds on `have` (see `FetchQuery`).

    `depth` is the repository's parameter; `is_next`: the fetch most likely brings one commit, upon `have`;
    `is_shallow`: the mirror lacks some history. Both sides compute the query of the next fetch by this.
    """
    # With a depth, claim no history for `have`, even if some is here: to claim less than there is is always safe.
    shallow = (have,) if have is not None else ()
    if depth == 0:
        return (WHOLE_HISTORY, shallow) if is_shallow else (0, ())
    # Without a depth where one commit comes upon `have`: the fetch ends there by itself, and a depth makes git walk the
    # whole tree (at 50,000 files four fifths of the time that it takes to answer).
    return (0 if is_next else depth), shallow


def copy_history(have: str | None, depth: int, shallow: tuple[str, ...]) -> tuple[int, tuple[str, ...]]:
    """Return the same for a working copy, where history ends at the commits `shallow`."""
    return depth if have is None else 0, shallow


def history_bytes(query: FetchQuery, depth: int) -> int | None:
    """Return how many bytes a fetch may bring before it brings too much history; None: as many as a pack may have.

    `depth` is the repository's parameter: 0 asks for the whole history, however much it is.
    """
    if depth == 0:
        return None
    if query.want in query.bases:  # the commit is here, and only its history comes
        return DEEPENED_BYTES
    return UNASKED_HISTORY_BYTES if query.deepen == 0 and query.shallow else None
