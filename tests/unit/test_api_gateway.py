"""API Gateway's events and what is answered."""

import base64
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handler.errors import BodyTooLarge, Git2EfsError, Malformed
from handler.model import Forge
from handler.network.aws.api_gateway import answer, read_request, read_route
from testing.deliveries import EVENT_SHAPES, Event, WebhookRequest

BOUND = 1024
Shape = Callable[..., Event]
every_shape = pytest.mark.parametrize("shape", EVENT_SHAPES.values(), ids=EVENT_SHAPES)


def event(**changes: Any) -> dict[str, Any]:
    """Return a small event of payload 2.0 with some of its fields changed."""
    return {"version": "2.0", "headers": {"a": "b"}, "body": "text", "isBase64Encoded": False} | changes


@every_shape
@pytest.mark.parametrize("is_base64", [True, False])
def test_every_shape_gives_the_same_request(shape: Shape, is_base64: bool) -> None:
    """Lower-case names and the exact bytes, from an HTTP API, a REST API and a function URL."""
    sent = WebhookRequest({"X-GitHub-Event": "push", "CONTENT-type": "application/json"}, "Grüße 😀\r\n".encode())
    request = read_request(shape(sent, is_base64=is_base64), max_body_bytes=BOUND)
    assert request.body == sent.body
    assert request.headers["x-github-event"] == "push"
    assert request.headers["content-type"] == "application/json"
    assert all(name == name.lower() for name in request.headers)


@every_shape
def test_bytes_that_are_no_text_come_through_base64(shape: Shape) -> None:
    """What was signed is what is returned, whatever it is."""
    sent = WebhookRequest({}, bytes(range(256)))
    assert read_request(shape(sent, is_base64=True), max_body_bytes=BOUND).body == sent.body


def test_a_header_sent_twice_is_joined_in_every_way_it_can_come() -> None:
    """A second signature cannot hide behind the first: it makes the header malformed."""
    for headers in (
        {"multiValueHeaders": {"X-One": ["a", "b"]}, "headers": {"X-One": "b"}},
        {"headers": {"X-One": "a", "x-one": "b"}},
        {"multiValueHeaders": {"X-One": ["a"], "x-ONE": ["b"]}, "headers": None},
        {"headers": {"x-one": "a,b"}},
    ):
        assert read_request(headers, max_body_bytes=BOUND).headers["x-one"] == "a,b"


def test_a_header_in_either_map_is_found() -> None:
    """REST API test calls leave one of the two out."""
    sent = {"headers": {"One": "1"}, "multiValueHeaders": {"Two": ["2"]}}
    assert read_request(sent, max_body_bytes=BOUND).headers == {"one": "1", "two": "2"}


def test_a_missing_body_is_empty() -> None:
    """API Gateway leaves it out, or null."""
    assert read_request({"headers": {}}, max_body_bytes=BOUND).body == b""
    assert read_request(event(body=None), max_body_bytes=BOUND).body == b""


def test_a_request_cannot_be_changed() -> None:
    """What was verified stays what it was."""
    request = read_request(event(), max_body_bytes=BOUND)
    with pytest.raises(TypeError):
        request.headers["a"] = "c"  # type: ignore[index]


@pytest.mark.parametrize("is_base64", [True, False])
def test_the_bound_is_exact(is_base64: bool) -> None:
    """A body of the bound's size passes, one byte more does not."""

    def sent(size: int) -> dict[str, Any]:
        body = b"x" * size
        text = base64.b64encode(body).decode() if is_base64 else body.decode()
        return event(body=text, isBase64Encoded=is_base64)

    for bound in range(BOUND, BOUND + 4):
        assert len(read_request(sent(bound), max_body_bytes=bound).body) == bound
        with pytest.raises(BodyTooLarge):
            read_request(sent(bound + 1), max_body_bytes=bound)


