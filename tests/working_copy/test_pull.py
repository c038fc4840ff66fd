"""A target that is a working copy: what a push makes of it, and of what people did in it."""

import importlib
import os
import subprocess
import time
from pathlib import Path

import pytest

from testing import selection
from testing.repositories import Entry, Executable, Link, Submodule, Upstream, archive, git_environment, run_git
from testing.service import Service
from tests.working_copy.person import PATH, Person

FILES = {f"d{number % 3}/f{number}": b"".join(b"%d %d\n" % (number, line) for line in range(12)) for number in range(9)}


@pytest.fixture
def copy(service: Service, upstream: Upstream) -> Person:
    """Return somebody in a working copy that was just made."""
    service.put_repository(publish=[{"ref": "refs/heads/main", "mode": "working-copy"}], depth=0)
    upstream.commit(FILES)
    kinds: dict[str, Entry] = {"run": Executable(b"#!/bin/sh\n"), "link": Link(b"d0/f0")}
    upstream.commit(kinds)
    answer = service.push(upstream)
    assert (answer.status, answer.outcome, answer.reason) == (200, "published", "pushed"), service.text
    return Person.at(service)


def line_changed(name: str, line: int, text: str = "changed") -> str:
    """Return a file of FILES with another line."""
    lines = FILES[name].decode().splitlines()
    lines[line] = text
    return "\n".join(lines) + "\n"


# -- made by us -------------------------------------------------------------------------------------------------------


def test_a_copy_that_is_not_there_is_made(service: Service, upstream: Upstream, copy: Person) -> None:
    """As `git clone` would: files, index, log, remote; git finds nothing to say of it."""
    tip = upstream.tip()
    assert copy.tree() == archive(upstream, tip or "")
    assert (copy.head(), copy.status()) == (tip, "")
    assert copy.git("rev-parse", "refs/remotes/origin/main") == tip
    assert copy.git("reflog", "--format=%gs") == f"clone: from {service.origin.url('octo/site')}"  # type: ignore[union-attr]
    copy.is_sound()
    copy.git("fetch", "-q")
    copy.git("pull", "-q", "--rebase")


def test_git_need_not_read_a_file_of_a_copy_that_was_made(copy: Person) -> None:
    """The index knows each file as it is on disk, and is younger than all of them: none has to be read to be sure."""
    index = copy.root / ".git/index"
    newest = max(int(file.lstat().st_mtime) for file in copy.root.rglob("*") if ".git" not in file.parts)
    assert int(index.stat().st_mtime) > newest
    before = index.read_bytes()
    copy.git("update-index", "--refresh")
    assert (copy.root / ".git/index").read_bytes() == before
    assert copy.git("write-tree") == copy.git("rev-parse", "HEAD^{tree}")


def test_a_copy_may_be_shallow(service: Service, upstream: Upstream) -> None:
    """`depth` 1: git knows where history ends, and what is pushed then adds to it."""
    service.put_repository(publish=[{"mode": "working-copy"}], depth=1)
    for number in range(3):
        upstream.commit({"file": b"%d\n" % number})
    service.push(upstream)
    copy = Person.at(service)
    assert copy.git("rev-list", "--count", "HEAD") == "1"
    for number in range(3, 5):
        upstream.commit({"file": b"%d\n" % number})
    assert service.push(upstream).outcome == "published"
    assert (copy.git("rev-list", "--count", "HEAD"), copy.status()) == ("3", "")
    copy.is_sound()


@pytest.mark.parametrize("what", ["a file", "a directory with something", "releases"])
def test_what_is_no_working_copy_is_left_alone(service: Service, upstream: Upstream, what: str) -> None:
    """500 target_occupied, and not a byte of it is touched."""
    upstream.commit(FILES)
    place = service.mount / PATH
    if what == "releases":
        service.put_repository()
        service.push(upstream)
    elif what == "a file":
        place.parent.mkdir(parents=True)
        place.write_bytes(b"mine")
    else:
        place.mkdir(parents=True)
        (place / "mine").write_bytes(b"mine")
    before = sorted(place.rglob("*"))
    service.put_repository(publish=[{"mode": "working-copy"}])
    service.reset()
    answer = service.push(upstream)
    assert (answer.status, answer.reason) == (500, "target_occupied")
    assert sorted(place.rglob("*")) == before


