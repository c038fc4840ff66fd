"""Repositories over SSH with a deploy key, from a real sshd: published, refused, and kept waiting."""

import json
import random
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from testing.origin import GitOrigin
from testing.repositories import Upstream, archive
from testing.service import Service
from testing.sshd import KeyPair, Sshd, make_pair, require_sshd

RULE = [{"ref": "refs/heads/main"}]
HOST, DEPLOY, OTHER = (make_pair(name) for name in ("host", "deploy", "other"))


@pytest.fixture
def sshd(tmp_path: Path) -> Iterator[Sshd]:
    """A server that takes the deploy key."""
    require_sshd()
    with Sshd(tmp_path / "sshd", host_key=HOST) as started:
        started.accept(DEPLOY)
        yield started


def put(service: Service, upstream: Upstream, sshd: Sshd, key: KeyPair = DEPLOY, **fields: Any) -> None:
    """Configure `octo/site` with a url for SSH and a credential that has the server's host key."""
    stored = {"ssh_key": key.private, "known_hosts": [sshd.known_hosts], "hosts": ["127.0.0.1"]} | fields
    credentials = service.put_token(json.dumps({name: value for name, value in stored.items() if value is not None}))
    service.put_repository(url=sshd.url(upstream.path), credentials=credentials, publish=RULE)


def assert_key_is_nowhere(service: Service, key: KeyPair = DEPLOY) -> None:
    """Neither a line of it nor anything of its middle."""
    for line in key.private.splitlines()[1:-1]:
        assert service.places_of(line) == []
        assert service.places_of(line[20:50]) == []


@pytest.mark.sampled(1)
@pytest.mark.parametrize("has_version_2", [True, False])
def test_a_push_is_published_and_the_next_one_fetches_its_change_alone(
    service: Service, upstream: Upstream, tmp_path: Path, has_version_2: bool
) -> None:
    """Where the server does not take the variable, in version 0; the command is git's own, and nothing else."""
    require_sshd()
    with Sshd(tmp_path / "sshd", host_key=HOST, has_version_2=has_version_2) as sshd:
        sshd.accept(DEPLOY)
        put(service, upstream, sshd)
        first = upstream.commit({f"d/{number}": random.Random(number).randbytes(1000) for number in range(20)})
        whole = service.push(upstream).content["bytes_fetched"]
        assert service.tree() == archive(upstream, first)
        second = upstream.commit({"d/3": b"changed"})
        assert 0 < service.push(upstream).content["bytes_fetched"] < whole / 10
        assert service.tree() == archive(upstream, second)
        assert set(sshd.requests) == {("version=2" if has_version_2 else "", f"git-upload-pack '{upstream.path}'")}
    assert_key_is_nowhere(service)


@pytest.mark.sampled(0)
@pytest.mark.parametrize("kind", ["ed25519", "ecdsa", "rsa"])
def test_each_type_of_key_serves_on_both_sides(service: Service, upstream: Upstream, tmp_path: Path, kind: str) -> None:
    """As the host's, and as ours."""
    require_sshd()
    deploy = make_pair("deploy", kind)
    with Sshd(tmp_path / "sshd", host_key=make_pair("host", kind)) as sshd:
        sshd.accept(deploy)
        put(service, upstream, sshd, deploy)
        upstream.commit({"a": b"a"})
        assert service.push(upstream).outcome == "published"
    assert_key_is_nowhere(service, deploy)


REFUSED: dict[str, tuple[dict[str, Any], str, str]] = {
    "unknown host": ({"known_hosts": None}, "remote_untrusted", "known_hosts"),
    "changed host key": ({"host": OTHER}, "remote_untrusted", "does not have the host key"),
    "host key of another type": ({"host": make_pair("host", "ecdsa")}, "remote_untrusted", "does not have the host"),
    "another port's": ({"port": 1}, "remote_untrusted", "no host key of [127.0.0.1]:"),
    "wrong key": ({"ssh_key": OTHER.private}, "remote_refused", "deploy key"),
    "host that it is not for": ({"hosts": ["github.com"]}, "configuration_invalid", "github.com alone"),
    "another repository": ({"repositories": ["octo/other"]}, "configuration_invalid", '"repositories"'),
    "no key": ({"ssh_key": "-----BEGIN PRIVATE KEY-----"}, "secret_unusable", "ssh-keygen"),
    "damaged key": ({"ssh_key": DEPLOY.private.replace("\nb3Blb", "\nc3Blb")}, "secret_unusable", "no private key"),
}


