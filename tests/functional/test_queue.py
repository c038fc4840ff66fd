"""The front door in queued mode: what it answers, what it puts into the queue, and what it leaves alone."""

import json
import os
import subprocess
import sys
from typing import Any

import pytest

from testing import fake_lambda
from testing.deliveries import NULL_OID, SECRET, http_api_event, ping_payload, push_payload, webhook_request
from testing.origin import GitOrigin
from testing.parameters import ParameterStore
from testing.process import PROJECT
from testing.queue import MessageQueue
from testing.repositories import Upstream
from testing.service import Service

A, B = "a" * 40, "b" * 40
DELIVERY = "11111111-2222-3333-4444-555555555555"


@pytest.fixture
def queued(service: Service, queue: MessageQueue) -> Service:
    """Return the service in queued mode, with one repository."""
    service.use_queue(queue)
    service.put_repository()
    return service


def test_a_push_is_accepted_with_one_small_message(queued: Service, queue: MessageQueue) -> None:
    """202 at once; what a worker needs, and nothing else of the payload."""
    payload = push_payload("octo/site", "refs/heads/main", A, B, pushed_at=1_750_000_000, message="HUNTER2")
    answer = queued.send(webhook_request("push", payload, delivery_id=DELIVERY))
    assert (answer.status, answer.outcome, answer.reason) == (202, "accepted", "queued")
    assert (answer.content["repository"], answer.content["ref"]) == ("octo/site", "refs/heads/main")
    (message,) = queue.messages
    received_at = message.pop("received_at")
    assert isinstance(received_at, float)
    assert message == {
        "version": 1,
        "cause": "push",
        "repository": "octo/site",
        "ref": "refs/heads/main",
        "before": A,
        "after": B,
        "is_single": True,
        "is_deleted": False,
        "pushed_at": 1_750_000_000,
        "committed_at": 1_750_000_000.0,
        "delivery": DELIVERY,
    }
    assert "HUNTER2" not in queue.bodies[0]


def test_nothing_is_asked_of_the_remote_and_nothing_done_on_the_mount(
    queued: Service, upstream: Upstream, origin: GitOrigin
) -> None:
    """The front door has neither."""
    upstream.commit({"a": b"a"})
    queued.configure(mount="/nowhere/at/all")
    assert queued.push(upstream).status == 202
    assert not origin.requests


def test_a_redelivery_is_queued_again(queued: Service, queue: MessageQueue) -> None:
    """It bears the same id within five minutes: nothing may take it for a duplicate."""
    request = webhook_request("push", push_payload("octo/site", "refs/heads/main", A, B), delivery_id=DELIVERY)
    for _ in range(3):
        assert queued.send(request).status == 202
    assert [message["delivery"] for message in queue.messages] == [DELIVERY] * 3


def test_a_group_is_a_repository_in_any_spelling(queued: Service, queue: MessageQueue) -> None:
    """One batch of a repository is under way at a time."""
    queued.put_repository("Octo/Site")
    for name in ("octo/site", "Octo/Site"):
        queued.send(webhook_request("push", push_payload(name, "refs/heads/main", A, B)))
    assert [asked["MessageGroupId"] for asked in queue.of_operation("SendMessage")] == ["octo/site"] * 2


@pytest.mark.parametrize(
    ("publish", "ref", "is_queued"),
    [
        (None, "refs/heads/main", True),
        (None, "refs/heads/other", False),
        (None, "refs/tags/v1", False),
        ([{"ref": "refs/heads/preview/*"}], "refs/heads/preview/x", True),
        ([{"ref": "refs/heads/preview/*"}], "refs/heads/main", False),
    ],
)
def test_only_a_ref_that_a_rule_can_publish_is_queued(
    queued: Service, queue: MessageQueue, publish: object, ref: str, is_queued: bool
) -> None:
    """For the default branch the signed payload's word is enough."""
    fields: dict[str, Any] = {} if publish is None else {"publish": publish}
    queued.put_repository(**fields)
    answer = queued.send(webhook_request("push", push_payload("octo/site", ref, A, B)))
    assert (answer.status, answer.reason) == ((202, "queued") if is_queued else (200, "ref_not_published"))
    assert len(queue.messages) == is_queued