def test_releases_are_not_published_into_a_working_copy(service: Service, upstream: Upstream, copy: Person) -> None:
    """The other way round."""
    before = copy.state()
    service.put_repository()
    service.reset()
    upstream.commit({"new": b"new\n"})
    assert service.push(upstream).reason == "target_occupied"
    assert copy.state() == before


# -- fast-forward ------------------------------------------------------------------------------------------------------


def test_a_push_brings_the_copy_forward(service: Service, upstream: Upstream, copy: Person) -> None:
    """Files, modes, links, files that become directories and back: git has nothing to say, and its logs read so."""
    before = copy.head()
    upstream.commit(
        {
            "d0/f0": b"changed\n",
            "d1": b"a file now\n",
            "d1/f1": None,
            "d1/f4": None,
            "d1/f7": None,
            "run/inside": b"a directory now\n",
            "run": None,
            "link": Link(b"d0/f3"),
            "new/deep/er": Executable(b"new\n"),
        }
    )
    answer = service.push(upstream)
    tip = upstream.tip()
    assert (answer.outcome, answer.content["commit"], answer.content["previous_commit"]) == ("published", tip, before)
    assert copy.tree() == archive(upstream, tip or "")
    assert copy.status() == ""
    for log in ("HEAD", "refs/heads/main"):
        assert (
            copy.git("reflog", "show", "--format=%H %gs", log).splitlines()[0] == f"{tip} pull --rebase: Fast-forward"
        )
    assert copy.git("rev-parse", "ORIG_HEAD") == before
    assert copy.git("write-tree") == copy.git("rev-parse", "HEAD^{tree}")
    copy.is_sound()


def test_the_same_push_again_changes_nothing(service: Service, upstream: Upstream, copy: Person) -> None:
    """And says so."""
    upstream.commit({"d0/f0": b"changed\n"})
    service.push(upstream)
    before = copy.state()
    answer = service.push(upstream)
    assert (answer.outcome, answer.reason) == ("unchanged", "already_published")
    assert copy.state() == before


def test_only_files_that_the_push_changes_are_written(service: Service, upstream: Upstream, copy: Person) -> None:
    """A changed file has a new inode, and every other one keeps its own; who has the old one open reads on."""
    inodes = {file: file.stat().st_ino for file in copy.root.rglob("f*") if file.is_file()}
    with (copy.root / "d0/f0").open("rb") as reading:
        upstream.commit({"d0/f0": b"changed\n"})
        answer = service.push(upstream)
        assert reading.read() == FILES["d0/f0"]
    assert answer.content["files_written"] == 1
    changed = {file for file, inode in inodes.items() if file.stat().st_ino != inode}
    assert changed == {copy.root / "d0/f0"}


def test_untouched_local_things_stay(service: Service, upstream: Upstream, copy: Person) -> None:
    """Uncommitted, staged, untracked and ignored files that the push does not change are as they were, for git too."""
    copy.write(
        {"d0/f3": "dirty\n", "d1/f1": "staged\n", "untracked": "x\n", ".gitignore": "ignored\n", "ignored": "y\n"}
    )
    copy.git("add", "d1/f1", ".gitignore")
    (copy.root / "d2/f2").unlink()
    before = copy.status()
    upstream.commit({"d0/f0": b"changed\n"})
    assert service.push(upstream).outcome == "published"
    assert copy.status() == before
    assert (copy.root / "d0/f3").read_text() == "dirty\n"
    assert copy.head() == upstream.tip()