@pytest.mark.sampled(3)
@pytest.mark.parametrize("case", REFUSED)
def test_what_does_not_fit_is_refused_for_good_and_told(
    service: Service, upstream: Upstream, sshd: Sshd, case: str
) -> None:
    """With what to do; nothing is run there, and no key is told."""
    fields, reason, words = REFUSED[case]
    fields = dict(fields)
    if "host" in fields or "port" in fields:
        host, port = fields.pop("host", HOST), fields.pop("port", sshd.port)
        fields["known_hosts"] = [f"[127.0.0.1]:{port} {host.public}"]
    put(service, upstream, sshd, **fields)
    upstream.commit({"a": b"a"})
    answer = service.push(upstream)
    assert (answer.status, answer.reason) == (500, reason)
    assert words in service.log_lines[-1]["detail"]
    assert not sshd.requests
    # Before the host has proved itself, the key is not used.
    assert reason == "remote_refused" or "publickey" not in sshd.log
    assert_key_is_nowhere(service)
    assert_key_is_nowhere(service, OTHER)


@pytest.mark.sampled(0)
def test_a_new_key_is_read_at_once_and_one_that_is_taken_away_is_refused(
    service: Service, upstream: Upstream, sshd: Sshd
) -> None:
    """The credential is cached; the server's refusal has it read afresh."""
    put(service, upstream, sshd)
    upstream.commit({"a": b"a"})
    assert service.push(upstream).outcome == "published"
    sshd.accept(OTHER)
    put(service, upstream, sshd, OTHER)
    second = upstream.commit({"a": b"b"})
    assert service.push(upstream).outcome == "published"
    assert service.current_commit() == second
    sshd.accept()
    upstream.commit({"a": b"c"})
    assert service.push(upstream).reason == "remote_refused"
    assert service.current_commit() == second
    assert_key_is_nowhere(service)
    assert_key_is_nowhere(service, OTHER)


@pytest.mark.sampled(1)
@pytest.mark.parametrize("case", ["no repository", "no git"])
def test_a_command_that_fails_there_is_a_refusal(
    service: Service, upstream: Upstream, sshd: Sshd, case: str, tmp_path: Path
) -> None:
    """As forges answer a key that does not open the repository; its own words are not told."""
    put(service, upstream, sshd)
    upstream.commit({"a": b"a"})
    request = service.push_request(upstream)
    if case == "no git":
        (sshd.root / "forced").write_text("#!/bin/sh\necho 'ERROR: secret words' >&2\nexit 1\n")
    else:
        upstream.path.rename(tmp_path / "elsewhere")
    answer = service.send(request)
    assert (answer.status, answer.reason) == (500, "remote_refused")
    assert "secret words" not in service.text


GARBAGE = {
    "nothing": b"",
    "another protocol": b"HTTP/1.1 400 Bad Request\r\n\r\n",
    "a greeting and noise": b"SSH-2.0-x\r\n" + b"\xff" * 4096,
    "a greeting and a packet": b"SSH-2.0-x\r\n\0\0\0\x0c\x04\x14" + b"\xff" * 4096,
    "an old version": b"SSH-1.5-x\r\n",
    "a greeting without end": b"x" * 1_000_000,
    "a packet without end": b"SSH-2.0-x\r\n\x7f\xff\xff\xfc" + b"\x00" * 1_000_000,
}


