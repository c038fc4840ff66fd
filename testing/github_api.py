"""GitHub's API for commit statuses, at the origin's own address: as an Enterprise Server has it, below /api/v3."""

import json
import threading
import time
from dataclasses import dataclass
from typing import Any

from testing.origin import GitOrigin
from testing.origin_records import Answer, RequestRecord

MAX_HANG_SECONDS = 30.0
_PREFIX = "/api/v3/repos/"


@dataclass(frozen=True, slots=True)
class Posted:
    """One status as it was posted; `fields` are the body's."""

    repository: str
    commit: str
    authorization: str | None
    connection: int
    fields: dict[str, Any]


class GitHubApi:
    """Answers at the origin from now on; `posted` are the statuses, in the order of arrival.

    `status` is what each is answered with. While `is_hanging`, none is. `delay_seconds` is how long each takes.
    """

    def __init__(self, origin: GitOrigin) -> None:
        """Take over what the origin would answer 404."""
        self.posted: list[Posted] = []
        self.status = 201
        self.body = b"{}"
        self.is_hanging = False
        self.delay_seconds = 0.0
        self._origin = origin
        self._refusal = origin.refusal
        self._lock = threading.Lock()
        origin.refusal = self._answer  # type: ignore[method-assign]

    @property
    def states(self) -> list[tuple[str, str]]:
        """Each status' commit and state."""
        return [(each.commit, each.fields["state"]) for each in self.posted]

    def wait_until(self, count: int) -> None:
        """Wait until so many statuses were posted."""
        deadline = time.monotonic() + 5
        while len(self.posted) < count and time.monotonic() < deadline:
            time.sleep(0.01)

    def _answer(self, record: RequestRecord) -> Answer | None:
        if not record.path.startswith("/api/"):
            return self._refusal(record)
        assert record.method == "POST"
        assert record.path.startswith(_PREFIX)
        owner, name, statuses, commit = record.path.removeprefix(_PREFIX).split("/")
        assert statuses == "statuses"
        fields = json.loads(record.body)
        with self._lock:
            posted = Posted(f"{owner}/{name}", commit, record.authorization, record.connection, fields)
            self.posted.append(posted)
        if self.is_hanging:
            self._origin.stopping.wait(MAX_HANG_SECONDS)
        self._origin.stopping.wait(self.delay_seconds)
        headers = {"Content-Type": "application/json", "Location": f"{self._origin.address}/elsewhere"}
        return Answer(self.status, headers, self.body)
