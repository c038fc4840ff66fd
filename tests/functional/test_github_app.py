"""A GitHub App in a token's place: its key makes tokens for one repository at a time, and is seen nowhere."""

import time
from collections.abc import Callable
from typing import Any

import pytest

from testing.github_app import GitHubApp, Installation, make_key, pem_of
from testing.origin import GitOrigin
from testing.origin_records import Answer
from testing.repositories import Upstream, archive
from testing.service import Service
from tests.functional.test_secrets import assert_nowhere

JSON = {"Content-Type": "application/json"}


@pytest.fixture
def app(origin: GitOrigin) -> GitHubApp:
    """The App, installed at `octo` with the repository `octo/site` alone."""
    return GitHubApp(origin)


def put(service: Service, credential: str, **fields: Any) -> None:
    """Configure `octo/site` with a credential."""
    service.put_repository(credentials=service.put_token(credential), **fields)


def test_tokens_are_for_one_repository_and_for_reading(
    service: Service, upstream: Upstream, origin: GitOrigin, app: GitHubApp
) -> None:
    """One serves all pushes of its hour; neither it nor the key nor a JWT is anywhere."""
    put(service, app.credential())
    for number in range(2):
        commit = upstream.commit({"a": b"%d" % number})
        assert service.push(upstream).outcome == "published"
        assert service.tree() == archive(upstream, commit)
    assert [each.fields for each in app.issued] == [{"repositories": ["site"], "permissions": {"contents": "read"}}]
    assert app.asked == [("GET", "/repos/octo/site/installation"), ("POST", "/app/installations/99/access_tokens")]
    assert_nowhere(service, origin, *app.needles())


def test_the_right_to_write_statuses_is_asked_for_where_they_are_posted(
    service: Service, upstream: Upstream, app: GitHubApp
) -> None:
    """And the installation is not looked up where the credential names it."""
    put(service, app.credential(installation_id=99), commit_status=True)
    upstream.commit({"a": b"a"})
    assert service.push(upstream).outcome == "published"
    assert [each.fields["permissions"] for each in app.issued] == [{"contents": "read", "statuses": "write"}]
    assert app.asked == [("POST", "/app/installations/99/access_tokens")]


def test_a_token_that_is_refused_is_made_anew_once(
    service: Service, upstream: Upstream, origin: GitOrigin, app: GitHubApp
) -> None:
    """Somebody revoked it: GitHub does not send the push again."""
    service.configure(secret_refresh_seconds=1)
    put(service, app.credential())
    upstream.commit({"a": b"a"})
    assert service.push(upstream).outcome == "published"
    app.revoke()
    time.sleep(1)  # a younger one is not made anew
    upstream.commit({"a": b"b"})
    assert service.push(upstream).outcome == "published"
    assert len(app.issued) == 2
    assert_nowhere(service, origin, *app.needles())


def suspended(app: GitHubApp) -> None:
    """Make it one that the owner has suspended."""
    app.installations["octo"].is_suspended = True


