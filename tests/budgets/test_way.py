"""A push passes few of our files, makes few of our classes, and comes to its first write in few steps."""

from collections import Counter
from collections.abc import Callable

import pytest

from testing.repositories import Upstream
from testing.service import Service
from tests.budgets.way import follow

MOST_FILES = {"network": 16, "mount": 27, "shared": 7}
MOST_CLASSES = {"network": 8, "mount": 20, "shared": 18}
MOST_FRAMES = (9, 9)
"""Network side, mount side. Whoever works on one side follows a push through that one; `shared` is what both stand on:
the door, the configuration, the values."""


def test_the_way_of_a_push_is_short(service: Service, upstream: Upstream, say: Callable[[str], None]) -> None:
    """A push of one file to a target with releases, by a warm process with the stack's settings."""
    service.configure(repository_cache_seconds=None)
    service.put_repository(grace_seconds=0)
    for content in (b"one", b"two", b"three"):
        upstream.commit({"directory/file": content})
        assert service.push(upstream).status == 200
    upstream.commit({"directory/file": b"four"})
    way = follow(lambda: service.push(upstream))
    files = Counter(_side_of_file(name) for name in way.files)
    classes = Counter(_side_of_class(name) for name in way.classes)
    frames = way.frames_by_side
    say(
        f"a push enters {len(way.files)} files ({dict(files)}) and {len(way.functions)} functions, makes "
        f"{len(way.classes)} classes ({dict(classes)}), and is {frames} frames deep at its first write"
    )
    print(*sorted(way.files), *sorted(way.classes), *way.first_write_frames, sep="\n")
    assert all(files[side] <= most for side, most in MOST_FILES.items()), files
    assert all(classes[side] <= most for side, most in MOST_CLASSES.items()), classes
    assert all(0 < found <= most for found, most in zip(frames, MOST_FRAMES, strict=True)), way.first_write_frames


def _side_of_file(name: str) -> str:
    if name.startswith("mount/"):
        return "mount"
    return "network" if name.startswith("network/") or name in ("webhook.py", "runtime.py") else "shared"


def _side_of_class(name: str) -> str:
    return _side_of_file(name.removeprefix("handler.").replace(".", "/") + ".py")


def test_the_way_is_followed_where_it_goes(service: Service, upstream: Upstream) -> None:
    """The figures above would be small, too, for a push that did nothing."""
    service.put_repository()
    upstream.commit({"file": b"one"})
    way = follow(lambda: pytest.fail("no push") if service.push(upstream).status != 200 else None)
    assert {"webhook.py", "mount/reconcile.py", "mount/fs/checkout.py", "network/remote/client.py"} <= way.files
    assert "handler.mount.target.run.Run" in way.classes
