"""Two contents with one id: a remote that sends the second is refused, and the first stays what readers get.

Nobody here can make a real collision. So the hash function is patched: it gives one content the id of another.
"""

import hashlib
import struct
from collections.abc import Callable, Sequence

import pytest

from handler.mount.git import deltas, ingest
from handler.mount.git.packs import object_id
from testing.origin import GitOrigin
from testing.repositories import Upstream
from testing.service import Service
from tests.functional import bombs
from tests.functional.packs import signed, spoiling

GOOD, EVIL = b"echo good\n", b"echo evil\n"
GOOD_ID = hashlib.sha1(b"blob %d\0" % len(GOOD) + GOOD).digest()
BASE = b"the base of a delta"


def by_delta(content: bytes) -> bytes:
    """Return two records: a blob, and a delta upon it that makes `content`."""
    base = bombs.whole(BASE)
    return base + bombs.on_the_last(bombs.delta(len(BASE), len(content), content), base)


FORMS: dict[str, tuple[int, bytes]] = {
    "whole": (1, bombs.whole(EVIL)),
    "a tree in place of a blob": (1, bombs.whole(EVIL, kind=2)),
    "by a delta": (2, by_delta(EVIL)),
    "twice": (2, bombs.whole(GOOD) + bombs.whole(EVIL)),
}
"""How many records, and which."""


@pytest.fixture
def collision(monkeypatch: pytest.MonkeyPatch) -> None:
    """EVIL has the id of GOOD, whatever its type."""

    def colliding(kind: int, parts: Sequence[bytes]) -> bytes:
        return GOOD_ID if b"".join(parts) == EVIL else object_id(kind, parts)

    for module in (ingest, deltas):
        monkeypatch.setattr(module, "object_id", colliding)


def adding(count: int, records: bytes) -> Callable[[bytes], bytes]:
    """Return a rewriting of a fetch's answer that adds records to its pack."""

    def add(pack: bytes) -> bytes:
        (had,) = struct.unpack(">L", pack[8:12])
        return signed(pack[:8] + struct.pack(">L", had + count) + pack[12:-20] + records)

    return spoiling(add)


@pytest.mark.usefixtures("collision")
@pytest.mark.parametrize("mode", ["releases", "working-copy"])
@pytest.mark.parametrize("form", FORMS)
def test_another_content_under_an_id_that_is_held_is_refused(
    service: Service, upstream: Upstream, origin: GitOrigin, mode: str, form: str
) -> None:
    """Readers keep what they had, nothing of the push stays, and the next honest push is published."""
    service.put_repository(publish=[{"ref": "refs/heads/main", "mode": mode, "path": "site"}], grace_seconds=0)
    upstream.commit({"run": GOOD, "other": b"1"})
    assert service.push(upstream).outcome == "published"
    upstream.commit({"run": GOOD, "copy": GOOD, "other": b"2"})
    # Of every fetch: what a run asked for on a guess, it may ask for again.
    origin.rewrite_next(adding(*FORMS[form]), 10, kind="fetch")
    answer = service.push(upstream)
    origin.clear_faults()
    assert (answer.status, answer.reason) == (500, "object_collides")
    place = service.mount / "site" if mode == "working-copy" else service.current("site")
    assert (place / "other").read_bytes() == b"1"
    assert service.push(upstream).outcome == "published"
    assert [(place / name).read_bytes() for name in ("run", "copy", "other")] == [GOOD, GOOD, b"2"]


@pytest.mark.usefixtures("collision")
@pytest.mark.parametrize(
    ("count", "records"),
    [(2, bombs.whole(GOOD) + bombs.whole(EVIL)), (4, by_delta(GOOD) + by_delta(EVIL))],
    ids=["whole", "by deltas"],
)
def test_two_contents_of_one_id_in_one_pack_are_refused(
    service: Service, upstream: Upstream, origin: GitOrigin, count: int, records: bytes
) -> None:
    """Also where nothing is held yet."""
    service.put_repository(publish=[{"ref": "refs/heads/main"}])
    upstream.commit({"other": b"1"})
    origin.rewrite_next(adding(count, records), 10, kind="fetch")
    assert service.push(upstream).reason == "object_collides"
    origin.clear_faults()
    assert service.push(upstream).outcome == "published"


@pytest.mark.parametrize("mode", ["releases", "working-copy"])
def test_what_is_held_may_come_again(service: Service, upstream: Upstream, origin: GitOrigin, mode: str) -> None:
    """The same content, whole and by a delta, once and twice: it is published."""
    service.put_repository(publish=[{"ref": "refs/heads/main", "mode": mode, "path": "site"}], grace_seconds=0)
    upstream.commit({"run": GOOD, "other": b"1"})
    assert service.push(upstream).outcome == "published"
    upstream.commit({"run": GOOD, "other": b"2"})
    origin.rewrite_next(adding(4, bombs.whole(GOOD) + bombs.whole(GOOD) + by_delta(GOOD)), 10, kind="fetch")
    assert service.push(upstream).outcome == "published"
