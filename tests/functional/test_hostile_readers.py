"""What readers with write access to the mount may have written: nothing waits, nothing leads out, nothing freezes.

`ConsumersMayWrite` allows them that. A target heals at its next push, or its outcome says what a person has to do.
"""

import os
import time
from pathlib import Path
from typing import Any

import pytest

from handler.mount.fs import files
from handler.mount.fs.directories import open_directory, remove_tree
from handler.mount.maintenance.state import read_state
from handler.mount.target.registry import TargetRegistry
from testing.repositories import Upstream, archive
from testing.service import Service
from tests.functional.mounts import footprint

MAIN = "octo/site/main"
RECORD = f"{MAIN}/published.json"
MIRROR = "octo/site/mirror.git"
SECRET = b"AWS_SECRET_ACCESS_KEY=needle\n"


def published(service: Service, upstream: Upstream, count: int = 2, **fields: Any) -> str:
    """Publish so many commits of a repository, and return the last."""
    service.put_repository(**fields)
    for number in range(count):
        commit = upstream.commit({"a": b"%d" % number, "deep/er/file": b"f"})
        assert service.push(upstream).outcome == "published"
    return commit


def put(place: Path, what: str, outside: Path) -> None:
    """Put a pipe, or a link to a file outside the mount, in a file's place."""
    place.unlink(missing_ok=True)
    if what == "pipe":
        os.mkfifo(place)
    else:
        place.symlink_to(outside / "environ")


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """Return a directory outside the mount that holds a secret, and must stay as it is."""
    place = tmp_path / "outside"
    place.mkdir()
    (place / "environ").write_bytes(SECRET)
    return place


def leaked(mount: Path) -> list[Path]:
    """Return every regular file on the mount that holds the secret."""
    found = [path for path in mount.rglob("*") if path.is_file() and not path.is_symlink()]
    return [path for path in found if b"needle" in path.read_bytes()]


@pytest.mark.parametrize("what", ["pipe", "link"])
@pytest.mark.parametrize("name", [RECORD, f"{MIRROR}/shallow", "pack", "idx"])
@pytest.mark.sampled(4)
def test_a_pipe_or_a_link_in_a_files_place_is_replaced(
    service: Service, upstream: Upstream, outside: Path, name: str, what: str
) -> None:
    """The record, where history ends, a pack, an index: each push after it is published, and nothing is copied."""
    published(service, upstream)
    packs = service.mount / MIRROR / "objects/pack"
    places = sorted(packs.glob(f"*.{name}")) if "/" not in name else [service.mount / name]
    assert places
    for place in places:
        put(place, what, outside)
    service.reset()  # a fresh process reads it all
    before = footprint(outside)
    for _ in range(2):
        commit = upstream.commit({"a": name.encode() + what.encode() + os.urandom(4)})
        answer = service.push(upstream)
        assert answer.outcome == "published"
        assert service.tree() == archive(upstream, commit)
    assert footprint(outside) == before
    assert leaked(service.mount) == []


@pytest.mark.parametrize("what", ["pipe", "link"])
@pytest.mark.parametrize("name", ["reconcile.json", "reconcile.json.new"])
@pytest.mark.sampled(2)
def test_the_schedule_goes_on_whatever_is_in_its_states_place(
    service: Service, upstream: Upstream, outside: Path, name: str, what: str
) -> None:
    """It finds what is behind, and its state is a file again."""
    published(service, upstream)
    service.run_schedule()
    put(service.mount / ".git2efs" / name, what, outside)
    commit = upstream.commit({"a": b"new"})
    before = footprint(outside)
    assert service.run_schedule()["behind"] == 1
    assert service.current_commit() == commit
    assert read_state(str(service.mount), "reconcile", now=time.time()).repositories["octo/site"].confirmed_at > 0
    assert footprint(outside) == before


