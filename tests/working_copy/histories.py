"""Random histories: a working copy, what was done in it, and where upstream went meanwhile. Pure."""

from collections.abc import Sequence

from hypothesis import strategies as st

from tests.working_copy.dirt import OF_FILES, Choice, some_dirt
from tests.working_copy.edits import IGNORING, TEMPLATE, Draw, change, same_change
from tests.working_copy.model import Condition, Entry, Files, History, Node, Origin, Person, changed

_BEGIN = 1_750_000_000
_PEOPLE = (
    b"Ada Pusher <ada@example.com>",
    b"J\xc3\xbcrgen K. <j@example.com>",
    b"R\xe9my <remy@example.com>",
    b"x <>",
)
_ZONES = (b"+0000", b"+0000", b"-0730", b"+1345")
_MESSAGES = (
    b"no newline at the end",
    b"Subject\n\nA body,\nof two lines\n",
    b"  leading blanks\n",
    b"# looks like a comment\n",
    b"blanks at the end   \n\n\n",
    b"\n\nnewlines first\n",
    b"two lines\nof subject\n\nand a body\n",
    b"",
    b"caf\xc3\xa9\n",
    b"caf\xe9\n",
    b"diff --git a/a b/a\n--- a/a\n",
    b"Subject\n\nSigned-off-by: Ada <ada@example.com>\n",
)


class _Writing:
    """Nodes in the making."""

    def __init__(self, draw: Draw[int]) -> None:
        self.draw = draw
        self.nodes: list[Node] = []
        self.events: set[str] = set()
        self._clock = _BEGIN

    def chance(self, percent: int) -> bool:
        """Whether it happens; shrinks to no."""
        return self.draw(st.integers(0, 99)) >= 100 - percent

    def count(self, *weights: int) -> int:
        """Return a number below `len(weights)`, as often as its weight says."""
        at = self.draw(st.integers(0, sum(weights) - 1))
        number = 0
        while at >= weights[number]:
            at -= weights[number]
            number += 1
        return number

    def add(self, files: Files, parents: Sequence[int], label: str) -> int:
        """Add a commit with a person, a time and a message; return its number."""
        self._clock += (0, 60, 7200)[self.count(1, 4, 1)]
        author = committer = Person(_PEOPLE[0], self._clock)
        message, encoding = f"{label or 'nothing'}\n".encode(), None
        if self.chance(30):
            name, zone = _PEOPLE[self.draw(st.integers(0, 3))], _ZONES[self.draw(st.integers(0, 3))]
            author = Person(name, self._clock - 3600, zone)
            message = _MESSAGES[self.draw(st.integers(0, len(_MESSAGES) - 1))]
            encoding = b"ISO-8859-1" if self.chance(20) else None
            self.events.add("odd message")
        extra = b""
        if self.chance(3):
            self.events.add("header of another tool")
            extra = b"gpgsig -----BEGIN PGP SIGNATURE-----\n \n x\n -----END PGP SIGNATURE-----"
        self.nodes.append(Node(dict(files), tuple(parents), author, committer, message, encoding, label, extra))
        return len(self.nodes) - 1

    def step(self, on: int) -> int:
        """Add a commit that changes something, or seldom nothing; return its number."""
        files = self.nodes[on].files
        if self.chance(4):
            self.events.add("empty commit")
            return self.add(files, (on,), "")
        new, label = change(self.draw, files, self.count(0, 6, 2, 1))
        return self.add(new, (on,), label)

    def merge(self, on: int) -> int:
        """Add a commit, one beside it, and a merge of both; return the merge's number."""
        self.events.add("merge")
        one, other = self.step(on), self.step(on)
        files = same_change(self.nodes[on].files, self.nodes[other].files, self.nodes[one].files)
        if self.chance(15):
            files, _ = change(self.draw, files)
        return self.add(files, (one, other), "merge")

    def join(self, one: int, other: int) -> int:
        """Add a merge of two nodes that were there already; return its number."""
        self.events.add("merge")
        shared = max(set(self._reachable(one)) & set(self._reachable(other)))
        files = same_change(self.nodes[shared].files, self.nodes[other].files, self.nodes[one].files)
        return self.add(files, (one, other), f"merge of {other}")

    def _reachable(self, number: int) -> set[int]:
        return {number}.union(*map(self._reachable, self.nodes[number].parents))

    def steps(self, on: int, count: int) -> int:
        """Add that many commits or merges in a row; return the last one's number."""
        for _ in range(count):
            on = self.merge(on) if self.chance(7) else self.step(on)
        return on

    def patch(self, number: int, onto: int) -> int:
        """Add a commit with the change that another made, where it fits; return its number."""
        node = self.nodes[number]
        files = same_change(self.nodes[node.parents[0]].files, node.files, self.nodes[onto].files)
        return self.add(files, (onto,), f"the same as {number}")