def test_a_change_in_the_moment_the_index_was_written_is_not_hidden(
    service: Service, upstream: Upstream, copy: Person
) -> None:
    """A file of the same size and the same clocks as the index remembers is still seen to have been changed."""
    upstream.commit({"d0/f0": b"changed\n"})
    service.push(upstream)
    changed = copy.root / "d0/f0"
    status = changed.stat()
    with changed.open("r+b") as file:
        file.write(b"CHANGED\n")
    os.utime(changed, ns=(status.st_atime_ns, status.st_mtime_ns))
    os.utime(copy.root / ".git/index", ns=(status.st_mtime_ns, status.st_mtime_ns))
    copy.git("config", "core.trustctime", "false")
    upstream.commit({"d1/f1": b"another\n"})
    assert service.push(upstream).outcome == "published"
    assert copy.status() == " M d0/f0"


@pytest.mark.parametrize("is_there", [True, False])
def test_a_file_and_a_submodule_take_each_others_place(
    service: Service, upstream: Upstream, copy: Person, *, is_there: bool
) -> None:
    """A submodule is an empty directory, which nobody need have kept."""
    upstream.commit({"d0/f0": Submodule("1" * 40)})
    assert service.push(upstream).outcome == "published", service.text
    assert (copy.root / "d0/f0").is_dir()
    assert copy.status() == ""
    if not is_there:
        (copy.root / "d0/f0").rmdir()
    upstream.commit({"d0/f0": b"a file again\n"})
    assert service.push(upstream).outcome == "published", service.text
    assert (copy.root / "d0/f0").read_bytes() == b"a file again\n"
    assert copy.status() == ""


# -- local commits -----------------------------------------------------------------------------------------------------


def test_local_commits_are_replayed_upon_the_tip(service: Service, upstream: Upstream, copy: Person) -> None:
    """In order, with author, dates and message; changes of one file in different lines are merged."""
    copy.commit({"d0/f0": line_changed("d0/f0", 0)}, "first\n\nbody\n")
    copy.commit({"local": "local\n"}, "second")
    upstream.commit({"d0/f0": line_changed("d0/f0", 11).encode(), "d1/f1": b"upstream\n"})
    answer = service.push(upstream)
    assert answer.outcome == "published"
    assert copy.git("log", "--format=%s", "-3").splitlines() == ["second", "first", "Change"]
    assert copy.git("rev-parse", "HEAD~2") == upstream.tip() == answer.content["commit"]
    merged = (copy.root / "d0/f0").read_text().splitlines()
    assert (merged[0], merged[11]) == ("changed", "changed")
    assert copy.status() == ""
    copy.is_sound()


def test_a_conflict_leaves_everything_as_it_was(service: Service, upstream: Upstream, copy: Person) -> None:
    """A stalled outcome that names the commit and the path; the next push that fits brings the copy forward."""
    local = copy.commit({"d0/f0": line_changed("d0/f0", 0, "mine")}, "my change")
    before = copy.state()
    upstream.commit({"d0/f0": line_changed("d0/f0", 0, "theirs").encode(), "d1/f1": b"upstream\n"})
    answer = service.push(upstream)
    assert (answer.status, answer.outcome, answer.reason) == (500, "failed", "replay_conflict")
    assert copy.state() == before
    assert local[:12] in service.text
    assert "d0/f0" in service.text
    assert copy.git("rev-parse", "refs/remotes/origin/main") == upstream.tip()
    upstream.commit({"d0/f0": FILES["d0/f0"]})
    assert service.push(upstream).outcome == "published"
    assert (copy.root / "d0/f0").read_text() == line_changed("d0/f0", 0, "mine")


def test_a_forced_push_drops_what_upstream_dropped(service: Service, upstream: Upstream, copy: Person) -> None:
    """Only what is local is replayed, not what the remote once had."""
    base = copy.head()
    upstream.commit({"bad": b"to be dropped\n"})
    service.push(upstream)
    copy.commit({"local": "local\n"}, "mine")
    upstream.commit({"good": b"instead\n"}, parents=[base])
    assert service.push(upstream).outcome == "published"
    assert not (copy.root / "bad").exists()
    assert copy.git("log", "--format=%s", "-2").splitlines() == ["mine", "Change"]
    assert copy.git("rev-parse", "HEAD~1") == upstream.tip()


# -- in the way --------------------------------------------------------------------------------------------------------


