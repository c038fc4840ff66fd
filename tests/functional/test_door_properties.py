"""Whatever comes to the door: an answer, never an exception, never an unexplained 5xx, and no change on the disk."""

import json
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from testing import selection
from testing.deliveries import (
    EVENT_SHAPES,
    FORM,
    JSON,
    http_api_event,
    ping_payload,
    push_payload,
    webhook_request,
)
from testing.service import Service
from tests.functional.mounts import footprint

SECRET = "It's a Secret to Everybody"
GOOD = push_payload("octo/site", "refs/heads/main", "a" * 40, "b" * 40)

TEXTS = st.text(max_size=40) | st.sampled_from(["push", "ping", "sha256=" + "0" * 64, "refs/heads/main", "octo/site"])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=12,
)
HEADERS = st.dictionaries(
    st.sampled_from(
        ["x-hub-signature-256", "X-Hub-Signature-256", "x-hub-signature", "x-github-event", "content-type", "X-A"]
    )
    | TEXTS,
    TEXTS | VALUES,
    max_size=6,
)
EVENTS = st.fixed_dictionaries(
    {},
    optional={
        "version": VALUES,
        "headers": HEADERS | VALUES,
        "multiValueHeaders": st.dictionaries(TEXTS, st.lists(TEXTS, max_size=3) | VALUES, max_size=4) | VALUES,
        "body": TEXTS | VALUES | st.just(json.dumps(GOOD)),
        "isBase64Encoded": st.booleans() | VALUES,
        "requestContext": VALUES,
        # A few names: those of strangers are looked up, and how many of them is bounded, with 503.
        "rawPath": st.sampled_from(["/github", "/github/octo/site", "/x/github/octo/other", "/github/../.."]) | VALUES,
        "Records": VALUES,
    },
)


@pytest.fixture
def door(service: Service) -> Service:
    """Return the service with a repository whose remote must not be asked: nothing listens there."""
    service.configure(fetch_attempts=1)
    service.put_repository(url="http://127.0.0.1:1/octo/site.git", publish=[{"ref": "refs/heads/never"}])
    service.ping()
    return service


@settings(max_examples=selection.count(150, 40))
@given(event=EVENTS | VALUES)
@example(event={"headers": {"x-hub-signature-256": "sha256=" + "0" * 64}, "body": "\ud800"})
@example(event={"headers": {"x-hub-signature-256": None}})
@example(event={"headers": {}, "body": "====", "isBase64Encoded": True})
@example(event={"headers": {"a": "b"}, "multiValueHeaders": {"A": [1]}})
def test_no_unsigned_event_raises_or_changes_anything(door: Service, event: Any) -> None:
    """JSON of any shape, with the fields that the door looks at among it."""
    before = footprint(door.mount)
    answer = door.deliver(event)
    assert answer.status in (400, 401, 413)
    assert answer.outcome == "rejected"
    assert footprint(door.mount) == before


@given(
    body=st.binary(max_size=200) | VALUES.map(lambda value: json.dumps(value).encode()),
    event=st.sampled_from(["push", "ping", "create", "", "\n"]) | TEXTS,
    media_type=st.sampled_from([JSON, FORM, "text/plain"]) | TEXTS,
    shape=st.sampled_from(sorted(EVENT_SHAPES)),
)
@example(body=b'{"a":' * 5000, event="push", media_type=JSON, shape="http-api")
@example(body=b"payload=" + b"%22" * 60, event="push", media_type=FORM, shape="rest-api")
def test_no_signed_body_raises_or_is_an_unexplained_failure(
    door: Service, body: bytes, event: str, media_type: str, shape: str
) -> None:
    """Whoever has the secret may send nonsense, and is told so with a 4xx; other events are ignored."""
    before = footprint(door.mount)
    request = webhook_request(event, body, SECRET, media_type=media_type)
    to_event = EVENT_SHAPES[shape]
    answer = door.deliver(to_event(request, is_base64=True))  # type: ignore[call-arg]
    assert answer.status in (200, 400, 404, 415)
    assert footprint(door.mount) == before


def _places(value: Any, way: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the ways to every value within a payload."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [(*way, key) for key, _ in inner] + [place for key, one in inner for place in _places(one, (*way, key))]


LOOKED_AT = [
    ("ref",),
    ("before",),
    ("after",),
    ("deleted",),
    ("repository",),
    ("repository", "full_name"),
    ("repository", "pushed_at"),
    ("head_commit",),
    ("head_commit", "timestamp"),
]
REMOVED = object()
COMMITS = st.text("0123456789abcdefABCDEF", min_size=38, max_size=42) | st.just("0" * 40)
REFS = st.builds("refs/{}/{}".format, st.sampled_from(["heads", "tags", "", ".."]), TEXTS)
NAMES = st.builds("{}/{}".format, TEXTS, TEXTS)
TIMES = st.integers() | st.datetimes().map(str) | st.just("2025-06-15T15:06:40+99:99")


def _mutated(place: tuple[Any, ...], value: Any) -> dict[str, Any]:
    payload: dict[str, Any] = json.loads(json.dumps(GOOD))
    holder: Any = payload
    for key in place[:-1]:
        holder = holder[key]
    if value is REMOVED:
        del holder[place[-1]]
    else:
        holder[place[-1]] = value
    return payload


@settings(max_examples=selection.count(200, 50))
@given(
    place=st.sampled_from(LOOKED_AT) | st.sampled_from(_places(GOOD)),
    value=st.just(REMOVED) | VALUES | COMMITS | REFS | NAMES | TIMES,
    media_type=st.sampled_from([JSON, FORM]),
)
@example(place=("ref",), value="refs/heads/\ud800", media_type=JSON)
@example(place=("repository", "pushed_at"), value=10**400, media_type=JSON)
@example(place=("head_commit", "timestamp"), value="0001-01-01T00:00:00+23:59", media_type=JSON)
@example(place=("after",), value="０" * 40, media_type=JSON)
def test_no_mutation_of_a_payload_raises_or_is_an_unexplained_failure(
    door: Service, place: tuple[Any, ...], value: Any, media_type: str
) -> None:
    """One field of a real payload replaced by anything: ignored, malformed or unknown, and nothing changes."""
    before = footprint(door.mount)
    text = json.dumps(_mutated(place, value)).encode()
    body = text if media_type == JSON else b"payload=" + text.hex(" ").replace(" ", "%").join(["%", ""]).encode()
    answer = door.deliver(http_api_event(webhook_request("push", body, SECRET, media_type=media_type)))
    assert answer.status in (200, 400, 404)
    assert answer.outcome in ("ignored", "rejected")
    assert footprint(door.mount) == before


@given(name=st.text(max_size=30), value=st.text(max_size=60))
def test_no_further_header_changes_an_answer(door: Service, name: str, value: str) -> None:
    """Headers that the door does not know are not looked at, whatever they hold."""
    known = ("x-hub-signature", "x-github", "content-type")
    request = webhook_request("ping", ping_payload("octo/site"))
    event = http_api_event(request)
    if not name.lower().startswith(known):
        event["headers"][name] = value
    assert door.deliver(event).reason == "pong"
