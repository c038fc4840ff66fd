"""Fetching into a working copy's store, over the wire: what comes is what git's own fetch would have brought."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from handler.exchange.answers import Answers, Need, RefsAnswer
from handler.mount.git.fetch import Fetched, Fetcher
from handler.mount.working_copy.gitdir.copy_store import CopyStore
from handler.mount.working_copy.gitdir.init import init_repository
from handler.network.pack_sender import PackSender
from handler.network.remote.client import RemotePool
from handler.settings import Settings
from testing.origin import GitOrigin
from testing.repositories import Upstream, fsck, run_git

MAIN = "refs/heads/main"
Fetch = Callable[[Path, str | None, int], str]


@pytest.fixture(params=[True, False], ids=["protocol 2", "protocol 0"])
def fetch(request: pytest.FixtureRequest, origin: GitOrigin, upstream: Upstream) -> Iterator[Fetch]:
    """Return what fetches the branch into a copy, given what is there and the depth; it returns the commit."""
    if not request.param:
        origin.no_v2()
    remotes = RemotePool(Settings(parameter_prefix="/unused", mount="/unused"), sleep=lambda _: None)

    def fetched(copy: Path, known: str | None, depth: int) -> str:
        store = CopyStore(str(copy / ".git"))
        store.refresh()
        remote = remotes.at(origin.url(upstream.full_name), None)
        refs = [RefsAnswer(ref=MAIN, asked_at=time.time(), tip=remote.refs([MAIN]).tips[MAIN])]
        source = Fetcher(
            answers=Answers(refs),
            store=store,
            have=known,
            not_before=0.0,
            confirmed_pushed_at=None,
            depth=depth,
            max_pack_bytes=1 << 30,
            lag_seconds=0.0,
            is_payload_trusted=False,
            open_transfer=lambda transfer: pytest.fail(f"{transfer} was opened"),
            on_decided=lambda object_id: None,
            bases=tuple,
            deepening=lambda commit, deeper_than: None,
            clock=time.time,
        )
        try:
            found = source.fetch(MAIN, None)
            if isinstance(found, Need):
                assert found.fetch is not None
                sender = PackSender(cast(Any, None), upstream.full_name, max_bytes=1 << 30)
                changes = remote.fetch(found.fetch, sender.begin)
                source.answers = Answers(refs, [sender.answer(found.fetch, changes, asked_at=time.time())])
                found = source.fetch(MAIN, None)
        finally:
            store.close()
        assert isinstance(found, Fetched)
        commit = found.commit
        assert commit is not None
        run_git("update-ref", MAIN, commit, directory=copy)
        fsck(copy)
        return commit

    yield fetched
    remotes.close()


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """Return a new copy."""
    init_repository(str(tmp_path / "copy"), "https://example.com/octo/site.git", MAIN)
    return tmp_path / "copy"


def history(repository: Path, name: str = "HEAD") -> list[str]:
    """Return the commits that a name leads to."""
    return run_git("rev-list", name, directory=repository).decode().split()


def test_the_whole_history_comes_where_no_depth_is_set(fetch: Fetch, upstream: Upstream, copy: Path) -> None:
    """And later what is new."""
    upstream.generate(5, commits=4)
    tip = fetch(copy, None, 0)
    assert history(copy) == history(upstream.path, MAIN)
    upstream.commit({"new": b"new\n"})
    assert fetch(copy, tip, 0) == upstream.tip()
    assert history(copy) == history(upstream.path, MAIN)
    assert not (copy / ".git/shallow").exists()


def test_a_depth_is_for_the_first_fetch_and_all_since_comes_whole(fetch: Fetch, upstream: Upstream, copy: Path) -> None:
    """A local commit is to go onto the tip across everything between."""
    upstream.generate(5, commits=4)
    tip = fetch(copy, None, 2)
    assert len(history(copy)) == 2
    shallow = (copy / ".git/shallow").read_text()
    for number in range(3):
        upstream.commit({f"new{number}": b"new\n"})
    assert fetch(copy, tip, 2) == upstream.tip()
    assert len(history(copy)) == 5
    assert (copy / ".git/shallow").read_text() == shallow


def test_what_was_merged_from_before_the_cut_comes_as_git_brings_it(
    fetch: Fetch, upstream: Upstream, copy: Path, tmp_path: Path
) -> None:
    """A branch from before the copy's first commit is merged upstream: the copy is sound, with the same commits."""
    commits = upstream.generate(5, commits=4)
    tip = fetch(copy, None, 1)
    run_git("clone", "--quiet", "--depth=1", f"file://{upstream.path}", "oracle", directory=tmp_path)
    side = upstream.commit({"side": b"side\n"}, "side", parents=[commits[1]])
    upstream.merge(side, files={"side": b"side\n"})
    assert fetch(copy, tip, 1) == upstream.tip()
    run_git("fetch", "--quiet", "origin", directory=tmp_path / "oracle")
    assert history(copy) == history(tmp_path / "oracle", "origin/main")


def test_a_clone_that_others_cut_is_fetched_into(fetch: Fetch, upstream: Upstream, tmp_path: Path) -> None:
    """The remote is told where its history ends, and not by what we know of it."""
    upstream.generate(5, commits=4)
    run_git("clone", "--quiet", "--depth=2", f"file://{upstream.path}", "adopted", directory=tmp_path)
    tip = upstream.tip()
    upstream.commit({"new": b"new\n"}, parents=[])
    assert fetch(tmp_path / "adopted", tip, 1) == upstream.tip()
    assert len(history(tmp_path / "adopted", "origin/main")) == 2