def make_in_the_way(copy: Person, kind: str) -> str:
    """Do something to what the next push changes; returns the path that has to be named."""
    if kind == "uncommitted":
        copy.write({"d0/f0": "mine\n"})
    elif kind == "staged":
        copy.write({"d0/f0": "mine\n"})
        copy.git("add", "d0/f0")
        copy.write({"d0/f0": FILES["d0/f0"].decode()})
    elif kind == "deleted":
        copy.write({"d0/f0": None})
    elif kind == "mode":
        (copy.root / "d0/f0").chmod(0o755)
    elif kind == "untracked":
        copy.write({"new": "mine\n"})
        return "new"
    elif kind == "ignored":
        copy.write({"new": "mine\n"})
        (copy.root / ".git/info").mkdir(exist_ok=True)
        (copy.root / ".git/info/exclude").write_text("new\n")
        return "new"
    elif kind == "untracked directory":
        copy.write({"new/inside": "mine\n"})
        return "new/inside"
    elif kind == "untracked in a directory that goes":
        copy.write({"d2/mine": "mine\n"})
        return "d2/mine"
    elif kind == "link":
        (copy.root / "d0/f0").unlink()
        (copy.root / "d0/f0").symlink_to("/etc/passwd")
    elif kind == "link for a directory":
        (copy.root / "d0").rename(copy.root.parent / "elsewhere")
        (copy.root / "d0").symlink_to("../elsewhere")
    elif kind == "file for a directory":
        copy.write({"fresh": "mine\n"})
        return "fresh"
    elif kind == "staged new":
        copy.write({"new": "mine\n"})
        copy.git("add", "new")
        return "new"
    return "d0/f0"


IN_THE_WAY = (
    "uncommitted",
    "staged",
    "deleted",
    "mode",
    "untracked",
    "ignored",
    "untracked directory",
    "untracked in a directory that goes",
    "link",
    "link for a directory",
    "file for a directory",
    "staged new",
)


@pytest.mark.parametrize(
    ("kind", "has_local_commit"),
    [
        (kind, has_local_commit)
        for at, kind in enumerate(IN_THE_WAY)
        for has_local_commit in selection.spread([False, True], 1, shift=at)
    ],
)
def test_what_is_in_the_way_is_refused_and_named(
    service: Service,
    upstream: Upstream,
    copy: Person,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    *,
    has_local_commit: bool,
) -> None:
    """500 local_changes; nothing is touched, and when it is out of the way the schedule pulls.

    Whether files are looked at as on a local disk or as on a network file system.
    """
    monkeypatch.setattr("handler.mount.working_copy.worktree.is_shared", lambda directory: has_local_commit)
    if has_local_commit:
        copy.commit({"local": "local\n"})
    named = make_in_the_way(copy, kind)
    before = copy.state()
    gone = {name: None for name in FILES if name.startswith("d2/")}
    upstream.commit({"d0/f0": b"theirs\n", "new": b"theirs\n", "d2": b"a file\n", "fresh/inside": b"x\n", **gone})
    answer = service.push(upstream)
    assert (answer.status, answer.outcome, answer.reason) == (500, "failed", "local_changes"), service.text
    assert f"'{named}'" in service.text
    assert copy.state() == before
    if kind == "link for a directory":
        (copy.root / "d0").unlink()
        (copy.root.parent / "elsewhere").rename(copy.root / "d0")
    else:
        copy.git("stash", "-q", "-a")
    (copy.root / ".git/info").mkdir(exist_ok=True)
    (copy.root / ".git/info/exclude").write_text("")
    copy.git("clean", "-q", "-fd")
    service.run_schedule()
    assert copy.git("rev-parse", "HEAD~1" if has_local_commit else "HEAD") == upstream.tip()
    assert copy.status() == ""


@pytest.mark.sampled(0)
def test_a_reset_is_undone_by_a_delivery_and_not_by_the_schedule(
    service: Service, upstream: Upstream, copy: Person
) -> None:
    """The schedule looks at what was published, and asks no copy what became of it."""
    before, tip = copy.head(), upstream.commit({"d0/f0": b"theirs\n"})
    request = service.push_request(upstream)
    service.send(request)
    copy.git("reset", "-q", "--hard", before)
    service.run_schedule()
    assert copy.head() == before
    assert service.send(request).outcome == "published"
    assert (copy.head(), copy.status()) == (tip, "")


