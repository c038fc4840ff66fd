"""The doctor: all is well where it is, each planted trouble is found, and nothing is left behind."""

import fcntl
import json
import os
import time
from collections.abc import Callable
from email.utils import formatdate
from typing import Any, NamedTuple

import pytest

from handler.mount.operations import checks
from handler.network.remote.client import HttpRemote
from testing import fake_lambda
from testing.event_bus import Bus
from testing.origin import GitOrigin
from testing.queue import MessageQueue
from testing.repositories import Upstream
from testing.service import Service
from tests.functional.mounts import footprint


def wrong(content: dict[str, Any]) -> dict[str, str]:
    """Return what is wrong, by the check's name; each says what to do."""
    found = {each["name"]: each["found"] for each in content["checks"] if each["verdict"] == "wrong"}
    assert all(each["todo"] for each in content["checks"] if each["verdict"] == "wrong")
    assert content["exit_code"] == (1 if found else 0)
    return found


@pytest.fixture
def sound(service: Service, upstream: Upstream) -> Service:
    """Return a service in which nothing is wrong."""
    service.put_repository(credentials=service.put_token("token"))
    upstream.commit({"a": b"1"})
    service.push(upstream)
    return service


def test_where_all_is_well_it_says_so_and_leaves_nothing_behind(sound: Service, queue: MessageQueue, bus: Bus) -> None:
    """Every check, one line each; no secret in any."""
    sound.use_queue(queue)
    sound.configure(event_bus="default")
    before = footprint(sound.mount / "octo")
    content = sound.operate("doctor")
    assert wrong(content) == {}
    names = {each["name"].replace(sound.prefix, "PREFIX") for each in content["checks"]}
    assert names == {
        "settings",
        "mount",
        "locks",
        "links and renames",
        "times",
        "modes",
        "mount's clock",
        "free space",
        "parameters",
        "secret PREFIX/webhook-secret",
        "queue",
        "event bus",
        "octo/site: parameter",
        "octo/site: token",
        "octo/site: remote",
    } | ({"publisher"} if fake_lambda.is_function() else set())
    assert {each["verdict"] for each in content["checks"]} == {"ok"}
    assert footprint(sound.mount / "octo") == before
    assert [each for each in os.listdir(sound.mount / ".git2efs") if each.startswith("doctor")] == []
    assert sound.secret not in json.dumps(content)


def test_each_trouble_with_parameters_is_found(service: Service, upstream: Upstream, origin: GitOrigin) -> None:
    """At once, each with its own line."""
    service.put_secret('"in quotes"\n')
    service.put_repository(own_secret=True)
    service.put_repository_text("octo/broken", '{"depth": "x", "colour": "red"}')
    service.put_repository_text("octo/gone", json.dumps({"url": origin.url("octo/nowhere")}))
    elsewhere = {"url": origin.url("octo/site"), "credentials": f"{service.prefix}/webhook-secret"}
    service.put_repository_text("octo/elsewhere", json.dumps(elsewhere))
    missing = {"url": origin.url("octo/site"), "credentials": f"{service.prefix}/credentials/none"}
    service.put_repository_text("octo/private", json.dumps(missing))
    service.put_repository_text(
        "octo/taker",
        json.dumps({"url": origin.url("octo/site"), "publish": [{"ref": "refs/heads/x", "path": "octo/site/main"}]}),
    )
    service.put_repository_text(
        "octo/other",
        json.dumps({"url": origin.url("octo/site"), "publish": [{"ref": "refs/heads/x", "path": "octo/site/main"}]}),
    )
    upstream.commit({"a": b"1"})
    found = wrong(service.operate("doctor"))
    assert "quotes around it" in found[f"secret {service.prefix}/webhook-secret"]
    assert "newline" in found[f"secret {service.prefix}/webhook-secret"]
    assert "is not there" in found[f"secret {service.prefix}/webhook-secrets/octo/site"]
    assert "colour" in found["octo/broken: parameter"]
    assert "depth" in found["octo/broken: parameter"]
    assert "404" in found["octo/gone: remote"]
    assert "is not there" in found["octo/private: token"]
    assert f"below {service.prefix}/credentials/" in found["octo/elsewhere: token"]
    assert "meets" in found["places"]
    assert "in quotes" not in json.dumps(found)
    only = service.operate("doctor", "octo/gone")
    assert [each["name"] for each in only["checks"] if each["name"].startswith("octo/")] == [
        "octo/gone: parameter",
        "octo/gone: remote",
    ]
    assert "there is no parameter" in wrong(service.operate("doctor", "octo/nobody"))["repository"]


def test_refs_that_are_not_there_are_found(service: Service, upstream: Upstream, origin: GitOrigin) -> None:
    """A branch misspelt in a rule; a wrong token; a remote that is away."""
    service.put_repository(publish=[{"ref": "refs/heads/mian"}, {"ref": "refs/tags/v*", "latest": True}])
    upstream.commit({"a": b"1"})
    found = wrong(service.operate("doctor"))
    assert "refs/heads/mian" in found["octo/site: publish[0]"]
    assert "refs/tags/v*" in found["octo/site: publish[1]"]
    service.put_repository(credentials=service.put_token("wrong"))
    origin.require_token("right")
    assert "401" in wrong(service.operate("doctor"))["octo/site: remote"]
    origin.require_token(None)
    origin.fail_next(99)
    assert "remote_unavailable" in wrong(service.operate("doctor"))["octo/site: remote"]
    origin.clear_faults()


