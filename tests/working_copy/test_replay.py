"""What a pull makes of the branch, beside what `git pull --rebase` makes of it: the same ids, the same logs."""

import itertools
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from handler.errors import CopyUnusable, MirrorDamaged, ReplayConflict, TreeUnsafe
from handler.mount.git.commit import parse_commit, serialize_commit
from handler.mount.git.objects import hash_object
from handler.mount.working_copy.overlay import MemoryOverlay
from handler.mount.working_copy.rebase.commits import read_commit, to_utf8
from handler.mount.working_copy.rebase.reflog_lines import reflog_lines
from handler.mount.working_copy.rebase.replay import DecisionKind, ReplayResult, decide, format_paths, replay
from testing.repositories import GENESIS
from tests.working_copy.graphs import EXAMPLES, Graph, Plan, plans

FEW = settings(max_examples=EXAMPLES or 6, deadline=None, suppress_health_check=list(HealthCheck))
MAIN = b"refs/heads/main"
COMMITTER = b"Ada Pusher <ada@example.com>"
MERGEABLE = [
    "nothing",
    "a top",
    "a middle",
    "a end",
    "b top",
    "b runs",
    "b gone",
    "e two",
    "link",
    "new",
    "d is a file",
]
ADA = b"author Ada <a@x> 1 +0000\n"
BOB = b"committer Bob <b@x> 2 -0530\n"
SUBJECTS = [b"subject\n", b"two\nlines\n", b" \t\n\n  odd \t subject \nbody", b"", b"caf\xe9\n"]


@dataclass(frozen=True, slots=True)
class Merged:
    """What git's merge came to."""

    tree: bytes
    conflicts: tuple[bytes, ...]


@pytest.fixture
def graph(tmp_path: Path) -> Iterator[Graph]:
    """Return an empty repository."""
    with Graph(tmp_path / "graph") as made:
        yield made


def merging(graph: Graph) -> "GitMerge":
    """Return git's own three-way merge of trees: what is tested here is who is merged with whom."""
    return GitMerge(graph)


@dataclass(frozen=True, slots=True)
class GitMerge:
    """Merges by `git merge-tree`, which wants commits: they are made of the three trees."""

    graph: Graph

    def __call__(self, objects: MemoryOverlay, base: bytes | None, ours: bytes, theirs: bytes) -> Merged:
        """Return the merged tree, or the paths in conflict."""
        below = self._commit(base or self.graph.put(2, b""))
        sides = [self._commit(tree, below).decode() for tree in (ours, theirs)]
        found = self.graph.git("merge-tree", "--write-tree", "--name-only", "--no-messages", "-z", *sides, check=False)
        tree, *paths = found.split(b"\0")
        return Merged(tree, tuple(path for path in paths if path))

    def _commit(self, tree: bytes, *parents: bytes) -> bytes:
        lines = [b"tree " + tree, *(b"parent " + parent for parent in parents), ADA + BOB, b"tree\n"]
        return self.graph.put(1, b"\n".join(lines))


@dataclass(frozen=True, slots=True)
class Result:
    """A branch after a pull, and the lines of the two logs; `stopped` is the commit in conflict."""

    head: bytes | None
    logs: list[list[tuple[bytes, bytes, bytes]]]
    stopped: bytes | None = None


def pulled_by_git(graph: Graph, head: bytes, tip: bytes, logged: Sequence[bytes]) -> Result:
    """Let git pull, from the repository itself."""
    git = graph.path / ".git"
    with (git / "config").open("a") as config:
        config.write('[remote "origin"]\n\turl = .\n\tfetch = +refs/upstream/*:refs/remotes/origin/*\n')
        config.write('[branch "main"]\n\tremote = origin\n\tmerge = refs/upstream/main\n')
        config.write("[core]\n\tfsync = none\n")
    graph.log("refs/remotes/origin/main", logged)
    graph.log("refs/upstream/main", [tip])
    graph.log("refs/heads/main", [head])
    graph.git("reset", "--quiet", "--hard")
    logs = [git / "logs/HEAD", git / "logs/refs/heads/main"]
    for log in logs:
        log.write_bytes(b"")
    graph.git("pull", "--rebase", check=False)
    stopped = git / "rebase-merge/stopped-sha"
    if (git / "rebase-merge").exists():
        return Result(None, [], stopped.read_bytes().strip())
    return Result(graph.ask("rev-parse", "HEAD")[0], [_lines(log.read_bytes()) for log in logs])


