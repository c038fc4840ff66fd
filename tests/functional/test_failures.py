"""What goes wrong at the remote, on the mount and with the lock: the outcome, nothing half done, and how it heals."""

import base64
import fcntl
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from testing.origin import GitOrigin
from testing.repositories import Upstream, archive, snapshot
from testing.service import Service
from tests.functional.mounts import Footprint, check_mirror, footprint, names
from tests.functional.packs import SPOILED, spoiling

MIRROR = "octo/site/mirror.git"
SKELETON = {
    "octo",
    "octo/site",
    "octo/site/.lock",
    MIRROR,
    *(f"{MIRROR}/{name}" for name in ("HEAD", "config", "refs", "refs/heads", "objects", "objects/pack")),
}
ATTEMPTS = 3
"""Tries of one request, by default."""


@pytest.fixture
def served(service: Service) -> Service:
    """Return the service with `octo/site` configured, so that a delivery makes no request but the two of a fetch."""
    service.put_repository(publish=[{"ref": "refs/heads/main"}])
    return service


def fails_and_heals(
    service: Service, upstream: Upstream, expected: tuple[int, str], heal: Callable[[], object] | None = None
) -> None:
    """Deliver a first push and, healed, a second one: each fails as `expected`, leaves no trace, and then succeeds."""
    origin = service.origin
    assert origin is not None
    commit = upstream.commit({"a": b"a" * 3000, "b/c": os.urandom(3000), "link": b"x"})
    request = service.push_request(upstream)
    answer = service.send(request)
    assert (answer.status, answer.outcome, answer.reason) == (expected[0], "failed", expected[1])
    assert "Traceback" not in service.text
    assert set(names(service.mount)) <= SKELETON
    assert max([*origin.counts.values(), 0]) <= ATTEMPTS
    (heal or origin.clear_faults)()
    assert service.send(request).outcome == "published"
    assert service.tree() == archive(upstream, commit)


# -- the remote -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [401, 403, 404, 410, 451, 301, 307])
def test_a_remote_that_refuses_needs_a_person_and_is_not_asked_again(
    served: Service, upstream: Upstream, origin: GitOrigin, status: int
) -> None:
    """500 remote_refused: no such repository, no right to it, or moved; one request of each kind."""
    origin.fail_next(50, status, headers={"Location": f"{origin.address}/octo/elsewhere.git/git-upload-pack"})
    fails_and_heals(served, upstream, (500, "remote_refused"))
    assert not [record for record in origin.requests if "elsewhere" in record.path]


@pytest.mark.parametrize("status", [500, 502, 503, 429])
def test_a_remote_that_is_ill_is_transient(served: Service, upstream: Upstream, origin: GitOrigin, status: int) -> None:
    """503 remote_unavailable, for the redelivery to try again."""
    served.configure(fetch_attempts=1)
    origin.fail_next(50, status)
    fails_and_heals(served, upstream, (503, "remote_unavailable"))


@pytest.mark.parametrize("attempts", [1, 2, 3])
def test_retries_are_bounded_by_a_setting(
    served: Service, upstream: Upstream, origin: GitOrigin, attempts: int
) -> None:
    """So many requests of each kind, and no more; one failure less, and the push is published."""
    served.configure(fetch_attempts=attempts)
    upstream.commit({"a": b"a"})
    request = served.push_request(upstream)
    origin.fail_next(attempts, 502, kind="ls-refs")
    assert served.send(request).status == 503
    assert origin.counts["ls-refs"] == attempts
    if attempts > 1:
        origin.fail_next(attempts - 1, 502, kind="fetch")
    assert served.send(request).outcome == "published"


@pytest.mark.parametrize("status", [200, 400, 405])
def test_a_page_instead_of_git_needs_a_person(
    served: Service, upstream: Upstream, origin: GitOrigin, status: int
) -> None:
    """A login page, a proxy's own words: 500 remote_unsupported."""
    origin.answer_next(50, status=status, headers={"Content-Type": "text/html"}, body=b"<html>Sign in</html>")
    fails_and_heals(served, upstream, (500, "remote_unsupported"))


