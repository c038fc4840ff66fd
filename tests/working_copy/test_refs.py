"""Refs, their logs and git's locks: read and written as git does it, beside git."""

import os
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from handler.errors import CopyBusy, CopyUnusable
from handler.mount.fs import files
from handler.mount.working_copy.gitdir.locks import acquire_lock, is_ours, lock_held, release_lock
from handler.mount.working_copy.gitdir.ref_logs import NULL_OID, LogEntry
from handler.mount.working_copy.gitdir.refs import Refs
from testing.repositories import fsck, run_git
from tests.working_copy.plain import commit, head, plain

MAIN = "refs/heads/main"
COMMITTER = b"Ada Pusher <ada@example.com>"


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy with two commits."""
    path = plain(tmp_path_factory.mktemp("template") / "copy")
    commit(path, {"a": "1\n"}, "One")
    commit(path, {"a": "2\n"}, "Two")
    return path


@pytest.fixture
def copy(template: Path, tmp_path: Path) -> Path:
    """Return it to change."""
    return Path(shutil.copytree(template, tmp_path / "copy", symlinks=True))


@pytest.fixture
def refs(copy: Path) -> Refs:
    """Return its refs."""
    return Refs(str(copy / ".git"))


def file_of(copy: Path, name: str) -> Path:
    """Return the path of something in the git directory."""
    return copy / ".git" / name


# -- reading -----------------------------------------------------------------------------------------------


def test_head_names_the_branch(copy: Path, refs: Refs) -> None:
    """Born or not; None where it is detached."""
    assert refs.head() == MAIN
    run_git("symbolic-ref", "HEAD", "refs/heads/not/born", directory=copy)
    assert refs.head() == "refs/heads/not/born"
    run_git("checkout", "--quiet", "--detach", "main", directory=copy)
    assert refs.head() is None


@pytest.mark.parametrize("content", [b"", b"ref: ../../etc/passwd\n", b"ref: refs/heads/a..b\n", b"nonsense\n", None])
def test_a_head_that_leads_nowhere_is_refused(copy: Path, refs: Refs, content: bytes | None) -> None:
    """Nothing is read by such a name."""
    file_of(copy, "HEAD").unlink()
    if content is not None:
        file_of(copy, "HEAD").write_bytes(content)
    with pytest.raises(CopyUnusable, match="HEAD"):
        refs.head()


def test_a_ref_is_read_wherever_git_keeps_it(copy: Path, refs: Refs) -> None:
    """As a file, packed, and both: then the file counts."""
    old = head(copy)
    run_git("tag", "-m", "A tag", "v1", directory=copy)
    run_git("branch", "deep/er", directory=copy)
    for _ in range(2):
        for name in (MAIN, "refs/tags/v1", "refs/heads/deep/er"):
            assert refs.read(name) == head(copy, name).encode()
        run_git("pack-refs", "--all", "--prune", directory=copy)
        assert not file_of(copy, MAIN).exists()
    new = commit(copy, {"a": "3\n"})
    assert refs.read(MAIN) == new.encode() != old.encode()
    assert refs.read("refs/heads/none") is None
    assert refs.read("refs/heads/deep") is None
    assert refs.read("ORIG_HEAD") is None


@pytest.mark.parametrize("content", [b"", b"ref: refs/heads/main\n", b"\0" * 41, b"123\n"])
def test_a_broken_or_symbolic_ref_is_refused(copy: Path, refs: Refs, content: bytes) -> None:
    """Followed it is not."""
    file_of(copy, "refs/heads/other").write_bytes(content)
    with pytest.raises(CopyUnusable, match="refs/heads/other"):
        refs.read("refs/heads/other")


@pytest.mark.parametrize(
    "name",
    ["refs/../config", "config", "refs/heads/a.lock", "/etc/passwd", "refs/heads/", "objects/info", "", "HEAD/x"],
)
def test_a_name_that_is_no_refs_is_not_looked_for(refs: Refs, name: str) -> None:
    """Neither read nor written."""
    for use in (
        refs.read,
        refs.log,
        lambda each: refs.write(each, b"1" * 40),
        lambda each: refs.write_pseudoref(each, b""),
    ):
        with pytest.raises(CopyUnusable):
            use(name)


def test_a_ref_that_is_a_link_is_refused(copy: Path, refs: Refs) -> None:
    """It could lead anywhere."""
    file_of(copy, "refs/heads/link").symlink_to("/etc/passwd")
    with pytest.raises(CopyUnusable, match="link"):
        refs.read("refs/heads/link")


# -- writing -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_packed", [False, True])
def test_a_written_ref_is_what_git_reads(copy: Path, refs: Refs, is_packed: bool) -> None:
    """New ones in new directories too; nothing else is left."""
    if is_packed:
        run_git("pack-refs", "--all", directory=copy)
    old = head(copy, "HEAD~1").encode()
    refs.write(MAIN, old)
    refs.write("refs/remotes/origin/deep/er", old)
    assert head(copy) == old.decode() == head(copy, "refs/remotes/origin/deep/er")
    assert refs.read(MAIN) == old
    fsck(copy)
    assert not list(file_of(copy, "refs").rglob("*.lock"))
    assert list(file_of(copy, "git2efs").iterdir()) == []
    run_git("pack-refs", "--all", directory=copy)
    fsck(copy)


def test_a_ref_that_somebody_moved_is_not_written(copy: Path, refs: Refs) -> None:
    """What it names must be what it was expected to."""
    old, tip = head(copy, "HEAD~1").encode(), head(copy).encode()
    with pytest.raises(CopyBusy):
        refs.write(MAIN, old, expected=[old, None])
    assert head(copy) == tip.decode()
    assert not os.path.lexists(file_of(copy, MAIN + ".lock"))
    refs.write(MAIN, old, expected=[tip])
    refs.write("refs/heads/new", old, expected=[None])
    assert head(copy) == head(copy, "new") == old.decode()


def test_a_ref_that_git_holds_is_busy(copy: Path, refs: Refs) -> None:
    """And git's lock stays."""
    tip = head(copy)
    file_of(copy, MAIN + ".lock").write_bytes(b"")
    with pytest.raises(CopyBusy, match=r"main\.lock"):
        refs.write(MAIN, head(copy, "HEAD~1").encode())
    assert head(copy) == tip
    assert file_of(copy, MAIN + ".lock").exists()