def test_without_the_payloads_word_every_branch_may_be_the_default_one(queued: Service, queue: MessageQueue) -> None:
    """Then the worker asks the remote."""
    payload = push_payload("octo/site", "refs/heads/other", A, B)
    del payload["repository"]["default_branch"]
    assert queued.send(webhook_request("push", payload)).status == 202
    assert len(queue.messages) == 1


def test_a_deleted_ref_is_queued(queued: Service, queue: MessageQueue) -> None:
    """What becomes of its target is the worker's to decide."""
    answer = queued.send(webhook_request("push", push_payload("octo/site", "refs/heads/main", A, NULL_OID)))
    assert answer.status == 202
    assert queue.messages[0]["is_deleted"] is True


def test_what_is_refused_or_ignored_is_not_queued(queued: Service, queue: MessageQueue) -> None:
    """A ping, another event, a forgery, an unknown repository, a wrong parameter: answered as ever."""
    push = push_payload("octo/site", "refs/heads/main", A, B)
    queued.put_repository_text("octo/wrong", '{"colour": "blue"}')
    expected = {
        200: [webhook_request("ping", ping_payload("octo/site")), webhook_request("create", push)],
        401: [webhook_request("push", push, "another secret")],
        404: [webhook_request("push", push | {"repository": push["repository"] | {"full_name": "octo/none"}})],
        500: [webhook_request("push", push | {"repository": push["repository"] | {"full_name": "octo/wrong"}})],
    }
    for status, requests in expected.items():
        assert {queued.send(request).status for request in requests} == {status}
    assert not queue.calls


def test_a_queue_that_does_not_answer_is_transient(queued: Service, queue: MessageQueue) -> None:
    """503: GitHub shows the delivery as failed, and "Redeliver" or the schedule does the rest."""
    queue.is_down = True
    request = webhook_request("push", push_payload("octo/site", "refs/heads/main", A, B))
    answer = queued.send(request)
    assert (answer.status, answer.outcome, answer.reason) == (503, "failed", "queue_unavailable")
    queue.is_down = False
    assert queued.send(request).status == 202


@pytest.mark.parametrize(
    ("error", "status", "answered"),
    [
        ("ThrottlingException", 400, (503, "queue_unavailable")),
        ("InternalError", 500, (503, "queue_unavailable")),
        ("AccessDeniedException", 400, (500, "configuration_invalid")),
        ("QueueDoesNotExist", 400, (500, "configuration_invalid")),
    ],
)
def test_what_the_queue_refuses_is_told_apart(
    queued: Service, queue: MessageQueue, error: str, status: int, answered: tuple[int, str]
) -> None:
    """Throttling passes; a missing right or queue needs a person."""
    queue.fail_next(5, error, status)
    answer = queued.send(webhook_request("push", push_payload("octo/site", "refs/heads/main", A, B)))
    assert (answer.status, answer.reason) == answered
    assert not queue.messages


def test_the_log_tells_what_was_queued(queued: Service) -> None:
    """One line, correlated by the delivery, and the metric by its reason."""
    queued.send(webhook_request("push", push_payload("octo/site", "refs/heads/main", A, B), delivery_id=DELIVERY))
    (line,) = [line for line in queued.log_lines if line["message"] == "delivery"]
    assert (line["outcome"], line["reason"], line["correlation_id"]) == ("accepted", "queued", DELIVERY)
    assert queued.metric_values("FailedOutcomes") == [0]


# -- what a start loads -----------------------------------------------------------------------------------------