def test_nonsense_under_gits_own_content_type_needs_a_person(
    served: Service, upstream: Upstream, origin: GitOrigin
) -> None:
    """Answered with 200 and the right type, but no pkt-line in it."""
    headers = {"Content-Type": "application/x-git-upload-pack-result"}
    origin.answer_next(50, headers=headers, body=b"<html>nonsense</html>")
    fails_and_heals(served, upstream, (500, "remote_unsupported"))


def test_a_server_without_protocol_v2_is_served_in_the_old_way(
    served: Service, upstream: Upstream, origin: GitOrigin
) -> None:
    """It is found out once and remembered: the second push asks for the advertisement and the commit, no more."""
    origin.no_v2()
    for number in range(3):
        commit = upstream.commit({"a": b"%d" % number, "same": b"same"})
        origin.forget()
        assert served.push(upstream).outcome == "published"
        assert served.tree() == archive(upstream, commit)
        check_mirror(served.mount / MIRROR, commit)
    assert sorted(record.kind for record in origin.requests) == ["advertisement", "fetch"]


@pytest.mark.parametrize("failures", [1, 3, 4, 6])
def test_an_outage_does_not_make_a_server_look_old(
    served: Service, upstream: Upstream, origin: GitOrigin, failures: int
) -> None:
    """Some old servers answer 500 to version 2; one that speaks it is not asked for all its refs ever after."""
    upstream.commit({"a": b"a"})
    origin.fail_next(failures, 500, kind="ls-refs")
    served.push(upstream)
    origin.clear_faults()
    origin.forget()
    upstream.commit({"a": b"b"})
    assert served.push(upstream).outcome == "published"
    assert origin.counts["advertisement"] == 0


@pytest.mark.parametrize("after", [0.0, 0.01, 0.5, 0.99])
@pytest.mark.parametrize("kind", ["fetch", "ls-refs"])
def test_an_answer_that_breaks_off_is_asked_for_again(
    served: Service, upstream: Upstream, origin: GitOrigin, kind: str, after: float
) -> None:
    """Broken off once, the second try brings it; always, it is 503 and nothing of it is shown."""
    served.configure(fetch_attempts=2)
    origin.drop_next(50, after=after, kind=kind)
    fails_and_heals(served, upstream, (503, "remote_unavailable"))
    origin.drop_next(1, after=after, kind=kind)
    commit = upstream.commit({"d": os.urandom(3000)})
    assert served.push(upstream).outcome == "published"
    assert served.tree() == archive(upstream, commit)
    check_mirror(served.mount / MIRROR, commit)


@pytest.mark.parametrize("kind", ["fetch", "ls-refs"])
def test_a_remote_that_stalls_is_left_after_the_read_timeout(
    served: Service, upstream: Upstream, origin: GitOrigin, kind: str
) -> None:
    """GitHub waits ten seconds for the whole answer: a stalled remote must not take them all."""
    served.configure(read_timeout_seconds=0.3, fetch_attempts=2)
    origin.stall_next(20, 2, kind=kind)
    started = time.monotonic()
    fails_and_heals(served, upstream, (503, "remote_unavailable"))
    assert time.monotonic() - started < 5


def test_a_remote_where_nobody_listens_is_transient(served: Service, upstream: Upstream) -> None:
    """Connection refused: 503, with the kind of error in the log and no address."""
    served.configure(repository_cache_seconds=0, fetch_attempts=1)
    served.put_repository(publish=[{"ref": "refs/heads/main"}], url="http://127.0.0.1:1/octo/site.git")

    def heal() -> None:
        served.put_repository(publish=[{"ref": "refs/heads/main"}])

    fails_and_heals(served, upstream, (503, "remote_unavailable"), heal)
    assert "127.0.0.1" not in served.text


