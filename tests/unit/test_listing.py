"""All repositories of a stack: paged, paced, remembered, and what one wrong parameter does to the others."""

import threading
import time
import uuid
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from handler.errors import ConfigurationInvalid, ParametersUnavailable, RepositoryUnknown
from handler.model import Repository
from handler.network.aws.parameters import STALE_SECONDS, Parameters
from handler.network.aws.rate_limit import PAGES_PER_SECOND, RateLimiter
from handler.network.aws.ssm import make_listing_client
from handler.settings import Settings
from testing.parameters import ParameterStore

LISTING = 240
SINGLE = 30


class Clock:
    """Starts at the real time, goes on only when told to, and sleeps by going on."""

    def __init__(self) -> None:
        """Start now."""
        self.now = time.time()
        self.slept = 0.0

    def __call__(self) -> float:
        """Seconds since the epoch."""
        return self.now

    def sleep(self, seconds: float) -> None:
        """Let so many seconds pass."""
        self.now += seconds
        self.slept += seconds


class World:
    """One stack's repositories, with their own prefix in the store."""

    def __init__(self, store: ParameterStore) -> None:
        """Nothing is stored."""
        self.store = store
        store.reset()
        self.prefix = f"/git2efs/{uuid.uuid4().hex}"
        self.clock = Clock()
        self.client: Any = boto3.client(
            "ssm",
            endpoint_url=store.endpoint,
            region_name="us-east-1",
            aws_access_key_id="testing",
            aws_secret_access_key="testing",
            config=Config(retries={"total_max_attempts": 1}),
        )
        self.parameters = Parameters(
            Settings(parameter_prefix=self.prefix, mount="/mnt/x"),
            lambda: self.client,
            self.clock,
            lambda: self.client,
            lambda: RateLimiter(PAGES_PER_SECOND, self.clock, self.clock.sleep),
        )

    def put(self, full_name: str, text: str = "{}", *, is_secure: bool = False) -> None:
        """Write a repository's parameter."""
        self.store.put(f"{self.prefix}/repositories/{full_name}", text, is_secure=is_secure)

    def listed(self) -> dict[str, Repository | ConfigurationInvalid]:
        """Return what the listing yields, each name once."""
        found = list(self.parameters.repositories())
        assert len(dict(found)) == len(found)
        return dict(found)


@pytest.fixture
def world(parameter_store: ParameterStore) -> World:
    """A stack without repositories."""
    return World(parameter_store)


def test_a_stack_without_repositories_lists_none(world: World) -> None:
    """And that is remembered as anything else is."""
    assert world.listed() == {}
    assert world.listed() == {}
    assert world.store.counts() == {"GetParametersByPath": 1}


def test_every_repository_is_listed_over_many_pages(world: World) -> None:
    """Ten a page, read once in the cache's time; what lies elsewhere under the prefix is not among them."""
    names = [f"octo/r{number}" for number in range(35)]
    for name in names:
        world.put(name)
    world.store.put(f"{world.prefix}/webhook-secret", "s", is_secure=True)
    world.store.put(f"{world.prefix}/repositories-old/octo/site", "{}")
    world.store.reset()
    for _ in range(3):
        listed = world.listed()
        assert sorted(listed) == sorted(names)
    assert listed["octo/r7"] == world.parameters.repository("octo/r7")
    assert world.store.counts() == {"GetParametersByPath": 4}
    world.put("octo/new")
    world.clock.now += LISTING
    assert "octo/new" in world.listed()


def test_one_wrong_parameter_does_not_hide_the_others(world: World) -> None:
    """Each of them is listed with what is wrong: the text, or the name."""
    world.put("octo/good")
    world.put("octo/wrong", '{"depht": 1}')
    world.put("octo/text", "not JSON")
    world.put("alone", '{"includes": []}')
    world.put("octo/deep/er")
    listed = world.listed()
    assert isinstance(listed.pop("octo/good"), Repository)
    problems = {name: str(found) for name, found in listed.items() if isinstance(found, ConfigurationInvalid)}
    assert sorted(problems) == ["alone", "octo/deep/er", "octo/text", "octo/wrong"]
    assert "depht" in problems["octo/wrong"]
    assert "includes" in problems["alone"]
    assert "<owner>/<name>" in problems["octo/deep/er"]