SAME = "d0/f0", "d1/f1", "d2/f2", "new", "deep/new", "link", "run"
"""Files of the push of `push_the_same`."""


def push_the_same(upstream: Upstream) -> str:
    """Push a change of every kind: an edit, a deletion, a mode, new files, a link."""
    changes: dict[str, Entry | None] = {
        "d0/f0": b"theirs\n",
        "d1/f1": None,
        "d2/f2": Executable(FILES["d2/f2"]),
        "new": b"theirs\n",
        "deep/new": b"theirs\n",
        "link": Link(b"d0/f3"),
        "run": None,
    }
    return upstream.commit(changes)


def do_the_same(copy: Person) -> None:
    """Do in the copy what `push_the_same` pushes."""
    copy.write(
        {"d0/f0": "theirs\n", "d1/f1": None, "new": "theirs\n", "deep/new": "theirs\n", "link": None, "run": None}
    )
    (copy.root / "d2/f2").chmod(0o755)
    (copy.root / "link").symlink_to("d0/f3")


@pytest.mark.sampled(2)
@pytest.mark.parametrize("how", ["in the files", "staged", "ignored", "with a local commit", "with autostash"])
def test_what_is_there_already_is_not_in_the_way(service: Service, upstream: Upstream, copy: Person, how: str) -> None:
    """Git refuses, in part; here the branch goes there, no file is written again, and nothing is uncommitted."""
    if how == "with autostash":
        rule = {"ref": "refs/heads/main", "mode": "working-copy", "autostash": True}
        service.put_repository(publish=[rule], depth=0)
        service.reset()
    if how == "with a local commit":
        copy.commit({"local": "local\n"})
    if how == "ignored":
        (copy.root / ".git/info").mkdir(exist_ok=True)
        (copy.root / ".git/info/exclude").write_text("new\n")
    do_the_same(copy)
    copy.write({"d1/f4": "not in the way\n", "untracked": "mine\n"})
    if how == "staged":
        copy.git("add", "-A", "--", *SAME)
    files = copy.state()["files"]
    tip = push_the_same(upstream)
    answer = service.push(upstream)
    assert answer.outcome == "published", service.text
    assert (answer.content["files_written"], answer.content["files_removed"]) == (0, 0)
    assert copy.git("rev-parse", "HEAD~1" if how == "with a local commit" else "HEAD") == tip
    assert copy.state()["files"] == files
    assert copy.status().splitlines() == [" M d1/f4", "?? untracked"]
    assert set(copy.git("diff-files", "--name-only").splitlines()).isdisjoint(SAME)
    assert "7 local changes are what the push brings" in service.text
    assert copy.git("stash", "list") == ""
    copy.is_sound()


def test_a_directory_in_place_of_a_file_may_be_there_already(
    service: Service, upstream: Upstream, copy: Person
) -> None:
    """And a file in place of a directory; what else is in that directory stays."""
    copy.write({"d0/f0": None, "run": None})
    copy.write({"d0/f0/inside": "theirs\n", "d0/f0/mine": "mine\n", **{n: None for n in FILES if n.startswith("d2/")}})
    (copy.root / "d2").rmdir()
    copy.write({"d2": "theirs\n"})
    gone = {name: None for name in FILES if name.startswith("d2/")}
    tip = upstream.commit({"d0/f0": None, "d0/f0/inside": b"theirs\n", "d2": b"theirs\n", "run": None, **gone})
    assert service.push(upstream).outcome == "published", service.text
    assert (copy.head(), copy.status()) == (tip, "?? d0/f0/mine")
    assert copy.tree()[b"d2"][1] == b"theirs\n"
    copy.is_sound()


