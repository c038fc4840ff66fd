"""Secrets, tokens and repositories from Parameter Store: moto's, asked by boto3's own client over a socket."""

import threading
import time
import uuid
from collections.abc import Callable, Mapping
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import (
    ClientError,
    ConnectTimeoutError,
    EndpointConnectionError,
    NoCredentialsError,
    ReadTimeoutError,
)

from handler.errors import (
    ConfigurationInvalid,
    ParametersUnavailable,
    RepositoryUnknown,
    SecretUnusable,
)
from handler.model import Repository
from handler.network.aws.credentials import Token
from handler.network.aws.parameters import (
    MAX_REPOSITORIES,
    RETRY_SECONDS,
    SECRET_FAILURE_SECONDS,
    STALE_SECONDS,
    Parameters,
    SSMClient,
    make_ssm_client,
)
from handler.settings import Settings
from testing.parameters import ParameterStore

OVERLAP = 86_400
CACHE = 300
REFRESH = 15
REPOSITORY_CACHE = 30


class Clock:
    """Starts at the real time, since moto dates versions by it, and goes on only when told to."""

    def __init__(self) -> None:
        """Start now."""
        self.now = time.time()

    def __call__(self) -> float:
        """Seconds since the epoch."""
        return self.now


class Spoilt:
    """A real client, of which some operations fail: `failures[operation]` is raised instead."""

    def __init__(self, client: Any) -> None:
        """Nothing fails at first."""
        self._client = client
        self.failures: dict[str, Exception] = {}

    def get_parameter(self, *, Name: str, WithDecryption: bool) -> Mapping[str, Any]:
        """Ask the real one, unless spoilt."""
        self._fail("get_parameter")
        answer: Mapping[str, Any] = self._client.get_parameter(Name=Name, WithDecryption=WithDecryption)
        return answer

    def get_parameter_history(
        self, *, Name: str, WithDecryption: bool, MaxResults: int, NextToken: str = ""
    ) -> Mapping[str, Any]:
        """Ask the real one for pages of three, unless spoilt."""
        self._fail("get_parameter_history")
        more = {"NextToken": NextToken} if NextToken else {}
        answer: Mapping[str, Any] = self._client.get_parameter_history(
            Name=Name, WithDecryption=WithDecryption, MaxResults=min(MaxResults, 3), **more
        )
        return answer

    def get_parameters_by_path(
        self, *, Path: str, Recursive: bool, WithDecryption: bool, MaxResults: int, NextToken: str = ""
    ) -> Mapping[str, Any]:
        """Ask the real one, unless spoilt."""
        self._fail("get_parameters_by_path")
        more = {"NextToken": NextToken} if NextToken else {}
        answer: Mapping[str, Any] = self._client.get_parameters_by_path(
            Path=Path, Recursive=Recursive, WithDecryption=WithDecryption, MaxResults=MaxResults, **more
        )
        return answer

    def _fail(self, operation: str) -> None:
        if operation in self.failures:
            raise self.failures[operation]


def service_error(code: str, status: int = 400) -> ClientError:
    """Return what botocore raises for an error of the service's."""
    response: Any = {
        "Error": {"Code": code, "Message": "hunter2"},
        "ResponseMetadata": {"HTTPStatusCode": status},
    }
    return ClientError(response, "GetParameter")


class World:
    """One stack's parameters, with their own prefix in the store."""

    def __init__(self, store: ParameterStore, **settings: Any) -> None:
        """`settings` differ from the defaults."""
        self.store = store
        store.reset()
        self.prefix = f"/git2efs/{uuid.uuid4().hex}"
        self.clock = Clock()
        client = boto3.client(
            "ssm",
            endpoint_url=store.endpoint,
            region_name="us-east-1",
            aws_access_key_id="testing",
            aws_secret_access_key="testing",
            config=Config(retries={"total_max_attempts": 1}),
        )
        self.client = Spoilt(client)
        self.parameters = Parameters(
            Settings(parameter_prefix=self.prefix, mount="/mnt/x", **settings), lambda: self.client, self.clock
        )

    def put_secret(self, value: str, *, is_secure: bool = True) -> float:
        """Write the webhook secret; return when, by the store's clock."""
        self.store.put(f"{self.prefix}/webhook-secret", value, is_secure=is_secure)
        version = self.client.get_parameter(Name=f"{self.prefix}/webhook-secret", WithDecryption=False)
        moment: float = version["Parameter"]["LastModifiedDate"].timestamp()
        self.clock.now = max(self.clock.now, moment)
        self.store.calls.clear()
        return moment

    def put_repository(self, text: str = "{}", full_name: str = "octo/site") -> None:
        """Write a repository's parameter."""
        self.store.put(f"{self.prefix}/repositories/{full_name}", text)

    def put_token(self, value: str) -> str:
        """Write a token; return its parameter's name."""
        name = f"{self.prefix}/credentials/token"
        self.store.put(name, value, is_secure=True)
        return name


