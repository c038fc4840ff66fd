"""The objects of a working copy: found wherever git finds them, whatever others do to them meanwhile."""

import os
import shutil
import stat
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import BinaryIO

import pytest

from handler.errors import CopyBusy, MirrorDamaged, PackInvalid, PackTooLarge
from handler.exchange.answers import PackAnswer
from handler.exchange.remote import FetchQuery, ShallowChanges
from handler.mount.fs import files
from handler.mount.git import packs
from handler.mount.git.objects import BLOB, COMMIT, TREE, hash_object
from handler.mount.git.repack import MAX_SMALL_PACKS
from handler.mount.working_copy.gitdir import lazy_packs
from handler.mount.working_copy.gitdir.copy_store import CopyStore
from handler.mount.working_copy.paths import CopyPaths, prepare_state_directory
from testing.repositories import fsck, run_git
from tests.working_copy.plain import commit, head, objects_of, plain

KINDS = {1: b"commit", 2: b"tree", 3: b"blob", 4: b"tag"}


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy with a few commits, a tag, and deltas once it is packed."""
    path = plain(tmp_path_factory.mktemp("template") / "copy")
    for number in range(4):
        lines = "".join(f"line {line * (number if line == 7 else 1)}\n" for line in range(400))
        commit(path, {"big.txt": lines, f"some/file{number}.txt": f"{number}\n"})
    run_git("tag", "-m", "A tag", "v1", directory=path)
    return path


@pytest.fixture
def copy(template: Path, tmp_path: Path) -> Path:
    """Return it to change."""
    return Path(shutil.copytree(template, tmp_path / "copy", symlinks=True))


@pytest.fixture
def opened() -> Iterator[Callable[[Path], CopyStore]]:
    """Return what opens a copy's store; all are closed in the end."""
    stores: list[CopyStore] = []

    def store_of(path: Path) -> CopyStore:
        stores.append(CopyStore(str(path / ".git")))
        stores[-1].refresh()
        return stores[-1]

    yield store_of
    for store in stores:
        store.close()


Opened = Callable[[Path], CopyStore]


def all_read(store: CopyStore, repository: Path) -> int:
    """Check that the store reads every object as git does; returns how many there are."""
    wanted = objects_of(repository)
    for object_id, (kind, content) in wanted.items():
        assert store.holds(object_id.decode())
        found, read = store.read_raw(object_id)
        assert (KINDS[found], read) == (kind, content)
        assert store.read(object_id, found) == content
    return len(wanted)


def pack_names(copy: Path, extension: str = ".pack") -> set[str]:
    """Return the names of the copy's packs."""
    return {each.stem for each in (copy / ".git/objects/pack").iterdir() if each.suffix == extension}


# -- reading -----------------------------------------------------------------------------------------------


def test_loose_objects_are_read_as_git_reads_them(copy: Path, opened: Opened) -> None:
    """Of each type."""
    assert all_read(opened(copy), copy) > 15


def test_packed_objects_are_read_as_git_reads_them(copy: Path, opened: Opened) -> None:
    """Deltas too."""
    run_git("gc", "--quiet", directory=copy)
    assert b"chain length" in run_git("verify-pack", "-v", *(copy / ".git/objects/pack").glob("*.idx"), directory=copy)
    assert all_read(opened(copy), copy) > 15


