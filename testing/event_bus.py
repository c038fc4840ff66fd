"""An EventBridge bus on a loopback port; moto checks entries as EventBridge does."""

import json
import uuid
from typing import Any

from local.event import ACCOUNT_ID
from local.parameters import REGION
from testing.aws import AwsService


class Bus(AwsService):
    """A bus of its own for each test.

    `calls` lists the parameters of each PutEvents, in order; `events` the accepted events, in the envelopes that rules
    see.
    """

    ENDPOINT_VARIABLE = "AWS_ENDPOINT_URL_EVENTBRIDGE"

    def __init__(self) -> None:
        """Listen, with an empty bus."""
        self.calls: list[dict[str, Any]] = []
        self.events: list[dict[str, Any]] = []
        self.name = f"bus-{uuid.uuid4().hex[:12]}"
        super().__init__()
        self.backend("events").create_event_bus(self.name)

    def of_type(self, detail_type: str) -> list[dict[str, Any]]:
        """Return the details of all events of a type."""
        return [event["detail"] for event in self.events if event["detail-type"] == detail_type]

    def refuse_next(self, n: int = 1, error: str = "InternalFailure") -> None:
        """Answer the next `n` calls with 200, and an entry that the bus did not accept."""
        entry = {"ErrorCode": error, "ErrorMessage": "ordered by a test: octo/site"}
        self.answer_next(n, 200, {"FailedEntryCount": 1, "Entries": [entry]})

    def _note(self, operation: str, asked: dict[str, Any]) -> None:
        self.calls.append(asked)

    def _took(self, asked: dict[str, Any], answered: dict[str, Any]) -> None:
        if not answered.get("FailedEntryCount", 1):
            self.events += map(_envelope, asked["Entries"])


def _envelope(entry: dict[str, Any]) -> dict[str, Any]:
    """Return an entry as rules see it."""
    return {
        "version": "0",
        "id": str(uuid.uuid4()),
        "detail-type": entry["DetailType"],
        "source": entry["Source"],
        "account": ACCOUNT_ID,
        "region": REGION,
        "resources": [],
        "detail": json.loads(entry["Detail"]),
    }