def test_a_secure_string_is_read_by_itself(world: World) -> None:
    """A closed key fails its own repository: asked for decrypted, it would fail the page."""
    world.put("octo/open")
    world.put("octo/shut", "{}", is_secure=True)
    world.put("octo/sealed", '{"depth": 7}', is_secure=True)
    real = world.client.get_parameter

    def spoilt(*, Name: str, WithDecryption: bool) -> Mapping[str, Any]:
        if Name.endswith("octo/shut"):
            raise ClientError({"Error": {"Code": "InvalidKeyId"}}, "GetParameter")
        found: Mapping[str, Any] = real(Name=Name, WithDecryption=WithDecryption)
        return found

    world.client.get_parameter = spoilt
    listed = world.listed()
    assert isinstance(listed["octo/shut"], ConfigurationInvalid)
    assert "InvalidKeyId" in str(listed["octo/shut"])
    sealed = listed["octo/sealed"]
    assert isinstance(sealed, Repository)
    assert sealed.depth == 7
    assert isinstance(listed["octo/open"], Repository)


def test_what_was_listed_serves_deliveries(world: World) -> None:
    """For as long as a look-up of their own would; a new parameter is known although it was asked for in vain."""
    with pytest.raises(RepositoryUnknown):
        world.parameters.repository("octo/site")
    world.put("octo/site", '{"depth": 7}')
    world.clock.now += 1
    world.listed()
    world.store.reset()
    assert world.parameters.repository("octo/site").depth == 7
    assert world.store.calls == []
    world.clock.now += SINGLE
    assert world.parameters.repository("octo/site").depth == 7
    assert world.store.counts() == {"GetParameter": 1}


def test_a_look_up_is_newer_than_a_remembered_listing(world: World) -> None:
    """A listing of minutes ago does not bring back what was changed since."""
    world.put("octo/site", '{"depth": 7}')
    world.listed()
    world.put("octo/site", '{"depth": 8}')
    world.clock.now += SINGLE
    assert world.parameters.repository("octo/site").depth == 8
    world.listed()
    assert world.parameters.repository("octo/site").depth == 8


def test_the_pages_come_at_a_pace(world: World) -> None:
    """However fast Parameter Store answers: deliveries share its quota."""
    for number in range(95):
        world.put(f"octo/r{number}")
    started = world.clock.now
    world.listed()
    assert world.store.counts() == {"GetParametersByPath": 10}
    assert world.clock.slept == pytest.approx(9 / PAGES_PER_SECOND)
    assert 10 / (world.clock.now - started) <= PAGES_PER_SECOND * 10 / 9 + 0.01


def test_a_slow_page_is_not_made_up_for_by_a_burst() -> None:
    """Evenly means at any time, not on average."""
    clock = Clock()
    pace = RateLimiter(10.0, clock, clock.sleep)
    pace.wait()
    clock.now += 60.0
    pace.wait()
    before = clock.slept
    pace.wait()
    assert clock.slept - before == pytest.approx(0.1)


def test_an_outage_leaves_the_last_listing(world: World) -> None:
    """For an hour, asked again now and then; without one, it is told."""
    world.store.is_down = True
    with pytest.raises(ParametersUnavailable):
        world.parameters.repositories()
    world.store.is_down = False
    world.put("octo/site")
    assert list(world.listed()) == ["octo/site"]
    listed_at = world.clock.now
    world.store.is_down = True
    world.clock.now = listed_at + STALE_SECONDS - 1
    assert list(world.listed()) == ["octo/site"]
    world.clock.now = listed_at + STALE_SECONDS + 60
    with pytest.raises(ParametersUnavailable):
        world.parameters.repositories()


def test_a_listing_that_breaks_off_is_none(world: World) -> None:
    """Half of a list would look as if the rest were gone."""
    for number in range(25):
        world.put(f"octo/r{number}")
    real, pages = world.client.get_parameters_by_path, 0

    def spoilt(**arguments: Any) -> Mapping[str, Any]:
        nonlocal pages
        pages += 1
        if pages == 2:
            raise ClientError({"Error": {"Code": "ThrottlingException"}}, "GetParametersByPath")
        found: Mapping[str, Any] = real(**arguments)
        return found

    world.client.get_parameters_by_path = spoilt
    with pytest.raises(ParametersUnavailable):
        world.parameters.repositories()
    assert len(world.listed()) == 25


