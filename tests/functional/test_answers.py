"""Every row of the answers: what a webhook request is told, and what that request costs and changes."""

import itertools
import json
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

import pytest

from testing.deliveries import (
    EVENT_SHAPES,
    FORM,
    JSON,
    NULL_OID,
    WebhookRequest,
    encode_payload,
    function_url_event,
    http_api_event,
    ping_payload,
    push_payload,
    rest_api_event,
    signature,
    webhook_request,
)
from testing.origin import GitOrigin
from testing.repositories import Upstream, archive
from testing.service import Service
from tests.functional.mounts import footprint, names

A, B = "a" * 40, "b" * 40
TARGET_FIELDS = {
    "outcome",
    "reason",
    "repository",
    "ref",
    "commit",
    "previous_commit",
    "files_written",
    "files_removed",
    "bytes_fetched",
    "duration_ms",
}


def payload(**changes: Any) -> dict[str, Any]:
    """Return a push payload with fields replaced."""
    return push_payload("octo/site", "refs/heads/main", A, B) | changes


def signed(body: bytes | dict[str, Any], event: str = "push", media_type: str = JSON) -> WebhookRequest:
    """Return a well signed request with this body."""
    return webhook_request(event, body, media_type=media_type)


# -- 200 ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", EVENT_SHAPES)
def test_a_push_is_published_whatever_the_shape_of_the_event(service: Service, upstream: Upstream, shape: str) -> None:
    """HTTP API, REST API and function URL: the same push, the same tree, the same answer."""
    service.put_repository()
    commit = upstream.commit({"a.txt": b"a", "b/c.txt": b"c"})
    answer = service.send(service.push_request(upstream), shape)
    assert answer.status == 200
    assert (answer.outcome, answer.reason) == ("published", "pushed")
    assert service.current_commit() == commit
    assert service.tree() == archive(upstream, commit)


def test_the_answer_to_a_push_tells_what_was_done_and_nothing_else(service: Service, upstream: Upstream) -> None:
    """Outcome, reason, repository, ref, both commits, counts and duration; small JSON that nobody caches."""
    service.put_repository()
    first = upstream.commit({"a.txt": b"a", "b/c.txt": b"c"})
    service.push(upstream)
    second = upstream.commit({"a.txt": b"A"})
    answer = service.push(upstream)
    assert set(answer.content) == TARGET_FIELDS
    assert answer.content | {"bytes_fetched": 0, "duration_ms": 0} == {
        "outcome": "published",
        "reason": "pushed",
        "repository": "octo/site",
        "ref": "refs/heads/main",
        "commit": second,
        "previous_commit": first,
        "files_written": 2,  # no release is past its grace, so the tree is written whole
        "files_removed": 0,
        "bytes_fetched": 0,
        "duration_ms": 0,
    }
    assert 0 < answer.content["bytes_fetched"] < 10_000
    assert answer.content["duration_ms"] > 0
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["cache-control"] == "no-store"
    assert len(answer.text) < 1000


def test_a_commit_that_is_published_already_is_unchanged(service: Service, upstream: Upstream) -> None:
    """The same push again answers 200 unchanged, with the commit that stands."""
    service.put_repository()
    commit = upstream.commit({"a.txt": b"a"})
    request = service.push_request(upstream)
    service.send(request)
    answer = service.send(request)
    assert (answer.status, answer.outcome, answer.reason) == (200, "unchanged", "already_published")
    assert answer.content["commit"] == answer.content["previous_commit"] == commit
    assert answer.content["files_written"] == answer.content["bytes_fetched"] == 0


@pytest.mark.parametrize("media_type", [JSON, FORM])
def test_a_ping_is_answered_with_pong(service: Service, media_type: str) -> None:
    """Setting up the webhook shows success, before any repository is configured."""
    answer = service.send(webhook_request("ping", ping_payload("octo/site"), media_type=media_type))
    assert (answer.status, answer.outcome, answer.reason) == (200, "ignored", "pong")