@pytest.mark.sampled(1)
@pytest.mark.parametrize("kind", ["staged otherwise", "another mode", "another target", "intent to add"])
def test_what_is_nearly_there_is_in_the_way(service: Service, upstream: Upstream, copy: Person, kind: str) -> None:
    """One of seven is not what the push brings: it alone is named, and nothing is touched."""
    do_the_same(copy)
    if kind == "staged otherwise":
        copy.write({"d0/f0": "mine\n"})
        copy.git("add", "d0/f0")
        copy.write({"d0/f0": "theirs\n"})
    elif kind == "another mode":
        (copy.root / "new").chmod(0o755)
    elif kind == "another target":
        (copy.root / "link").unlink()
        (copy.root / "link").symlink_to("d0/f6")
    else:
        copy.git("add", "--intent-to-add", "new")
    before = copy.state()
    push_the_same(upstream)
    assert service.push(upstream).reason == "local_changes"
    named = {"staged otherwise": "d0/f0", "another target": "link"}.get(kind, "new")
    assert service.log_lines[-1]["detail"].startswith(f"in the way: '{named}' (")
    assert service.log_lines[-1]["detail"].count("(") == 1
    assert copy.state() == before


# -- autostash ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def stashing(service: Service, copy: Person) -> Person:
    """Return somebody in a copy that carries uncommitted changes over."""
    rule = {"ref": "refs/heads/main", "mode": "working-copy", "autostash": True}
    service.put_repository(publish=[rule], depth=0)
    service.reset()
    return copy


def test_autostash_merges_uncommitted_changes_into_what_is_pulled(
    service: Service, upstream: Upstream, stashing: Person
) -> None:
    """What fits is there again, uncommitted, upon the new commit."""
    stashing.write({"d0/f0": line_changed("d0/f0", 0, "mine"), "d1/f1": "not in the way\n"})
    upstream.commit({"d0/f0": line_changed("d0/f0", 11, "theirs").encode()})
    assert service.push(upstream).outcome == "published"
    merged = (stashing.root / "d0/f0").read_text().splitlines()
    assert (merged[0], merged[11]) == ("mine", "theirs")
    assert stashing.head() == upstream.tip()
    assert stashing.status().splitlines() == [" M d0/f0", " M d1/f1"]
    assert stashing.git("stash", "list") == ""


def test_autostash_keeps_what_does_not_fit_as_a_stash(service: Service, upstream: Upstream, stashing: Person) -> None:
    """The copy is the commit's, the outcome names the stash, and git can apply it."""
    stashing.write({"d0/f0": line_changed("d0/f0", 0, "mine"), "d1/f1": "not in the way\n"})
    (stashing.root / "d2/f2").unlink()
    upstream.commit({"d0/f0": line_changed("d0/f0", 0, "theirs").encode(), "d2/f2": b"changed\n"})
    assert service.push(upstream).outcome == "published"
    assert stashing.status().splitlines() == [" M d1/f1"]
    stash = stashing.git("rev-parse", "refs/stash")
    assert stash in service.text
    assert stashing.git("show", "stash@{0}:d0/f0").splitlines()[0] == "mine"
    assert stashing.git("stash", "list").endswith("On main: autostash")
    stashing.git("checkout", "-q", "stash@{0}", "--", "d0/f0")
    stashing.is_sound()


def test_autostash_does_not_take_untracked_files(service: Service, upstream: Upstream, stashing: Person) -> None:
    """As git's does not: they are refused."""
    stashing.write({"new": "mine\n", "d0/f0": "mine\n"})
    before = stashing.state()
    upstream.commit({"new": b"theirs\n", "d0/f0": b"theirs\n"})
    assert service.push(upstream).reason == "local_changes"
    assert stashing.state() == before


# -- adopted -----------------------------------------------------------------------------------------------------------


