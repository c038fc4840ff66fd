"""Questions about histories, each answered by git too."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from handler.errors import MirrorDamaged, TreeUnsafe
from handler.mount.git.commit import parse_commit
from handler.mount.working_copy.rebase.commit_graph import CommitGraph
from handler.mount.working_copy.rebase.patches import already_upstream, changed_ranges, changed_text
from tests.working_copy.graphs import EXAMPLES, Graph, Plan, plans

FEW = settings(max_examples=EXAMPLES or 8, deadline=None, suppress_health_check=list(HealthCheck))


@pytest.fixture
def graph(tmp_path: Path) -> Iterator[Graph]:
    """Return an empty repository."""
    with Graph(tmp_path / "graph") as made:
        yield made


def line(length: int) -> list[Plan]:
    """Return a history without merges."""
    return [Plan((number - 1,) if number else (), ("a top",)) for number in range(length)]


@FEW
@given(plans(most=14, skew=True, edits=["nothing"]), st.data())
def test_ancestors_and_merge_bases_are_what_git_says(history: list[Plan], data: st.DataObject) -> None:
    """With merges, several roots and clocks that were wrong."""
    with tempfile.TemporaryDirectory() as place, Graph(Path(place) / "graph") as graph:
        ids = graph.make(history).ids
        commit = st.sampled_from(ids)
        for _ in range(3):
            one, other, third = data.draw(commit), data.draw(commit), data.draw(commit)
            ours = graph.history()
            assert ours.is_ancestor(one, other) == graph.says("merge-base", "--is-ancestor", one, other)
            assert set(ours.merge_bases(one, [other])) == set(graph.ask("merge-base", "--all", one, other))
            found = graph.ask("merge-base", "--all", one, other, third)
            assert set(ours.merge_bases(one, [other, third])) == set(found)


@FEW
@given(plans(most=14, skew=True, edits=["nothing"]), st.data())
def test_the_fork_point_is_what_git_says(history: list[Plan], data: st.DataObject) -> None:
    """Also where the log names commits that are gone, or no log tells where HEAD was begun."""
    with tempfile.TemporaryDirectory() as place, Graph(Path(place) / "graph") as graph:
        ids = graph.make(history).ids
        head = data.draw(st.sampled_from(ids))
        logged = data.draw(st.lists(st.sampled_from([*ids, b"7" * 40]), min_size=1, max_size=6))
        graph.log("refs/remotes/origin/main", [*logged, ids[-1]])
        wanted = graph.ask("merge-base", "--fork-point", "refs/remotes/origin/main", head)
        assert graph.history().fork_point(head, [b"0" * 40, *logged, ids[-1]]) == (wanted[0] if wanted else None)


@FEW
@given(plans(most=14), st.data())
def test_what_is_replayed_is_what_git_lists(history: list[Plan], data: st.DataObject) -> None:
    """In the same order, and the same commits count as there already."""
    with tempfile.TemporaryDirectory() as place, Graph(Path(place) / "graph") as graph:
        ids = graph.make(history).ids
        for _ in range(2):
            left, right = data.draw(st.sampled_from(ids)), data.draw(st.sampled_from(ids))
            listed = graph.ask(
                *("rev-list", "--topo-order", "--reverse", "--no-merges", "--cherry-mark", "--right-only"),
                left + b"..." + right,
            )
            ours = graph.history()
            order = ours.replay_order(right, ours.commits_only_in(right, left))
            known = already_upstream(graph.objects, ours, ours.commits_only_in(left, right), order)
            assert [(b"=" if each in known else b"+") + each for each in order] == listed


@FEW
@given(plans(most=14, skew=True, edits=["nothing"]), st.data())
def test_a_wrong_clock_makes_no_commit_local(history: list[Plan], data: st.DataObject) -> None:
    """Held to the plain definition: what one leads to and the other does not."""
    with tempfile.TemporaryDirectory() as place, Graph(Path(place) / "graph") as graph:
        ids = graph.make(history).ids
        left, right = data.draw(st.sampled_from(ids)), data.draw(st.sampled_from(ids))
        ours = graph.history()
        reached = []
        for start in (left, right):
            seen: set[bytes] = set()
            waiting = [start]
            while waiting:
                each = waiting.pop()
                if each not in seen:
                    seen.add(each)
                    waiting.extend(ours.parents(each))
            reached.append(seen)
        assert graph.history().left_right(left, right) == (reached[0] - reached[1], reached[1] - reached[0])


def test_a_fast_forward_reads_two_commits(graph: Graph) -> None:
    """However long the history below is."""
    ids = graph.make(line(300)).ids
    assert graph.history().is_ancestor(ids[-2], ids[-1])
    assert sorted(graph.objects.reads) == sorted(ids[-2:])


def test_what_is_ahead_or_beside_reads_nothing_of_what_lies_below(graph: Graph) -> None:
    """A local commit beside a new one of upstream: those two, what they stand on, and a few for wrong clocks."""
    ids = graph.make([*line(300), Plan((299,), ("b top",)), Plan((299,), ("b gone",))]).ids
    history = graph.history()
    assert not history.is_ancestor(ids[301], ids[300])
    assert history.merge_bases(ids[301], [ids[300]]) == [ids[299]]
    assert len(graph.objects.reads) <= 3
    assert history.left_right(ids[300], ids[301]) == ({ids[300]}, {ids[301]})
    assert len(graph.objects.reads) <= 10


def test_shallow_commits_have_no_parents(graph: Graph) -> None:
    """What lies below the boundary is neither read nor common; without it, it is missing and said to be."""
    ids = graph.make(line(6)).ids
    history = graph.history(shallow=[ids[3]])
    assert not history.is_ancestor(ids[1], ids[5])
    assert history.merge_bases(ids[5], [ids[1]]) == []
    assert history.replay_order(ids[5], history.commits_only_in(ids[5], ids[1])) == ids[3:]
    kept = {each: parse_commit(graph.objects.read(each, 1)) for each in ids[3:]}

    def read(commit: bytes) -> object:
        if commit not in kept:
            raise MirrorDamaged("missing")
        return kept[commit]

    with pytest.raises(MirrorDamaged):
        CommitGraph(read, ()).commits_only_in(ids[5], ids[1])  # type: ignore[arg-type]


def test_a_fork_point_needs_a_log(graph: Graph) -> None:
    """Nothing logged, or only what is gone: no answer, and no walk down to the first commit."""
    ids = graph.make(line(30)).ids
    assert graph.history().fork_point(ids[-1], []) is None
    assert graph.history().fork_point(ids[-1], [b"0" * 40, b"7" * 40]) is None
    assert set(graph.objects.reads) <= {b"7" * 40}


class Shelf:
    """Trees by made-up ids; anything else is a blob that holds its own id."""

    def __init__(self, trees: dict[bytes, bytes]) -> None:
        """Take the trees' contents."""
        self.trees = trees
        self.reads: list[bytes] = []

    def read(self, object_id: bytes, kind: int) -> bytes:
        """Return a content."""
        self.reads.append(object_id)
        return self.trees[object_id] if kind == 2 else object_id