def test_a_repository_that_is_not_there_needs_a_person(service: Service, origin: GitOrigin) -> None:
    """Configured, but gone or private at the remote: 500, told apart from 404 unknown."""
    service.put_repository("octo/gone")
    other = Upstream(origin.root, "octo/other")
    other.commit({"a": b"a"})
    other.full_name = "octo/gone"
    answer = service.push(other)
    assert (answer.status, answer.reason) == (500, "remote_refused")


def test_an_empty_repository_has_nothing_to_publish(service: Service, upstream: Upstream) -> None:
    """Its HEAD names no branch that is there: ignored, not failed."""
    service.put_repository()
    answer = service.push(upstream, after="a" * 40)
    assert (answer.status, answer.outcome) == (200, "ignored")


# -- packs ----------------------------------------------------------------------------------------------------


def spoiled_reasons(case: str) -> set[str]:
    """Return the reasons that a pack spoiled in this way may fail with."""
    reasons = {"pack_invalid", "remote_unavailable", "mirror_damaged"}
    if case == "too many objects promised":
        # The checksum is read as the missing object's header, and four bytes of it may name any size.
        reasons.add("object_too_large")
    return reasons


@pytest.mark.sampled(6)
@pytest.mark.parametrize("case", SPOILED)
def test_a_spoiled_pack_is_not_shown_and_does_no_harm(
    served: Service, upstream: Upstream, origin: GitOrigin, case: str
) -> None:
    """Whatever is wrong with it, first or later push: an outcome that says so, and the redelivery publishes."""
    previous: str | None = None
    before: Footprint = {}
    for content in (b"a" * 3000, b"a" * 2999 + b"b"):
        commit = upstream.commit({"a": content, "b/c": os.urandom(3000)})
        request = served.push_request(upstream)
        origin.forget()
        origin.rewrite_next(spoiling(SPOILED[case]), 10, kind="fetch")
        answer = served.send(request)
        assert (answer.outcome, answer.content["commit"]) == ("failed", previous)
        assert answer.reason in spoiled_reasons(case)
        assert origin.counts["fetch"] <= ATTEMPTS + 1
        assert not [name for name in names(served.mount / "octo/site") if "tmp_" in name]
        assert (footprint(served.mount / "octo/site/main") if previous else {}) == before
        origin.clear_faults()
        assert served.send(request).outcome == "published"
        assert served.tree() == archive(upstream, commit)
        check_mirror(served.mount / MIRROR, commit)
        previous, before = commit, footprint(served.mount / "octo/site/main")


def test_a_pack_over_the_bound_is_broken_off(served: Service, upstream: Upstream) -> None:
    """500 pack_too_large; with a larger bound the redelivery publishes."""
    served.configure(max_pack_bytes=2048)
    fails_and_heals(served, upstream, (500, "pack_too_large"), lambda: served.configure(max_pack_bytes=None))


def test_a_large_pack_goes_to_the_mount_once_and_leaves_nothing_behind(
    served: Service, upstream: Upstream, origin: GitOrigin
) -> None:
    """Over eight megabytes it is received into a temporary file: gone after a failure, renamed after success."""
    large = os.urandom(9 << 20)
    commit = upstream.commit({"large": large, "small": b"s"})
    request = served.push_request(upstream)
    served.configure(fetch_attempts=2)
    origin.drop_next(2, after=0.97, kind="fetch")
    assert served.send(request).reason == "remote_unavailable"
    assert set(names(served.mount)) <= SKELETON
    assert served.send(request).outcome == "published"
    assert served.tree() == archive(upstream, commit)
    assert not [name for name in names(served.mount / MIRROR) if "tmp_" in name]
    second = upstream.commit({"large": large + b"!", "small": b"t"})
    served.reset()
    assert served.push(upstream).outcome == "published"
    assert served.tree() == archive(upstream, second)
    check_mirror(served.mount / MIRROR, second)


# -- the mirror -----------------------------------------------------------------------------------------------


def _each(pattern: str, change: Callable[[Path], object]) -> Callable[[Path], None]:
    def damage(mirror: Path) -> None:
        found = list(mirror.glob(pattern))
        assert found
        for path in found:
            change(path)

    return damage