def test_a_large_pack_and_its_index_are_mapped(copy: Path, opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    """And let go of when the run is over; what is needed next is opened again."""
    run_git("gc", "--quiet", directory=copy)
    monkeypatch.setattr(lazy_packs, "SMALL_BYTES", 100)
    monkeypatch.setattr(lazy_packs, "_LARGE_INDEX_BYTES", 100)
    store = opened(copy)
    assert all_read(store, copy) > 15
    (pack,) = store.packs.values()
    assert lazy_packs.is_mapped(pack.data)
    store.release()
    assert ".pack" not in Path("/proc/self/maps").read_text()
    assert all_read(store, copy) > 15


def test_nothing_is_opened_before_it_is_needed(copy: Path, opened: Opened) -> None:
    """A cold start in a repository of many packs lists them."""
    run_git("gc", "--quiet", directory=copy)
    pack = next((copy / ".git/objects/pack").glob("*.pack"))
    pack.chmod(0o644)
    pack.write_bytes(b"not a pack")
    store = opened(copy)
    assert len(store.packs) == 1


def test_what_git_packs_meanwhile_is_still_found(copy: Path, opened: Opened) -> None:
    """The loose objects go, then the pack that they went to."""
    store = opened(copy)
    assert all_read(store, copy)
    run_git("gc", "--quiet", "--prune=now", directory=copy)
    assert all_read(store, copy)
    store.release()
    commit(copy, {"new.txt": "new\n"})
    run_git("repack", "-a", "-d", "-f", "--quiet", directory=copy)
    assert all_read(store, copy)


def test_a_pack_that_goes_between_the_listing_and_the_opening_is_looked_for_once_more(
    copy: Path, opened: Opened
) -> None:
    """Its objects are in the pack that took its place."""
    run_git("gc", "--quiet", directory=copy)
    store, other = opened(copy), opened(copy)
    tip = head(copy)
    assert tip in other  # whose index is open, and the pack itself not yet
    commit(copy, {"new.txt": "new\n"})
    run_git("repack", "-a", "-d", "--quiet", directory=copy)
    assert tip in store
    assert store.read(tip.encode(), COMMIT) == other.read(tip.encode(), COMMIT)


def test_what_others_fetch_is_found_though_it_was_not_there_when_the_run_began(copy: Path, opened: Opened) -> None:
    """In a pack that came since."""
    store = opened(copy)
    commit(copy, {"new.txt": "new\n"})
    run_git("repack", "-a", "-d", "--quiet", directory=copy)
    run_git("prune-packed", directory=copy)
    assert store.read(head(copy).encode(), COMMIT)


def test_threads_may_read_while_git_packs(copy: Path, opened: Opened) -> None:
    """Each of them notices, and one of them looks again."""
    store = opened(copy)
    wanted = objects_of(copy)
    run_git("gc", "--quiet", "--prune=now", directory=copy)
    with ThreadPoolExecutor(8) as pool:
        read = list(pool.map(store.read_raw, list(wanted) * 5))
    assert [content for _, content in read] == [content for _, content in wanted.values()] * 5


def test_a_missing_object_is_missing(copy: Path, opened: Opened) -> None:
    """And says which."""
    store = opened(copy)
    with pytest.raises(KeyError):
        store.read_raw(b"1" * 40)
    with pytest.raises(MirrorDamaged, match="1111 is missing"):
        store.read(b"1" * 40, COMMIT)
    assert "1" * 40 not in store
    assert not store.holds("1" * 40)


# -- alternates --------------------------------------------------------------------------------------------


def test_a_clone_that_borrows_objects_is_read_as_git_reads_it(copy: Path, tmp_path: Path, opened: Opened) -> None:
    """Packed and loose ones of the repository that it names."""
    run_git("gc", "--quiet", directory=copy)
    commit(copy, {"loose.txt": "loose\n"})
    run_git("clone", "--quiet", "--shared", copy, "shared", directory=tmp_path)
    run_git("clone", "--quiet", "--reference", copy, f"file://{copy}", "reference", directory=tmp_path)
    for name in ("shared", "reference"):
        commit(tmp_path / name, {"own.txt": name})
        assert all_read(opened(tmp_path / name), tmp_path / name) > 15


def test_alternates_may_be_relative_quoted_and_nested(copy: Path, tmp_path: Path, opened: Opened) -> None:
    """As deep as git follows them."""
    above = copy
    for number in range(5):
        below = plain(tmp_path / f'a "strange" näme {number}')
        path = os.path.relpath(above / ".git/objects", below / ".git/objects")
        quoted = path.replace("\\", "\\\\").replace('"', '\\"')
        (below / ".git/objects/info/alternates").write_text(f'# a comment\n\n"{quoted}"\n' if number else f"{path}\n")
        commit(below, {"own.txt": str(number)})
        above = below
    assert all_read(opened(above), above) > 20


def test_alternates_that_lead_nowhere_are_ignored(copy: Path, opened: Opened) -> None:
    """To no directory, to itself, to another host."""
    names = ["/nowhere/objects", "https://example.com/objects", str(copy / ".git/objects"), "a" * 5000, "HEAD", "."]
    (copy / ".git/objects/info/alternates").write_bytes("\n".join(names).encode() + b"\n\0\xff\n")
    store = opened(copy)
    assert store.read(head(copy).encode(), COMMIT)
    with pytest.raises(MirrorDamaged, match="missing"):
        store.read(b"1" * 40, COMMIT)


# -- damage ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"x" * 50, id="not compressed"),
        pytest.param(zlib.compress(b"blob 5\0hell"), id="too short"),
        pytest.param(zlib.compress(b"blob 5\0hello, world"), id="too long"),
        pytest.param(zlib.compress(b"blob 5\0hello") + b"x", id="garbage after it"),
        pytest.param(zlib.compress(b"blob 5\0hello")[:-2], id="cut off"),
        pytest.param(zlib.compress(b"blob 5\0HELLO"), id="other content"),
        pytest.param(zlib.compress(b"blob 9999999999999999999\0hello"), id="a size beyond all bounds"),
        pytest.param(zlib.compress(b"bulb 5\0hello"), id="no type"),
    ],
)
def test_a_broken_loose_object_is_damage(copy: Path, opened: Opened, content: bytes) -> None:
    """Named, and left as it is."""
    object_id = hash_object(BLOB, b"hello")
    path = copy / ".git/objects" / object_id[:2].decode() / object_id[2:].decode()
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    with pytest.raises(MirrorDamaged, match=object_id.decode()):
        opened(copy).read(object_id, BLOB)
    assert path.read_bytes() == content


