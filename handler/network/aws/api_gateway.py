"""From an event of API Gateway or a function URL to a request, and from content to a response. Pure: no I/O, no clock.

Events have two formats: HTTP APIs and function URLs send payload 2.0 (lower-case names, repeated headers joined by a
comma), REST APIs 1.0 (names as sent, all values in `multiValueHeaders`, the last one in `headers`). We read the fields
that they share, whatever the version.
"""

import binascii
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from handler.errors import BodyTooLarge, Malformed
from handler.model import Forge

_FORGES = frozenset(Forge)


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """Headers by lower-case name, repeated ones joined by a comma; the body's bytes exactly as sent.

    `path` is the URL's path, which may start with a stage's name or a domain's base path; '' where the event has none.
    """

    headers: Mapping[str, str]
    body: bytes
    path: str = ""


def read_request(event: object, *, max_body_bytes: int) -> HttpRequest:
    """Return the request in `event`, its body decoded from base64 where `isBase64Encoded` says so.

    Raises BodyTooLarge, before it decodes anything of a larger body, and Malformed for an event of another shape.
    """
    if not isinstance(event, dict):
        raise Malformed("the event is not an object")
    headers = _read_headers(event)
    body = event.get("body")
    if body is None:
        body = ""
    if not isinstance(body, str):
        raise Malformed("the event's body is not text")
    is_base64 = event.get("isBase64Encoded")
    if is_base64 is not None and not isinstance(is_base64, bool):
        raise Malformed("the event's isBase64Encoded is neither true nor false")
    return HttpRequest(headers, _decode_body(body, is_base64 is True, max_body_bytes), _read_path(event))


def read_route(path: str) -> tuple[Forge, str | None]:
    """Return whose route `.../<forge>` or `.../<forge>/<owner>/<name>` is; any other path is GitHub's common one.

    The second is the `<owner>/<name>`, not validated, of a repository whose own URL it is. Only the end of the path
    counts, since its beginning differs: HTTP APIs put their stage's name there, REST APIs do not, and both put a custom
    domain's base path.
    """
    parts = path.strip("/").split("/")
    # First: a repository may be called as a forge is.
    if len(parts) > 2 and parts[-3] in _FORGES:
        return Forge(parts[-3]), "/".join(parts[-2:])
    return (Forge(parts[-1]) if parts[-1] in _FORGES else Forge.GITHUB), None


def answer(status: int, content: Mapping[str, object]) -> dict[str, object]:
    """Return the proxy response, valid for both formats, with `content` as its JSON body."""
    return {
        "statusCode": status,
        "headers": {"content-type": "application/json", "cache-control": "no-store"},
        "body": json.dumps(content),
        "isBase64Encoded": False,
    }


def _read_path(event: dict[object, object]) -> str:
    path = event.get("rawPath", event.get("path"))
    return path if isinstance(path, str) else ""


def _read_headers(event: dict[object, object]) -> Mapping[str, str]:
    single, multiple = event.get("headers"), event.get("multiValueHeaders")
    if single is None and multiple is None:
        raise Malformed("the event is not from API Gateway or a function URL: it has no headers")
    values: dict[str, list[str]] = {}
    for name, value in _pairs(multiple):
        if not isinstance(value, list):
            raise Malformed("a header of the event is not a list of values")
        values.setdefault(name, []).extend(_text(one) for one in value)
    in_multiple = frozenset(values)
    for name, value in _pairs(single):
        if name not in in_multiple:
            values.setdefault(name, []).append(_text(value))
    return MappingProxyType({name: ",".join(texts) for name, texts in values.items()})


def _pairs(headers: object) -> Iterator[tuple[str, object]]:
    if headers is None:
        return
    if not isinstance(headers, dict):
        raise Malformed("the event's headers are not an object")
    for name, value in headers.items():
        yield _text(name).lower(), value


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise Malformed("a header of the event is not text")
    return value


def _decode_body(body: str, is_base64: bool, max_body_bytes: int) -> bytes:
    # The bound first applies to the text, so that nothing too large is decoded.
    if len(body) > (_base64_length(max_body_bytes) if is_base64 else max_body_bytes):
        raise BodyTooLarge(f"the body is over {max_body_bytes} bytes")
    try:
        decoded = binascii.a2b_base64(body, strict_mode=True) if is_base64 else body.encode()
    except ValueError:
        raise Malformed("the body is not base64" if is_base64 else "the body is not UTF-8") from None
    if len(decoded) > max_body_bytes:
        raise BodyTooLarge(f"the body is over {max_body_bytes} bytes")
    return decoded


def _base64_length(count: int) -> int:
    return 4 * ((count + 2) // 3)