@pytest.mark.parametrize("what", ["pipe", "link"])
@pytest.mark.parametrize("name", [".targets", ".lock"])
@pytest.mark.sampled(2)
def test_what_cannot_be_replaced_is_told_at_once(
    service: Service, upstream: Upstream, outside: Path, name: str, what: str
) -> None:
    """The registry and the lock: a person has to look, and nothing waits meanwhile."""
    published(service, upstream)
    put(service.mount / "octo/site" / name, what, outside)
    upstream.commit({"a": b"new"})
    before, started = footprint(outside), time.monotonic()
    answer = service.push(upstream)
    # A push to a target that is there does not read the registry; the schedule does.
    assert answer.reason == ("target_occupied" if name == ".lock" else "pushed")
    assert service.run_schedule()["outcomes"] == {"failed:target_occupied": 1}
    assert time.monotonic() - started < 4
    assert footprint(outside) == before


@pytest.mark.parametrize("is_warm", [True, False], ids=["warm", "cold"])
@pytest.mark.parametrize(
    "place",
    [f"{MIRROR}/objects/pack", f"{MIRROR}/objects", MIRROR, "octo/site", MAIN, f"{MAIN}/releases", f"{MAIN}/staging"],
)
@pytest.mark.sampled(4)
def test_nothing_is_read_written_or_swept_through_a_linked_directory(
    service: Service, upstream: Upstream, outside: Path, place: str, is_warm: bool
) -> None:
    """Wherever on the way to the packs it is: what lies elsewhere stays, and the answer says what is in the way."""
    published(service, upstream)
    directory = service.mount / place
    directory.rename(outside / "moved")
    for below in ("", "objects/pack", "pack"):
        if (outside / "moved" / below).is_dir():
            (outside / "moved" / below / "tmp_precious").write_bytes(b"mine")
    directory.symlink_to(outside / "moved")
    if not is_warm:
        service.reset()
    before = footprint(outside)
    upstream.commit({"a": b"new"})
    answer = service.push(upstream)
    assert (answer.outcome, answer.reason) == ("failed", "target_occupied")
    assert footprint(outside) == before


def test_a_working_copys_packs_are_not_written_through_a_link(
    service: Service, upstream: Upstream, outside: Path
) -> None:
    """Git would follow it; who put it there may not be who owns what it leads to."""
    published(service, upstream, publish=[{"ref": "refs/heads/main", "mode": "working-copy"}])
    packs = service.mount / MAIN / ".git/objects/pack"
    packs.rename(outside / "pack")
    packs.symlink_to(outside / "pack")
    before = footprint(outside)
    upstream.commit({"a": b"new"})
    answer = service.push(upstream)
    assert (answer.outcome, answer.reason) == ("failed", "target_occupied")
    assert footprint(outside) == before


@pytest.mark.parametrize("name", ["config", "HEAD", "index"])
@pytest.mark.sampled(2)
def test_no_file_of_a_working_copys_repository_is_read_through_a_link(
    service: Service, upstream: Upstream, outside: Path, name: str
) -> None:
    """The answer says so at once, and quotes nothing of what it leads to."""
    published(service, upstream, publish=[{"ref": "refs/heads/main", "mode": "working-copy"}])
    put(service.mount / MAIN / ".git" / name, "link", outside)
    before = footprint(outside)
    upstream.commit({"a": b"new"})
    answer = service.push(upstream)
    assert (answer.outcome, answer.reason) in (("failed", "copy_unusable"), ("failed", "target_occupied"))
    assert b"needle" not in repr(service.log_lines).encode()
    assert footprint(outside) == before


@pytest.mark.parametrize("content", [SECRET, b"0" * 39, b"g" * 40 + b"\n", b"0" * 40 + b"\n" + SECRET, b"\xff\0"])
@pytest.mark.sampled(2)
def test_no_line_of_shallow_is_taken_over_unread(service: Service, upstream: Upstream, content: bytes) -> None:
    """A line that is no commit would be written into the next file, and sent to the remote."""
    published(service, upstream, depth=0)
    (service.mount / MIRROR / "shallow").write_bytes(content)
    service.reset()  # a fresh process reads it all
    commit = upstream.commit({"a": b"new"})
    assert service.push(upstream).outcome == "published"
    assert service.tree() == archive(upstream, commit)
    assert leaked(service.mount) == []


