"""Events have the shape that API Gateway gives them, and answers are read as strictly."""

import base64
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local.event import AnswerMalformed, http_api_event, read_answer
from local.exchange import Request

TRACE = "Root=1-6771a5a0-0123456789abcdef01234567"


def event_of(body: bytes = b"", *headers: tuple[str, str], path: str = "/github", query: str = "") -> dict[str, Any]:
    """Return the event of one POST."""
    request = Request("POST", path, query, headers, body, "127.0.0.1")
    return http_api_event(request, "JKJaXmPLvHcESHA=", 1735501216.75, TRACE)


def test_an_event_has_the_fields_of_payload_format_2() -> None:
    """The whole event, literally: names, nesting, time formats, nothing absent spelled out as null."""
    headers = (
        ("Host", "abc.example.org"),
        ("Content-Type", "application/json"),
        ("User-Agent", "GitHub-Hookshot/044aadd"),
    )
    assert event_of(b'{"a":1}', *headers) == {
        "version": "2.0",
        "routeKey": "POST /github",
        "rawPath": "/github",
        "rawQueryString": "",
        "headers": {
            "host": "abc.example.org",
            "content-type": "application/json",
            "user-agent": "GitHub-Hookshot/044aadd",
            "content-length": "7",
            "x-amzn-trace-id": TRACE,
            "x-forwarded-for": "127.0.0.1",
            "x-forwarded-proto": "http",
        },
        "requestContext": {
            "accountId": "123456789012",
            "apiId": "local00000",
            "domainName": "abc.example.org",
            "domainPrefix": "abc",
            "http": {
                "method": "POST",
                "path": "/github",
                "protocol": "HTTP/1.1",
                "sourceIp": "127.0.0.1",
                "userAgent": "GitHub-Hookshot/044aadd",
            },
            "requestId": "JKJaXmPLvHcESHA=",
            "routeKey": "POST /github",
            "stage": "$default",
            "time": "29/Dec/2024:19:40:16 +0000",
            "timeEpoch": 1735501216750,
        },
        "body": '{"a":1}',
        "isBase64Encoded": False,
    }


def test_header_names_are_lower_cased_and_duplicates_joined() -> None:
    """Two headers of one name in different case become one, in order, with a comma."""
    assert event_of(b"", ("X-One", "a"), ("x-ONE", "b"))["headers"]["x-one"] == "a,b"


def test_cookies_leave_the_headers_for_a_list() -> None:
    """Format 2.0 has `cookies`, and no cookie header."""
    event = event_of(b"", ("Cookie", "a=1; b=2"))
    assert event["cookies"] == ["a=1", "b=2"]
    assert "cookie" not in event["headers"]


def test_hop_by_hop_headers_end_at_the_gateway() -> None:
    """The function sees neither how the connection was kept nor how the body was framed."""
    event = event_of(b"{}", ("Connection", "keep-alive"), ("Transfer-Encoding", "chunked"))
    assert not {"connection", "transfer-encoding"} & event["headers"].keys()
    assert event["headers"]["content-length"] == "2"


def test_a_tunnels_word_about_the_client_comes_before_the_tunnel() -> None:
    """X-Forwarded-For grows at its end."""
    assert event_of(b"", ("X-Forwarded-For", "140.82.115.1"))["headers"]["x-forwarded-for"] == "140.82.115.1, 127.0.0.1"


def test_a_query_is_given_raw_and_decoded() -> None:
    """Duplicate names are joined with commas."""
    event = event_of(query="a=1&a=2&b=%20")
    assert event["rawQueryString"] == "a=1&a=2&b=%20"
    assert event["queryStringParameters"] == {"a": "1,2", "b": " "}


def test_no_body_is_no_key() -> None:
    """An empty request has no `body` at all."""
    event = event_of(b"")
    assert "body" not in event
    assert event["isBase64Encoded"] is False


@pytest.mark.parametrize(
    "media_type", ["application/json", "Application/JSON; charset=utf-8", "text/plain", "application/xml"]
)
def test_text_arrives_as_text(media_type: str) -> None:
    """JSON, XML and text are passed as they are."""
    event = event_of("{ä}".encode(), ("Content-Type", media_type))
    assert (event["body"], event["isBase64Encoded"]) == ("{ä}", False)


@pytest.mark.parametrize("media_type", ["application/x-www-form-urlencoded", "application/octet-stream", ""])
def test_the_rest_arrives_in_base64(media_type: str) -> None:
    """A form is among the rest on AWS: that is how GitHub's default webhook arrives."""
    event = event_of(b"payload=%7B%7D", ("Content-Type", media_type))
    assert (base64.b64decode(event["body"]), event["isBase64Encoded"]) == (b"payload=%7B%7D", True)


@given(body=st.binary(max_size=64), media_type=st.sampled_from(["application/json", "text/x", "a/b", ""]))
def test_no_body_loses_a_byte(body: bytes, media_type: str) -> None:
    """Whatever comes, the signed bytes can be had back from the event."""
    event = event_of(body, ("Content-Type", media_type))
    text = event.get("body", "")
    assert (base64.b64decode(text) if event["isBase64Encoded"] else text.encode()) == body


def test_an_answer_is_written_as_the_handler_says() -> None:
    """Status, headers and text body."""
    response = read_answer({"statusCode": 201, "headers": {"Content-Type": "application/json"}, "body": "{}"})
    assert (response.status, response.body) == (201, b"{}")
    assert response.headers == {"content-type": "application/json"}


def test_an_answer_in_base64_is_decoded() -> None:
    """`isBase64Encoded` is honoured on the way back too."""
    assert read_answer({"statusCode": 200, "body": "AP8=", "isBase64Encoded": True}).body == b"\x00\xff"


@pytest.mark.parametrize(
    "answer",
    [
        None,
        "ok",
        {},
        {"statusCode": "200"},
        {"statusCode": True},
        {"statusCode": 99},
        {"statusCode": 200, "body": {"a": 1}},
        {"statusCode": 200, "body": "%", "isBase64Encoded": True},
        {"statusCode": 200, "headers": ["a"]},
        {"statusCode": 200, "headers": {"x": "a\r\nset-cookie: b"}},
    ],
)
def test_an_answer_that_api_gateway_would_refuse_is_refused(answer: object) -> None:
    """Each of them is a 500 by API Gateway's own hand."""
    with pytest.raises(AnswerMalformed):
        read_answer(answer)