@pytest.fixture
def world(parameter_store: ParameterStore) -> World:
    """A stack with default settings."""
    return World(parameter_store)


# -- the webhook secret -----------------------------------------------------------------------------------


def test_the_secret_is_decrypted_and_in_bytes(world: World) -> None:
    """As GitHub keys its HMAC: UTF-8."""
    world.put_secret("grüße")
    assert world.parameters.webhook_secrets() == ("grüße".encode(),)
    assert world.parameters.secret_problems() == ()


def test_the_secret_is_read_once_in_the_caches_time(world: World) -> None:
    """Never a call a request."""
    world.put_secret("one")
    for _ in range(5):
        world.parameters.webhook_secrets()
    world.clock.now += CACHE - 1
    world.parameters.webhook_secrets()
    assert world.store.counts() == {"GetParameter": 1}
    world.clock.now += 1
    world.parameters.webhook_secrets()
    assert world.store.counts()["GetParameter"] == 2


@pytest.mark.parametrize("value", [" ", "\n", " \r\n\t "])
def test_a_blank_secret_is_unusable(world: World, value: str) -> None:
    """Nothing is verified with nothing."""
    world.put_secret(value)
    with pytest.raises(SecretUnusable, match="blank"):
        world.parameters.webhook_secrets()


def test_a_missing_secret_is_unusable_and_a_flood_does_not_ask_for_each(world: World) -> None:
    """Requests come before the operator has put the secret; once it is there, seconds later it works."""
    for _ in range(5):
        with pytest.raises(SecretUnusable, match="not there"):
            world.parameters.webhook_secrets()
    assert world.store.counts() == {"GetParameter": 1}
    world.put_secret("one")
    world.clock.now += SECRET_FAILURE_SECONDS
    assert world.parameters.webhook_secrets() == (b"one",)


def test_a_secret_that_was_found_after_all_forgets_that_it_was_missing(parameter_store: ParameterStore) -> None:
    """A failure is believed no longer than until the next success, however short the cache's time."""
    world = World(parameter_store, secret_cache_seconds=1)
    with pytest.raises(SecretUnusable):
        world.parameters.webhook_secrets()
    world.put_secret("one")
    assert world.parameters.refresh_webhook_secrets() == (b"one",)
    world.clock.now += 1
    assert world.parameters.webhook_secrets() == (b"one",)


def test_a_replaced_secret_verifies_until_its_overlap_ends(world: World) -> None:
    """To the second, although the cache would still be trusted: rotation has no gap and no tail."""
    world.put_secret("old")
    replaced_at = world.put_secret("new")
    world.clock.now = replaced_at + OVERLAP - 100
    assert world.parameters.webhook_secrets() == (b"new", b"old")
    world.store.calls.clear()
    world.clock.now = replaced_at + OVERLAP - 1
    assert world.parameters.webhook_secrets() == (b"new", b"old")
    world.clock.now = replaced_at + OVERLAP
    assert world.parameters.webhook_secrets() == (b"new",)
    assert world.store.counts() == {}


def test_the_overlap_runs_from_the_replacement_and_not_from_the_writing(world: World) -> None:
    """A secret that served for a year still verifies right after it was replaced."""
    world.put_secret("old")
    world.store.age(f"{world.prefix}/webhook-secret", 365 * 86_400)
    world.put_secret("new")
    assert world.parameters.webhook_secrets() == (b"new", b"old")


def test_only_replacements_within_the_overlap_count(world: World) -> None:
    """Of a long history, the recent end."""
    name = f"{world.prefix}/webhook-secret"
    for value in ("first", "second", "third"):
        world.put_secret(value)
    world.store.age(name, OVERLAP + 1)
    for value in ("fourth", "fifth"):
        world.put_secret(value)
    assert world.parameters.webhook_secrets() == (b"fifth", b"fourth", b"third")