REFUSALS: dict[str, tuple[Callable[[GitHubApp], object], dict[str, object], str, str]] = {
    "not installed": (lambda app: app.installations.clear(), {}, "remote_refused", "Install it for the owner"),
    "not this repository": (
        lambda app: app.installations["octo"].repositories.clear(),
        {"installation_id": 99},
        "remote_refused",
        "Add both: the repository",
    ),
    "without the right": (lambda app: app.installations["octo"].rights.clear(), {}, "remote_refused", "Contents: read"),
    "suspended": (suspended, {}, "remote_refused", "Unsuspend it"),
    "another installation": (lambda _: None, {"installation_id": 7}, "remote_refused", "leave installation_id out"),
    "key revoked": (lambda app: app.keys.clear(), {}, "secret_unusable", "Make a private key"),
    "another key": (lambda app: app.replace_key(), {}, "secret_unusable", "Make a private key"),
    "moved": (lambda app: app.faults.append(Answer(301, JSON, b"{}")), {}, "remote_refused", "let its `url` follow"),
    "nonsense": (lambda app: app.faults.append(Answer(200, JSON, b"[")), {}, "remote_unsupported", "number"),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_what_github_refuses_says_what_to_do(
    service: Service, upstream: Upstream, origin: GitOrigin, app: GitHubApp, case: str
) -> None:
    """The repository is not asked for without a token, and nothing secret is told."""
    breaks, fields, reason, told = REFUSALS[case]
    breaks(app)
    put(service, app.credential(**fields))
    upstream.commit({"a": b"a"})
    answer = service.push(upstream)
    assert (answer.status, answer.reason) == (500, reason)
    assert told in service.log_lines[-1]["detail"]
    assert not [record for record in origin.requests if record.repository and record.kind != "other"]
    assert_nowhere(service, origin, *app.needles())


@pytest.mark.parametrize(
    "fault",
    [
        Answer(502, JSON, b"{}"),
        Answer(429, JSON, b"{}"),
        Answer(403, JSON | {"Retry-After": "60"}, b"{}"),
        Answer(403, JSON | {"X-RateLimit-Remaining": "0"}, b"{}"),
    ],
)
def test_what_passes_by_itself_is_transient(
    service: Service, upstream: Upstream, app: GitHubApp, fault: Answer
) -> None:
    """503 after a second try; the next push goes on."""
    put(service, app.credential())
    app.faults += [fault, fault]
    upstream.commit({"a": b"a"})
    answer = service.push(upstream)
    assert (answer.status, answer.reason) == (503, "remote_unavailable")
    assert service.push(upstream).outcome == "published"


def cut_off(pem: str) -> str:
    """Return a PEM that lost some of its lines."""
    lines = pem.splitlines()
    return "\n".join([*lines[:5], lines[-1]])


KEYS: dict[str, tuple[Callable[[str], str], str]] = {
    "cut off": (cut_off, "RSA key"),
    "no PEM": (lambda _: "MIIEowIBAAKCAQEA", "whole .pem file"),
    "no lines": (lambda pem: pem.replace("\n", "\\n"), "whole .pem file"),
}


@pytest.mark.parametrize("case", KEYS)
def test_a_key_that_is_none_is_unusable_and_not_shown(
    service: Service, upstream: Upstream, origin: GitOrigin, app: GitHubApp, case: str
) -> None:
    """Nothing is asked."""
    spoil, told = KEYS[case]
    key = spoil(pem_of(make_key()))
    put(service, app.credential(private_key=key))
    upstream.commit({"a": b"a"})
    answer = service.push(upstream)
    assert (answer.status, answer.reason) == (500, "secret_unusable")
    assert told in service.log_lines[-1]["detail"]
    assert not origin.requests
    assert_nowhere(service, origin, *app.needles(), key[10:40])


def test_the_key_goes_to_the_hosts_of_its_credential_alone(
    service: Service, upstream: Upstream, origin: GitOrigin, app: GitHubApp
) -> None:
    """As a token does: whoever writes a repository's parameter chooses its url."""
    put(service, app.credential(hosts=["git.example.com"]))
    upstream.commit({"a": b"a"})
    assert service.push(upstream).reason == "configuration_invalid"
    put(service, app.credential(hosts=["127.0.0.1"], repositories=["octo/other"]))
    service.reset()
    assert service.push(upstream).reason == "configuration_invalid"
    assert not origin.requests


def test_an_app_that_was_installed_anew_is_found(service: Service, upstream: Upstream, app: GitHubApp) -> None:
    """With another number than the one that is remembered."""
    put(service, app.credential())
    app.token_seconds = 30
    upstream.commit({"a": b"a"})
    assert service.push(upstream).outcome == "published"
    before = app.installations["octo"]
    app.installations["octo"] = Installation(100, before.repositories, before.rights)
    upstream.commit({"a": b"b"})
    assert service.push(upstream).outcome == "published"
    assert app.asked[-1] == ("POST", "/app/installations/100/access_tokens")
