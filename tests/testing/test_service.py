"""The service's surroundings, with a stand-in for the handler: parameters, output, events, child processes."""

import base64
import json
import os
import signal
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from testing.answers import read_answer
from testing.deliveries import (
    EVENT_SHAPES,
    FORM,
    NULL_OID,
    http_api_event,
    push_payload,
    rest_api_event,
    signature,
    webhook_request,
)
from testing.parameters import ParameterStore
from testing.process import ProcessDied
from testing.repositories import Upstream
from testing.service import Service

STAND_IN = "tests.testing.stand_in"


@pytest.fixture
def stack(tmp_path: Path, parameter_store: ParameterStore) -> Iterator[Service]:
    """Return a service around the stand-in."""
    started = Service(tmp_path / "mount", parameter_store, entry=STAND_IN).start()
    yield started
    started.stop()


def test_the_signature_is_githubs() -> None:
    """The vector of GitHub's documentation."""
    expected = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
    assert signature("It's a Secret to Everybody", b"Hello, World!") == expected


def test_a_form_carries_the_same_payload() -> None:
    """GitHub's default: one urlencoded field, signed as sent, in base64 behind an HTTP API."""
    payload = push_payload("octo/site", "refs/heads/gr\u00fcn", NULL_OID, "1" * 40)
    request = webhook_request("push", payload, media_type=FORM)
    event = http_api_event(request)
    assert event["isBase64Encoded"]
    assert base64.b64decode(event["body"]) == request.body
    assert request.body.startswith(b"payload=%7B%22")
    assert payload["created"]
    assert not payload["deleted"]


@pytest.mark.parametrize("shape", EVENT_SHAPES)
def test_every_shape_carries_signature_and_body(shape: str) -> None:
    """Lower-case names from HTTP APIs and function URLs, GitHub's own from REST APIs."""
    request = webhook_request("push", push_payload("octo/site", "refs/heads/main", "1" * 40, "2" * 40))
    event = EVENT_SHAPES[shape](request)
    name = "X-Hub-Signature-256" if shape == "rest-api" else "x-hub-signature-256"
    assert event["headers"][name] == signature("It's a Secret to Everybody", request.body)
    assert event["body"].encode() == request.body
    json.dumps(event)


def test_a_rest_event_can_be_base64() -> None:
    """Where the API declares binary media types."""
    request = webhook_request("ping", b"\xff\x00")
    assert base64.b64decode(rest_api_event(request, is_base64=True)["body"]) == b"\xff\x00"


def test_real_clients_reach_the_parameters(stack: Service) -> None:
    """boto3, unpatched, reads the secret with its history, and replaced values are as old as the test says."""
    stack.put_secret("one")
    stack.rotate_secret("two", ago_seconds=3600)
    before = Counter(stack.store.counts())
    value, history = stack.deliver({"do": "secret"}).content["done"]
    assert value == "two"
    assert [text for text, _ in history][-2:] == ["one", "two"]
    assert 3590 < time.time() - history[-1][1] < 3700
    assert Counter(stack.store.counts()) - before == {"GetParameterHistory": 1, "GetParameter": 1}


def test_stacks_keep_apart(stack: Service, tmp_path: Path, parameter_store: ParameterStore) -> None:
    """Two services of one session have different prefixes, so that one's parameters are not the other's."""
    other = Service(tmp_path / "other", parameter_store, entry=STAND_IN)
    assert other.prefix != stack.prefix
    stack.put_repository("octo/site", depth=0)
    client = boto3.client("ssm")
    name = "repositories/octo/site"
    assert json.loads(client.get_parameter(Name=f"{stack.prefix}/{name}")["Parameter"]["Value"]) == {"depth": 0}
    with pytest.raises(ClientError, match="ParameterNotFound"):
        client.get_parameter(Name=f"{other.prefix}/{name}")
    stack.delete_repository("octo/site")
    with pytest.raises(ClientError, match="ParameterNotFound"):
        client.get_parameter(Name=f"{stack.prefix}/{name}")


def test_the_parameter_store_can_throttle_and_hang_up(stack: Service) -> None:
    """Both end as boto3's own exceptions, and only as often as ordered."""
    client = boto3.client("ssm", config=Config(retries={"total_max_attempts": 1}))
    name = f"{stack.prefix}/webhook-secret"
    stack.store.fail_next(1, "ThrottlingException")
    with pytest.raises(ClientError, match="ThrottlingException"):
        client.get_parameter(Name=name)
    assert client.get_parameter(Name=name)["Parameter"]["Type"] == "SecureString"
    stack.store.is_down = True
    with pytest.raises(BotoCoreError):
        client.get_parameter(Name=name)