def test_a_history_of_many_pages_is_read_whole(world: World) -> None:
    """Pages come oldest first: the last ones are those that count."""
    for number in range(8):
        world.put_secret(f"secret {number}")
    assert world.parameters.webhook_secrets() == tuple(f"secret {n}".encode() for n in range(7, -1, -1))
    assert world.store.counts()["GetParameterHistory"] == 3


def test_a_secret_that_was_put_back_is_listed_once(world: World) -> None:
    """The current value never ends with an overlap."""
    for value in ("a", "b", "a", "a"):
        replaced_at = world.put_secret(value)
    assert world.parameters.webhook_secrets() == (b"a", b"b")
    world.clock.now = replaced_at + OVERLAP
    assert world.parameters.webhook_secrets() == (b"a",)


def test_a_blank_value_in_the_history_never_verifies(world: World) -> None:
    """A slip that was mended at once does not leave the door open for a day."""
    for value in ("a", " ", "b"):
        world.put_secret(value)
    assert world.parameters.webhook_secrets() == (b"b", b"a")


def test_without_an_overlap_the_history_is_not_asked_for(parameter_store: ParameterStore) -> None:
    """Setting 0 needs no permission for it either."""
    world = World(parameter_store, secret_overlap_seconds=0)
    world.put_secret("old")
    world.put_secret("new")
    assert world.parameters.webhook_secrets() == (b"new",)
    assert world.store.counts() == {"GetParameter": 1}


def test_a_mismatch_brings_the_new_secret_at_once(world: World) -> None:
    """The secret was changed while the cache was fresh: its first delivery is not lost."""
    world.put_secret("old")
    world.parameters.webhook_secrets()
    world.put_secret("new")
    assert world.parameters.webhook_secrets() == (b"old",)
    assert world.parameters.refresh_webhook_secrets() == (b"new", b"old")
    assert world.parameters.webhook_secrets() == (b"new", b"old")


def test_forged_signatures_cause_one_fresh_read_in_a_while(world: World) -> None:
    """A flood of them does not wear out the quota."""
    world.put_secret("one")
    assert world.parameters.refresh_webhook_secrets() == (b"one",)
    for _ in range(20):
        assert world.parameters.refresh_webhook_secrets() is None
    world.clock.now += REFRESH - 1
    assert world.parameters.refresh_webhook_secrets() is None
    assert world.store.counts()["GetParameter"] == 1
    world.clock.now += 1
    assert world.parameters.refresh_webhook_secrets() == (b"one",)


def test_a_refresh_during_an_outage_is_no_refresh(world: World) -> None:
    """A forged signature stays a 401, and what is known goes on."""
    world.put_secret("one")
    world.parameters.webhook_secrets()
    world.store.is_down = True
    assert world.parameters.refresh_webhook_secrets() is None
    assert world.parameters.webhook_secrets() == (b"one",)


def test_a_deleted_secret_ends_with_the_cache_and_does_not_come_back(world: World) -> None:
    """Neither as a value that outlives an outage."""
    world.put_secret("one")
    world.parameters.webhook_secrets()
    world.store.delete(f"{world.prefix}/webhook-secret")
    world.clock.now += CACHE
    with pytest.raises(SecretUnusable):
        world.parameters.webhook_secrets()
    world.store.is_down = True
    world.clock.now += SECRET_FAILURE_SECONDS
    with pytest.raises(ParametersUnavailable):
        world.parameters.webhook_secrets()


def test_a_secret_made_anew_does_not_inherit_the_deleted_ones_history(world: World) -> None:
    """Its versions count from 1 again; what is remembered of the old ones is not its past."""
    world.put_secret("stolen")
    world.put_secret("stolen too")
    world.parameters.webhook_secrets()
    world.store.delete(f"{world.prefix}/webhook-secret")
    world.put_secret("new")
    world.client.failures["get_parameter_history"] = service_error("ThrottlingException")
    assert world.parameters.refresh_webhook_secrets() == (b"new",)


@pytest.mark.parametrize("code", ["AccessDeniedException", "ValidationException"])
def test_without_permission_for_the_history_the_current_secret_works(world: World, code: str) -> None:
    """Only the overlap is missing, and the problem is said."""
    world.put_secret("old")
    world.put_secret("new")
    world.client.failures["get_parameter_history"] = service_error(code)
    assert world.parameters.webhook_secrets() == (b"new",)
    (sentence,) = world.parameters.secret_problems()
    assert "history" in sentence


