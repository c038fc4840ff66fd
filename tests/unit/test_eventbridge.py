"""The bus's client, with a fake in EventBridge's place: it says whether the event was taken, whatever happens."""

from collections.abc import Mapping
from typing import Any

import pytest

from handler.exchange.events import pending, retired_event
from handler.model import Target
from handler.network.aws.eventbridge import PAUSE_SECONDS, EventBus, EventsClient

ABOUT = pending(
    retired_event("octo/site", Target(ref="refs/heads/x", path="octo/site/x"), commit=None, delivery="1", at=0.0)
)


class Fake:
    """A client that answers with what it is given, an exception is raised; each call takes `seconds`."""

    def __init__(self, *answers: Mapping[str, Any] | BaseException, seconds: float = 0.0) -> None:
        """The last answer is given for ever."""
        self.answers = list(answers)
        self.seconds = seconds
        self.now = 100.0
        self.entries: list[dict[str, str]] = []
        self.warnings: list[str] = []
        self.made = 0

    def put_events(self, *, Entries: list[dict[str, str]]) -> Mapping[str, Any]:
        """Answer as told."""
        self.entries += Entries
        self.now += self.seconds
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, BaseException):
            raise answer
        return answer

    def bus(self) -> EventBus:
        """Return a bus with this client."""

        def make() -> EventsClient:
            self.made += 1
            return self

        return EventBus("bus", self.warnings.append, make, lambda: self.now)


TAKEN = {"FailedEntryCount": 0, "Entries": [{"EventId": "1"}]}


def test_one_event_is_one_entry() -> None:
    """And one client, made when the first is put."""
    fake = Fake(TAKEN)
    bus = fake.bus()
    assert fake.made == 0
    assert bus.put(ABOUT)
    assert bus.put(ABOUT)
    assert fake.made == 1
    assert fake.entries[0].keys() == {"Source", "DetailType", "Detail", "EventBusName"}
    assert fake.entries[0]["DetailType"] == "TargetRetired"
    assert fake.warnings == []


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (RuntimeError("a secret of somebody's"), "RuntimeError"),
        ({"FailedEntryCount": 1, "Entries": [{"ErrorCode": "ThrottlingException"}]}, "ThrottlingException"),
        ({"FailedEntryCount": 1, "Entries": [{"ErrorCode": "a\nline" + "x" * 100}]}, "a\\nline" + "x" * 54),
        ({"FailedEntryCount": 1, "Entries": []}, "IndexError"),
        ({"FailedEntryCount": 1, "Entries": [{}]}, "None"),
    ],
)
def test_what_is_not_taken_is_said_in_one_line_with_its_code(answer: Any, told: str) -> None:
    """No text of anybody else's goes into the log."""
    fake = Fake(answer)
    assert fake.bus().put(ABOUT) is False
    assert fake.warnings == [f"EventBridge did not take TargetRetired of octo/site/x: {told}"]


def test_a_client_that_cannot_be_made_is_tried_again() -> None:
    """No region, say."""
    warnings: list[str] = []

    def make() -> EventsClient:
        raise ValueError

    bus = EventBus("bus", warnings.append, make)
    assert [bus.put(ABOUT), bus.put(ABOUT)] == [False, False]
    assert len(warnings) == 2


def test_a_bus_that_was_slow_to_fail_is_asked_again_after_a_pause() -> None:
    """In between nothing is asked, and nothing warned of."""
    fake = Fake(RuntimeError(), TAKEN, seconds=4.0)
    bus = fake.bus()
    assert not bus.put(ABOUT)
    fake.now += PAUSE_SECONDS - 0.1
    assert not bus.put(ABOUT)
    assert (len(fake.entries), len(fake.warnings)) == (1, 1)
    fake.now += 0.1
    assert bus.put(ABOUT)
    assert bus.put(ABOUT), "slow, but it takes them"


def test_a_bus_that_fails_at_once_is_asked_each_time() -> None:
    """It costs nothing."""
    fake = Fake(RuntimeError(), TAKEN)
    bus = fake.bus()
    assert [bus.put(ABOUT), bus.put(ABOUT)] == [False, True]
