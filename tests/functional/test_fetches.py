"""What a fetch brings is what is new: nothing that another target brought, and no merged branch's history."""

import os

import pytest

from testing.repositories import Upstream, archive
from testing.service import Service
from tests.functional.mounts import check_mirror

PREVIEWS = [{"ref": "refs/heads/main"}, {"ref": "refs/heads/preview/*", "path": "previews/*"}]
ROOM = 4096
"""Bytes that a commit and its trees may take beside the files that it changes."""


def bulky(upstream: Upstream, count: int = 40) -> str:
    """Commit files that cannot be compressed: 8 KB each."""
    return upstream.commit({f"d{number % 5}/f{number}": os.urandom(8192) for number in range(count)})


@pytest.mark.parametrize("depth", [0, 1, 5])
def test_a_new_branch_costs_its_difference(service: Service, upstream: Upstream, depth: int) -> None:
    """A preview one file off main: what main has is not fetched again."""
    service.put_repository(publish=PREVIEWS, depth=depth)
    bulky(upstream)
    assert service.push(upstream).content["bytes_fetched"] > 40 * 8192
    for name in ("one", "two"):
        upstream.git("branch", f"preview/{name}", "main")
        commit = upstream.commit({"new": os.urandom(2000)}, branch=f"preview/{name}")
        answer = service.push(upstream, f"preview/{name}")
        assert answer.outcome == "published"
        assert answer.content["bytes_fetched"] <= 2000 + ROOM
        assert service.tree(f"previews/{name}") == archive(upstream, commit)
        check_mirror(service.mount / "octo/site/mirror.git", commit)


def test_what_the_mirror_lost_is_not_claimed(service: Service, upstream: Upstream) -> None:
    """Another target's commit that is only named on the mount brings the whole tree."""
    service.put_repository(publish=PREVIEWS)
    bulky(upstream)
    service.push(upstream)
    for pack in (service.mount / "octo/site/mirror.git/objects/pack").iterdir():
        pack.unlink()
    service.reset()
    upstream.git("branch", "preview/one", "main")
    commit = upstream.commit({"new": b"1"}, branch="preview/one")
    answer = service.push(upstream, "preview/one")
    assert answer.content["bytes_fetched"] > 40 * 8192
    assert service.tree("previews/one") == archive(upstream, commit)


@pytest.mark.parametrize("is_warm", [True, False])
def test_a_merge_brings_no_history(service: Service, upstream: Upstream, is_warm: bool) -> None:
    """The payload calls it one commit; the merged branch goes back further than the mirror, through large files."""
    service.put_repository()
    upstream.commit({"a": b"1"})
    upstream.git("branch", "old", "main")
    for _ in range(5):
        upstream.commit({"large": os.urandom(400_000)}, branch="old")
    upstream.commit({"large": None, "b": b"1"}, branch="old")
    for number in range(3):
        upstream.commit({"c": b"%d" % number})
    service.push(upstream)
    if not is_warm:
        service.reset()
    merged = upstream.merge("old")
    answer = service.push(upstream)
    assert answer.outcome == "published"
    assert answer.content["bytes_fetched"] < 400_000
    assert service.tree() == archive(upstream, merged)
    check_mirror(service.mount / "octo/site/mirror.git", merged)