def test_a_throttled_history_leaves_what_was_known_of_it(world: World) -> None:
    """Versions do not change, so an old look is as good."""
    world.put_secret("old")
    world.put_secret("new")
    world.parameters.webhook_secrets()
    world.put_secret("newer")
    world.client.failures["get_parameter_history"] = service_error("ThrottlingException")
    assert world.parameters.refresh_webhook_secrets() == (b"newer", b"new", b"old")
    assert world.parameters.secret_problems() == ()


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("hunter2\n", ["newline"]),
        ("hunter2\r\n", ["newline"]),
        (" hunter2", ["white space"]),
        ("hunter2\t", ["white space"]),
        ('"hunter2"', ["quotes"]),
        ("'hunter2'\n", ["newline", "quotes"]),
        ("it's \"fine\" 'inside'.", []),
        ('"', []),
    ],
)
def test_a_slip_in_storing_the_secret_is_said_and_the_value_is_not(world: World, value: str, words: list[str]) -> None:
    """It is used as it stands: GitHub may hold the very same."""
    world.put_secret(value)
    assert world.parameters.webhook_secrets() == (value.encode(),)
    sentences = world.parameters.secret_problems()
    assert len(sentences) == len(words)
    assert all(word in sentence for word, sentence in zip(words, sentences, strict=True))
    assert not any("hunter2" in sentence for sentence in sentences)


def test_a_mended_secret_has_no_problems(world: World) -> None:
    """The sentences are about what is stored now."""
    world.put_secret("hunter2\n")
    world.parameters.webhook_secrets()
    world.put_secret("hunter2")
    world.parameters.refresh_webhook_secrets()
    assert world.parameters.secret_problems() == ()


def test_a_secret_in_the_open_is_said(world: World) -> None:
    """A String works, and anybody who may list parameters reads it."""
    world.put_secret("one", is_secure=False)
    assert world.parameters.webhook_secrets() == (b"one",)
    assert "SecureString" in world.parameters.secret_problems()[0]


# -- repositories -----------------------------------------------------------------------------------------


def test_a_repository_is_its_parameter(world: World) -> None:
    """Parsed and validated; read once in the cache's time, and anew after it."""
    world.put_repository('{"depth": 7}')
    assert world.parameters.repository("octo/site").depth == 7
    world.put_repository('{"depth": 8}')
    world.clock.now += REPOSITORY_CACHE - 1
    assert world.parameters.repository("octo/site").depth == 7
    assert world.store.counts() == {"GetParameter": 1}
    world.clock.now += 1
    assert world.parameters.repository("octo/site").depth == 8


def test_an_unknown_repository_is_asked_for_once_in_the_caches_time(world: World) -> None:
    """And so is its owner's rule, for all of the owner's; and it is known as soon as that is over."""
    for _ in range(5):
        with pytest.raises(RepositoryUnknown):
            world.parameters.repository("octo/site")
    assert world.store.counts() == {"GetParameter": 2}
    with pytest.raises(RepositoryUnknown):
        world.parameters.repository("octo/other")
    assert world.store.counts() == {"GetParameter": 3}
    world.put_repository()
    world.clock.now += REPOSITORY_CACHE
    assert world.parameters.repository("octo/site").full_name == "octo/site"


@pytest.mark.parametrize("name", ["octo/../../webhook-secret", "../octo", "octo", "octo/site:1", "", "o/n/x"])
def test_a_name_that_cannot_be_a_repository_asks_for_nothing(world: World, name: str) -> None:
    """No name leads to another parameter."""
    with pytest.raises(RepositoryUnknown):
        world.parameters.repository(name)
    assert world.store.counts() == {}


def test_a_wrong_parameter_is_a_problem_of_the_configuration_until_it_is_mended(world: World) -> None:
    """It costs no more calls than a good one."""
    world.put_repository('{"depht": 1}')
    for _ in range(3):
        with pytest.raises(ConfigurationInvalid, match="depht"):
            world.parameters.repository("octo/site")
    assert world.store.counts() == {"GetParameter": 1}
    world.put_repository()
    world.clock.now += REPOSITORY_CACHE
    world.parameters.repository("octo/site")