def _truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def _flip_every(path: Path, step: int = 13) -> None:
    content = bytearray(path.read_bytes())
    for at in range(40, len(content) - 40, step):
        content[at] ^= 0x55
    path.write_bytes(content)


def _replace_by_file(mirror: Path) -> None:
    shutil.rmtree(mirror)
    mirror.write_bytes(b"not a mirror")


def _leave(mirror: Path) -> None:
    for name in ("tmp_pack_x", "tmp_idx_x", f"pack-{'a' * 40}.pack", f"pack-{'b' * 40}.idx"):
        (mirror / "objects/pack" / name).write_bytes(b"x")


DAMAGES: dict[str, Callable[[Path], None]] = {
    "packs truncated": _each("objects/pack/*.pack", _truncate),
    "packs emptied": _each("objects/pack/*.pack", lambda path: path.write_bytes(b"")),
    "packs are garbage": _each("objects/pack/*.pack", lambda path: path.write_bytes(os.urandom(5000))),
    "packs damaged within": _each("objects/pack/*.pack", _flip_every),
    "packs deleted": _each("objects/pack/*.pack", Path.unlink),
    "indices truncated": _each("objects/pack/*.idx", _truncate),
    "indices emptied": _each("objects/pack/*.idx", lambda path: path.write_bytes(b"")),
    "indices are garbage": _each("objects/pack/*.idx", lambda path: path.write_bytes(os.urandom(5000))),
    "indices damaged within": _each("objects/pack/*.idx", _flip_every),
    "indices damaged in their tables": _each("objects/pack/*.idx", lambda path: _flip_every(path, 3)),
    "indices cut in their tables": _each("objects/pack/*.idx", lambda path: os.truncate(path, 500)),
    "indices deleted": _each("objects/pack/*.idx", Path.unlink),
    "all packs gone": lambda mirror: shutil.rmtree(mirror / "objects/pack"),
    "all objects gone": lambda mirror: shutil.rmtree(mirror / "objects"),
    "head deleted": _each("HEAD", Path.unlink),
    "shallow deleted": _each("shallow", Path.unlink),
    "shallow is garbage": _each("shallow", lambda path: path.write_bytes(b"\xff\0garbage\n" * 9)),
    "all gone": shutil.rmtree,
    "leftovers of a killed run": _leave,
}


FOR_GIT_ALONE = {"head deleted", "shallow deleted", "shallow is garbage"} | {
    case for case in DAMAGES if case.startswith("indices") and case != "indices deleted"
}
"""What no publishing needs, and so no publishing mends: small packs, as here, are read without their indices."""


WARM = (
    "packs truncated",
    "packs deleted",
    "indices deleted",
    "all packs gone",
    "all gone",
    "leftovers of a killed run",
)
"""Damages that matter to a process which holds the packs open, too."""


@pytest.mark.sampled(5)
@pytest.mark.parametrize(("case", "is_cold"), [*((case, True) for case in DAMAGES), *((case, False) for case in WARM)])
def test_a_damaged_mirror_heals_by_itself(served: Service, upstream: Upstream, case: str, is_cold: bool) -> None:
    """The next push is published as if nothing was; what stands published is not touched by the repair."""
    upstream.generate(40, commits=4)
    served.push(upstream)
    first = upstream.commit({"x": b"1" * 2000, "y/z": os.urandom(2000)})
    served.push(upstream)
    DAMAGES[case](served.mount / MIRROR)
    if is_cold:
        served.reset()
    second = upstream.commit({"x": b"1" * 1999 + b"2"})
    assert served.push(upstream).outcome == "published"
    assert served.tree() == archive(upstream, second)
    assert snapshot(served.mount / "octo/site/main/releases" / first) == archive(upstream, first)
    assert sorted(os.listdir(served.mount / "octo/site")) == [".lock", ".targets", "main", "mirror.git"]
    third = upstream.commit({"x": b"3"})
    served.reset()
    assert served.push(upstream).outcome == "published"
    assert served.tree() == archive(upstream, third)
    if case not in FOR_GIT_ALONE:
        check_mirror(served.mount / MIRROR, third)