def test_a_page_may_be_empty_and_not_the_last(world: World) -> None:
    """Parameter Store promises no page's size."""
    world.put("octo/site")
    real = world.client.get_parameters_by_path

    def spoilt(**arguments: Any) -> Mapping[str, Any]:
        if arguments.pop("NextToken", None) is None:
            return {"Parameters": [], "NextToken": "more"}
        found: Mapping[str, Any] = real(**arguments)
        return found

    world.client.get_parameters_by_path = spoilt
    assert list(world.listed()) == ["octo/site"]


def test_without_the_right_to_list_it_is_a_problem_of_the_configuration(world: World) -> None:
    """Named by its path, and not asked for again at once."""
    world.store.fail_next(error="AccessDeniedException")
    for _ in range(3):
        with pytest.raises(ConfigurationInvalid, match=f"{world.prefix}/repositories"):
            world.parameters.repositories()
    assert world.store.counts() == {"GetParametersByPath": 1}


def test_boto3s_own_client_gets_over_being_throttled(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """It slows down and tries again, instead of giving the listing up."""
    world.store.lead_here(monkeypatch)
    world.put("octo/site")
    client: Any = make_listing_client()
    assert client.meta.config.retries == {"total_max_attempts": 6, "mode": "adaptive"}
    parameters = Parameters(Settings(parameter_prefix=world.prefix, mount="/mnt/x"), listing_client=lambda: client)
    world.store.fail_next(1)
    assert [name for name, _ in parameters.repositories()] == ["octo/site"]
    assert world.store.counts() == {"GetParametersByPath": 2}


def test_those_who_list_at_once_share_one_listing(world: World) -> None:
    """However many threads: three pages, asked for once."""
    for number in range(25):
        world.put(f"octo/r{number}")
    barrier = threading.Barrier(8)

    def use() -> int:
        barrier.wait()
        return len(world.listed())

    with ThreadPoolExecutor(8) as pool:
        assert [future.result() for future in [pool.submit(use) for _ in range(8)]] == [25] * 8
    assert world.store.counts() == {"GetParametersByPath": 3}


def test_a_burst_of_deliveries_costs_one_call_a_repository(world: World) -> None:
    """1,000 look-ups of 50 repositories by 50 threads at once: 50 calls, and none more while they are fresh."""
    names = [f"octo/r{number}" for number in range(50)]
    for name in names:
        world.put(name)
    world.store.reset()
    barrier = threading.Barrier(50)

    def use(thread: int) -> None:
        barrier.wait()
        for number in range(20):
            world.parameters.repository(names[(thread * 7 + number * number) % len(names)])

    with ThreadPoolExecutor(50) as pool:
        for future in [pool.submit(use, thread) for thread in range(50)]:
            future.result()
    asked = Counter(name for operation, name in world.store.calls if operation == "GetParameter")
    assert max(asked.values()) == 1
    assert len(world.store.calls) <= 50


def test_a_listing_adds_what_was_published_and_is_included(world: World) -> None:
    """Nobody is asked what was published where there is no rule; a wrong rule comes by its owner's name."""
    world.put("octo/site")
    assert [name for name, _ in world.parameters.repositories(lambda: pytest.fail("there is no rule"))] == ["octo/site"]
    assert world.parameters.owners() == ()
    world.put("octo", '{"exclude": ["old"], "depth": 4, "publish": [{"path": "sites/{name}"}]}')
    world.put("wrong", '{"include": 1}')
    world.clock.now += 241
    published = ["octo/site", "octo/old", "octo/.dot", "octo/new", "wrong/x", "other/x"]
    found = dict(world.parameters.repositories(lambda: published))
    assert sorted(found) == ["octo/.dot", "octo/new", "octo/site", "wrong"]
    assert [each.depth for each in found.values() if isinstance(each, Repository)] == [1, 4]
    assert "starts with a dot" in str(found["octo/.dot"])
    assert "include" in str(found["wrong"])
    assert sorted(world.parameters.owners()) == ["octo", "wrong"]