def test_the_lock_of_a_killed_run_is_ours_again(copy: Path, refs: Refs) -> None:
    """Under the repository's lock it can be nobody else's."""
    acquire_lock(refs.lock_path(MAIN))
    refs.write(MAIN, head(copy, "HEAD~1").encode())
    assert not os.path.lexists(refs.lock_path(MAIN))


def test_while_we_hold_a_ref_git_cannot_change_it(copy: Path, refs: Refs) -> None:
    """A link that leads nowhere keeps git out."""
    tip = head(copy)
    with lock_held(refs.lock_path(MAIN)), pytest.raises(RuntimeError, match="File exists"):
        run_git("-c", "core.filesRefLockTimeout=0", "update-ref", MAIN, "HEAD~1", directory=copy)
    assert head(copy) == tip
    run_git("update-ref", MAIN, "HEAD~1", directory=copy)


@pytest.mark.parametrize("is_packed", [False, True])
@pytest.mark.parametrize("name", ["refs/heads/main/below", "refs/heads/deep"])
def test_a_ref_in_the_way_of_another_is_said(copy: Path, refs: Refs, name: str, is_packed: bool) -> None:
    """As a file or packed; nothing is made."""
    run_git("branch", "deep/er", directory=copy)
    if is_packed:
        run_git("pack-refs", "--all", "--prune", directory=copy)
    before = run_git("for-each-ref", directory=copy)
    with pytest.raises(CopyUnusable, match="in the way"):
        refs.write(name, head(copy).encode())
    assert run_git("for-each-ref", directory=copy) == before
    fsck(copy)


