"""How a target is published: as releases, or as a git working copy. Each mode opens a session for one run."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Protocol

from handler.exchange.remote import FetchQuery
from handler.model import Counts, Outcome
from handler.mount.git.fetch import Fetched
from handler.mount.git.mirror import StorePool
from handler.mount.git.pack_store import PackStore
from handler.mount.target.run import Run


class Session(Protocol):
    """One run of one target. `reconcile` calls it in the order of the methods; raises Git2EfsError, OSError."""

    @property
    def store(self) -> PackStore:
        """Where fetched objects go."""
        ...

    @property
    def have(self) -> str | None:
        """The commit to claim to the remote."""
        ...

    def deepening(self, commit: str, deeper_than: int) -> FetchQuery | None:
        """Return the fetch of more history of `commit`, which is here; None where there is enough.

        It is deeper than so many commits. Raises HistoryTooDeep where no such fetch is allowed.
        """
        ...

    @property
    def notes(self) -> tuple[str, ...]:
        """What the log should say."""
        ...

    def retire(self, unchanged: Outcome) -> Outcome:
        """Do what is right where the remote has no such ref; `unchanged` is the outcome of doing nothing."""
        ...

    def prepare(self, fetched: Fetched) -> bool:
        """Plan and check out, where no reader looks. Returns whether there is something to flip to."""
        ...

    def flip(self) -> float:
        """Show readers what was prepared; returns when they got it (seconds since the epoch)."""
        ...

    @property
    def counts(self) -> Counts:
        """What was written and removed, after the flip."""
        ...

    @property
    def complete_at(self) -> float:
        """When the check-out was done, after the flip (`time.perf_counter`)."""
        ...

    def tidy(self) -> tuple[str, ...]:
        """Do what readers need not wait for. Raises no failure: the tree is published, so they are notes."""
        ...


OpenSession = Callable[[Run, StorePool], AbstractContextManager[Session]]