@pytest.mark.parametrize("extension", [".pack", ".idx"])
@pytest.mark.parametrize("how", ["emptied", "cut", "garbage", "a directory", "zeros within"])
def test_a_broken_pack_is_damage(copy: Path, opened: Opened, extension: str, how: str) -> None:
    """However it is broken, nothing else is raised, and nothing is removed."""
    run_git("gc", "--quiet", directory=copy)
    wanted = objects_of(copy)
    (path,) = (copy / ".git/objects/pack").glob(f"*{extension}")
    content = path.read_bytes()
    broken = {
        "emptied": b"",
        "cut": content[: len(content) // 2],
        "garbage": b"\xfe" * len(content),
        "zeros within": content[:40] + bytes(len(content) - 80) + content[-40:],
    }
    path.unlink()
    if how == "a directory":
        path.mkdir()
    else:
        path.write_bytes(broken[how])
    store = opened(copy)
    failed = 0
    for object_id, (kind, _) in wanted.items():
        try:
            store.read(object_id, next(number for number, name in KINDS.items() if name == kind))
        except MirrorDamaged:
            failed += 1
    assert failed
    assert path.exists()


# -- writing -----------------------------------------------------------------------------------------------


def test_added_objects_are_there_for_git_and_for_us(copy: Path, opened: Opened) -> None:
    """As one pack, of the mode that git gives its own; nothing temporary is left."""
    store = opened(copy)
    tree = store.tree_of(head(copy))
    text = b"tree %s\nparent %s\nauthor A <a> 1 +0000\ncommitter A <a> 1 +0000\n\nNew\n" % (tree, head(copy).encode())
    added = {hash_object(kind, content): (kind, content) for kind, content in ((COMMIT, text), (BLOB, b"orphan\n"))}
    store.add(added)
    store.add(added)  # which are there already
    (name,) = pack_names(copy)
    assert len(name) == 45
    for extension in (".pack", ".idx"):
        status = (copy / ".git/objects/pack" / (name + extension)).stat()
        assert stat.S_IMODE(status.st_mode) == 0o444
    assert list((copy / ".git/git2efs").iterdir()) == []
    commit_id = hash_object(COMMIT, text).decode()
    run_git("update-ref", "refs/heads/main", commit_id, directory=copy)
    fsck(copy)
    assert store.tree_of(commit_id) == tree
    assert all_read(opened(copy), copy)


def test_an_object_that_is_not_what_its_id_says_is_not_added(copy: Path, opened: Opened) -> None:
    """And nothing is left of it."""
    with pytest.raises(MirrorDamaged):
        opened(copy).add({b"1" * 40: (BLOB, b"hello")})
    assert pack_names(copy) == set()


def thin_pack(copy: Path, wanted: str, have: str) -> bytes:
    """Return the pack that brings a commit to somebody who has another."""
    revisions = f"{wanted}\n^{have}\n".encode()
    return run_git("pack-objects", "--thin", "--revs", "--stdout", "-q", stdin=revisions, directory=copy)


def ingest(store: CopyStore, content: bytes, changes: ShallowChanges | None = None) -> None:
    """Let the store receive a pack."""

    changes = changes or ShallowChanges()
    answer = PackAnswer(
        query=FetchQuery("0" * 40, None, 0),
        asked_at=0.0,
        size=len(content),
        shallow=tuple(each.decode() for each in changes.shallow),
        unshallow=tuple(each.decode() for each in changes.unshallow),
        pack=content,
    )
    store.ingest(store.receive(answer, 1 << 30, no_transfer))


def no_transfer(_: str) -> tuple[BinaryIO, str]:
    """No pack comes in parts here."""
    raise AssertionError


@pytest.mark.parametrize("in_memory_bytes", [0, 1 << 20], ids=["spooled to a file", "in memory"])
def test_a_fetch_is_shown_as_git_shows_one(
    copy: Path, tmp_path: Path, opened: Opened, monkeypatch: pytest.MonkeyPatch, in_memory_bytes: int
) -> None:
    """The pack first, then its index, each by a rename."""
    old = head(copy)
    run_git("clone", "--quiet", copy, "other", directory=tmp_path)
    new = commit(copy, {"big.txt": (copy / "big.txt").read_text() + "more\n"})
    monkeypatch.setattr(packs, "IN_MEMORY_BYTES", in_memory_bytes)
    renamed: list[str] = []
    rename = os.rename

    def noted(source: str, target: str, **directories: int) -> None:
        renamed.append(os.path.splitext(target)[1])
        rename(source, target, **directories)

    monkeypatch.setattr(os, "rename", noted)
    other = tmp_path / "other"
    store = opened(other)
    ingest(store, thin_pack(copy, new, old))
    assert renamed == [".pack", ".idx"]
    assert new in store
    run_git("update-ref", "refs/heads/main", new, directory=other)
    fsck(other)
    assert all_read(store, other)
    assert all_read(opened(other), other)
    assert list((other / ".git/git2efs").iterdir()) == []


def test_what_git_is_receiving_is_left_alone(copy: Path, opened: Opened) -> None:
    """Nobody can tell its temporary files from a killed one's; ours lie elsewhere, and are swept there."""
    theirs = [copy / ".git/objects/pack/tmp_pack_abcdef", copy / ".git/objects/pack/pack-1234.pack"]
    ours = copy / ".git/git2efs/tmp_pack_1234"
    journal = copy / ".git/git2efs/journal"
    ours.parent.mkdir()
    for path in (*theirs, ours, journal):
        path.write_bytes(b"x")
    opened(copy)
    prepare_state_directory(CopyPaths(str(copy)))
    assert all(path.exists() for path in (*theirs, journal))
    assert not ours.exists()


def test_a_warm_fetch_takes_two_files_and_two_renames(
    copy: Path, opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is listed, and nothing is opened to be read."""
    old = head(copy)
    content = thin_pack(copy, commit(copy, {"new.txt": "new\n"}), old)
    run_git("reset", "--quiet", "--hard", old, directory=copy)
    run_git("reflog", "expire", "--expire=now", "--all", directory=copy)
    run_git("gc", "--quiet", "--prune=now", directory=copy)
    store = opened(copy)
    store.staging.make_in(lambda: os.mkdir(store.staging.path))
    store.read(head(copy).encode(), COMMIT)
    store.read(store.tree_of(head(copy)), TREE)
    calls: list[str] = []

    def counted(name: str, call: Callable[..., object], *arguments: object, **named: object) -> object:
        calls.append(name)
        return call(*arguments, **named)

    for name in ("open", "rename", "listdir", "stat", "unlink", "link", "mkdir", "lstat", "symlink"):
        monkeypatch.setattr(os, name, partial(counted, name, getattr(os, name)))
    monkeypatch.setattr(files, "open_path", partial(counted, "open", files.open_path))
    ingest(store, content)
    assert sorted(calls) == ["open", "open", "rename", "rename"]


# -- where history ends ------------------------------------------------------------------------------------


def test_where_history_ends_is_told_as_git_tells_it(copy: Path, tmp_path: Path, opened: Opened) -> None:
    """The first fetch asks for so much; a later one for all since, with the list of what is cut."""
    run_git("clone", "--quiet", "--depth=2", f"file://{copy}", "cut", directory=tmp_path)
    store = opened(tmp_path / "cut")
    ends = run_git("rev-list", "--max-parents=0", "HEAD", directory=tmp_path / "cut").decode().split()
    assert store.is_shallow
    assert store.history(head(copy), 3, is_next=True) == (0, tuple(ends))
    whole = opened(copy)
    assert not whole.is_shallow
    assert whole.history(None, 3, is_next=False) == (3, ())
    assert whole.history(None, 0, is_next=False) == (0, ())
    assert whole.history(head(copy), 3, is_next=False) == (0, ())
    run_git("fetch", "--quiet", "--unshallow", directory=tmp_path / "cut")
    assert store.history(head(copy), 3, is_next=True) == (0, ())


def test_the_first_fetch_of_so_much_history_leaves_a_repository_that_git_calls_sound(
    copy: Path, tmp_path: Path, opened: Opened
) -> None:
    """Where it ends stands in git's own list before the commit can be seen."""
    new = plain(tmp_path / "new")
    tip = head(copy)
    (copy / ".git/shallow").write_text(tip + "\n")
    content = run_git("pack-objects", "--revs", "--stdout", "-q", stdin=tip.encode() + b"\n", directory=copy)
    store = opened(new)
    ingest(store, content, ShallowChanges(frozenset({tip.encode()})))
    run_git("update-ref", "refs/heads/main", tip, directory=new)
    fsck(new)
    assert run_git("rev-list", "HEAD", directory=new).decode().split() == [tip]
    assert not os.path.lexists(new / ".git/shallow.lock")


def test_while_git_changes_where_history_ends_the_copy_is_busy(copy: Path, tmp_path: Path, opened: Opened) -> None:
    """And the fetch is not shown."""
    new = plain(tmp_path / "new")
    (new / ".git/shallow.lock").write_bytes(b"")
    tip = head(copy)
    (copy / ".git/shallow").write_text(tip + "\n")
    content = run_git("pack-objects", "--revs", "--stdout", "-q", stdin=tip.encode() + b"\n", directory=copy)
    store = opened(new)
    with pytest.raises(CopyBusy):
        ingest(store, content, ShallowChanges(frozenset({tip.encode()})))
    assert pack_names(new, ".idx") == set()
    assert tip not in store


def test_a_broken_list_of_where_history_ends_is_damage(copy: Path, opened: Opened) -> None:
    """It is never guessed."""
    (copy / ".git/shallow").write_bytes(b"no commit\n")
    with pytest.raises(MirrorDamaged, match="shallow"):
        opened(copy).history(None, 1, is_next=False)


# -- upkeep ------------------------------------------------------------------------------------------------


def pulled(copy: Path, store: CopyStore, count: int) -> None:
    """Add so many packs, each of a commit upon the last one."""
    for number in range(count):
        tip = head(copy)
        text = b"tree %s\nparent %s\nauthor A <a> 1 +0000\ncommitter A <a> 1 +0000\n\n%d\n"
        content = text % (store.tree_of(tip), tip.encode(), number)
        store.add({hash_object(COMMIT, content): (COMMIT, content)})
        run_git("update-ref", "refs/heads/main", hash_object(COMMIT, content).decode(), directory=copy)


def test_many_packs_of_ours_become_one_and_nobody_elses_is_touched(copy: Path, opened: Opened) -> None:
    """All of their objects are kept: what is garbage, git's gc says."""
    run_git("gc", "--quiet", directory=copy)
    theirs = pack_names(copy)
    store = opened(copy)
    pulled(copy, store, MAX_SMALL_PACKS)
    store.maintain()
    assert len(pack_names(copy)) == 1 + MAX_SMALL_PACKS
    pulled(copy, store, 1)
    wanted = objects_of(copy)
    store.maintain()
    assert theirs < pack_names(copy)
    assert len(pack_names(copy)) == len(pack_names(copy, ".idx")) == 3
    assert objects_of(copy) == wanted
    assert all_read(store, copy) == all_read(opened(copy), copy)
    fsck(copy)


def test_another_process_knows_our_packs(copy: Path, opened: Opened) -> None:
    """By their names alone."""
    pulled(copy, opened(copy), MAX_SMALL_PACKS + 1)
    opened(copy).maintain()
    assert len(pack_names(copy)) == 2


@pytest.mark.parametrize("sign", ["keep", "gc", "multi-pack-index"])
def test_packs_are_not_merged_where_somebody_needs_them_as_they_are(copy: Path, opened: Opened, sign: str) -> None:
    """A pack that is kept; git at its own gc; an index over many packs."""
    store = opened(copy)
    pulled(copy, store, MAX_SMALL_PACKS + 1)
    names = pack_names(copy)
    if sign == "keep":
        (copy / ".git/objects/pack" / f"{min(names)}.keep").write_bytes(b"")
    elif sign == "gc":
        (copy / ".git/gc.pid").write_bytes(b"1 host")
    else:
        run_git("multi-pack-index", "write", directory=copy)
    store.maintain()
    assert pack_names(copy) == names
    fsck(copy)


def test_what_a_killed_run_left_of_a_pack_is_removed_and_nothing_else(copy: Path, opened: Opened) -> None:
    """Ours is told by its name and its last bytes; git's, which it may be writing now, stays."""
    pulled(copy, opened(copy), 2)
    directory = copy / ".git/objects/pack"
    (name, other) = sorted(pack_names(copy))
    run_git("update-ref", "refs/heads/main", "HEAD~2", directory=copy)
    for each in (name, other):
        (directory / f"{each}.idx").unlink()
    (directory / f"{other}.pack").rename(directory / f"pack-{'1' * 40}.pack")
    mine = directory / f"{name}.pack"
    theirs = [directory / f"pack-{'1' * 40}.pack", directory / f"{name[:20]}{'1' * 25}.pack"]
    theirs[1].write_bytes(theirs[0].read_bytes())
    opened(copy)
    assert not mine.exists()
    assert all(each.exists() for each in theirs)


def test_gits_own_packing_takes_our_packs_in(copy: Path, opened: Opened) -> None:
    """Their names are good names."""
    store = opened(copy)
    pulled(copy, store, 3)
    run_git("verify-pack", *(copy / ".git/objects/pack").glob("*.idx"), directory=copy)
    assert b"garbage: 0" in run_git("count-objects", "-v", directory=copy)
    before = pack_names(copy)
    run_git("gc", "--quiet", "--prune=now", directory=copy)
    assert not before & pack_names(copy)
    assert all_read(store, copy)
    store.maintain()
    fsck(copy)


def test_a_spool_is_left_nowhere_when_the_fetch_fails(
    copy: Path, opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file that a large one came to is removed."""
    monkeypatch.setattr(packs, "IN_MEMORY_BYTES", 0)
    store = opened(copy)

    answer = PackAnswer(query=FetchQuery("0" * 40, None, 0), asked_at=0.0, size=4, pack=b"PACK")
    with pytest.raises(PackTooLarge):
        store.receive(answer, 3, no_transfer)
    with pytest.raises(PackInvalid):
        store.ingest(store.receive(answer, 4, no_transfer))
    assert list((copy / ".git/git2efs").iterdir()) == []