@pytest.mark.parametrize("levels", [40, 1200])
@pytest.mark.sampled(1)
def test_what_others_nested_is_removed(service: Service, upstream: Upstream, levels: int) -> None:
    """In a retired release, which is recycled or pruned: deeper than Python recurses."""
    published(service, upstream, grace_seconds=0)
    for release in set(service.releases()) - {service.current_commit()}:
        descriptor = os.open(service.mount / MAIN / "releases" / release / "deep", os.O_RDONLY)
        for _ in range(levels):
            os.mkdir("d", dir_fd=descriptor)
            below = os.open("d", os.O_RDONLY, dir_fd=descriptor)
            os.close(descriptor)
            descriptor = below
        os.close(descriptor)
    try:
        for number in range(4):
            # In every second tree the directory is gone.
            commit = upstream.commit({"a": b"new %d" % number, "deep/er/file": b"f" if number % 2 else None})
            assert service.push(upstream).outcome == "published"
            assert service.tree() == archive(upstream, commit)
    finally:
        # What removes a test's directories is recursive, and would fail in every later run.
        remove_tree(str(service.mount / MAIN))


# -- links on the way ------------------------------------------------------------------------------------------


@pytest.fixture(params=["openat2", "walk"])
def opener(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Open parents by openat2, and name by name as on a kernel without it."""
    if request.param == "walk":
        monkeypatch.setattr(files, "_opener", lambda: files.walk)
    return str(request.param)


@pytest.mark.parametrize("depth", range(4))
def test_no_component_of_a_path_is_followed(tmp_path: Path, opener: str, depth: int) -> None:
    """Whichever of them is a link, to read, write, append, create, lock, list, rename and remove."""
    real = tmp_path / "real/a/b/c"
    real.mkdir(parents=True)
    (real / "file").write_bytes(b"theirs")
    parts = ["a", "b", "c", "file"]
    (tmp_path / "mount").joinpath(*parts[:depth]).mkdir(parents=True)
    (tmp_path / "mount").joinpath(*parts[: depth + 1]).symlink_to((tmp_path / "real").joinpath(*parts[: depth + 1]))
    path = str((tmp_path / "mount").joinpath(*parts))
    before = footprint(tmp_path / "real")
    for act in (
        lambda: files.read_whole(path),
        lambda: files.write_whole(path, b"ours"),
        lambda: files.append(path, b"ours"),
        lambda: files.create(path),
        lambda: files.open_to_lock(path),
        lambda: TargetRegistry(path, "/mnt").add("octo/site/main"),
    ):
        with pytest.raises(OSError, match=r"Errno 40|Too many levels"):
            act()
    if depth < 3:
        (tmp_path / "source").write_bytes(b"x")
        with pytest.raises(OSError, match=r"Errno 40|Too many levels"):
            files.rename(str(tmp_path / "source"), path)
        with pytest.raises(OSError, match=r"Errno (40|20)"), open_directory(os.path.dirname(path)):
            pass
        with pytest.raises(OSError, match=r"Errno (40|20)"):
            remove_tree(os.path.dirname(path))
    assert footprint(tmp_path / "real") == before
    assert len(os.listdir("/proc/self/fd")) < 500


def test_what_is_missing_and_what_is_no_directory_is_told_alike(tmp_path: Path, opener: str) -> None:
    """By either way of opening."""
    assert opener
    (tmp_path / "file").write_bytes(b"x")
    assert files.read_whole(str(tmp_path / "none/file")) is None
    with pytest.raises(NotADirectoryError):
        files.read_whole(str(tmp_path / "file/file"))
    files.write_whole(str(tmp_path / "new"), b"content")
    assert files.read_whole(str(tmp_path / "new")) == b"content"
