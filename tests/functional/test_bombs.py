"""Small packs that make much: refused by what their headers say, and no process takes more than half a gibibyte."""

import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from testing.deliveries import WebhookRequest
from testing.origin import GitOrigin
from testing.repositories import Entry, Executable, Link, Upstream, archive
from testing.service import Service
from tests.functional import bombs
from tests.functional.bombs import MIB, chain, comb, pack, record, zeros
from tests.functional.packs import spoiling

PEAK_MIB = 512
TARGET = "octo/site/main"

BOMBS: dict[str, tuple[Callable[[], bytes], str, int]] = {
    "two deltas": (lambda: chain([64 * 1024, 16 * MIB, 4096 * MIB]), "object_too_large", 2000),
    # Every object is within the bound. The pack is sound, but not what was asked for.
    "bases that wait": (lambda: comb(90 * MIB, 10), "pack_invalid", MIB),
    "a delta that is too large itself": (
        lambda: pack([bombs.whole(b"x"), record(6, 96 * MIB, zeros(96 * MIB), 10)]),
        "object_too_large",
        MIB,
    ),
    "a blob": (lambda: pack([record(3, 2048 * MIB, zeros(2048 * MIB))]), "object_too_large", 3 * MIB),
    "a commit": (lambda: pack([record(1, 1024 * MIB, zeros(1024 * MIB))]), "object_too_large", 2 * MIB),
    "a header that is too long": (
        lambda: pack([b"\xbf" + b"\xff" * 12 + b"\x7f" + zlib.compress(b"x")]),
        "pack_invalid",
        100,
    ),
}
"""By name: the pack, the reason of the answer, and how many bytes the pack has at most."""


def refused(service: Service, request: WebhookRequest) -> tuple[str | None, int]:
    """Return the answer's reason, and how many MiB the process took that gave it."""
    with service.process() as process:
        reason = process.send(request).reason
        return reason, peak_mib(process.pid)


def peak_mib(pid: int) -> int:
    """Return the most memory that a process had so far, in MiB."""
    (line,) = (line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) // 1024


@pytest.mark.sampled(2)
@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_refused_before_it_takes_memory(
    service: Service, upstream: Upstream, origin: GitOrigin, say: Callable[[str], None], name: str
) -> None:
    """Its outcome, nothing on the mount, and the next fetch brings the honest pack."""
    make, reason, most = BOMBS[name]
    content = make()
    assert len(content) <= most
    service.put_repository(publish=[{"ref": "refs/heads/main"}])
    commit = upstream.commit({"file": b"honest"})
    request = service.push_request(upstream)
    origin.rewrite_next(spoiling(lambda _: content), kind="fetch")
    answered, peak = refused(service, request)
    say(f"{name}: {len(content):,} bytes, {answered}, a peak of {peak} MiB")
    assert answered == reason
    assert peak <= PEAK_MIB
    assert not (service.mount / TARGET).exists()
    assert service.send(request).outcome == "published"
    assert service.tree() == archive(upstream, commit)


def test_a_tree_with_millions_of_entries_is_counted_and_not_read(
    service: Service, upstream: Upstream, say: Callable[[str], None]
) -> None:
    """66 MB of tree are 1,900,000 entries, and those would be most of a gigabyte."""
    service.put_repository()
    blob = bytes.fromhex(upstream.blob(b"x"))
    content = b"".join(b"100644 %07d\0%b" % (number, blob) for number in range(66_000_000 // 35))
    upstream.commit_tree(upstream.raw_object("tree", content))
    reason, peak = refused(service, service.push_request(upstream))
    say(f"a tree of 66 MB: {reason}, a peak of {peak} MiB")
    assert reason == "tree_unsafe"
    assert peak <= PEAK_MIB


@pytest.mark.parametrize("mode", ["releases", "working-copy"])
@pytest.mark.parametrize("kind", ["file", "executable", "link", "tree"])
def test_an_object_over_the_bound_is_refused_in_either_mode(
    service: Service, upstream: Upstream, mode: str, kind: str
) -> None:
    """Readers keep what they had, and the next good push is published; at the bound itself it is published too."""
    service.configure(max_object_bytes=4096)
    service.put_repository(publish=[{"ref": "refs/heads/main", "mode": mode, "path": "site"}], grace_seconds=0)
    files = {"readme": b"good"}
    good = upstream.commit(files)
    assert service.push(upstream).outcome == "published"
    cases: dict[str, dict[str, Entry]] = {
        "file": {"large": bytes(4097)},
        "executable": {"large": Executable(bytes(4097))},
        "link": {"large": Link(b"x" * 4097)},
        "tree": {f"{number:0200}": b"x" for number in range(20)},
    }
    upstream.commit(cases[kind], parents=[good])
    answer = service.push(upstream)
    assert (answer.status, answer.reason) == (500, "object_too_large")
    place = service.mount / "site" if mode == "working-copy" else service.current("site")
    assert (place / "readme").read_bytes() == b"good"
    assert len([path for path in place.iterdir() if path.name != ".git"]) == 1
    upstream.commit({"large": bytes(4096)}, parents=[good])
    assert service.push(upstream).outcome == "published"
    assert (place / "large").read_bytes() == bytes(4096)


def test_a_blob_that_is_a_delta_over_the_bound_is_refused_where_an_older_version_let_it_in(
    service: Service, upstream: Upstream
) -> None:
    """The mirror holds it already, and the bound is lower now: the next push says so before it writes anything."""
    service.put_repository(publish=[{"ref": "refs/heads/main"}], grace_seconds=0)
    upstream.commit({"large": zlib.compress(b"x") * 1000, "readme": b"one"})
    assert service.push(upstream).outcome == "published"
    service.configure(max_object_bytes=4096)
    service.reset()
    (service.mount / TARGET / "published.json").unlink()
    (service.mount / TARGET / "current").unlink()
    for release in (service.mount / TARGET / "releases").iterdir():
        release.rename(release.with_name("aside"))
    assert service.push(upstream).reason == "object_too_large"
    assert not (service.mount / TARGET / "current").exists()
