"""What the handler answers, read as API Gateway reads it. Pure."""

import base64
import json
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Answer:
    """A proxy response: status, the body's JSON object, headers by lower-case name, and the body's text."""

    status: int
    content: dict[str, Any]
    headers: dict[str, str]
    text: str

    @property
    def outcome(self) -> str | None:
        """The content's `outcome`."""
        value = self.content.get("outcome")
        return None if value is None else str(value)

    @property
    def reason(self) -> str | None:
        """The content's `reason`."""
        value = self.content.get("reason")
        return None if value is None else str(value)


def read_answer(response: Any) -> Answer:
    """Return the answer. Raises AssertionError for what API Gateway would turn into its own 500 or 502."""
    json.dumps(response)  # Lambda serializes it; bytes or a dataclass in it fail there
    assert isinstance(response, dict), f"no object: {response!r}"
    status, text = response.get("statusCode"), response.get("body") or ""
    assert isinstance(status, int) and not isinstance(status, bool) and 100 <= status <= 599, response
    assert isinstance(text, str), response
    if response.get("isBase64Encoded"):
        text = base64.b64decode(text, validate=True).decode()
    headers = response.get("headers") or {}
    assert all(isinstance(name, str) and isinstance(value, str) for name, value in headers.items()), response
    content = json.loads(text) if text else {}
    assert isinstance(content, dict), f"the body is no JSON object: {text[:200]}"
    return Answer(status, content, {name.lower(): value for name, value in headers.items()}, text)