def test_empty_directories_in_the_way_of_a_ref_are_removed(copy: Path, refs: Refs) -> None:
    """As git does; deleted branches leave them."""
    file_of(copy, "refs/heads/deep/er/still").mkdir(parents=True)
    file_of(copy, "logs/refs/heads/deep/er").mkdir(parents=True)
    refs.write("refs/heads/deep", head(copy).encode())
    refs.append_log("refs/heads/deep", [LogEntry(NULL_OID, head(copy).encode(), b"made")], COMMITTER, 5)
    assert head(copy, "deep") == head(copy)
    assert b"made" in run_git("reflog", "deep", directory=copy)


def test_what_is_no_ref_is_written_too(copy: Path, refs: Refs) -> None:
    """ORIG_HEAD, FETCH_HEAD."""
    tip = head(copy)
    refs.write_pseudoref("ORIG_HEAD", tip.encode() + b"\n")
    refs.write_pseudoref("FETCH_HEAD", f"{tip}\t\tbranch 'main' of https://example.com/octo/site\n".encode())
    assert head(copy, "ORIG_HEAD") == head(copy, "FETCH_HEAD") == tip
    assert refs.read("ORIG_HEAD") == tip.encode()


def test_a_ref_is_written_in_few_operations(copy: Path, refs: Refs, monkeypatch: pytest.MonkeyPatch) -> None:
    """The lock, the file, its renaming, the lock again."""
    file_of(copy, "git2efs").mkdir()
    new = head(copy, "HEAD~1").encode()
    refs.read(MAIN)
    calls: list[str] = []

    def counted(name: str, call: Callable[..., object], *arguments: object, **named: object) -> object:
        calls.append(name)
        return call(*arguments, **named)

    for name in ("open", "rename", "listdir", "stat", "unlink", "link", "mkdir", "lstat", "symlink", "readlink"):
        monkeypatch.setattr(os, name, partial(counted, name, getattr(os, name)))
    monkeypatch.setattr(files, "open_path", partial(counted, "open", files.open_path))
    refs.write(MAIN, new)
    refs.append_log(MAIN, [LogEntry(new, new, b"one"), LogEntry(new, new, b"two")], COMMITTER, 5)
    assert calls == ["symlink", "open", "rename", "unlink", "open"]


# -- logs --------------------------------------------------------------------------------------------------


def test_a_log_is_read_as_git_reads_it(copy: Path, refs: Refs) -> None:
    """The oldest first."""
    listed = run_git("reflog", "--format=%H %gs", "main", directory=copy).splitlines()
    entries = refs.log(MAIN)
    assert [entry.new + b" " + entry.message for entry in reversed(entries)] == listed
    assert entries[0].old == NULL_OID
    assert refs.log("refs/heads/none") == []
    assert refs.log("refs/heads") == []


def test_what_is_appended_is_what_git_reads(copy: Path, refs: Refs) -> None:
    """Several entries at once, in logs that are there and in new ones; a message becomes one line."""
    old, new = head(copy, "HEAD~1").encode(), head(copy).encode()
    entries = [LogEntry(new, old, b"pull --rebase:  reset\nto"), LogEntry(old, new, b"")]
    for name in (MAIN, "HEAD", "refs/remotes/origin/deep/er"):
        refs.append_log(name, entries, COMMITTER, 1_750_000_000)
        assert refs.log(name)[-2:] == [LogEntry(new, old, b"pull --rebase: reset to"), LogEntry(old, new, b"")]
    shown = run_git("reflog", "--date=raw", "--format=%gs|%gd|%gn <%ge>", "-2", "HEAD", directory=copy).splitlines()
    assert shown == [
        b"|HEAD@{1750000000 +0000}|" + COMMITTER,
        b"pull --rebase: reset to|HEAD@{1750000000 +0000}|" + COMMITTER,
    ]
    fsck(copy)