def pulled_by_us(graph: Graph, head: bytes, tip: bytes, logged: Sequence[bytes]) -> Result:
    """Decide and replay. Raises ReplayConflict."""
    objects = graph.overlay()
    history = graph.history()
    decision = decide(history, head, tip, logged)
    replayed: ReplayResult | None = None
    new = head if decision.kind == DecisionKind.UP_TO_DATE else tip
    if decision.kind == DecisionKind.REPLAY:
        replayed = replay(objects, history, decision, COMMITTER, GENESIS, merging(graph))
        new = replayed.head
        assert {each for _, each in replayed.picked} >= {each for each, (kind, _) in objects.added.items() if kind == 1}
    lines = reflog_lines(decision, replayed, MAIN)
    return Result(new, [[line[1:] for line in lines if line.ref == log] for log in (b"HEAD", MAIN)])


def compare(graph: Graph, head: bytes, tip: bytes, logged: Sequence[bytes]) -> Result:
    """Pull by both, ours first; they have to agree, about a conflict too."""
    ours: Result | str
    try:
        ours = pulled_by_us(graph, head, tip, logged)
    except ReplayConflict as conflict:
        ours = str(conflict)
    git = pulled_by_git(graph, head, tip, logged)
    if isinstance(ours, str):
        assert git.stopped, ours
        assert git.stopped[:12].decode() in ours
    else:
        # The prefix is the whole command line, and git was called by this one.
        action = b"pull --rebase"
        assert all(line[2].startswith((action, b"rebase: fast-forward")) for log in git.logs for line in log)
        assert ours == git
    return git


def _lines(log: bytes) -> list[tuple[bytes, bytes, bytes]]:
    lines = []
    for line in log.split(b"\n")[:-1]:
        about, _, message = line.partition(b"\t")
        lines.append((about[:40], about[41:81], message))
    return lines


def pairs(graph: Graph, logged: Sequence[bytes]) -> list[tuple[bytes, bytes]]:
    """Return branches and tips to choose from, two of a kind where nothing is replayed and else all there are."""
    by_kind: dict[DecisionKind, list[tuple[bytes, bytes]]] = {}
    history = graph.history()
    for head, tip in itertools.product(graph.ids, graph.ids):
        by_kind.setdefault(decide(history, head, tip, logged).kind, []).append((head, tip))
    others = [pair for kind, found in by_kind.items() if kind != DecisionKind.REPLAY for pair in found[-2:]]
    return others + by_kind.get(DecisionKind.REPLAY, [])


@FEW
@given(plans(most=10, edits=MERGEABLE), st.data())
def test_a_pull_is_what_git_makes_of_it(history: list[Plan], data: st.DataObject) -> None:
    """Any two commits as branch and tip: forward, ahead, beside, moved by force; merges, roots and empty commits."""
    with tempfile.TemporaryDirectory() as place, Graph(Path(place) / "graph") as graph:
        history = [replace(plan, message=data.draw(st.sampled_from(SUBJECTS))) for plan in history]
        ids = graph.make(history).ids
        logged = data.draw(st.lists(st.sampled_from(ids), min_size=1, max_size=3))
        head, tip = data.draw(st.sampled_from(pairs(graph, logged)))
        compare(graph, head, tip, logged)


def raw(graph: Graph, parent: bytes, rest: bytes, tree: bytes) -> bytes:
    """Write a commit whose headers after the parent, and message, are these bytes; return its id."""
    return graph.put(1, b"tree %b\nparent %b\n%b" % (tree, parent, rest))


def with_file(tree: bytes, number: int) -> bytes:
    """Return the tree with the file `z` at its end, which holds a number."""
    return b"%b100644 z\0%b" % (tree, bytes.fromhex(hash_object(3, b"%d\n" % number).decode()))


