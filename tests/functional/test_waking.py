"""A publisher that sleeps is woken as soon as a delivery is verified, by one look, and never before."""

import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from handler.network.aws.parameters import Parameters
from testing import fake_lambda
from testing.deliveries import webhook_request
from testing.fake_lambda import interfering
from testing.origin import GitOrigin
from testing.parameters import ParameterStore
from testing.queue import MessageQueue
from testing.repositories import Upstream
from testing.service import Service

SECONDS = 10.0


@pytest.fixture
def invoked(
    tmp_path: Path, parameter_store: ParameterStore, origin: GitOrigin, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Service]:
    """Return a service that publishes through the function, with one repository."""
    monkeypatch.setenv(fake_lambda.VARIABLE, "function")
    started = Service(tmp_path / "mount", parameter_store, origin).start()
    started.put_repository()
    yield started
    started.stop()


class Invocations:
    """Notes the actions that the function is invoked for, and how many are under way at most."""

    def __init__(self) -> None:
        """Nothing was."""
        self.actions: list[str] = []
        self.begun = threading.Event()
        self.most = self._under_way = 0
        self._lock = threading.Lock()

    def __call__(self, action: str, invoke: Callable[[], Mapping[str, Any]]) -> Mapping[str, Any]:
        """Note it, and let it through."""
        with self._lock:
            self.actions.append(action)
            self._under_way += 1
            self.most = max(self.most, self._under_way)
        self.begun.set()
        try:
            return invoke()
        finally:
            with self._lock:
                self._under_way -= 1


@pytest.fixture
def invocations() -> Iterator[Invocations]:
    """Return what notes them."""
    noted = Invocations()
    with interfering(noted):
        yield noted


def reading_waits_for(event: threading.Event, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the repository's parameter be read only once the event is set."""
    read = Parameters.repository

    def late(parameters: Parameters, full_name: str) -> Any:
        assert event.wait(SECONDS), "nobody woke the publisher before the parameter was read"
        return read(parameters, full_name)

    monkeypatch.setattr(Parameters, "repository", late)


def test_it_is_woken_before_the_parameters_are_read(
    invoked: Service, upstream: Upstream, invocations: Invocations, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By one look, whose answer the run uses; a function that is awake is not looked at."""
    upstream.commit({"a": b"1"})
    with monkeypatch.context() as patched:
        reading_waits_for(invocations.begun, patched)
        assert invoked.push(upstream).outcome == "published"
    assert invocations.actions == ["look", "publish", "publish"]
    assert invocations.most == 1
    for _ in range(2):
        upstream.commit({"a": b"%d" % len(invocations.actions)})
        assert invoked.push(upstream).outcome == "published"
    assert invocations.actions == ["look", *["publish"] * 4]


def test_a_look_that_ended_before_the_run_began_is_believed(
    invoked: Service, upstream: Upstream, origin: GitOrigin, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is published, whatever the payload says that the push builds on: so nothing is fetched in vain."""
    answered = threading.Event()

    def noted(action: str, invoke: Callable[[], Mapping[str, Any]]) -> Mapping[str, Any]:
        answer = invoke()
        if action == "look":
            threading.Timer(0.1, answered.set).start()
        return answer

    before = upstream.commit({"a": b"0"})
    upstream.commit({"a": b"1"})
    reading_waits_for(answered, monkeypatch)
    with interfering(noted):
        assert invoked.push(upstream, before=before).outcome == "published"
    assert origin.counts["fetch"] == 1


def test_a_worker_wakes_it_too(
    invoked: Service,
    upstream: Upstream,
    queue: MessageQueue,
    invocations: Invocations,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What is in its queue was verified; the webhook in front of a queue invokes nobody."""
    commit = upstream.commit({"a": b"1"})
    invoked.use_queue(queue)
    assert invoked.push(upstream).status == 202
    assert invocations.actions == []
    reading_waits_for(invocations.begun, monkeypatch)
    assert queue.deliver_all(invoked.work) == 1
    assert invocations.actions[:2] == ["look", "publish"]
    assert invoked.current_commit() == commit


@pytest.mark.parametrize(
    "publish",
    [
        {"ref": "refs/heads/main", "path": "elsewhere/site"},
        {"ref": "refs/heads/main", "path": "octo/site/main", "mode": "working-copy"},
        {"ref": "refs/heads/*", "path": "octo/branches/*"},
    ],
)
def test_where_the_ref_goes_elsewhere_it_is_woken_all_the_same(
    invoked: Service, upstream: Upstream, invocations: Invocations, publish: dict[str, str]
) -> None:
    """The target is only known later; nobody looks twice, and what was seen at another path is not believed."""
    invoked.put_repository(publish=[publish], grace_seconds=0)
    for number in range(2):
        commit = upstream.commit({"a": b"%d" % number})
        invoked.reset()
        invocations.actions.clear()
        assert invoked.push(upstream).outcome == "published"
        assert invocations.actions[0] == "look"
        assert set(invocations.actions[1:]) == {"publish"}
    assert commit


@pytest.mark.parametrize("what", ["forged", "unsigned", "ping", "other event", "no push"])
def test_what_is_not_a_verified_push_wakes_nobody(
    invoked: Service, upstream: Upstream, invocations: Invocations, what: str
) -> None:
    """An invocation costs money, and is said to nobody who did not sign."""
    upstream.commit({"a": b"1"})
    request = {
        "forged": lambda: invoked.push_request(upstream, secret="guessed"),
        "unsigned": lambda: webhook_request("push", b"{}", None),
        "ping": lambda: webhook_request("ping", b"{}", invoked.secret),
        "other event": lambda: webhook_request("create", b"{}", invoked.secret),
        "no push": lambda: webhook_request("push", b"{}", invoked.secret),
    }[what]()
    invoked.send(request)
    assert invocations.actions == []


def test_no_call_is_under_way_when_the_answer_is_given(
    invoked: Service, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lambda would freeze the process with it; also where the push is of no target."""
    answered, went_on = threading.Event(), threading.Event()

    def slow(action: str, invoke: Callable[[], Mapping[str, Any]]) -> Mapping[str, Any]:
        assert action == "look"
        assert not answered.wait(0.2)
        went_on.set()
        return invoke()

    upstream.commit({"a": b"1"}, "nobodys")
    with interfering(slow):
        assert invoked.push(upstream, "nobodys").reason == "ref_not_published"
        answered.set()
    assert went_on.is_set()


def test_a_burst_wakes_it_once(invoked: Service, upstream: Upstream, invocations: Invocations) -> None:
    """Deliveries at the same time in one process share the look that is under way."""
    commit = upstream.commit({"a": b"1"})
    requests = [invoked.push_request(upstream) for _ in range(4)]
    assert {each.result().status for each in [invoked.send_later(request) for request in requests]} == {200}
    assert invocations.actions.count("look") == 1
    assert invoked.current_commit() == commit
