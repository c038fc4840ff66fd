"""Working copies that an earlier version left, with what people did in them; some in the middle of a killed pull."""

import json
import os

import pytest
from dulwich.objects import Blob, Commit, Tree
from dulwich.refs import Ref
from dulwich.repo import Repo

from testing.repositories import Tree as Files
from testing.repositories import has_git
from tests.functional.mounts import footprint
from tests.takeover.history import MAIN, NAME, lines
from tests.takeover.stored import TARGET, Stored, Take, tree_at, tree_of
from tests.working_copy.person import Person

COPY = [{"ref": MAIN, "mode": "working-copy"}]
WITH_AUTOSTASH = [{"ref": MAIN, "mode": "working-copy", "autostash": True}]

PLAIN = ("copy-clean", "copy-killed-before-its-refs", "copy-half-made")
WITH_CHANGES = ("copy-with-changes", "copy-killed-in-its-files")
WITH_COMMITS = ("copy-with-commits", "copy-killed-in-a-replay")
WITH_STASH = ("copy-killed-with-a-stash",)
EVERY = (*PLAIN, *WITH_CHANGES, *WITH_COMMITS, *WITH_STASH)
KILLED_PUSH = {
    "copy-killed-before-its-refs": 3,
    "copy-killed-in-its-files": 3,
    "copy-killed-in-a-replay": 3,
    "copy-killed-with-a-stash": 3,
    "copy-half-made": 2,
}
"""Each mount that a killed pull left, and the number of the commit that was pushed."""
MINE = lines((15, "mine"))
"""The uncommitted `text` that does not go with what was pushed."""


def taken(take: Take, name: str) -> Stored:
    """Take a mount over with the mode that it had."""
    return take(name, publish=WITH_AUTOSTASH if name in WITH_STASH else COPY, depth=0)


def with_local_work(name: str, number: int) -> Files:
    """Return the tree of commit `number` with what somebody did in the copy upon it."""
    tree = tree_of(number)
    if name in WITH_CHANGES:
        tree[b"README"] = (0o100644, b"uncommitted\n")
        tree[b"untracked"] = (0o100644, b"untracked\n")
        tree[b"added"] = (0o100644, b"staged\n")
    if name in WITH_COMMITS:
        tree[b"text"] = (0o100644, lines((0, "mine"), (15, f"theirs {number}")))
        tree[b"local/file"] = (0o100644, b"local\n")
    return tree


def check(stored: Stored, name: str, number: int) -> None:
    """Hold the copy to what follows a run in peace: the tip, the local work upon it, nothing left over."""
    root, tip = stored.mount / TARGET, stored.commits[number]
    assert tree_at(root) == with_local_work(name, number)
    assert json.loads((root / ".git/git2efs/published.json").read_text())["commit"] == tip
    git = root / ".git"
    with Repo(os.fspath(root)) as repository:
        assert repository.refs[Ref(b"refs/remotes/origin/main")].decode() == tip
        messages, commit = [], repository[repository.head()]
        while commit.id.decode() != tip:
            assert isinstance(commit, Commit)
            messages.append(commit.message.split(b"\n")[0])
            commit = repository[commit.parents[0]]
        assert messages == ([b"second", b"first"] if name in WITH_COMMITS else [])
        if name in WITH_STASH:
            stash = repository[repository.refs[Ref(b"refs/stash")]]
            assert isinstance(stash, Commit)
            tree = repository[stash.tree]
            assert isinstance(tree, Tree)
            held = repository[tree[b"text"][1]]
            assert isinstance(held, Blob)
            assert held.data == MINE
    # Looked for by name: a lock is a link that leads nowhere.
    left = [each for _, _, files in os.walk(git) for each in files]
    assert [each for each in left if each.endswith(".lock") or each.startswith("tmp_")] == []
    assert {each.name for each in (git / "git2efs").iterdir() if not each.is_dir()} == {"published.json"}
    assert not (stored.mount / "octo/site/.copies").exists() or os.listdir(stored.mount / "octo/site/.copies") == []


