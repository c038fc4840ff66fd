"""A repository's remote as the mount side knows it: what it can ask, and the values that come back. Pure: no I/O.

The network side has the one real implementation, over smart HTTP. The mount side never opens a connection: it gets a
`Remote` that answers.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from handler.model import Tip

WHOLE_HISTORY = 0x7FFFFFFF
"""The depth that git itself sends for `--unshallow`."""


@dataclass(frozen=True, slots=True)
class RemoteRefs:
    """What `ls-refs` answered: tips by full ref name, and the ref that HEAD names (None where it was not asked)."""

    tips: dict[str, Tip]
    head: str | None = None


@dataclass(slots=True)
class ShallowChanges:
    """What a fetch changed about the ends of history.

    `shallow` are the commits whose parents the remote left out, `unshallow` those whose parents it sent now.
    """

    shallow: set[bytes] = field(default_factory=set)
    unshallow: set[bytes] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class FetchQuery:
    """What a fetch asks for: the object `want`, given that the commit `have` is complete here.

    `deepen` is the number of commits of history that are wanted; 0 is all that leads to what is here. Without a bound,
    another branch's or a merge's history would come down to its first commit. `shallow` are the commits here whose
    parents are not.
    """

    want: str
    have: str | None
    deepen: int
    shallow: tuple[str, ...] = ()


Sink = Callable[[], Callable[[bytes], object]]
"""Called once a try; returns what takes the pack's bytes, from their beginning."""


class Remote(Protocol):
    """One repository's remote."""

    def refs(self, refs: list[str], *, with_head: bool = False) -> RemoteRefs:
        """Return what `refs` (full names) and, if asked, HEAD name now.

        Raises RemoteUnavailable, RemoteRefused, RemoteUnsupported.
        """
        ...

    def fetch(self, query: FetchQuery, sink: Sink) -> ShallowChanges:
        """Fetch what the query asks for; the pack's bytes go to `sink`.

        Raises CommitNotFound where the remote does not know `want`, what `refs` raises, and what the sink raises.
        """
        ...