ODD = {
    "no line feed at the end": ADA + BOB + b"\nsubject",
    "trailing space kept": ADA + BOB + b"\nsubject  \n\n\nbody  \n\n\n",
    "comments kept": ADA + BOB + b"\n# subject\n# body\n",
    "blank lines before": ADA + BOB + b"\n\n \t\n\r\n  subject\nbody\n",
    "blank alone": ADA + BOB + b"\n \n\t",
    "no message": ADA + BOB + b"\n",
    "no empty line": ADA + BOB,
    "cut at NUL": ADA + BOB + b"\nsub\0ject\n",
    "signature dropped": ADA
    + BOB
    + b"gpgsig -----BEGIN\n encoding latin-1\n \n -----END\nmergetag object x\n\nsubject\n",
    "other headers dropped": ADA + BOB + b"x-mine 1\nencoding utf8\n\nsubject \xc3\xa9\n",
    "latin-1": b"author J\xf6rg <a@x> 1 +0000\n" + BOB + b"encoding ISO-8859-1\n\nfa\xdfe \x80\n",
    "latin-1 by another name": ADA + BOB + b"encoding latin-1\n\n\xe9\n",
    "cp1252": ADA + BOB + b"encoding windows-1252\n\n\x80 euro\n",
    "cp1252, undefined": ADA + BOB + b"encoding CP1252\n\n\x81 \x80\n",
    "shift-jis": ADA + BOB + b"encoding Shift_JIS\n\n\x93\xfa\x96{\n",
    "sjis": ADA + BOB + b"encoding SJIS\n\n\x93\xfa\n",
    "euc-jp": ADA + BOB + b"encoding EUC-JP\n\n\xc6\xfc\n",
    "koi8-r": ADA + BOB + b"encoding KOI8-R\n\n\xf0\xd2\n",
    "gb18030": ADA + BOB + b"encoding gb18030\n\n\xc4\xe3\n",
    "big5": ADA + BOB + b"encoding Big5\n\n\xa7A\n",
    "2022": ADA + BOB + b"encoding ISO-2022-JP\n\n\x1b$BF|\x1b(B\n",
    "ascii, but not": ADA + BOB + b"encoding us-ascii\n\n\xe9\n",
    "unknown to git": ADA + BOB + b"encoding rot13\n\nsubject \xe9\n",
    "unicode_escape": ADA + BOB + b"encoding unicode_escape\n\n\\u00e9 \xe9\n",
    "encoding empty": ADA + BOB + b"encoding \n\n\xe9\n",
    "no UTF-8": b"author J\xf6rg <a@x> 1 +0000\n" + BOB + b"\n\xe9t\xe9 \xc3\xa9 \xff\xfe \xe2\x82\n",
    "overlong, surrogate, beyond": ADA + BOB + b"\n\xc0\xaf \xed\xa0\x80 \xf4\x90\x80\x80 \xf8\x88\x80\x80\x80\n",
    "no characters": ADA
    + BOB
    + b"\n\xef\xb7\x90 \xef\xb7\xaf \xef\xbf\xbe \xf0\x9f\xbf\xbf \xf4\x8f\xbf\xbe \xef\xbf\xbd\n",
    "author odd": b"author nobody\n" + BOB + b"\nsubject\n",
    "author's time odd": b"author A <a> yesterday\n" + BOB + b"\nsubject\n",
    "committer missing": ADA + b"\nsubject\n",
    "time odd": ADA + b"committer B <b> 99999999999999999999 +0000\n\nsubject\n",
    "subject of odd space": ADA + BOB + b"\n\tsub \t ject\x0b \r\nbody",
}


def test_odd_commits_are_kept_as_git_keeps_them(graph: Graph) -> None:
    """Text, encodings and headers, to the byte: the ids agree, and so do the logs."""
    base, tip = graph.make([Plan((), ("nothing",)), Plan((0,), ("link",))]).ids
    root = graph.objects.read(graph.ask("rev-parse", base + b"^{tree}")[0], 2)
    head = base
    for number, rest in enumerate(ODD.values()):
        graph.put(3, b"%d\n" % number)
        head = raw(graph, head, rest, graph.put(2, with_file(root, number)))
    git = compare(graph, head, tip, [base])
    assert len(git.logs[0]) == len(ODD) + 2


def test_text_that_is_utf8_stays_and_any_other_becomes_it() -> None:
    """Each byte that belongs to no character is taken for Latin-1."""
    good = "aé日😀\U0010fffd".encode()
    assert to_utf8(good) == good
    assert to_utf8(good + b"\xff" + good) == good + b"\xc3\xbf" + good
    to_utf8(bytes(range(256)) * 20).decode()


class One:
    """A store that has one object, whatever it is asked for."""

    def __init__(self, content: bytes) -> None:
        self.content = content

    def read(self, object_id: bytes, kind: int) -> bytes:
        """Return the object's content."""
        return self.content


@given(st.binary(max_size=200))
def test_whatever_a_commit_holds_is_read_or_said_to_be_damaged(content: bytes) -> None:
    """No other error, and what was read is written as it was read."""
    for text in (content, b"tree " + b"a" * 40 + b"\n" + content, b"tree " + b"a" * 40 + b"\nparent " + content):
        try:
            commit = read_commit(One(text), b"")
        except MirrorDamaged:
            with pytest.raises(TreeUnsafe):
                parse_commit(text)
            continue
        again = parse_commit(serialize_commit(commit))
        assert (again.tree, again.parents, again.message) == (commit.tree, commit.parents, commit.message)