def test_a_flood_of_unknown_names_neither_grows_memory_nor_drives_out_the_known(world: World) -> None:
    """Both rooms of the cache are bounded, and apart."""
    world.put_repository()
    world.parameters.repository("octo/site")
    world.store.calls.clear()
    world.client.failures["get_parameter"] = service_error("ParameterNotFound")
    for number in range(MAX_REPOSITORIES + 50):
        with pytest.raises(RepositoryUnknown):
            world.parameters.repository(f"octo/n{number}")
    assert world.parameters.repository("octo/site").full_name == "octo/site"
    assert len(world.parameters._texts._failures) == MAX_REPOSITORIES
    assert len(world.parameters._texts._values) == 1


# -- tokens -----------------------------------------------------------------------------------------------


def private(credentials: str | None, **fields: Any) -> Repository:
    """Return a repository of github.com with these credentials."""
    named = {"full_name": "octo/site", "url": "https://github.com/octo/site.git"} | fields
    return Repository(credentials=credentials, **named)


def value_of(token: Token | None) -> str | None:
    """Return the token itself."""
    return token.value if token is not None else None


def test_a_refused_token_is_read_afresh_and_seldom(world: World) -> None:
    """One that expired must not use up the quota, though many repositories name it; a new one serves all of them."""
    named = private(world.put_token("ghp_old"))
    first, second = world.parameters.token_of(named), world.parameters.token_of(named)
    assert first is not None
    assert second is not None
    assert (first.renew(), first.renew()) == (None, None)
    assert world.store.counts() == {"GetParameter": 2}
    world.put_token("ghp_new")
    assert first.renew() is None
    world.clock.now += 16
    assert (first.renew(), second.renew()) == ("ghp_new", "ghp_new")
    assert world.store.counts() == {"GetParameter": 3}
    assert value_of(world.parameters.token_of(named)) == "ghp_new"
    assert "ghp" not in repr(first)


def test_a_token_is_decrypted_and_cached(world: World) -> None:
    """As the secret is."""
    named = private(world.put_token("ghp_abcDEF123"))
    assert [value_of(world.parameters.token_of(named)) for _ in range(3)] == ["ghp_abcDEF123"] * 3
    assert world.store.counts() == {"GetParameter": 1}


def test_a_repository_has_the_token_that_its_parameter_names_or_none(world: World) -> None:
    """One that names none costs no call."""
    assert world.parameters.token_of(private(None)) is None
    assert world.store.counts() == {}
    named = private(world.put_token("ghp_abcDEF123"))
    assert value_of(world.parameters.token_of(named)) == "ghp_abcDEF123"


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_tokens_trailing_newline_is_taken_off_and_said(world: World, end: str) -> None:
    """`echo` adds one, and no token has one."""
    name = world.put_token(f"ghp_hunter2{end}")
    assert value_of(world.parameters.token_of(private(name))) == "ghp_hunter2"
    assert world.parameters.secret_problems() == (f"{name} ends with a newline.",)


@pytest.mark.parametrize("value", ["hunter2\nX-Evil: 1", "hunter 2", " hunter2", "hunter²", "hunter2\x7f", "\thunter2"])
def test_a_token_that_cannot_stand_in_a_header_is_unusable(world: World, value: str) -> None:
    """It could write headers of its own; the message does not show it."""
    name = world.put_token(value)
    with pytest.raises(SecretUnusable) as caught:
        world.parameters.token_of(private(name))
    assert name in str(caught.value)
    assert "hunter" not in str(caught.value)


def test_a_missing_or_blank_token_is_unusable(world: World) -> None:
    """The repository was told to use it, so it does not go on without."""
    with pytest.raises(SecretUnusable, match="not there"):
        world.parameters.token_of(private(f"{world.prefix}/credentials/nothing"))
    with pytest.raises(SecretUnusable, match="blank"):
        world.parameters.token_of(private(world.put_token(" ")))


# -- when Parameter Store fails ---------------------------------------------------------------------------

every_read = pytest.mark.parametrize(
    "read",
    [
        lambda world: world.parameters.webhook_secrets(),
        lambda world: world.parameters.repository("octo/site"),
        lambda world: world.parameters.token_of(private(f"{world.prefix}/credentials/token")),
    ],
    ids=["secret", "repository", "token"],
)
Read = Callable[[World], object]


def put_all(world: World) -> None:
    """Write one of each kind."""
    world.put_secret("one")
    world.put_repository()
    world.put_token("ghp_one")