def test_a_clone_of_the_remote_is_adopted(service: Service, upstream: Upstream) -> None:
    """With its local commits and its loose objects; a pull by hand in between does no harm."""
    upstream.commit(FILES)
    place = service.mount / PATH
    place.parent.mkdir(parents=True)
    assert service.origin is not None
    run_git("clone", "-q", service.origin.url("octo/site"), str(place), directory=place.parent)
    copy = Person.at(service)
    copy.commit({"local": "local\n"})
    service.put_repository(publish=[{"mode": "working-copy"}])
    upstream.commit({"d0/f0": b"changed\n"})
    assert service.push(upstream).outcome == "published"
    assert copy.git("rev-parse", "HEAD~1") == upstream.tip()
    assert service.operate("hold", PATH)["exit_code"] == service.operate("resume", PATH)["exit_code"] == 0
    copy.git("gc", "-q", "--prune=now")
    upstream.commit({"d0/f0": b"changed again\n"})
    copy.git("pull", "-q", "--rebase")
    answer = service.push(upstream)
    assert (answer.outcome, answer.content["commit"]) == ("unchanged", upstream.tip())
    upstream.commit({"d0/f3": b"changed\n"})
    assert service.push(upstream).outcome == "published"
    assert copy.status() == ""
    copy.is_sound()


@pytest.mark.parametrize(
    "wrong", ["another remote", "another branch", "detached", "a merge half done", "a rebase half done", "bare"]
)
def test_a_repository_that_cannot_be_pulled_into_is_refused(
    service: Service, upstream: Upstream, copy: Person, wrong: str
) -> None:
    """500 copy_unusable, which says why; nothing is touched."""
    if wrong == "another remote":
        copy.git("remote", "set-url", "origin", "https://example.com/other/site.git")
    elif wrong == "another branch":
        copy.git("checkout", "-q", "-b", "other")
    elif wrong == "detached":
        copy.git("checkout", "-q", "--detach")
    elif wrong == "bare":
        copy.git("config", "core.bare", "true")
    else:
        copy.git("checkout", "-q", "-b", "side")
        copy.commit({"d0/f0": "side\n"})
        copy.git("checkout", "-q", "main")
        copy.commit({"d0/f0": "main\n"})
        copy.git("merge" if "merge" in wrong else "rebase", "side", check=False)
    before = {file: file.read_bytes() for file in copy.root.rglob("*") if file.is_file()}
    upstream.commit({"d0/f0": b"changed\n"})
    answer = service.push(upstream)
    assert (answer.status, answer.reason) == (500, "copy_unusable"), service.text
    assert {file: file.read_bytes() for file in copy.root.rglob("*") if file.is_file()} == before


def test_nothing_that_a_copy_configures_is_run(service: Service, upstream: Upstream, copy: Person) -> None:
    """Hooks, filters, merge drivers, another transport: who may write there does not command the service."""
    told = copy.root.parent / "told"
    script = f"#!/bin/sh\necho $0 >> {told}\n"
    for hook in ("post-merge", "post-checkout", "post-rewrite", "pre-rebase", "reference-transaction"):
        file = copy.root / ".git/hooks" / hook
        file.parent.mkdir(exist_ok=True)
        file.write_text(script)
        file.chmod(0o755)
    copy.git("config", "filter.run.smudge", f"echo x >> {told}")
    copy.git("config", "merge.run.driver", f"echo x >> {told}")
    copy.git("config", "core.sshCommand", f"echo x >> {told}")
    copy.git("config", "remote.origin.uploadpack", f"echo x >> {told}")
    copy.git("config", "core.fsmonitor", f"echo x >> {told}")
    told.unlink(missing_ok=True)
    upstream.commit({".gitattributes": b"* filter=run merge=run\n", "d0/f0": b"changed\n"})
    assert service.push(upstream).outcome == "published"
    assert (copy.root / "d0/f0").read_bytes() == b"changed\n"
    assert not told.exists()


def test_while_git_works_there_nothing_is_done(service: Service, upstream: Upstream, copy: Person) -> None:
    """Somebody's index.lock: 503 copy_busy, and the schedule comes again."""
    lock = copy.root / ".git/index.lock"
    lock.write_bytes(b"")
    upstream.commit({"d0/f0": b"changed\n"})
    answer = service.push(upstream)
    assert (answer.status, answer.reason) == (503, "copy_busy")
    lock.unlink()
    service.run_schedule()
    assert copy.head() == upstream.tip()