def test_another_event_is_ignored(service: Service, origin: GitOrigin) -> None:
    """A webhook that sends everything does no harm: 2xx, with the reason, and nothing is asked for."""
    service.put_repository()
    for event in ("create", "delete", "pull_request", "workflow_run", "push_x"):
        answer = service.send(signed(payload(), event))
        assert (answer.status, answer.outcome, answer.reason) == (200, "ignored", "event_not_push"), event
    assert not origin.requests


@pytest.mark.parametrize("ref", ["refs/heads/other", "refs/tags/v1", "refs/heads/main2", "refs/notes/commits"])
def test_a_ref_that_no_target_publishes_is_ignored(service: Service, upstream: Upstream, ref: str) -> None:
    """Another branch, a tag: 200 ignored, and no object is fetched for it."""
    service.put_repository()
    commit = upstream.commit({"a.txt": b"a"})
    upstream.point(ref, commit)
    answer = service.push(upstream, ref)
    assert (answer.status, answer.outcome, answer.reason) == (200, "ignored", "ref_not_published")
    assert answer.content["repository"] == "octo/site"
    assert answer.content["ref"] == ref
    assert service.origin is not None
    assert service.origin.counts["fetch"] == 0
    assert names(service.mount) == []


def test_a_deleted_ref_is_ignored_and_what_is_published_stays(service: Service, upstream: Upstream) -> None:
    """Deleting a branch on GitHub takes nothing from its consumers."""
    service.put_repository()
    commit = upstream.commit({"a.txt": b"a"})
    service.push(upstream)
    before = footprint(service.mount)
    answer = service.send(signed(push_payload("octo/site", "refs/heads/main", commit, NULL_OID)))
    assert (answer.status, answer.outcome, answer.reason) == (200, "ignored", "ref_deleted")
    assert footprint(service.mount) == before


def test_each_outcome_is_one_log_line_and_one_count(service: Service, upstream: Upstream) -> None:
    """The line bears the delivery's id as correlation id; the count has outcome and reason as dimensions."""
    service.put_repository()
    upstream.commit({"a.txt": b"a"})
    service.send(service.push_request(upstream, delivery_id="11111111-2222-3333-4444-555555555555"))
    lines = service.log_lines
    assert len(lines) == 1
    assert lines[0]["correlation_id"] == "11111111-2222-3333-4444-555555555555"
    assert lines[0]["outcome"] == "published"
    assert lines[0]["repository"] == "octo/site"
    counts = [line for line in service.metrics if "Deliveries" in line]
    assert [(line["outcome"], line["reason"]) for line in counts] == [("published", "pushed")]
    assert 90 < service.metric_values("PushToVisibleSeconds")[0] < 200  # pushed a hundred seconds ago
    assert service.metric_values("FailedOutcomes") == [0]


# -- the body and the headers ---------------------------------------------------------------------------------


@pytest.mark.parametrize("to_event", [http_api_event, rest_api_event, function_url_event])
def test_the_body_is_taken_as_text_and_as_base64_and_as_form(
    service: Service, to_event: Callable[..., dict[str, Any]]
) -> None:
    """The signature is over the bytes sent, however the event carries them."""
    service.put_repository(publish=[{"ref": "refs/heads/other"}])
    content = payload(compare="grüße / 日本語 + % & =")
    for media_type in (JSON, FORM, f"{JSON}; charset=utf-8", JSON.upper()):
        body = encode_payload(content, FORM if media_type == FORM else JSON)
        for is_base64 in (False, True):
            answer = service.deliver(to_event(signed(body, media_type=media_type), is_base64=is_base64))
            assert (answer.status, answer.reason) == (200, "ref_not_published"), (media_type, is_base64)


@pytest.mark.parametrize("to_case", [str.lower, str.upper, str.title, str.swapcase])
def test_header_names_count_in_any_case(service: Service, to_case: Callable[[str], str]) -> None:
    """REST APIs hand them on as they were sent, and proxies spell them as they like."""
    service.put_repository(publish=[{"ref": "refs/heads/other"}])
    request = signed(payload())
    spelled = WebhookRequest({to_case(name): value for name, value in request.headers.items()}, request.body)
    assert service.send(spelled, "rest-api").reason == "ref_not_published"