@every_read
@pytest.mark.parametrize(
    "error",
    [
        service_error("ThrottlingException"),
        service_error("Whatever", 429),
        service_error("InternalServerError", 500),
        service_error("Whatever", 503),
        EndpointConnectionError(endpoint_url="https://ssm.example"),
        ConnectTimeoutError(endpoint_url="https://ssm.example"),
        ReadTimeoutError(endpoint_url="https://ssm.example"),
    ],
    ids=["throttled", "too many", "internal", "503", "no connection", "connect timeout", "read timeout"],
)
def test_what_passes_by_itself_is_unavailable(world: World, read: Read, error: Exception) -> None:
    """The answer is 503; the next delivery may work."""
    put_all(world)
    world.client.failures["get_parameter"] = error
    with pytest.raises(ParametersUnavailable):
        read(world)
    del world.client.failures["get_parameter"]
    read(world)


@every_read
@pytest.mark.parametrize(
    "error",
    [service_error("AccessDeniedException"), service_error("InvalidKeyId"), NoCredentialsError()],
    ids=["AccessDenied", "InvalidKeyId", "NoCredentials"],
)
def test_what_needs_a_person_names_the_parameter_and_quotes_nothing(world: World, read: Read, error: Exception) -> None:
    """The service's own text stays out of the message."""
    put_all(world)
    world.client.failures["get_parameter"] = error
    with pytest.raises(ConfigurationInvalid) as caught:
        read(world)
    assert world.prefix in str(caught.value)
    assert "hunter2" not in str(caught.value)


@every_read
def test_what_is_known_goes_on_for_an_hour_of_outage(world: World, read: Read) -> None:
    """A refused push is lost, so an old secret is better than none; but not for ever."""
    put_all(world)
    before = read(world)
    start = world.clock.now
    world.store.is_down = True
    world.clock.now = start + STALE_SECONDS - 1
    assert read(world) == before
    world.clock.now = start + STALE_SECONDS + RETRY_SECONDS
    with pytest.raises(ParametersUnavailable):
        read(world)


@every_read
def test_during_an_outage_the_store_is_asked_now_and_then(world: World, read: Read) -> None:
    """Each attempt may cost seconds of the ten that GitHub waits; and the end of the outage is noticed."""
    put_all(world)
    read(world)
    world.store.calls.clear()
    world.clock.now += CACHE
    world.store.fail_next(error="InternalServerError", status=500)
    for _ in range(5):
        read(world)
    assert world.store.counts() == {"GetParameter": 1}
    world.clock.now += RETRY_SECONDS
    read(world)
    assert world.store.counts()["GetParameter"] == 2


# -- the client -------------------------------------------------------------------------------------------


def test_the_client_is_made_once_at_the_first_use_by_whichever_thread(parameter_store: ParameterStore) -> None:
    """Nothing happens at import or construction, and two threads do not make two."""
    world = World(parameter_store)
    put_all(world)
    made: list[SSMClient] = []

    def make() -> SSMClient:
        made.append(world.client)
        time.sleep(0.01)  # long enough for the others to come
        return world.client

    parameters = Parameters(Settings(parameter_prefix=world.prefix, mount="/mnt/x"), make, world.clock)
    assert made == []
    barrier, results = threading.Barrier(8), []

    def use() -> None:
        barrier.wait()
        results.append((parameters.webhook_secrets(), parameters.repository("octo/site").full_name))

    threads = [threading.Thread(target=use) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [((b"one",), "octo/site")] * 8
    assert len(made) == 1


def test_boto3s_own_client_has_short_timeouts_and_gets_over_a_throttle(
    parameter_store: ParameterStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one that runs in Lambda: its settings reach botocore, and one refusal is not the end."""
    world = World(parameter_store)
    world.put_secret("one")
    parameter_store.lead_here(monkeypatch)
    client: Any = make_ssm_client()
    assert client.meta.config.connect_timeout == 2
    assert client.meta.config.read_timeout == 3
    parameter_store.fail_next(1)
    parameters = Parameters(Settings(parameter_prefix=world.prefix, mount="/mnt/x"), lambda: client)
    assert parameters.webhook_secrets() == (b"one",)
    assert parameter_store.counts()["GetParameter"] == 2
    parameter_store.reset()
    parameter_store.fail_next(2)
    with pytest.raises(ParametersUnavailable):
        parameters.token_of(private(f"{world.prefix}/credentials/any"))
    assert parameter_store.counts() == {"GetParameter": 2}


def test_an_environment_without_a_region_is_a_problem_of_the_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    """And not a traceback of boto3's."""
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", "/dev/null")
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    with pytest.raises(ConfigurationInvalid, match="NoRegionError"):
        make_ssm_client()
