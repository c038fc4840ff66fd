"""Answer questions about the commit graph. Pure: an argument reads the commits, each one once.

A walk starts from both sides at once, the youngest commit first, and ends as soon as only common history is left. A
fast-forward by one commit costs the same however long the history is. Commit dates only say where to look next: a wrong
clock makes a walk longer, and no answer wrong.
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
"""How many commits older than any commit in question are still visited: the clocks of several machines differ."""


class CommitGraph:
    """All reachable commits. Those in `shallow` count as having no parents."""

    def __init__(self, read: Callable[[bytes], Commit], shallow: Collection[bytes] = ()) -> None:
        """`read(commit)` raises MirrorDamaged if the commit is missing; so does every method."""
        self._read = read
        self._shallow = frozenset(shallow)
        self._commits: dict[bytes, Commit] = {}

    def commit(self, commit: bytes) -> Commit:
        """Return a commit as its object has it."""
        found = self._commits.get(commit)
        if found is None:
            found = self._commits[commit] = self._read(commit)
        return found

    def parents(self, commit: bytes) -> tuple[bytes, ...]:
        """Return a commit's parents; none at a shallow boundary."""
        return () if commit in self._shallow else self.commit(commit).parents

    def is_ancestor(self, ancestor: bytes, descendant: bytes) -> bool:
        """Whether `ancestor` is reachable from `descendant`, or the same commit."""
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
        # A wrong clock can hide until the end of the walk that one of them is an ancestor of another.
        return [
            each for each in found if not any(self.is_ancestor(each, other) for other in found if other is not each)
        ]

    def fork_point(self, head: bytes, logged: Sequence[bytes]) -> bytes | None:
        """Return the fork point, as `git merge-base --fork-point` does: the former tip that `head` was begun on.

        `logged` are the commits of the remote-tracking ref's reflog before the fetch: the old one of its first entry
        and every new one; without a reflog, the ref's commit. Those that are gone from the object store are ignored.
        None if there is no single fork point.
        """
        known = dict.fromkeys(commit for commit in logged if commit != NULL_OID)
        if head in known:
            return head
        bases = self.merge_bases(head, [commit for commit in known if self._has(commit)])
        return bases[0] if len(bases) == 1 and bases[0] in known else None

    def left_right(self, left: bytes, right: bytes) -> tuple[set[bytes], set[bytes]]:
        """Return the commits that are reachable only from `left`, and those only from `right`."""
        if left == right:
            return set(), set()
        painting = _Painting(self, [left], [right])
        while painting.is_open:
            painting.step()
        one_sided = [commit for commit, flag in painting.flags.items() if flag & _BOTH != _BOTH]
        if one_sided:
            # A commit may look like one side's own, although common history reaches it by a way not walked yet.
            painting.walk_on(min(self.commit(commit).committed_at for commit in one_sided))
        sides: dict[int, set[bytes]] = {_LEFT: set(), _RIGHT: set(), _BOTH: set()}
        for commit, flag in painting.flags.items():
            sides[flag & _BOTH].add(commit)
        return sides[_LEFT], sides[_RIGHT]

    def commits_only_in(self, commit: bytes, excluded: bytes) -> set[bytes]:
        """Return the commits that are reachable from `commit` and not from `excluded`."""
        return self.left_right(excluded, commit)[1]

    def replay_order(self, head: bytes, among: Collection[bytes]) -> list[bytes]:
        """Return the commits of `among`, all reachable from `head`, in the order in which git replays them.

        Parents come before children, and a line of commits stays together. At a merge the first parent's side comes
        first. Merges are left out.
        """
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
        """Whether the commits of `among` are a line of single parents from `head` down to `end`."""
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
    """A walk that paints every commit with the sides from which it is reachable, the youngest first.

    A commit with both flags is common. Its ancestors are `_STALE`: common too, and no best common ancestor. The walk
    `is_open` while it may meet a commit that is not stale.
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
                    # The walk ends here. Its parents are read only if somebody walks on.
                    self._push(commit)
                    return
                flag |= _STALE
        for parent in self._graph.parents(commit):
            self._paint(parent, flag)

    def walk_on(self, since: int) -> None:
        """Follow common history down to commits older than `since`, and a little farther."""
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