def test_the_single_headers_of_a_rest_event_are_enough(service: Service) -> None:
    """A REST event without multiValueHeaders, as test consoles make them, is read as well."""
    service.put_repository(publish=[{"ref": "refs/heads/other"}])
    event = rest_api_event(signed(payload())) | {"multiValueHeaders": None}
    assert service.deliver(event).reason == "ref_not_published"


# -- 400 ------------------------------------------------------------------------------------------------------

MALFORMED: dict[str, WebhookRequest] = {
    "empty": signed(b""),
    "no JSON": signed(b"{"),
    "an array": signed(b"[]"),
    "null": signed(b"null"),
    "NaN": signed(b'{"ref": NaN}'),
    "a key twice": signed(encode_payload(payload())[:-1] + b',"ref":"refs/heads/x"}'),
    "not UTF-8": signed(b'{"ref": "\xff"}'),
    "deeply nested": signed(b'{"a":' * 100_000 + b"1" + b"}" * 100_000),
    "long number": signed(b'{"a":' + b"1" * 10_000 + b"}"),
    "form without payload": signed(b"a=b", media_type=FORM),
    "form with two payloads": signed(urlencode([("payload", "{}")] * 2).encode(), media_type=FORM),
    "form not UTF-8": signed(b"payload=%FF", media_type=FORM),
    "no event": signed(payload()).with_header("X-GitHub-Event", None),
    "odd event": signed(payload()).with_header("X-GitHub-Event", "push\n"),
    "no repository": signed({key: value for key, value in payload().items() if key != "repository"}),
    "repository is text": signed(payload(repository="octo/site")),
    "name climbs": signed(payload(repository={"full_name": "../.."})),
    "name is a path": signed(payload(repository={"full_name": "octo/site/x"})),
    "name asks for a version": signed(payload(repository={"full_name": "octo/site:1"})),
    "no ref": signed(payload(ref=None)),
    "ref is short": signed(payload(ref="main")),
    "ref climbs": signed(payload(ref="refs/heads/../../x")),
    "ref with newline": signed(payload(ref="refs/heads/x\ny")),
    "lone surrogate": signed(encode_payload(payload(ref="X")).replace(b'"X"', b'"refs/heads/\\ud800"')),
    "after is short": signed(payload(after="abc")),
    "after is upper case": signed(payload(after="A" * 40)),
    "after is sha256": signed(payload(after="a" * 64)),
    "after is a number": signed(payload(after=1)),
    "deleted is text": signed(payload(deleted="no")),
    "pushed_at is a float": signed(payload(repository={"full_name": "octo/site", "pushed_at": 1.5})),
    "pushed_at is far": signed(payload(repository={"full_name": "octo/site", "pushed_at": 10**30})),
}


def test_a_signed_body_that_is_no_push_is_malformed(service: Service, origin: GitOrigin) -> None:
    """400, with nothing of the body in the answer, and without a request to anybody."""
    service.put_repository()
    for case, request in MALFORMED.items():
        answer = service.deliver(http_api_event(request, is_base64=True))
        assert (answer.status, answer.outcome, answer.reason) == (400, "rejected", "malformed"), case
        assert set(answer.content) == {"outcome", "reason", "duration_ms"}, case
    assert not origin.requests
    assert names(service.mount) == []


def test_an_event_that_is_not_api_gateways_is_malformed(service: Service) -> None:
    """A test event from the console, a queue's, nothing at all: an answer, and no exception."""
    events: list[Any] = [None, [], "text", 1, {}, {"Records": []}]
    events += [{"headers": None}, {"headers": []}, {"headers": {}, "body": 1}, {"headers": {}, "isBase64Encoded": "no"}]
    for event in events:
        answer = service.deliver(event)
        assert (answer.status, answer.reason) == (400, "malformed"), event


# -- 401 ------------------------------------------------------------------------------------------------------


def _with_signature(value: str | None) -> WebhookRequest:
    return signed(payload()).with_header("X-Hub-Signature-256", value)