def test_the_bound_counts_bytes_and_not_characters() -> None:
    """Text beyond ASCII is longer than it looks."""
    with pytest.raises(BodyTooLarge):
        read_request(event(body="é" * (BOUND // 2 + 1)), max_body_bytes=BOUND)


def test_a_large_body_is_refused_before_it_is_decoded() -> None:
    """It is not even looked whether it is base64."""
    with pytest.raises(BodyTooLarge):
        read_request(event(body="!" * 2 * BOUND, isBase64Encoded=True), max_body_bytes=BOUND)


@pytest.mark.parametrize(
    "sent",
    [
        None,
        [],
        "text",
        {},
        {"Records": [{"eventSource": "aws:sqs", "body": "{}"}]},
        {"source": "aws.events", "detail": {}},
        event(headers=[]),
        event(headers={"a": None}),
        event(headers={"a": ["b"]}),
        event(headers={1: "b"}),
        event(multiValueHeaders={"a": "b"}),
        event(multiValueHeaders={"a": [1]}),
        event(body={}),
        event(body=b"bytes"),
        event(isBase64Encoded="true"),
        event(isBase64Encoded=1),
        event(body="\ud800"),
    ],
)
def test_an_event_of_another_shape_is_malformed(sent: object) -> None:
    """Whatever else may invoke the function."""
    with pytest.raises(Malformed):
        read_request(sent, max_body_bytes=BOUND)


@pytest.mark.parametrize(
    "text", ["a", "YQ", "YQ=", "YQ==\n", "Y Q=", "YQ==YQ==", "YQ===", "Y_-=", "é", "=", "YQ=="[::-1]]
)
def test_what_is_not_strictly_base64_is_malformed(text: str) -> None:
    """A lenient decoder would drop characters, and another body would be verified than was sent."""
    with pytest.raises(Malformed, match="base64"):
        read_request(event(body=text, isBase64Encoded=True), max_body_bytes=BOUND)


def test_an_answer_is_a_proxy_response_with_json() -> None:
    """The shape that API Gateway and function URLs take."""
    response = answer(404, {"outcome": "rejected", "path": "\ud800é"})
    assert response["statusCode"] == 404
    assert response["isBase64Encoded"] is False
    headers, body = response["headers"], response["body"]
    assert isinstance(headers, dict)
    assert headers["content-type"] == "application/json"
    assert isinstance(body, str)
    assert body.isascii()
    assert json.loads(body) == {"outcome": "rejected", "path": "\ud800é"}


@every_shape
def test_every_shape_gives_the_path(shape: Shape) -> None:
    """Of the URL: a REST API's stage is not in it, and a function URL has any path."""
    request = read_request(shape(WebhookRequest({}, b""), path="/github/octo/site"), max_body_bytes=BOUND)
    assert request.path == "/github/octo/site"


@pytest.mark.parametrize("sent", [event(), event(rawPath=7), event(path=None), event(rawPath=None, path="/x")])
def test_an_event_without_a_path_is_at_the_common_url(sent: object) -> None:
    """Nothing that was served before is refused for it."""
    assert read_request(sent, max_body_bytes=BOUND).path == ""


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("", None),
        ("/", None),
        ("/github", None),
        ("/prod/github", None),
        ("/github/", None),
        ("/github/octo", None),
        ("/x/octo/site", None),
        ("/github/octo/site", "octo/site"),
        ("/github/octo/site/", "octo/site"),
        ("/prod/github/octo/site", "octo/site"),
        ("/base/path/github/octo/site", "octo/site"),
        ("/github/github/github", "github/github"),
        ("/github/github/docs", "github/docs"),
        ("/github/octo/github", "octo/github"),
        ("/github/../..", "../.."),
        ("/github//", None),
        ("/github/a/b/c", None),
    ],
)
def test_a_url_may_name_a_repository(path: str, expected: str | None) -> None:
    """The last two parts, whatever stage or base path stands before, unchecked; any other path names none."""
    assert read_route(path) == (Forge.GITHUB, expected)


@pytest.mark.parametrize(
    ("path", "forge", "repository"),
    [
        ("/gitlab", Forge.GITLAB, None),
        ("/prod/gitea/", Forge.GITEA, None),
        ("/bitbucket/octo/site", Forge.BITBUCKET, "octo/site"),
        ("/prod/gitlab/group.subgroup/site", Forge.GITLAB, "group.subgroup/site"),
        ("/github/octo/gitlab", Forge.GITHUB, "octo/gitlab"),
        ("/gitlab/github/github", Forge.GITLAB, "github/github"),
        ("/GitLab", Forge.GITHUB, None),
    ],
)
def test_a_url_names_a_forge(path: str, forge: Forge, repository: str | None) -> None:
    """Its route, wherever that begins; a repository may be called as a forge is."""
    assert read_route(path) == (forge, repository)


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text() | st.integers(), inner, max_size=3),
    max_leaves=8,
)
some_headers = st.dictionaries(st.text(), st.text(), max_size=3)


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "headers": some_headers | anything,
            "multiValueHeaders": st.dictionaries(st.text(), st.lists(st.text())) | anything,
            "body": st.binary().map(lambda body: base64.b64encode(body).decode()) | anything,
            "isBase64Encoded": st.booleans() | anything,
            "rawPath": st.text() | anything,
            "path": st.text() | anything,
        },
    )
    | anything
)
def test_any_event_is_a_request_or_our_error(sent: object) -> None:
    """Nothing that invokes the function raises anything else."""
    try:
        request = read_request(sent, max_body_bytes=BOUND)
    except Git2EfsError:
        return
    assert len(request.body) <= BOUND
    named = read_route(request.path)[1]
    assert named is None or named.count("/") == 1


@given(body=st.binary(max_size=BOUND))
def test_base64_gives_back_the_bytes(body: bytes) -> None:
    """Any bytes, as API Gateway encodes them."""
    sent = event(body=base64.b64encode(body).decode(), isBase64Encoded=True)
    assert read_request(sent, max_body_bytes=BOUND).body == body