LIST_MODULES = """
import json, os, sys
bare = set(sys.modules)
import handler.webhook
answer = handler.webhook.handler(json.loads(sys.stdin.read()), None)
print(json.dumps([answer, sorted(set(sys.modules) - bare)]))
"""
GIT_AND_MOUNT = (
    "dulwich.",
    "handler.mount.git.",
    "handler.mount.fs.",
    "handler.network.deliver.",
    "handler.mount.reconcile.",
    "moto.",
)
MOST_MODULES = 620
"""boto3 and the clients are most of it."""


@pytest.mark.parametrize("kind", [None, "on-demand", "snap-start"])
def test_an_accepted_push_loads_nothing_of_git_nor_of_the_mount(queued: Service, kind: str | None) -> None:
    """Counted in a process of its own, from the start to the answer."""
    push = push_payload("octo/site", "refs/heads/main", A, B)
    environment = queued_environment(queued, kind)
    result = subprocess.run(
        [sys.executable, "-c", LIST_MODULES],
        cwd=PROJECT,
        env=environment,
        input=json.dumps(http_api_event(webhook_request("push", push))),
        capture_output=True,
        text=True,
        check=True,
    )
    answer, modules = json.loads(result.stdout.splitlines()[-1])
    assert answer["statusCode"] == 202
    assert [name for name in modules if f"{name}.".startswith(GIT_AND_MOUNT)] == []
    assert len(modules) <= MOST_MODULES


def queued_environment(service: Service, kind: str | None) -> dict[str, str]:
    """Return a child's environment, initialised in Lambda's way."""
    return os.environ | service.environment | ({"AWS_LAMBDA_INITIALIZATION_TYPE": kind} if kind else {})


PREPARED = """
import json, sys
import handler.webhook
print(json.dumps({"boto3": "boto3" in sys.modules, "git": "handler.mount.git" in sys.modules}))
"""


@pytest.mark.parametrize(
    ("kind", "is_queued", "expected"),
    [
        ("snap-start", True, {"boto3": True, "git": False}),
        ("on-demand", True, {"boto3": False, "git": False}),
        ("on-demand", False, {"boto3": False, "git": True}),
        (None, False, {"boto3": False, "git": False}),
    ],
)
def test_a_snapshot_holds_clients_and_neither_secrets_nor_connections(
    service: Service,
    queue: MessageQueue,
    parameter_store: ParameterStore,
    kind: str | None,
    is_queued: bool,
    expected: dict[str, bool],
) -> None:
    """What is made before the picture is taken asks nobody anything: it would be old when the picture is restored."""
    if is_queued:
        service.use_queue(queue)
    parameter_store.reset()
    result = subprocess.run(
        [sys.executable, "-c", PREPARED],
        cwd=PROJECT,
        env=queued_environment(service, kind),
        capture_output=True,
        text=True,
        check=True,
    )
    # Whoever invokes the mount side loads nothing of git.
    assert json.loads(result.stdout) == expected | {"git": expected["git"] and not fake_lambda.is_function()}
    assert not queue.calls
    assert not parameter_store.calls


def test_a_wrong_environment_is_an_answer_and_not_a_failed_start(service: Service) -> None:
    """In Lambda a start that fails is a bare 502, and tells nobody why."""
    environment = queued_environment(service, "snap-start") | {"GIT2EFS_QUEUE_URL": "no URL"}
    code = "import handler.webhook, json; print(json.dumps(handler.webhook.handler({'headers': {}}, None)))"
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=PROJECT, env=environment, capture_output=True, text=True, check=True
    )
    answer = json.loads(result.stdout.splitlines()[-1])
    assert (answer["statusCode"], json.loads(answer["body"])["reason"]) == (500, "configuration_invalid")


def test_secrets_reach_neither_queue_nor_log(queued: Service, queue: MessageQueue) -> None:
    """The webhook's secret and the signature stay where they are."""
    request = webhook_request("push", push_payload("octo/site", "refs/heads/main", A, B))
    queued.send(request)
    told = queued.text + "".join(queue.bodies)
    for needle in (SECRET, request.headers["X-Hub-Signature-256"][7:], request.headers["X-Hub-Signature"][5:]):
        assert needle not in told