def test_a_commit_that_upstream_has_is_dropped(graph: Graph) -> None:
    """By its patch, or because nothing is left of it; an empty one stays."""
    ids = graph.make(
        [
            Plan((), ("nothing",)),
            *(Plan((0,), ("a top",)), Plan((1,), ("a end", "link"))),
            *(Plan((0,), ("a top",), 5), Plan((3,), ("link",)), Plan((4,), ("nothing",)), Plan((5,), ("new",))),
        ]
    ).ids
    compare(graph, ids[6], ids[2], [ids[0]])
    history = graph.history()
    replayed = replay(
        graph.overlay(), history, decide(history, ids[6], ids[2], [ids[0]]), COMMITTER, GENESIS, merging(graph)
    )
    assert replayed.dropped == (ids[3], ids[4])
    assert [old for old, _ in replayed.picked] == [ids[5], ids[6]]


def test_upstream_that_went_back_takes_its_commits_along(graph: Graph) -> None:
    """What was upstream's and is no more is not replayed as if it were ours: the log knows whose it was."""
    ids = graph.make([Plan((), ("nothing",)), Plan((0,), ("a top",)), Plan((1,), ("new",)), Plan((0,), ("link",))]).ids
    decision = decide(graph.history(), ids[2], ids[3], [ids[0], ids[1]])
    assert (decision.kind, decision.upstream) == (DecisionKind.REPLAY, ids[1])
    git = compare(graph, ids[2], ids[3], [ids[0], ids[1]])
    assert len(git.logs[0]) == 3


def test_the_log_is_not_read_where_it_cannot_matter(graph: Graph) -> None:
    """A thousand old values of the tracking ref, all of them in the tip: none is looked at."""
    ids = graph.make([*(Plan((n - 1,) if n else (), ("a top",)) for n in range(60)), Plan((57,), ("new",))]).ids
    decision = decide(graph.history(), ids[60], ids[59], ids[:58])
    assert (decision.kind, decision.upstream) == (DecisionKind.REPLAY, ids[59])
    assert len(graph.objects.reads) <= 12


def test_local_commits_on_the_tip_are_up_to_date(graph: Graph) -> None:
    """Nothing to do, and nothing said in a log; but a merge among them is made a line."""
    ids = graph.make(
        [Plan((), ("nothing",)), Plan((0,), ("a top",)), Plan((0,), ("new",)), Plan((1, 2), ()), Plan((3,), ("link",))]
    ).ids
    assert decide(graph.history(), ids[1], ids[0], [ids[0]]).kind == DecisionKind.UP_TO_DATE
    assert decide(graph.history(), ids[4], ids[0], [ids[0]]).kind == DecisionKind.REPLAY
    git = compare(graph, ids[4], ids[0], [ids[0]])
    # The first stays where it is, and the log begins with it.
    assert git.logs[0][0][1] in ids


def test_a_conflict_names_commit_and_paths(graph: Graph) -> None:
    """Quoted and bounded, for both are hostile."""
    evil = b"\x1b[31m" + "é".encode() * 100 + b"\n"
    ids = graph.make(
        [Plan((), ("nothing",)), Plan((0,), ("a middle",)), Plan((0,), ("b gone", "binary", "a end"), message=evil)]
    ).ids
    objects, history = graph.overlay(), graph.history()

    def conflicting(objects: MemoryOverlay, base: bytes | None, ours: bytes, theirs: bytes) -> Merged:
        return Merged(b"", (b"a\n", b"\xff", *(b"%03d" % number for number in range(30))))

    with pytest.raises(ReplayConflict) as caught:
        replay(objects, history, decide(history, ids[2], ids[1]), COMMITTER, GENESIS, conflicting)
    message = str(caught.value)
    assert ids[2][:12].decode() in message
    assert message.isascii() and message.isprintable()
    assert "and 12 more" in message
    assert len(message) < 1000
    assert not objects.added


def test_paths_are_named_bounded() -> None:
    """Twenty of them, and of each two hundred bytes."""
    assert format_paths([b"b", b"a"]) == "'a', 'b'"
    assert len(format_paths([b"\xff" * 3000])) < 1500


def test_a_local_commit_without_an_author_is_refused(graph: Graph) -> None:
    """Git refuses to replay it too."""
    ids = graph.make([Plan((), ("nothing",)), Plan((0,), ("a top",)), Plan((0,), ("link",))]).ids
    tree = graph.ask("rev-parse", ids[2] + b"^{tree}")[0]
    head = raw(graph, ids[0], BOB + b"\nsubject\n", tree)
    history = graph.history()
    with pytest.raises(CopyUnusable, match="names no author"):
        replay(graph.overlay(), history, decide(history, head, ids[1]), COMMITTER, GENESIS, merging(graph))
