"""A repository's remote as the mount side sees it: queries and answers. Pure: no I/O.

The network side has the one real implementation, over smart HTTP. The mount side never opens a connection: it is given
a `Remote`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from handler.model import Tip

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
    are not.
    """

    want: str
    have: str | None
    deepen: int
    shallow: tuple[str, ...] = ()


Sink = Callable[[], Callable[[bytes], object]]
"""Called once for each attempt; returns the function that takes the pack's bytes, from the start."""


class Remote(Protocol):
    """One repository's remote."""

    def refs(self, refs: list[str], *, with_head: bool = False) -> RemoteRefs:
        """Return what `refs` (full names) and, with `with_head`, HEAD name now.

        Raises RemoteUnavailable, RemoteRefused, RemoteUnsupported, OutOfTime.
        """
        ...

    def fetch(self, query: FetchQuery, sink: Sink) -> ShallowChanges:
        """Fetch what the query asks for; the pack's bytes go to `sink`.

        Raises CommitNotFound where the remote does not know `want`, what `refs` raises, and what the sink raises.
        """
        ...
