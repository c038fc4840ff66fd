"""Git remotes, over smart HTTP (`client`) and over SSH (`ssh`)."""

from typing import Protocol

from handler.exchange.remote import FetchQuery, RemoteRefs, ShallowChanges, Sink


class Remote(Protocol):
    """One repository at its URL, whatever it is reached by."""

    date: str | None
    """The Date header of the last answer, to compare clocks; None over SSH."""

    def refs(self, refs: list[str], *, with_head: bool = False) -> RemoteRefs:
        """Return what `refs` (full names) and, with `with_head`, HEAD name now.

        Raises RemoteUnavailable, RemoteRefused, RemoteUnsupported, RemoteUntrusted, OutOfTime, SecretUnusable.
        """

    def fetch(self, query: FetchQuery, sink: Sink) -> ShallowChanges:
        """Fetch what the query asks for; each attempt hands the pack's bytes to a new `sink()`.

        Raises CommitNotFound where the remote does not know `want`, what `refs` raises, and what the sink raises.
        """
