"""Credentials in Secrets Manager, named by their ARNs."""

import json
from collections.abc import Iterator

import pytest

from testing.github_app import GitHubApp
from testing.origin import GitOrigin
from testing.repositories import Upstream
from testing.secrets_manager import SecretsManager
from testing.service import Service
from tests.functional.test_secrets import BASIC, TOKEN, assert_nowhere


@pytest.fixture
def secrets(service: Service, monkeypatch: pytest.MonkeyPatch) -> Iterator[SecretsManager]:
    """One that the stack's clients find."""
    started = SecretsManager()
    started.lead_here(monkeypatch)
    service.reset()
    yield started
    started.stop()


def put(service: Service, secrets: SecretsManager, value: str | bytes, name: str = "deploy") -> str:
    """Store a credential, and have `octo/site` name it; return its ARN."""
    arn = secrets.put(f"{service.prefix}/credentials/{name}", value)
    service.put_repository(credentials=arn)
    return arn


@pytest.mark.parametrize("is_json", [False, True])
def test_a_token_is_read_from_a_secret_and_is_nowhere(
    service: Service, upstream: Upstream, origin: GitOrigin, secrets: SecretsManager, is_json: bool
) -> None:
    """As plain text or JSON, once for its cached time, and Parameter Store is not asked for it."""
    origin.require_token(TOKEN)
    arn = put(service, secrets, json.dumps({"token": TOKEN, "repositories": ["octo/*"]}) if is_json else TOKEN)
    for content in (b"a", b"b"):
        upstream.commit({"a": content})
        assert service.push(upstream).outcome == "published"
    assert secrets.read == [arn]
    assert not [name for _, name in service.store.calls if "credentials" in name and service.prefix in name]
    assert_nowhere(service, origin, TOKEN, BASIC)


def test_a_secret_that_was_rotated_is_read_after_a_401(
    service: Service, upstream: Upstream, origin: GitOrigin, secrets: SecretsManager
) -> None:
    """Secrets Manager rotates by itself: the push that meets it is published all the same."""
    origin.require_token("ghp_Before")
    put(service, secrets, "ghp_Before")
    upstream.commit({"a": b"a"})
    assert service.push(upstream).outcome == "published"
    origin.require_token(TOKEN)
    put(service, secrets, TOKEN)
    upstream.commit({"a": b"b"})
    assert service.push(upstream).outcome == "published"
    assert_nowhere(service, origin, TOKEN, BASIC)


def test_a_secret_may_hold_an_apps_key(
    service: Service, upstream: Upstream, origin: GitOrigin, secrets: SecretsManager
) -> None:
    """It takes 64 KB: a key and more."""
    app = GitHubApp(origin)
    put(service, secrets, app.credential())
    upstream.commit({"a": b"a"})
    assert service.push(upstream).outcome == "published"
    assert_nowhere(service, origin, *app.needles())


@pytest.mark.parametrize("case", ["missing", "blank", "bytes", "denied", "throttled"])
def test_a_secret_that_cannot_be_read_stops_the_fetch(
    service: Service, upstream: Upstream, origin: GitOrigin, secrets: SecretsManager, case: str
) -> None:
    """With the ARN in the log, and what AWS said."""
    origin.require_token(TOKEN)
    spoilt: dict[str, str | bytes] = {"blank": " \n", "bytes": b"\x00"}
    arn = put(service, secrets, spoilt.get(case, TOKEN))
    if case == "missing":
        secrets.delete(f"{service.prefix}/credentials/deploy")
    elif case in ("denied", "throttled"):
        secrets.fail_next(9, {"denied": "AccessDeniedException", "throttled": "ThrottlingException"}[case])
    upstream.commit({"a": b"a"})
    reasons = {"denied": "configuration_invalid", "throttled": "parameters_unavailable"}
    assert service.push(upstream).reason == reasons.get(case, "secret_unusable")
    assert arn in service.log_lines[-1]["detail"]
    assert not origin.requests
    assert_nowhere(service, origin, TOKEN)


@pytest.mark.parametrize(
    "name", ["/git2efs/other/credentials/deploy", "{prefix}/webhook-secret", "{prefix}/credentials/../webhook-secret"]
)
def test_only_secrets_below_the_prefix_are_read(
    service: Service, upstream: Upstream, secrets: SecretsManager, name: str
) -> None:
    """The role's rights say so too; those of an operator's own shell do not."""
    arn = f"arn:aws:secretsmanager:eu-central-1:123456789012:secret:{name.format(prefix=service.prefix)}-AbCdEf"
    service.put_repository(credentials=arn)
    upstream.commit({"a": b"a"})
    assert service.push(upstream).reason == "configuration_invalid"
    assert secrets.read == []


def test_the_doctor_reads_a_secret(service: Service, upstream: Upstream, secrets: SecretsManager) -> None:
    """And says what looks wrong with it."""
    upstream.commit({"a": b"a"})
    put(service, secrets, f"{TOKEN}\n")
    checks = service.operate("doctor", "octo/site")["checks"]
    assert [each for each in checks if "ends with a newline" in json.dumps(each)]