_GOOD = signature("It's a Secret to Everybody", encode_payload(payload()))
FORGED: dict[str, WebhookRequest] = {
    "unsigned": webhook_request("push", payload(), None),
    "another secret": webhook_request("push", payload(), "another"),
    "empty secret": webhook_request("push", payload(), b"\0"),
    "another body": signed(payload()).with_body(encode_payload(payload(after=A))),
    "a space more": signed(payload()).with_body(encode_payload(payload()) + b" "),
    "sha1 alone": webhook_request("push", payload(), signed_with=["sha1"]),
    "sha256 stripped": _with_signature(None),
    "sha256 wrong, sha1 right": _with_signature("sha256=" + "0" * 64),
    "sha1 under sha256's name": _with_signature(_GOOD.replace("sha256=", "sha1=")),
    "empty": _with_signature(""),
    "no prefix": _with_signature(_GOOD.removeprefix("sha256=")),
    "upper case": _with_signature("sha256=" + _GOOD[7:].upper()),
    "cut": _with_signature(_GOOD[:-1]),
    "longer": _with_signature(_GOOD + "0"),
    "twice": _with_signature(f"{_GOOD},{_GOOD}"),
    "space before": _with_signature(" " + _GOOD),
    "newline after": _with_signature(_GOOD + "\n"),
    "not ASCII": _with_signature("sha256=" + "é" * 64),
    "other digits": _with_signature("sha256=" + "٣" * 64),
    "ping unsigned": webhook_request("ping", ping_payload("octo/site"), None),
}


@pytest.mark.parametrize("is_published", [False, True])
def test_a_forged_request_is_refused_and_costs_nothing(
    service: Service, upstream: Upstream, origin: GitOrigin, is_published: bool
) -> None:
    """401, nothing changes on the mount, and neither the remote nor the repository's parameter is asked."""
    service.put_repository()
    if is_published:
        upstream.commit({"a.txt": b"a"})
        service.push(upstream)
        service.reset()
    service.store.reset()
    origin.forget()
    before = footprint(service.mount)
    for case, request in FORGED.items():
        answer = service.send(request)
        assert (answer.status, answer.outcome, answer.reason) == (401, "rejected", "signature_invalid"), case
        assert set(answer.content) == {"outcome", "reason", "duration_ms"}, case
    assert not origin.requests
    assert not [name for _, name in service.store.calls if "repositories" in name]
    assert footprint(service.mount) == before


def test_the_signature_is_looked_at_before_all_else(service: Service) -> None:
    """What is unsigned is 401 however wrong the rest is: nothing of it was read."""
    for event, media_type in itertools.product(("push", None, "\x00"), ("text/plain", "image/png", "")):
        request = webhook_request("push", b"\xff{", None).with_header("Content-Type", media_type)
        answer = service.deliver(http_api_event(request.with_header("X-GitHub-Event", event), is_base64=True))
        assert answer.status == 401, (event, media_type)


def test_another_method_has_no_other_door(service: Service) -> None:
    """The handler answers a GET as it answers any unsigned request."""
    for shape in EVENT_SHAPES:
        assert service.send(WebhookRequest({"Accept": "*/*"}, b"", "GET"), shape).status == 401


def test_sha1_counts_where_a_setting_allows_it(service: Service) -> None:
    """GitHub Enterprise Server of old sends no other."""
    service.put_repository(publish=[{"ref": "refs/heads/other"}])
    request = webhook_request("push", payload(), signed_with=["sha1"])
    assert service.send(request).status == 401
    service.configure(allow_sha1=True)
    assert service.send(request).status == 200
    assert service.send(request.with_body(encode_payload(payload(after=A)))).status == 401


@pytest.mark.parametrize("strong", ["sha256=" + "0" * 64, "", "sha256=", _GOOD[:-1]])
def test_sha1_is_never_a_fallback_for_a_wrong_sha256(service: Service, strong: str) -> None:
    """Even where it is allowed: who can spoil the strong signature must not get to choose the weak one."""
    service.configure(allow_sha1=True)
    service.put_repository(publish=[{"ref": "refs/heads/other"}])
    assert service.send(signed(payload())).status == 200
    assert service.send(signed(payload()).with_header("X-Hub-Signature-256", strong)).status == 401


