"""Tokens of a GitHub App: what is kept for how long, by a clock of our own; and what the JWT says."""

import base64
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from handler.config.credential import AppKey, parse_credential
from handler.errors import ConfigurationInvalid, RemoteRefused, RemoteUnavailable
from handler.model import Repository
from handler.network.app_jwt import make_jwt
from handler.network.app_tokens import RENEW_SECONDS, AppTokens
from handler.settings import Settings
from testing.github_app import APP_ID, GitHubApp, make_key, pem_of
from testing.origin import GitOrigin
from testing.origin_records import Answer

NAME = "/git2efs/prod/credentials/app"


class World:
    """An App at an origin, its tokens, and one clock for both."""

    def __init__(self, origin: GitOrigin) -> None:
        self.now = 1_800_000_000.0
        self.app = GitHubApp(origin, clock=lambda: self.now)
        self.tokens = AppTokens(Settings(parameter_prefix="/unused", mount="/unused"), lambda: self.now)
        self.key = AppKey(app_id=str(APP_ID), private_key=pem_of(make_key()))
        self.repository = Repository(full_name="octo/site", url=origin.url("octo/site"))

    def get(self, refused: str | None = None) -> str:
        """Return the repository's token."""
        return self.tokens.get(NAME, self.key, self.repository, refused=refused).value


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """One that is installed for the repository."""
    with GitOrigin(tmp_path) as origin:
        made = World(origin)
        yield made
        made.tokens.close()


def test_a_token_serves_until_a_run_could_outlive_it(world: World) -> None:
    """Then another one is made, before it expires."""
    first = world.get()
    world.now += 3600 - RENEW_SECONDS - 1
    assert world.get() == first
    world.now += 2
    assert world.get() != first
    assert len(world.app.issued) == 2


def test_while_github_is_silent_a_valid_token_serves_to_its_end(world: World) -> None:
    """And GitHub is asked again every quarter of a minute alone."""
    first = world.get()
    world.now += 3600 - RENEW_SECONDS + 1
    world.app.faults = [Answer(503, {}, b"")] * 100
    asked = len(world.app.asked)
    assert [world.get() for _ in range(5)] == [first] * 5
    assert len(world.app.asked) - asked == 2
    world.now += RENEW_SECONDS
    with pytest.raises(RemoteUnavailable):
        world.get()


def test_a_refused_token_is_made_anew_unless_it_is_young(world: World) -> None:
    """What GitHub does not take a second after it made it, it does not take from another one either."""
    first = world.get()
    assert world.get(refused=first) == first
    world.now += 16
    second = world.get(refused=first)
    assert second != first
    assert world.get(refused=first) == second


def test_a_suspension_is_told_at_the_next_token(world: World) -> None:
    """And the token that was refused is not used again."""
    first = world.get()
    world.app.installations["octo"].is_suspended = True
    world.now += 16
    for _ in range(2):
        with pytest.raises(RemoteRefused, match="Unsuspend"):
            world.get(refused=first)


def test_runs_that_need_one_token_at_once_share_it(world: World) -> None:
    """A burst of pushes costs GitHub one request."""
    values: list[str] = []
    threads = [threading.Thread(target=lambda: values.append(world.get())) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(values)) == len(world.app.issued) == 1


@pytest.mark.parametrize("skew", [-55, 0, 55])
def test_a_clock_that_is_a_minute_wrong_does_no_harm(world: World, skew: float) -> None:
    """GitHub refuses a JWT of the future, and one that is valid for longer than ten minutes by its own clock."""
    world.app.clock = lambda: world.now + skew
    assert world.get()


def test_the_jwt_is_of_the_past_and_short(world: World) -> None:
    """A key that was converted to PKCS #8 makes the same."""
    jwt = make_jwt(NAME, world.key, 1_000_000)
    head, claims = (json.loads(base64.urlsafe_b64decode(part + "==")) for part in jwt.split(".")[:2])
    assert head == {"alg": "RS256", "typ": "JWT"}
    assert claims == {"iat": 999_940, "exp": 1_000_540, "iss": str(APP_ID)}
    assert make_jwt(NAME, AppKey(app_id=str(APP_ID), private_key=pem_of(make_key(), "PKCS8")), 1_000_000) == jwt


def test_a_url_that_names_no_repository_has_no_token(world: World) -> None:
    """The API knows owners and names alone."""
    world.repository = Repository(full_name="octo/site", url="https://git.example.com/a/b/c.git")
    with pytest.raises(ConfigurationInvalid, match="OWNER/NAME"):
        world.get()


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"app_id": 1}, "has no private_key"),
        ({"private_key": "x"}, "has no app_id"),
        ({"installation_id": 1}, "has no app_id; has no private_key"),
        ({"app_id": True, "private_key": "x"}, "app_id is not an App's id"),
        ({"app_id": "a b", "private_key": "x"}, "app_id is not an App's id"),
        ({"app_id": 1, "private_key": "x", "installation_id": "9"}, "installation_id is not a whole number"),
        ({"app_id": 1, "private_key": "x", "token": "ghp_x"}, "both a token and an App's key"),
    ],
)
def test_a_credential_of_another_form_names_every_problem(fields: dict[str, object], problem: str) -> None:
    """And shows no value."""
    with pytest.raises(ConfigurationInvalid) as caught:
        parse_credential(NAME, json.dumps(fields), ["github.com"])
    assert problem in str(caught.value)
    assert "ghp_x" not in str(caught.value)


def test_neither_key_nor_token_shows_when_it_is_printed(world: World) -> None:
    """In a traceback's locals, say."""
    stored = parse_credential(NAME, world.app.credential(installation_id=3), ["github.com"])
    assert stored.app is not None
    assert (stored.app.app_id, stored.app.installation_id, stored.token) == (str(APP_ID), 3, "")
    printed = repr(stored) + repr(world.tokens.get(NAME, world.key, world.repository))
    assert "PRIVATE KEY" not in printed
    assert "ghs_" not in printed
