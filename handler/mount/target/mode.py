"""How a target is published: as releases, or as a git working copy. Each mode opens a session for one run."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from handler.model import Outcome
from handler.mount.git.fetch import Fetched, Have
from handler.mount.git.pack_store import PackStore
from handler.mount.git.store_pool import StorePool
from handler.mount.target.run import Run


@dataclass(frozen=True, slots=True, kw_only=True)
class FlipResult:
    """What a flip published. `visible_at` is when readers got it (seconds since the epoch), `complete_at` when the
    check-out was done (`time.perf_counter`). `notes` are for the log."""

    visible_at: float
    complete_at: float
    files_written: int
    files_removed: int
    bytes_written: int
    notes: tuple[str, ...] = ()


class Session(Protocol):
    """One run of one target. `reconcile` calls it in the order of the methods; raises Git2EfsError, OSError."""

    @property
    def store(self) -> PackStore:
        """Where fetched objects go."""
        ...

    @property
    def have(self) -> Have:
        """What to claim to the remote."""
        ...

    @property
    def notes(self) -> tuple[str, ...]:
        """What the log should say of opening the session."""
        ...

    def retire(self, unchanged: Outcome) -> Outcome:
        """Do what is right where the remote has no such ref; `unchanged` is the outcome of doing nothing."""
        ...

    def prepare(self, fetched: Fetched) -> bool:
        """Plan and check out, where no reader looks. Returns whether there is something to flip to."""
        ...

    def flip(self) -> FlipResult:
        """Show readers what was prepared."""
        ...

    def tidy(self) -> tuple[str, ...]:
        """Do what readers need not wait for. Raises no failure: the tree is published, so they are notes."""
        ...


OpenSession = Callable[[Run, StorePool], AbstractContextManager[Session]]