@pytest.mark.sampled(0)
@pytest.mark.parametrize("case", GARBAGE)
def test_a_server_that_speaks_something_else_is_an_outcome(service: Service, upstream: Upstream, case: str) -> None:
    """Whatever its bytes make the library raise; its words are nowhere."""
    pytest.importorskip("paramiko")
    upstream.commit({"a": b"a"})

    def serve(listening: socket.socket) -> None:
        while listening.fileno() >= 0:
            with suppress(OSError), listening.accept()[0] as connection:
                connection.sendall(GARBAGE[case])
                connection.shutdown(socket.SHUT_WR)
                while connection.recv(4096):
                    pass

    with socket.create_server(("127.0.0.1", 0)) as listening:
        threading.Thread(target=serve, args=[listening], daemon=True).start()
        port = listening.getsockname()[1]
        stored = {"ssh_key": DEPLOY.private, "known_hosts": [f"[127.0.0.1]:{port} {HOST.public}"]}
        credentials = service.put_token(json.dumps(stored))
        service.put_repository(url=f"ssh://git@127.0.0.1:{port}/x", credentials=credentials, publish=RULE)
        answer = service.push(upstream)
    assert (answer.status, answer.reason) in ((503, "remote_unavailable"), (500, "remote_unsupported"))
    assert "Bad Request" not in service.text
    assert_key_is_nowhere(service)


SILENT = {
    "no greeting": None,
    "no git": "sleep 20",
    "half a line": "printf 00; sleep 20",
    "a drip": "while printf 1; do sleep 0.1; done",
    "errors without end": "yes >&2",
    "lines without end": r"printf '000eversion 2\n'; while printf 000bcap=abc; do sleep 0.1; done",
}


@pytest.mark.sampled(0)
@pytest.mark.parametrize("case", SILENT)
def test_a_server_that_keeps_us_waiting_is_left_at_the_request_s_end(
    service: Service, upstream: Upstream, tmp_path: Path, case: str
) -> None:
    """By the same bound as over HTTP, all tries together."""
    require_sshd()
    service.configure(request_seconds=1.5)
    upstream.commit({"a": b"a"})
    before = SILENT[case]
    with (
        socket.create_server(("127.0.0.1", 0)) as mute,
        Sshd(tmp_path / "sshd", host_key=HOST, before=before or "") as sshd,
    ):
        sshd.accept(DEPLOY)
        if before is None:
            sshd.port = mute.getsockname()[1]
        put(service, upstream, sshd)
        started = time.monotonic()
        answer = service.push(upstream)
        assert time.monotonic() - started < 5
    assert (answer.status, answer.reason) == (503, "remote_unavailable")


def test_a_token_is_not_for_a_url_for_ssh_and_a_key_for_no_other(
    service: Service, upstream: Upstream, origin: GitOrigin
) -> None:
    """Neither is sent."""
    upstream.commit({"a": b"a"})
    stored = {"ssh_key": DEPLOY.private, "hosts": ["127.0.0.1"]}
    for url, text in (("ssh://git@127.0.0.1/x", "a-token"), (origin.url("octo/site"), json.dumps(stored))):
        service.put_repository(url=url, credentials=service.put_token(text), publish=RULE)
        service.reset()
        assert service.push(upstream).reason == "configuration_invalid"
    assert not origin.requests
    assert_key_is_nowhere(service)


def test_without_the_library_it_is_said_how_to_get_it(
    service: Service, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The default artefact does not have it; everything else goes on there."""
    for name in [each for each in sys.modules if each.startswith(("paramiko", "handler.network.remote.ssh"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "paramiko", None)
    upstream.commit({"a": b"a"})
    stored = {"ssh_key": DEPLOY.private, "hosts": ["127.0.0.1"]}
    credentials = service.put_token(json.dumps(stored))
    service.put_repository(url="git@127.0.0.1:octo/site.git", credentials=credentials, publish=RULE)
    assert service.push(upstream).reason == "configuration_invalid"
    assert "make build SSH=1" in service.log_lines[-1]["detail"]