def test_while_the_copy_changes_git_is_kept_out(service: Service, upstream: Upstream, copy: Person) -> None:
    """A lock that a killed run left is ours by what it says, and is taken over."""
    (copy.root / ".git/index.lock").symlink_to("git2efs")
    found = subprocess.run(
        ["git", "commit", "--allow-empty", "-m", "x"],
        cwd=copy.root,
        env=git_environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode
    assert "index.lock" in found.stderr
    upstream.commit({"d0/f0": b"changed\n"})
    assert service.push(upstream).outcome == "published"
    copy.is_sound()


# -- around it ---------------------------------------------------------------------------------------------------------


def test_a_copy_whose_branch_is_gone_stays(service: Service, upstream: Upstream) -> None:
    """Commits may be in it that are nowhere else: a pattern's copies are not retired either."""
    rule = {"ref": "refs/heads/*", "path": "octo/site/*", "mode": "working-copy"}
    service.put_repository(publish=[rule], grace_seconds=0)
    upstream.commit(FILES)
    upstream.commit(FILES, "side")
    service.push(upstream, "side")
    upstream.delete("side")
    answer = service.push(upstream, "side")
    assert (answer.outcome, answer.reason) == ("ignored", "ref_gone")
    service.run_schedule()
    service.run_schedule()
    assert (service.mount / "octo/site/side/d0/f0").is_file()


def test_an_operator_holds_a_copy_and_lets_it_go(service: Service, upstream: Upstream, copy: Person) -> None:
    """Pushes leave a held copy; there is nothing to go back to but by git."""
    assert service.operate("hold", PATH)["exit_code"] == 0
    upstream.commit({"d0/f0": b"changed\n"})
    answer = service.push(upstream)
    assert (answer.outcome, answer.reason) == ("ignored", "held")
    assert service.operate("rollback", PATH)["reason"] == "release_unusable"
    assert service.operate("resume", PATH)["exit_code"] == 0
    assert copy.head() == upstream.tip()


def test_the_chores_leave_a_copy_as_it_is(service: Service, upstream: Upstream, copy: Person) -> None:
    """Whatever people did there is theirs."""
    copy.write({"d0/f0": "dirty\n"})
    before = copy.state()
    service.run_schedule("chores")
    assert copy.state() == before
    status = service.operate("status", "octo/site")
    assert (status["exit_code"], status["repositories"][0]["targets"][0]["state"]) == (0, "current")


def test_many_pushes_do_not_leave_many_packs(service: Service, upstream: Upstream, copy: Person) -> None:
    """Small packs of ours are merged; what git made is left to git."""
    for number in range(12):
        upstream.commit({"d0/f0": b"%d\n" % number})
        assert service.push(upstream).outcome == "published"
    assert len(list(Path(copy.root / ".git/objects/pack").glob("*.pack"))) < 9
    copy.is_sound()


# -- the repository's lock is lost ------------------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["before the files", "before the refs"])
def test_a_pull_that_lost_its_lock_goes_no_further(
    service: Service, upstream: Upstream, copy: Person, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    """Before the first file nothing has changed; before the refs the journal is left, and the next run finishes."""
    old, tree = copy.head(), copy.tree()
    place = "apply.write_index" if where == "before the refs" else "PullSession._plan"
    module = "handler.mount.working_copy.pull"
    owner, _, name = f"{module}.{place}".rpartition(".")
    original = getattr(importlib.import_module(module), place.partition(".")[0])
    original = getattr(original, name)

    def lose(*arguments: object, **options: object) -> object:
        done = original(*arguments, **options)
        (service.mount / "octo/site/.lock").unlink()
        # A reading that is younger than this needs no other.
        time.sleep(0.02)
        return done

    new = upstream.commit({"d0/f0": b"new\n", "added": b"added\n"})
    with monkeypatch.context() as patched:
        patched.setattr(f"{owner}.{name}", lose)
        answer = service.push(upstream)
    assert (answer.status, answer.reason) == (503, "lock_lost")
    assert copy.head() == old
    if where == "before the files":
        assert copy.tree() == tree
        assert copy.status() == ""
    service.reset()
    assert service.push(upstream).status == 200
    assert (copy.head(), copy.status()) == (new, "")
    assert copy.tree() == archive(upstream, new)