# -- 404, 413, 415 --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["octo/other", "OCTO/SITE", "octo/site.git"])
def test_an_unknown_repository_is_refused_without_any_detail(service: Service, origin: GitOrigin, name: str) -> None:
    """404: what is configured cannot be told from the answer, and the payload's URL is not followed."""
    service.put_repository("octo/site")
    Upstream(origin.root, "octo/other").commit({"a.txt": b"a"})
    content = push_payload(name, "refs/heads/main", A, B, clone_url=origin.url("octo/other"))
    answer = service.send(signed(content))
    assert (answer.status, answer.outcome, answer.reason) == (404, "rejected", "repository_unknown")
    assert set(answer.content) == {"outcome", "reason", "duration_ms"}
    assert name not in answer.text
    assert not origin.requests
    assert names(service.mount) == []


def test_an_unknown_repository_is_looked_up_once_however_often_it_comes(service: Service) -> None:
    """A flood of deliveries for a repository that is gone costs one call to Parameter Store."""
    for _ in range(5):
        service.send(signed(payload()))
    assert [name for _, name in service.store.calls].count(f"{service.prefix}/repositories/octo/site") == 1


@pytest.mark.parametrize("is_base64", [False, True])
@pytest.mark.parametrize("secret", [None, "It's a Secret to Everybody"])
def test_a_body_over_the_bound_is_refused_before_its_signature(
    service: Service, secret: str | None, is_base64: bool
) -> None:
    """413, signed or not; exactly at the bound it is looked at."""
    service.configure(max_body_bytes=2048)
    over = webhook_request("ping", b"{" + b" " * 2046 + b"}\n", secret)
    assert service.deliver(http_api_event(over, is_base64=is_base64)).status == 413
    exact = webhook_request("ping", b"{" + b" " * 2046 + b"}", secret)
    assert service.deliver(http_api_event(exact, is_base64=is_base64)).status == (200 if secret else 401)


@pytest.mark.parametrize("media_type", [None, "", "text/plain", "multipart/form-data", "application/jsonx"])
def test_another_content_type_is_unsupported(service: Service, media_type: str | None) -> None:
    """415 for a signed push that is neither JSON nor a form."""
    service.put_repository()
    answer = service.send(signed(payload()).with_header("Content-Type", media_type))
    assert (answer.status, answer.outcome, answer.reason) == (415, "rejected", "media_type_unsupported")


# -- 500 ------------------------------------------------------------------------------------------------------


def test_a_wrong_parameter_is_told_whole_in_the_log_and_not_in_the_answer(service: Service, origin: GitOrigin) -> None:
    """500 configuration_invalid: every problem in one line, for the operator alone."""
    wrong = {"url": "ftp://x/y", "depth": -1, "keep_release": 3, "publish": [{"ref": "main", "path": "/abs"}]}
    service.put_repository_text("octo/site", json.dumps(wrong))
    answer = service.send(signed(payload()))
    assert (answer.status, answer.outcome, answer.reason) == (500, "failed", "configuration_invalid")
    assert set(answer.content) == TARGET_FIELDS | {"refused_commit"}
    assert "ftp" not in answer.text
    detail = service.log_lines[-1]["detail"]
    for problem in ("octo/site", "url ", "depth ", "keep_release", "publish[0].ref", "publish[0].path"):
        assert problem in detail
    assert not origin.requests
    assert names(service.mount) == []


@pytest.mark.parametrize("text", ["", " ", "nonsense", "[]", '{"depth": 1, "depth": 2}', '{"url": 1}'])
def test_a_parameter_that_is_no_object_is_a_configuration_error(service: Service, text: str) -> None:
    """500, not 404: the repository is meant to be published."""
    service.put_repository_text("octo/site", text or " ")
    answer = service.send(signed(payload()))
    assert (answer.status, answer.reason) == (500, "configuration_invalid")