def entry(mode: bytes, name: bytes, digit: str) -> bytes:
    """Return one entry of a tree, of the id that is one digit forty times."""
    return mode + b" " + name + b"\0" + bytes.fromhex(digit * 40)


def two_commits(left: str, right: str) -> CommitGraph:
    """Return the history of root `0`, and `1` and `2` on it, with the trees `a`, `left` and `right`."""
    commits = {
        name.encode() * 40: parse_commit(f"tree {tree * 40}\n{parent}\n\n".encode())
        for name, tree, parent in (
            ("0", "a", ""),
            ("1", left, "parent " + "0" * 40),
            ("2", right, "parent " + "0" * 40),
        )
    }
    return CommitGraph(commits.__getitem__)


ONE, TWO = b"1" * 40, b"2" * 40


def test_contents_are_read_only_where_the_paths_agree() -> None:
    """And trees only where the names above them do."""
    trees = {
        b"a" * 40: entry(b"100644", b"f", "e") + entry(b"40000", b"x", "d"),
        b"b" * 40: entry(b"100644", b"f", "9") + entry(b"40000", b"x", "d"),
        b"c" * 40: entry(b"100644", b"f", "e") + entry(b"40000", b"x", "8"),
        b"d" * 40: b"",
        b"8" * 40: entry(b"100644", b"g", "7"),
    }
    shelf = Shelf(trees)
    assert already_upstream(shelf, two_commits("b", "c"), [ONE], [TWO]) == frozenset()
    assert set(shelf.reads) <= {digit.encode() * 40 for digit in "abcd8"}
    assert already_upstream(shelf, two_commits("c", "c"), [ONE], [TWO]) == {TWO}
    assert set(shelf.reads) <= {digit.encode() * 40 for digit in "abcd8"}, "the same blobs need not be read"


@pytest.mark.parametrize(
    "content", [b"40000 x", b"8 x\0" + b"1" * 20, b"40000 x\0" + b"1" * 19, b"\xff", entry(b"40000", b"x", "b")]
)
def test_a_tree_that_is_none_is_refused(content: bytes) -> None:
    """Malformed, or one that seems to hold itself."""
    shelf = Shelf({b"a" * 40: b"", b"b" * 40: content})
    with pytest.raises(TreeUnsafe):
        already_upstream(shelf, two_commits("b", "b"), [ONE], [TWO])


@given(st.lists(st.sampled_from(b"abc"), max_size=12), st.lists(st.sampled_from(b"abc"), max_size=12))
def test_ranges_bring_one_text_to_the_other(before: list[int], after: list[int]) -> None:
    """Whatever is between them is the same in both."""
    old, new = [b"%d\n" % line for line in before], [b"%d\n" % line for line in after]
    result, at = [], 0
    for i, j, k, m in changed_ranges(old, new):
        assert (j, m) != (i, k)
        result += old[at:i] + new[k:m]
        at = j
    assert result + old[at:] == new


def test_a_change_of_too_many_lines_is_one_block() -> None:
    """Comparing would take as long as whoever wrote the files likes."""
    old = [b"x\n", b"y\n"] * 3000
    assert changed_ranges([b"a\n", *old, b"b\n"], [*old, b"c\n", b"c\n"]) == [(0, 6002, 0, 6002)]


def test_a_change_is_the_same_wherever_it_stands_and_however_it_is_spaced() -> None:
    """Three lines around it count, and those farther off do not."""
    lines = b"".join(b"%d\n" % number for number in range(30))
    text = changed_text(lines, lines.replace(b"15\n", b"fif teen\n"))
    assert text == b"121314-15+fifteen161718"
    assert changed_text(b"above\n" * 9 + lines, b"above\n" * 9 + lines.replace(b"15\n", b"\tfifteen\r\n")) == text
    assert changed_text(b"", b"a\n") == b"+a"
    assert changed_text(b"a", b"a\n") == b"-a+a"
    assert changed_text(b"a\rb\n", b"a\rc\n") == b"-ab+ac"
