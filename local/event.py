"""Do API Gateway's part of a request: build the HTTP API event (payload format 2.0), and read the proxy answer. Pure.

Shapes: https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-lambda.html
"""

import base64
import binascii
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl

from local.exchange import Request, Response

ACCOUNT_ID = "123456789012"
API_ID = "local00000"

_TEXT_MEDIA_TYPES = frozenset({"application/json", "application/javascript", "application/xml"})
_HOP_BY_HOP = frozenset(
    {"connection", "expect", "keep-alive", "proxy-connection", "te", "transfer-encoding", "upgrade"}
)


class AnswerMalformed(Exception):
    """The handler returned what API Gateway would not accept."""


def http_api_event(
    request: Request, request_id: str, received_at: float, trace_id: str, route: str | None = None
) -> dict[str, Any]:
    """Return the event that the function gets for `request`; `received_at` in seconds since the epoch.

    `route` is the key of the route that matched, with its variables; None if the key is the path itself.

    What the request lacks (body, query, cookies) is an absent key, as on AWS.
    """
    headers, cookies = _headers(request, trace_id)
    event: dict[str, Any] = {
        "version": "2.0",
        "routeKey": route or f"{request.method} {request.path}",
        "rawPath": request.path,
        "rawQueryString": request.query,
        "headers": headers,
        "requestContext": _request_context(request, request_id, received_at, headers, route),
    }
    if variables := _path_parameters(request.path, route or ""):
        event["pathParameters"] = variables
    if cookies:
        event["cookies"] = cookies
    if request.query:
        event["queryStringParameters"] = _joined(parse_qsl(request.query, keep_blank_values=True))
    event |= _body(request.body, headers.get("content-type", ""))
    return event


def _headers(request: Request, trace_id: str) -> tuple[dict[str, str], list[str]]:
    """Return the headers, with names lower-cased and duplicates joined by commas, and the cookies as a list."""
    pairs = [(name.lower(), value.strip()) for name, value in request.headers]
    cookies = [part.strip() for name, value in pairs if name == "cookie" for part in value.split(";")]
    headers = _joined([(name, value) for name, value in pairs if name not in _HOP_BY_HOP | {"cookie"}])
    headers["content-length"] = str(len(request.body))
    headers["x-amzn-trace-id"] = trace_id
    # Each proxy appends the address that it saw: a tunnel's entry comes before ours.
    headers["x-forwarded-for"] = ", ".join(filter(None, [headers.get("x-forwarded-for"), request.peer]))
    headers.setdefault("x-forwarded-proto", "http")
    return headers, [cookie for cookie in cookies if cookie]


def _joined(pairs: list[tuple[str, str]]) -> dict[str, str]:
    joined: dict[str, str] = {}
    for name, value in pairs:
        joined[name] = f"{joined[name]},{value}" if name in joined else value
    return joined


def _request_context(
    request: Request, request_id: str, received_at: float, headers: Mapping[str, str], route: str | None
) -> dict[str, Any]:
    domain = headers.get("host", "localhost")
    return {
        "accountId": ACCOUNT_ID,
        "apiId": API_ID,
        "domainName": domain,
        "domainPrefix": domain.split(".", 1)[0],
        "http": {
            "method": request.method,
            "path": request.path,
            "protocol": request.protocol,
            "sourceIp": request.peer,
            "userAgent": headers.get("user-agent", ""),
        },
        "requestId": request_id,
        "routeKey": route or f"{request.method} {request.path}",
        "stage": "$default",
        "time": datetime.fromtimestamp(received_at, UTC).strftime("%d/%b/%Y:%H:%M:%S +0000"),
        "timeEpoch": int(received_at * 1000),
    }


def _path_parameters(path: str, route: str) -> dict[str, str]:
    """Return the values of the route's variables, which are its parts in braces."""
    pairs = zip(route.partition(" ")[2].split("/"), path.split("/"), strict=False)
    return {name[1:-1]: part for name, part in pairs if name.startswith("{")}


def _body(body: bytes, content_type: str) -> dict[str, Any]:
    """Text for text, JSON, XML and JavaScript; base64 for the rest.

    The documentation says "binary" without listing media types. Others observed on AWS that a form, and a body
    without a Content-Type, count as binary. So GitHub's default webhook, a form, arrives in base64.
    """
    if not body:
        return {"isBase64Encoded": False}
    media_type = content_type.split(";", 1)[0].strip().lower()
    if media_type.startswith("text/") or media_type in _TEXT_MEDIA_TYPES:
        try:
            return {"body": body.decode(), "isBase64Encoded": False}
        except UnicodeDecodeError:
            pass  # text that is not UTF-8 cannot be a JSON string; base64 keeps the signed bytes
    return {"body": base64.b64encode(body).decode(), "isBase64Encoded": True}


def read_answer(answer: object) -> Response:
    """Return the HTTP response that a handler's `answer` asks for.

    Raises AnswerMalformed for an answer that API Gateway itself would turn into a 500.
    """
    if not isinstance(answer, Mapping):
        raise AnswerMalformed("not an object")
    status = answer.get("statusCode")
    if isinstance(status, bool) or not isinstance(status, int) or not 200 <= status <= 599:
        raise AnswerMalformed("statusCode is not a status")
    text = answer.get("body", "")
    if not isinstance(text, str | None):
        raise AnswerMalformed("body is not text")
    body = (text or "").encode()
    if answer.get("isBase64Encoded"):
        try:
            body = base64.b64decode(body, validate=True)
        except binascii.Error:
            raise AnswerMalformed("body is not base64") from None
    return Response(status, body, _answer_headers(answer.get("headers") or {}))


def _answer_headers(headers: object) -> dict[str, str]:
    if not isinstance(headers, Mapping):
        raise AnswerMalformed("headers is not an object")
    result = {"content-type": "text/plain;charset=UTF-8"}
    for name, value in headers.items():
        line = f"{name}: {value}"
        # A line break in a value would add headers to the response.
        if not isinstance(name, str) or not line.isprintable() or not line.isascii():
            raise AnswerMalformed("a header is not printable ASCII")
        if name.lower() not in ("connection", "content-length", "date", "server", "transfer-encoding"):
            result[name.lower()] = str(value)
    return result