def test_a_wrong_parameter_leaves_what_is_published_and_a_mended_one_goes_on(
    service: Service, upstream: Upstream
) -> None:
    """The repository stays as it is until somebody mends its parameter; then the next push is published."""
    service.configure(repository_cache_seconds=0)
    service.put_repository()
    upstream.commit({"a.txt": b"a"})
    service.push(upstream)
    before = footprint(service.mount)
    service.put_repository(depth="deep")
    second = upstream.commit({"a.txt": b"b"})
    assert service.push(upstream).status == 500
    assert footprint(service.mount) == before
    service.put_repository()
    assert service.push(upstream).status == 200
    assert service.current_commit() == second


@pytest.mark.parametrize("secret", [" ", "\n", "\t\r\n"])
def test_a_blank_secret_is_an_error_and_no_open_door(service: Service, secret: str) -> None:
    """500 for everybody, also for one who signs with the blank, and for one who does not sign."""
    service.put_repository()
    service.put_secret(secret)
    for request in (
        webhook_request("push", payload(), secret),
        webhook_request("push", payload(), None),
        webhook_request("push", payload(), b"\0"),
    ):
        answer = service.send(request)
        assert (answer.status, answer.outcome, answer.reason) == (500, "failed", "secret_unusable")


def test_a_missing_secret_is_an_error_that_heals_when_it_is_put(service: Service) -> None:
    """500 secret_unusable; not cached for so long that whoever sets the stack up would despair."""
    service.store.delete(f"{service.prefix}/webhook-secret")
    assert service.ping().reason == "secret_unusable"
    service.put_secret("here now")
    service.reset()
    assert service.ping().reason == "pong"


@pytest.mark.parametrize("settings", [{"parameter_prefix": " "}, {"lock_seconds": "soon"}, {"fetch_attempts": 0}])
def test_a_wrong_environment_is_an_answer(service: Service, settings: dict[str, object]) -> None:
    """A wrong deployment answers 500 configuration_invalid to each request, and says in the log what is wrong."""
    service.configure(**settings)
    answer = service.ping()
    assert (answer.status, answer.outcome, answer.reason) == (500, "failed", "configuration_invalid")
    assert f"GIT2EFS_{next(iter(settings)).upper()}" in service.log_lines[-1]["detail"]


# -- 503 ------------------------------------------------------------------------------------------------------


def test_parameters_that_cannot_be_read_are_transient(service: Service) -> None:
    """503 while Parameter Store is down, for the redelivery to try again; it heals by itself."""
    service.put_repository(publish=[{"ref": "refs/heads/other"}])
    service.store.fail_next(6, "InternalServerError", 500)
    answer = service.send(signed(payload()))
    assert (answer.status, answer.outcome, answer.reason) == (503, "failed", "parameters_unavailable")
    service.store.reset()
    assert service.send(signed(payload())).status == 200


def test_what_is_known_goes_on_while_parameter_store_is_down(service: Service, upstream: Upstream) -> None:
    """A push that is refused is lost, so a warm process works on with the parameters that it read."""
    service.configure(repository_cache_seconds=0)
    service.put_repository()
    upstream.commit({"a.txt": b"a"})
    service.push(upstream)
    second = upstream.commit({"a.txt": b"b"})
    service.store.is_down = True
    assert service.push(upstream).status == 200
    assert service.current_commit() == second


def test_of_several_targets_the_worst_is_the_status_and_all_are_told(service: Service, upstream: Upstream) -> None:
    """One target fails, the other is published: the delivery is not a success, and the answer says which is which."""
    service.put_repository(publish=[{"ref": "refs/heads/main", "path": path} for path in ("good", "bad")])
    (service.mount / "bad" / "current").mkdir(parents=True)
    commit = upstream.commit({"a.txt": b"a"})
    answer = service.push(upstream)
    assert (answer.status, answer.outcome, answer.reason) == (500, "failed", "target_occupied")
    told = {target["path"]: (target["outcome"], target["reason"]) for target in answer.content["targets"]}
    assert told == {"good": ("published", "pushed"), "bad": ("failed", "target_occupied")}
    assert service.current_commit("good") == commit
    assert len(service.log_lines) == 2
