"""A push passes few of our files, makes few of our classes, and comes to its first write in few steps."""

from collections.abc import Callable

import pytest

from testing.repositories import Upstream
from testing.service import Service
from tests.budgets.way import follow

MOST_FILES, MOST_CLASSES, MOST_FRAMES = 44, 35, 14


def test_the_way_of_a_push_is_short(service: Service, upstream: Upstream, say: Callable[[str], None]) -> None:
    """A push of one file to a target with releases, by a warm process with the stack's settings."""
    service.configure(repository_cache_seconds=None)
    service.put_repository(grace_seconds=0)
    for content in (b"one", b"two", b"three"):
        upstream.commit({"directory/file": content})
        assert service.push(upstream).status == 200
    upstream.commit({"directory/file": b"four"})
    way = follow(lambda: service.push(upstream))
    say(
        f"a push enters {len(way.files)} files and {len(way.functions)} functions, makes {len(way.classes)} classes, "
        f"and is {len(way.first_write_frames)} frames deep at its first write"
    )
    print(*sorted(way.files), sep="\n")
    print(way.first_write_frames)
    assert len(way.files) <= MOST_FILES, sorted(way.files)
    assert len(way.classes) <= MOST_CLASSES, sorted(way.classes)
    assert 0 < len(way.first_write_frames) <= MOST_FRAMES, way.first_write_frames


def test_the_way_is_followed_where_it_goes(service: Service, upstream: Upstream) -> None:
    """The figures above would be small, too, for a push that did nothing."""
    service.put_repository()
    upstream.commit({"file": b"one"})
    way = follow(lambda: pytest.fail("no push") if service.push(upstream).status != 200 else None)
    assert {"webhook.py", "mount/reconcile.py", "mount/fs/checkout.py", "network/remote/client.py"} <= way.files
    assert "handler.mount.target.run.Run" in way.classes
