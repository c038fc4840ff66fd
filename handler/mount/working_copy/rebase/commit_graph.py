"""Questions about the history of commits. Pure: commits are read through an argument, each one once.

The walks go from both sides at once, the youngest commit first, and end as soon as only common history is left: what
a fast-forward by one commit costs does not depend on how much lies below. Commits' own times only say where to look
next. A clock that was wrong makes a walk longer, and no answer wrong.
"""

import heapq
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence

from handler.errors import Git2EfsError
from handler.mount.git.commit import Commit
from handler.mount.working_copy.gitdir.ref_logs import NULL_OID

_LEFT, _RIGHT, _STALE = 1, 2, 4
_BOTH = _LEFT | _RIGHT
_SLOP = 5
"""How many commits older than all that is asked for are still looked at: clocks of several machines differ."""


class CommitGraph:
    """The commits that can be reached; those in `shallow` count as having no parents."""

    def __init__(self, read: Callable[[bytes], Commit], shallow: Collection[bytes] = ()) -> None:
        """`read(commit)` raises MirrorDamaged for a commit that is not there; every method lets that pass."""
        self._read = read
        self._shallow = frozenset(shallow)
        self._commits: dict[bytes, Commit] = {}

    def commit(self, commit: bytes) -> Commit:
        """Return a commit as it stands in its object."""
        found = self._commits.get(commit)
        if found is None:
            found = self._commits[commit] = self._read(commit)
        return found

    def parents(self, commit: bytes) -> tuple[bytes, ...]:
        """Return a commit's parents, none at the boundary of a shallow history."""
        return () if commit in self._shallow else self.commit(commit).parents

    def is_ancestor(self, ancestor: bytes, descendant: bytes) -> bool:
        """Whether `descendant` is `ancestor` or leads to it."""
        if ancestor == descendant:
            return True
        painting = _Painting(self, [ancestor], [descendant])
        while painting.is_open and not painting.flags[ancestor] & _RIGHT:
            painting.step()
        return bool(painting.flags[ancestor] & _RIGHT)

    def merge_bases(self, one: bytes, many: Iterable[bytes]) -> list[bytes]:
        """Return the best common ancestors of `one` and the union of `many`, the youngest first."""
        many = list(many)
        if one in many:
            return [one]
        if not many:
            return []
        painting = _Painting(self, [one], many)
        while painting.is_open:
            painting.step()
        found = [commit for commit in painting.common if not painting.flags[commit] & _STALE]
        if len(found) < 2:
            return found
        # A wrong clock can hide, up to the walk's end, that one of them lies below another.
        return [
            each for each in found if not any(self.is_ancestor(each, other) for other in found if other is not each)
        ]

    def fork_point(self, head: bytes, logged: Sequence[bytes]) -> bytes | None:
        """Return the value that the remote-tracking ref once had and `head` was begun on; None where that is unclear.

        `logged` is what the ref's log tells, before anything is fetched: the old value of its first entry and every
        new one; of a ref without a log, its value. Those that are gone from the object store are passed over.
        """
        known = dict.fromkeys(commit for commit in logged if commit != NULL_OID)
        if head in known:
            return head
        bases = self.merge_bases(head, [commit for commit in known if self._has(commit)])
        return bases[0] if len(bases) == 1 and bases[0] in known else None

    def left_right(self, left: bytes, right: bytes) -> tuple[set[bytes], set[bytes]]:
        """Return the commits that only `left` leads to, and those that only `right` leads to."""
        if left == right:
            return set(), set()
        painting = _Painting(self, [left], [right])
        while painting.is_open:
            painting.step()
        one_sided = [commit for commit, flag in painting.flags.items() if flag & _BOTH != _BOTH]
        if one_sided:
            # Something may look like one side's own that common history leads to by a way not yet walked.
            painting.walk_on(min(self.commit(commit).committed_at for commit in one_sided))
        sides: dict[int, set[bytes]] = {_LEFT: set(), _RIGHT: set(), _BOTH: set()}
        for commit, flag in painting.flags.items():
            sides[flag & _BOTH].add(commit)
        return sides[_LEFT], sides[_RIGHT]

    def commits_only_in(self, commit: bytes, excluded: bytes) -> set[bytes]:
        """Return the commits that `commit` leads to and `excluded` does not."""
        return self.left_right(excluded, commit)[1]

    def commits_to_replay(self, upstream: bytes, head: bytes) -> list[bytes]:
        """Return what `head` has over `upstream`, without merges, in the order in which git replays it.

        Parents come before children, and a line of commits is not torn apart: of a merge the first parent's side
        comes first.
        """
        return self.replay_order(head, self.commits_only_in(head, upstream))

    def replay_order(self, head: bytes, among: Collection[bytes]) -> list[bytes]:
        """Return the commits of `among`, which `head` leads to, in the order of `to_replay` and without merges."""
        children = Counter(parent for commit in among for parent in self.parents(commit))
        newest_first = []
        ready = [head] if head in among else []
        while ready:
            commit = ready.pop()
            newest_first.append(commit)
            for parent in self.parents(commit):
                children[parent] -= 1
                if not children[parent] and parent in among:
                    ready.append(parent)
        return [commit for commit in reversed(newest_first) if len(self.parents(commit)) < 2]

    def is_linear(self, head: bytes, among: Collection[bytes], end: bytes) -> bool:
        """Whether the commits of `among` go down from `head` one by one, without a merge, and `end` is next."""
        commit = head
        while commit in among:
            parents = self.parents(commit)
            if len(parents) != 1:
                return False
            commit = parents[0]
        return commit == end

    def _has(self, commit: bytes) -> bool:
        try:
            self.commit(commit)
        except Git2EfsError:
            return False
        return True