def test_output_is_read_as_cloudwatch_reads_it(stack: Service, capsys: pytest.CaptureFixture[str]) -> None:
    """Lines of a logger, whenever it was made, and printed metrics; nothing of them on pytest's own output."""
    stack.deliver({"do": "log"})
    stack.deliver({"do": "log"})
    assert [line["message"] for line in stack.log_lines] == ["done", "done"]
    assert stack.metric_values("Files") == [3, 3]
    print("after")
    assert capsys.readouterr().out == "after\n"
    stack.clear()
    assert stack.lines == []


def test_output_of_overlapping_deliveries_is_captured(stack: Service) -> None:
    """Deliveries in threads: the first to end does not close the capture of the others."""
    request = webhook_request("ping", {})
    with stack.capturing():
        futures = [stack.send_later(request) for _ in range(8)]
        assert {future.result(10).status for future in futures} == {200}
        print(json.dumps({"message": "still"}))
    assert stack.log_lines == [{"message": "still"}]


def test_settings_are_the_environment_while_it_runs(tmp_path: Path, parameter_store: ParameterStore) -> None:
    """What a stack sets is gone after it, and a setting of None is the product's default."""
    before = dict(os.environ)
    stack = Service(tmp_path / "mount", parameter_store, entry=STAND_IN).start()
    assert os.environ["GIT2EFS_MOUNT"] == os.fspath(tmp_path / "mount")
    stack.configure(allow_sha1="true", lag_seconds=None)
    assert os.environ["GIT2EFS_ALLOW_SHA1"] == "true"
    assert "GIT2EFS_LAG_SECONDS" not in os.environ
    stack.stop()
    assert dict(os.environ) == before


def test_a_push_tells_the_refs_of_the_upstream(stack: Service, upstream: Upstream) -> None:
    """`after` is the tip, `before` the one of the push before, and the order shows in `pushed_at`."""
    first = upstream.commit({"a": b"1"})
    one = json.loads(stack.push_request(upstream).body)
    second = upstream.commit({"a": b"2"})
    two = json.loads(stack.push_request(upstream).body)
    upstream.delete("main")
    three = json.loads(stack.push_request(upstream).body)
    assert [(p["before"], p["after"]) for p in (one, two, three)] == [
        (NULL_OID, first),
        (first, second),
        (second, NULL_OID),
    ]
    assert [p["repository"]["pushed_at"] for p in (two, three)] == [one["repository"]["pushed_at"] + n for n in (1, 2)]
    assert three["deleted"]
    assert three["head_commit"] is None


def test_a_secret_is_found_wherever_it_is(stack: Service) -> None:
    """In what was answered, and in names and contents on the mount."""
    stack.deliver({"text": "n33dle"})
    (stack.mount / "x-n33dle").write_bytes(b"")
    (stack.mount / "file").write_bytes(b"..n33dle..")
    (stack.mount / "link").symlink_to("n33dle")
    on_mount = {os.fspath(stack.mount / name) for name in ("x-n33dle", "file", "link")}
    assert set(stack.places_of("n33dle")) == {"answer 0", *on_mount}
    assert stack.places_of("nothing") == []


def test_an_answer_that_api_gateway_refuses_fails_the_test() -> None:
    """A status as text, a body that is no text, and what JSON cannot hold."""
    for wrong in ({"statusCode": "200"}, {"statusCode": 200, "body": {"a": 1}}, None):
        with pytest.raises(AssertionError):
            read_answer(wrong)
    with pytest.raises(TypeError):
        read_answer({"statusCode": 200, "body": b""})


def test_a_child_process_answers_on_the_same_stack(stack: Service) -> None:
    """It has the parent's parameters, and its output is its own."""
    stack.put_secret("shared")
    with stack.process() as child:
        assert child.wait_until_ready().deliver({"do": "secret"}).content["done"][0] == "shared"
        child.deliver({"do": "log"})
    assert child.log_lines == [{"message": "done", "process": child.pid}]
    assert child.metric_values("Files") == [3]
    assert stack.text == ""


def test_a_killed_child_process_is_known_to_be_dead(stack: Service) -> None:
    """Whoever waits for its answer is told at once, whether a test killed it or it died by itself."""
    child = stack.process()
    child.kill(signal.SIGKILL)
    with pytest.raises(ProcessDied):
        child.deliver({})
    other = stack.process()
    with pytest.raises(ProcessDied):
        other.deliver({"do": "raise"})
    other.stop()


def test_a_child_process_is_kept_from_the_network(stack: Service) -> None:
    """This process's guard does not reach into children: they set up their own."""
    with stack.process() as child, pytest.raises(ProcessDied):
        child.deliver({"do": "network"})
    assert "NetworkForbidden" in child.error_text