# -- the lock -------------------------------------------------------------------------------------------------


def test_a_lock_held_too_long_is_transient_and_its_holders_death_frees_it(
    served: Service, upstream: Upstream, origin: GitOrigin
) -> None:
    """503 lock_timeout while another process works; killed in the midst of it, it leaves the lock to the next."""
    served.configure(lock_seconds=0.3)
    commit = upstream.commit({"a": b"a"})
    request = served.push_request(upstream)
    (served.mount / "octo/site").mkdir(parents=True)
    code = "import fcntl, sys, time; file = open(sys.argv[1], 'w'); fcntl.flock(file, fcntl.LOCK_EX); "
    code += "print('held', flush=True); time.sleep(60)"
    command = [sys.executable, "-c", code, str(served.mount / "octo/site/.lock")]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        started = time.monotonic()
        answer = served.send(request)
        assert (answer.status, answer.outcome, answer.reason) == (503, "failed", "lock_timeout")
        assert 0.3 <= time.monotonic() - started < 2
        holder.kill()
    assert served.send(request).outcome == "published"
    assert served.tree() == archive(upstream, commit)


def test_a_remote_that_is_slow_holds_no_lock(served: Service, upstream: Upstream, origin: GitOrigin) -> None:
    """While a push waits for it, whoever else has something to do on the repository can do it."""
    commit = upstream.commit({"a": b"a"})
    (served.mount / "octo/site").mkdir(parents=True)
    with origin.paused("fetch"):
        answer = served.send_later(served.push_request(upstream))
        origin.wait_for_held()
        with (served.mount / "octo/site/.lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    assert answer.result(20).outcome == "published"
    assert served.tree() == archive(upstream, commit)


# -- what a push costs at the remote --------------------------------------------------------------------------


def test_connections_are_kept_alive_between_pushes(service: Service, upstream: Upstream, origin: GitOrigin) -> None:
    """The first push needs two, for two requests at once; the next ones open none."""
    service.put_repository()
    for number in range(4):
        upstream.commit({"a": os.urandom(100_000), "n": b"%d" % number})
        assert service.push(upstream).outcome == "published"
        assert origin.connection_count <= 2


def test_a_failure_does_not_cost_the_connections(served: Service, upstream: Upstream, origin: GitOrigin) -> None:
    """After an error's answer the next push goes on over what is open, or opens two at most."""
    upstream.commit({"a": b"a"})
    served.push(upstream)
    origin.fail_next(1, 503, kind="fetch")
    upstream.commit({"a": b"b"})
    assert served.push(upstream).outcome == "published"
    assert origin.connection_count <= 4


def test_a_second_push_asks_for_one_commit_and_offers_one(
    service: Service, upstream: Upstream, origin: GitOrigin
) -> None:
    """Two requests of under a kilobyte together, however long the history is and however many pushes there were."""
    service.put_repository(depth=0)
    upstream.generate(10, commits=300)
    service.push(upstream)
    previous = str(upstream.tip())
    for number in range(3):
        commit = upstream.commit({"a": b"%d" % number})
        origin.forget()
        service.push(upstream)
        assert sorted(record.kind for record in origin.requests) == ["fetch", "ls-refs"]
        (fetch,) = origin.of_kind("fetch")
        assert (fetch.wants, fetch.haves) == ([commit], [previous])
        assert sum(record.request_bytes for record in origin.requests) < 1024
        assert fetch.response_bytes < 2048
        previous = commit


def test_a_refused_token_is_asked_with_once(service: Service, upstream: Upstream, origin: GitOrigin) -> None:
    """A wrong token does not hammer GitHub, which locks accounts for that."""
    origin.require_token("right")
    service.put_repository(credentials=service.put_token("wrong"))
    upstream.commit({"a": b"a"})
    assert service.push(upstream).reason == "remote_refused"
    assert len(origin.requests) == 1
    assert origin.requests[0].authorization == "Basic " + base64.b64encode(b"x-access-token:wrong").decode()