def test_no_secret_and_no_repository_is_where_everybody_begins(service: Service) -> None:
    """Each says what to do."""
    service.store.delete(f"{service.prefix}/webhook-secret")
    content = service.operate("doctor")
    assert set(wrong(content)) == {f"secret {service.prefix}/webhook-secret", "parameters"}
    todo = " ".join(each["todo"] for each in content["checks"])
    assert f"--name {service.prefix}/webhook-secret --type SecureString" in todo
    assert f"--name {service.prefix}/repositories/OWNER/NAME" in todo
    service.put_secret("x")
    service.store.fail_next(99, "AccessDeniedException")
    assert "AccessDenied" in wrong(service.operate("doctor"))["parameters"]
    service.store.reset()


def _no_locks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fcntl, "flock", lambda *arguments: None)


def _coarse_times(monkeypatch: pytest.MonkeyPatch) -> None:
    utime = os.utime

    def coarse(path: str, *, ns: tuple[int, int], **options: Any) -> None:
        utime(path, ns=(ns[0] // 10**9 * 10**9, ns[1] // 10**9 * 10**9), **options)

    monkeypatch.setattr(os, "utime", coarse)


def _full(monkeypatch: pytest.MonkeyPatch) -> None:
    class Space(NamedTuple):
        f_bavail: int = 10
        f_frsize: int = 4096
        f_files: int = 10
        f_favail: int = 10

    monkeypatch.setattr(os, "statvfs", lambda path: Space())


def _no_links(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object, **options: object) -> None:
        raise PermissionError(1, "not permitted")

    monkeypatch.setattr(os, "symlink", refuse)


def _closed_modes(monkeypatch: pytest.MonkeyPatch) -> None:
    open_ = os.open
    monkeypatch.setattr(checks, "open_to_lock", lambda path: open_(path, os.O_RDWR | os.O_CREAT, 0o600))


def _late_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "MAX_SKEW_SECONDS", -1.0)


@pytest.mark.parametrize(
    ("name", "plant"),
    [
        ("locks", _no_locks),
        ("times", _coarse_times),
        ("free space", _full),
        ("links and renames", _no_links),
        ("modes", _closed_modes),
        ("mount's clock", _late_clock),
    ],
)
def test_each_trouble_with_the_mount_is_found(
    sound: Service, name: str, plant: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It alone, and what was tried out is removed all the same."""
    plant(monkeypatch)
    assert set(wrong(sound.operate("doctor"))) == {name}
    monkeypatch.undo()
    assert os.listdir(sound.mount / ".git2efs") == []


def test_a_mount_that_is_not_there_or_cannot_be_written_is_found(
    sound: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing else of the mount is tried then."""
    mount = sound.mount
    sound.configure(mount="/nowhere/at/all")
    assert "not a directory" in wrong(sound.operate("doctor"))["mount"]
    sound.configure(mount=str(mount))
    (mount / ".git2efs").write_bytes(b"")
    assert "cannot be written" in wrong(sound.operate("doctor"))["mount"]


@pytest.mark.parametrize(("date", "is_found"), [("late", True), ("right", False), ("no date", False), ("", False)])
def test_a_clock_that_is_off_is_found_by_the_remotes(
    sound: Service, date: str, is_found: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """GitHub's Date header is right, and a server that has none says nothing."""
    at = {"late": time.time() - 600, "right": time.time()}.get(date)
    said = date if at is None else formatdate(at, usegmt=True)

    def answered(remote: HttpRemote) -> str:
        return said

    monkeypatch.setattr(HttpRemote, "date", property(answered, lambda remote, value: None), raising=False)
    found = wrong(sound.operate("doctor"))
    assert ("octo/site: clock" in found) is is_found
    assert "-60" in found.get("octo/site: clock", "-60")


def test_a_queue_or_bus_that_is_not_there_is_found_and_one_that_is_closed_is_not_judged(
    sound: Service, queue: MessageQueue, bus: Bus
) -> None:
    """Who has no right to ask cannot say."""
    sound.use_queue(queue)
    sound.configure(event_bus="nobodys", queue_url=f"{queue.url}-not", dead_letter_url=queue.dead_letter_url)
    found = wrong(sound.operate("doctor"))
    assert set(found) == {"queue", "event bus"}
    sound.configure(event_bus="default", queue_url=queue.url)
    queue.fail_next(1, "AccessDeniedException", 403)
    bus.fail_next(1, "AccessDeniedException", 400)
    content = sound.operate("doctor")
    assert wrong(content) == {}
    closed = {each["name"]: each["todo"] for each in content["checks"] if each["verdict"] == "unknown"}
    assert "sqs:GetQueueAttributes" in closed["queue"]
    assert "events:DescribeEventBus" in closed["event bus"]
