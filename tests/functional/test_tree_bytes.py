"""`max_tree_bytes`: a tree that would be too large is refused before its first file, by what the packs' headers say."""

import os
from typing import Any

import pytest

from testing.repositories import Upstream, archive
from testing.service import Service

MODES = ("releases", "working-copy")


def serve(service: Service, mode: str, **fields: Any) -> None:
    """Configure the repository to publish main at `site`."""
    service.put_repository(
        publish=[{"ref": "refs/heads/main", "path": "site", "mode": mode}], grace_seconds=0, **fields
    )


def published(service: Service, mode: str) -> set[str]:
    """Return the names that readers see."""
    place = service.mount / "site" if mode == "working-copy" else service.current("site")
    return {path.name for path in place.iterdir()} - {".git"} if place.exists() else set()


@pytest.mark.sampled(2)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("is_own", [False, True], ids=["the stack's", "the repository's own"])
def test_one_blob_named_many_times_counts_each_time(
    service: Service, upstream: Upstream, mode: str, *, is_own: bool
) -> None:
    """A few kilobytes are fetched, and 100 MB would be written: nothing is, and nothing stands at the path."""
    service.configure(max_tree_bytes=10**6 if not is_own else 10**12)
    serve(service, mode, **({"max_tree_bytes": 10**6} if is_own else {}))
    upstream.commit({f"{number // 100}/{number}": b"\0" * 10**5 for number in range(1000)})
    answer = service.push(upstream)
    assert (answer.status, answer.reason) == (500, "tree_too_large")
    assert published(service, mode) == set()
    commit = upstream.commit({"file": b"x" * 10**6}, replace=True)
    assert service.push(upstream).outcome == "published"
    assert published(service, mode) == {"file"} == {os.fsdecode(path) for path in archive(upstream, commit)}


@pytest.mark.parametrize("mode", MODES)
def test_a_tree_grows_up_to_the_bound_and_not_beyond(service: Service, upstream: Upstream, mode: str) -> None:
    """What a push leaves as it was counts too, unless the push itself is a thousandth of the bound; deltas count."""
    service.configure(max_tree_bytes=300_000)
    serve(service, mode)
    content = os.urandom(60_000)
    for number in range(5):
        good = upstream.commit({f"file{number}": content + b"%d" % number if number else content[:-10]})
        assert service.push(upstream).outcome == "published"
    upstream.commit({"file5": os.urandom(1000)})
    assert service.push(upstream).reason == "tree_too_large"
    assert len(published(service, mode)) == 5
    upstream.commit({"file4": None, "file5": os.urandom(50_000)}, parents=[good])
    assert service.push(upstream).outcome == "published"
    assert published(service, mode) == {*(f"file{number}" for number in range(4)), "file5"}


def test_a_repository_may_have_more_than_the_stack_allows(service: Service, upstream: Upstream) -> None:
    """The repository's own parameter comes first."""
    service.configure(max_tree_bytes=1024)
    serve(service, "releases")
    upstream.commit({"file": b"x" * 2000})
    assert service.push(upstream).reason == "tree_too_large"
    serve(service, "releases", max_tree_bytes=2000)
    service.reset()
    assert service.push(upstream).outcome == "published"