@pytest.mark.parametrize("name", EVERY)
def test_the_next_push_ends_with_the_tip_and_the_local_work(take: Take, name: str) -> None:
    """What a killed pull had begun is brought to its end first."""
    stored = taken(take, name)
    answer = stored.push(4)
    assert (answer.status, answer.outcome) == (200, "published"), stored.service.text
    check(stored, name, 4)
    assert stored.push(5).outcome == "published", stored.service.text
    check(stored, name, 5)
    if has_git():
        person = Person(stored.mount / TARGET)
        assert person.status().splitlines() == (
            [" M README", "A  added", "?? untracked"] if name in WITH_CHANGES else []
        )
        assert "missing" not in person.git("fsck", "--full")


@pytest.mark.parametrize(("name", "number"), KILLED_PUSH.items())
def test_the_killed_push_delivered_again_ends_with_it(take: Take, name: str, number: int) -> None:
    """As it would have, had nobody killed it."""
    stored = taken(take, name)
    answer = stored.push(number)
    assert answer.status == 200, stored.service.text
    check(stored, name, number)


@pytest.mark.parametrize("name", EVERY)
def test_the_schedule_ends_with_the_tip_and_the_local_work(take: Take, name: str) -> None:
    """Without any push; the chores then change nothing."""
    stored = taken(take, name)
    stored.history.push(4)
    done = stored.service.run_schedule()
    assert (done["outcome"], done["behind"], done["failing"]) == ("done", 1, 0), stored.service.text
    check(stored, name, 4)
    done = stored.service.run_schedule("chores")
    assert (done["outcome"], done["failing"]) == ("done", 0)
    check(stored, name, 4)


@pytest.mark.parametrize("name", [name for name in EVERY if name != "copy-half-made"])
def test_the_chores_alone_lose_nothing(take: Take, name: str) -> None:
    """They come first where nobody pushes, also upon what a killed pull left."""
    stored = taken(take, name)
    before = tree_at(stored.mount / TARGET)
    done = stored.service.run_schedule("chores")
    assert (done["outcome"], done["failing"]) == ("done", 0), stored.service.text
    assert tree_at(stored.mount / TARGET) == before
    assert stored.push(4).outcome == "published"
    check(stored, name, 4)


@pytest.mark.parametrize("name", EVERY)
def test_an_operators_publish_ends_with_the_tip_and_the_local_work(take: Take, name: str) -> None:
    """A status before it changes nothing."""
    stored = taken(take, name)
    stored.history.push(4)
    before = footprint(stored.mount)
    stored.service.operate("status")
    assert footprint(stored.mount) == before
    done = stored.service.operate("publish", NAME)
    assert (done["exit_code"], done["targets"][0]["outcome"]) == (0, "published")
    check(stored, name, 4)


def test_what_somebody_changed_after_the_kill_is_not_lost(take: Take) -> None:
    """A file of the killed pull: the pull is refused by that file's name, and goes on when it is out of the way."""
    stored = taken(take, "copy-killed-in-its-files")
    file = stored.mount / TARGET / "large"
    file.write_bytes(b"changed after the kill\n")
    answer = stored.push(4)
    assert (answer.status, answer.reason) == (500, "local_changes")
    assert "large" in stored.service.text
    assert file.read_bytes() == b"changed after the kill\n"
    file.write_bytes(tree_of(2)[b"large"][1])
    assert stored.push(4).outcome == "published"
    check(stored, "copy-killed-in-its-files", 4)


def test_a_copy_that_was_half_made_is_gone_on_with(take: Take) -> None:
    """What was fetched for it is not fetched again."""
    stored = taken(take, "copy-half-made")
    (stage,) = (stored.mount / "octo/site/.copies").iterdir()
    assert (stage / stored.commits[2]).is_dir()
    answer = stored.push(2)
    assert (answer.outcome, answer.content["bytes_fetched"]) == ("published", 0)
    check(stored, "copy-half-made", 2)


def test_a_copy_is_not_taken_for_releases_nor_releases_for_a_copy(take: Take) -> None:
    """The mode that stands on the mount wins over a mistaken parameter, and nothing is touched."""
    copied, released = take("copy-clean"), take("published", publish=COPY)
    for stored in (copied, released):
        before = stored.service.tree() if stored is released else tree_at(stored.mount / TARGET)
        answer = stored.push(4)
        assert (answer.status, answer.reason) == (500, "target_occupied")
        assert before == (stored.service.tree() if stored is released else tree_at(stored.mount / TARGET))