@pytest.mark.parametrize("makes_logs", [False, True])
def test_a_log_is_made_where_git_makes_one(copy: Path, makes_logs: bool) -> None:
    """For branches and what is fetched, unless the config says otherwise; for the stash always, for tags never."""
    refs = Refs(str(copy / ".git"), makes_logs=makes_logs)
    entry = LogEntry(NULL_OID, head(copy).encode(), b"made")
    for name in ("refs/remotes/origin/main", "refs/tags/v1", "refs/stash"):
        refs.append_log(name, [entry], COMMITTER, 5)
    assert bool(refs.log("refs/remotes/origin/main")) == makes_logs
    assert refs.log("refs/tags/v1") == []
    assert refs.log("refs/stash") == [entry]
    refs.append_log(MAIN, [entry], COMMITTER, 5)
    assert refs.log(MAIN)[-1] == entry


def test_lines_that_cannot_be_read_are_left_out(copy: Path, refs: Refs) -> None:
    """And of a long log the end is read."""
    log = file_of(copy, "logs/refs/heads/main")
    good = log.read_bytes()
    log.write_bytes(b"\n\xff\nnonsense\n" + good + b"1234 5678 half a li")
    assert len(refs.log(MAIN)) == 2
    line = good.splitlines(keepends=True)[-1]
    log.write_bytes(line * 2000)
    assert 300 < len(refs.log(MAIN)) < 2000


def test_a_log_in_the_way_of_another_is_said(copy: Path, refs: Refs) -> None:
    """As of a ref."""
    with pytest.raises(CopyUnusable, match="in the way"):
        refs.append_log("refs/heads/main/below", [LogEntry(NULL_OID, b"1" * 40, b"")], COMMITTER, 5)
    run_git("branch", "deep/er", directory=copy)
    with pytest.raises(CopyUnusable, match="in the way"):
        refs.append_log("refs/heads/deep", [LogEntry(NULL_OID, b"1" * 40, b"")], COMMITTER, 5)


def test_a_log_that_is_a_link_is_not_followed(copy: Path, refs: Refs, tmp_path: Path) -> None:
    """Nothing is written through it."""
    outside = tmp_path / "outside"
    outside.write_bytes(b"")
    file_of(copy, "logs/HEAD").unlink()
    file_of(copy, "logs/HEAD").symlink_to(outside)
    with pytest.raises(CopyUnusable, match="link"):
        refs.append_log("HEAD", [LogEntry(NULL_OID, b"1" * 40, b"")], COMMITTER, 5)
    assert outside.read_bytes() == b""
    assert refs.log("HEAD") == []


# -- the index's lock --------------------------------------------------------------------------------------


def test_while_we_hold_the_index_git_says_that_it_is_locked(copy: Path) -> None:
    """What a person sees who commits just then."""
    (copy / "a").write_text("3\n")
    lock = str(file_of(copy, "index.lock"))
    assert not is_ours(lock)
    acquire_lock(lock)
    assert is_ours(lock)
    with pytest.raises(RuntimeError, match=r"index\.lock': File exists"):
        run_git("commit", "--all", "-m", "Three", directory=copy)
    assert is_ours(lock)
    release_lock(lock)
    release_lock(lock)
    run_git("commit", "--all", "-m", "Three", directory=copy)


def test_while_git_holds_the_index_the_copy_is_busy(copy: Path) -> None:
    """Its lock is a file with bytes in it."""
    lock = file_of(copy, "index.lock")
    lock.write_bytes(b"DIRC")
    assert not is_ours(str(lock))
    with pytest.raises(CopyBusy, match=r"index\.lock"):
        acquire_lock(str(lock))
    lock.unlink()
    lock.symlink_to("elsewhere")
    with pytest.raises(CopyBusy):
        acquire_lock(str(lock))
