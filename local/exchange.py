"""One HTTP request and its response as frozen values, pure."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

_WORDS: Mapping[int, str] = MappingProxyType(
    {
        400: "Bad Request",
        404: "Not Found",
        408: "Request Timeout",
        413: "Request Entity Too Large",
        500: "Internal Server Error",
    }
)
"""API Gateway's own words; http.HTTPStatus changes its phrases from one Python to the next."""


@dataclass(frozen=True, slots=True)
class Request:
    """A request: `path` without the query, `headers` as sent with duplicates kept, `body` without its framing."""

    method: str
    path: str
    query: str
    headers: tuple[tuple[str, str], ...]
    body: bytes
    peer: str
    protocol: str = "HTTP/1.1"

    def header(self, name: str) -> str | None:
        """Return the first header of that name in any case, or None."""
        return next((value for key, value in self.headers if key.lower() == name.lower()), None)


@dataclass(frozen=True, slots=True)
class Response:
    """A response; the server adds Content-Length, Date and Connection."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


def message(status: int) -> Response:
    """Return the small JSON that API Gateway itself answers with: `{"message":"Not Found"}`."""
    body = json.dumps({"message": _WORDS.get(status, "Bad Request")}, separators=(",", ":")).encode()
    return Response(status, body, {"Content-Type": "application/json"})