class _Painting:
    """A walk that flags what each side leads to, the youngest first.

    A commit of both flags is common, and what it leads to is `_STALE`: common too, and no best common ancestor.
    The walk `is_open` while it may still meet a commit that is not below another.
    """

    def __init__(self, graph: CommitGraph, left: Iterable[bytes], right: Iterable[bytes]) -> None:
        self._graph = graph
        self._queue: list[tuple[int, int, bytes]] = []
        self._queued: set[bytes] = set()
        self._count = 0
        self._open = 0
        self.flags: dict[bytes, int] = {}
        self.common: dict[bytes, None] = {}
        for commit in left:
            self._paint(commit, _LEFT)
        for commit in right:
            self._paint(commit, _RIGHT)

    @property
    def is_open(self) -> bool:
        return self._open > 0

    def step(self) -> None:
        """Visit one commit."""
        commit = heapq.heappop(self._queue)[2]
        self._queued.remove(commit)
        flag = self.flags[commit]
        if not flag & _STALE:
            self._open -= 1
            if flag & _BOTH == _BOTH:
                self.common[commit] = None
                if not self._open:
                    # The end: its parents need not be read, unless somebody walks on.
                    self._push(commit)
                    return
                flag |= _STALE
        for parent in self._graph.parents(commit):
            self._paint(parent, flag)

    def walk_on(self, since: int) -> None:
        """Follow what is common as far as it is not older than `since`, and a little farther."""
        for commit in self._queued:
            self.flags[commit] |= _STALE
        slop = _SLOP
        while self._queue and slop:
            slop = _SLOP if -self._queue[0][0] >= since else slop - 1
            self.step()

    def _paint(self, commit: bytes, flag: int) -> None:
        before = self.flags.get(commit, 0)
        after = before | flag
        if after == before:
            return
        self.flags[commit] = after
        if commit not in self._queued:
            self._push(commit)
            self._open += not after & _STALE
        elif after & _STALE and not before & _STALE:
            self._open -= 1

    def _push(self, commit: bytes) -> None:
        self._count += 1
        heapq.heappush(self._queue, (-self._graph.commit(commit).committed_at, self._count, commit))
        self._queued.add(commit)
