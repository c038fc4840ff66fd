"""What a push most likely needs: the fetch that the mount side is going to ask for.

The payload says what the push builds on, and the mount side's last answers say what is published. Nothing here is
trusted: a guess only saves a round.
"""

from dataclasses import dataclass
from threading import Lock

from handler.exchange.remote import FetchQuery, copy_history, mirror_history
from handler.model import NULL_OID, Repository, Target, Tip
from handler.network.aws.cache import BoundedMapping
from handler.network.trigger import Trigger

_MAX_KNOWN = 10_000


@dataclass(frozen=True, slots=True)
class KnownTarget:
    """What the mount side last said of a target: what is published, and where a working copy's history ends."""

    commit: str | None
    shallow: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Look:
    """What the mount side said is published at a path."""

    path: str
    commit: str | None


class KnownTargets:
    """What the mount side last said of each target, by path. Safe for threads."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._known: BoundedMapping[str, KnownTarget] = BoundedMapping(_MAX_KNOWN)

    def get(self, path: str) -> KnownTarget | None:
        """Return what is known of a target."""
        with self._lock:
            return self._known.get(path)

    def put(self, path: str, known: KnownTarget | None) -> None:
        """Note what the mount side said; None: it said nothing that the next push may build on."""
        with self._lock:
            if known is None:
                self._known.pop(path)
            else:
                self._known.put(path, known)

    def put_commit(self, path: str, commit: str | None) -> None:
        """Note what the mount side said is published, where it said no more than that."""
        known = self.get(path)
        if known is None or known.commit != commit:
            self.put(path, KnownTarget(commit))


@dataclass(frozen=True, slots=True)
class Guess:
    """Guesses for one run; `known` is what is known of its target."""

    repository: Repository
    target: Target
    trigger: Trigger
    known: KnownTarget | None

    def of_push(self) -> FetchQuery | None:
        """Return the fetch that the payload makes likely; None where the ref should be asked for first."""
        push, have = self.trigger.push, self._have()
        # A push that does not start from what is published was overtaken, or has overtaken others, or is delivered
        # again: then the ref most likely names another commit, or one that is here. In a burst most pushes find their
        # work done.
        if push is None or have is None or have != push.before or self.trigger.is_late or not self._is_worth_it():
            return None
        return self._query(push.after, have, is_next=push.is_single)

    def of_tip(self, tip: Tip | None) -> FetchQuery | None:
        """Return the fetch that the ref's answer makes likely for a push that has waited; None where none is."""
        push, have = self.trigger.push, self._have()
        if push is None or tip is None or not self.trigger.is_late or not self._is_worth_it():
            return None
        if have in (None, tip.commit):
            return None
        is_next = push.is_single and push.after == tip.object_id and push.before == have
        return self._query(tip.object_id, have, is_next=is_next)

    def _is_worth_it(self) -> bool:
        # For a second target the first one's run has fetched into the mirror.
        return self.trigger.is_first or self.target.is_copy

    def _have(self) -> str | None:
        """Return what is most likely published; None where nothing is."""
        # A first publish is not guessed: it is large, and a run that was killed may have fetched it.
        push = self.trigger.push
        if self.known is not None:
            return self.known.commit
        return push.before if push is not None and push.before != NULL_OID else None

    def _query(self, want: str, have: str | None, *, is_next: bool) -> FetchQuery | None:
        """Return the query that the mount side is going to ask; None where that depends on what only it knows."""
        depth = self.repository.depth
        if not self.target.is_copy:
            return FetchQuery(want, have, *mirror_history(have, depth, is_next=is_next))
        shallow = self.known.shallow if self.known is not None else None
        if shallow is None and depth != 0:
            return None
        return FetchQuery(want, have, *copy_history(have, depth, shallow or ()))