@st.composite
def histories(draw: Draw[int], *, of_files: bool = False) -> History:
    """Return a history: the copy's base, local commits, upstream's way since, and what is uncommitted.

    `of_files`: something is, and mostly of files that HEAD has.
    """
    writing = _Writing(draw)
    files: dict[bytes, Entry] = dict(TEMPLATE)
    if writing.chance(75):
        files[b".gitignore"] = IGNORING
    chain = [writing.add(files, (), "begin")]
    for _ in range(writing.count(3, 4, 2)):
        chain.append(writing.steps(chain[-1], 1))
    base = chain[-1]
    local = writing.steps(base, writing.count(6, 10, 7, 6, 4))
    ours = list(range(base + 1, local + 1))
    seen = [base]
    if len(chain) > 1 and writing.chance(20):
        # Fetched again after local work began, or before: the ref's log tells where it began.
        writing.events.add("fetched before")
        seen = [base, writing.steps(base, 1)] if writing.chance(60) else [chain[0], base]
        if ours and seen[0] == base and writing.chance(50):
            writing.events.add("upstream merged locally")
            local = writing.steps(writing.join(local, seen[1]), writing.count(2, 2, 1))
    tip = _move_upstream(writing, seen[-1], chain, ours)
    origin = (Origin.HAND, Origin.US, Origin.GIT)[writing.count(6, 3, 1)] if len(seen) == 1 else Origin.HAND
    depth = writing.count(0, 3, 1) if len(seen) == 1 and writing.chance(30) else None
    if depth is not None:
        writing.events.add("shallow")
    nodes = tuple(writing.nodes)
    condition = Condition(
        index_version=4 if writing.chance(10) else 2,
        is_racy=writing.chance(15),
        is_packed=writing.chance(20),
        has_logs=not writing.chance(7),
        trusts_filemode=not writing.chance(5),
    )
    incoming = changed(nodes[base].files, nodes[tip].files)
    choice = Choice(draw, nodes[local].files, nodes[tip].files, sorted(incoming))
    choice.trusts_filemode = condition.trusts_filemode
    if of_files:
        dirt = some_dirt(choice, writing.count(0, 4, 3, 1), OF_FILES) + some_dirt(choice, writing.count(4, 1))
    else:
        dirt = some_dirt(choice, writing.count(5, 4, 2))
    writing.events |= {dirt.label for dirt in dirt}
    again = None
    if not dirt and writing.chance(40):
        writing.events.add("pulled twice")
        again = _move_upstream(writing, tip, [*chain, tip], [])
    events = frozenset(writing.events)
    nodes = tuple(writing.nodes)
    return History(nodes, tuple(seen), base, local, tip, again, origin, depth, tuple(dirt), condition, events)


def _move_upstream(writing: _Writing, now: int, chain: Sequence[int], ours: Sequence[int]) -> int:
    """Return the node that upstream names when it is pulled."""
    nodes, further = writing.nodes, writing.count(1, 5, 3, 1, 1)
    match writing.count(1, 12, 5, 3, 4, 4, 1):
        case 0:
            return now
        case 1:
            return writing.steps(now, max(1, further))
        case 2:
            # What the local commits are built on is dropped: its change is made anew, changed, or not at all.
            writing.events.add("force-push: amended")
            parents = nodes[now].parents
            if parents and writing.chance(40):
                return writing.steps(writing.patch(now, parents[0]), further)
            files, label = change(writing.draw, nodes[now].files)
            return writing.steps(writing.add(files, parents, f"instead: {label}"), further)
        case 3:
            writing.events.add("force-push: rewound")
            return writing.steps(chain[max(0, len(chain) - 2)], max(further, writing.count(1, 4)))
        case 4 if ours:
            writing.events.add("upstream has our commits")
            if writing.chance(30):
                other = ours[writing.draw(st.integers(0, len(ours) - 1))]
                return writing.steps(writing.join(writing.steps(now, further), other), writing.count(2, 1))
            return writing.steps(ours[writing.draw(st.integers(0, len(ours) - 1))], max(further, writing.count(1, 3)))
        case 5 if ours:
            writing.events.add("upstream has our patches")
            on = writing.steps(now, further)
            picked = [number for number in ours if writing.chance(60)] or [ours[-1]]
            for number in picked:
                on = writing.patch(number, on)
            return writing.steps(on, writing.count(2, 1))
        case 6:
            writing.events.add("force-push: unrelated")
            files, label = change(writing.draw, nodes[now].files, 2)
            return writing.steps(writing.add(files, (), f"anew: {label}"), min(further, 1))
        case _:
            return writing.steps(now, max(1, further))
