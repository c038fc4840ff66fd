"""The built artefact under Lambda's own runtime client: cold, warm, killed in the middle of a fetch, and healed.

Nothing of this project's environment is there: the artefact, the client, and a Python without packages.
"""

import base64
import json
import os
import random
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from local import sample
from local.events import DIRECTORY, Made, events, sample_commit
from local.mapping import sqs_event
from local.tree import differences, published_files
from testing.answers import Answer, read_answer
from testing.deliveries import FORM, WebhookRequest, http_api_event, ping_payload, webhook_request
from testing.origin import GitOrigin
from testing.queue import MessageQueue
from testing.repositories import Upstream, archive
from testing.service import Service
from tests.artifact.runtime import Environment, Tools

LARGE_BYTES = 24 * 1024 * 1024
HALF_SECONDS = 60.0
"""How long half of the large pack may take to be made and sent, on a machine that is busy with other tests."""
MOST_INIT_MILLISECONDS = 2_000
"""A cold start's imports, on a machine that is busy with other tests; some 200 when it is not."""
MOST_MODULES = 530
"""Of a direct webhook that has published, Python's own and Lambda's client with it; boto3's are half of them."""

PART = "receive.json"

Start = Callable[..., Environment]


@pytest.fixture
def start(tools: Tools, artefact: Path, service: Service, tmp_path: Path) -> Iterator[Start]:
    """Start an environment of the service's; stopped at the end of the test."""
    with ExitStack() as stack:

        def started(function: str = "Webhook", timeout_seconds: int = 60, **variables: str) -> Environment:
            handler = f"handler.{function.lower()}.handler"
            log = tmp_path / f"{function}-{len(list(tmp_path.iterdir()))}.log"
            environment = Environment(
                tools,
                artefact / f"{function}Function",
                handler,
                service.environment | variables,
                log,
                timeout_seconds=timeout_seconds,
            )
            return stack.enter_context(environment)

        yield started


def send(environment: Environment, request: WebhookRequest) -> Answer:
    """Deliver a request through an HTTP API, and return what the function answers."""
    return read_answer(environment.invoke(http_api_event(request)))


def test_push_is_published_cold_and_the_next_one_warm(
    start: Start, service: Service, upstream: Upstream, say: Callable[[str], None]
) -> None:
    """The main job, in both content types; and what a cold start costs is told and bounded."""
    service.put_repository()
    environment = start()
    took = []
    for number in range(5):
        commit = upstream.commit({"index.html": b"%d" % number, "same.txt": b"same"})
        request = service.push_request(upstream, media_type=FORM if number == 1 else "application/json")
        started = time.perf_counter()
        answer = send(environment, request)
        took.append((time.perf_counter() - started) * 1000)
        assert (answer.status, answer.content["outcome"], answer.content["commit"]) == (200, "published", commit)
        assert service.tree() == archive(upstream, commit)
    (init,) = environment.init_milliseconds()
    say(
        f"the built webhook: imported in {init:.0f} ms, its first push published after {took[0]:.0f} ms, "
        f"those after it after {statistics.median(took[1:]):.0f} ms"
    )
    assert init < MOST_INIT_MILLISECONDS
    assert (
        len([line for line in environment.log_lines() if line.get("outcome") == "published" and "level" in line]) == 5
    )


def test_two_artefacts_publish_together(
    start: Start, service: Service, upstream: Upstream, say: Callable[[str], None]
) -> None:
    """The webhook fetches and invokes; the publisher, whose package is what it imports and no more, publishes."""
    service.put_repository()
    publisher = start("Publisher")
    webhook = start(GIT2EFS_PUBLISHER="function", AWS_ENDPOINT_URL_LAMBDA=publisher.endpoint)
    took = []
    for number in range(5):
        commit = upstream.commit({"index.html": b"%d" % number, "same.txt": b"same"})
        started = time.perf_counter()
        answer = send(webhook, service.push_request(upstream))
        took.append((time.perf_counter() - started) * 1000)
        assert (answer.status, answer.content["outcome"], answer.content["commit"]) == (200, "published", commit)
        assert service.tree() == archive(upstream, commit)
    (init,) = publisher.init_milliseconds()
    say(
        f"the built publisher: imported in {init:.0f} ms; the first push through it published after {took[0]:.0f} ms, "
        f"those after it after {statistics.median(took[1:]):.0f} ms"
    )
    assert init < MOST_INIT_MILLISECONDS


def test_publisher_imports_all_of_its_package_and_no_socket(tools: Tools, artefact: Path) -> None:
    """Every module of its own is there and can be imported; none brings a network along."""
    function = artefact / "PublisherFunction"
    names = [
        path.relative_to(function).with_suffix("").as_posix().replace("/", ".").removesuffix(".__init__")
        for path in sorted(function.rglob("*.py"))
    ]
    code = "import importlib, sys; [importlib.import_module(name) for name in sys.argv[1:]]; print(*sys.modules)"
    result = subprocess.run(
        [tools.python, "-S", "-c", code, *names],
        cwd=function,
        env={"PYTHONPATH": os.fspath(function), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    imported = set(result.stdout.split())
    assert set(names) <= imported
    assert {"socket", "ssl", "http.client", "urllib.request", "urllib3", "boto3"}.isdisjoint(imported)


def test_heavy_imports_wait(tools: Tools, artefact: Path, say: Callable[[str], None]) -> None:
    """What is never used is never imported: counted in the artefact itself, after a client was made."""
    code = "import sys, handler.webhook, handler.network.deliver; "
    code += "from handler.network.aws.ssm import make_ssm_client; make_ssm_client()"
    code += "\nprint(len(sys.modules)); print(*sorted(sys.modules))"
    function = artefact / "WebhookFunction"
    result = subprocess.run(
        [tools.python, "-S", "-c", code],
        cwd=function,
        env={"PYTHONPATH": os.fspath(function), "PYTHONDONTWRITEBYTECODE": "1", "AWS_DEFAULT_REGION": "us-east-1"},
        capture_output=True,
        text=True,
        check=True,
    )
    number, names = result.stdout.splitlines()
    say(f"the built webhook: {number} modules once it has a client for Parameter Store")
    assert int(number) <= MOST_MODULES
    assert {"dulwich.porcelain", "dulwich.client", "pydantic", "requests", "aws_xray_sdk"}.isdisjoint(names.split())


def test_killed_in_the_middle_of_a_large_fetch_the_next_invocation_heals(
    start: Start, service: Service, upstream: Upstream, origin: GitOrigin
) -> None:
    """No clean-up runs. What the process leaves is made good by the next one.

    A remote's silence does not bring it to that: the run ends before Lambda's time-out. So the process is killed here.
    """
    service.put_repository()
    service.configure(read_timeout_seconds=60.0)
    first = upstream.commit({"index.html": b"one"})
    environment = start()
    assert send(environment, service.push_request(upstream)).content["outcome"] == "published"

    large = random.Random(0).randbytes(LARGE_BYTES)
    second = upstream.commit({"index.html": b"two", "large.bin": large})
    # Both requests side by side, the one by the commit's id and a second one, end in the same silence.
    origin.hang_next(4, after=0.5, kind="fetch")
    event = http_api_event(service.push_request(upstream))
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(environment.invoke, event)
        # Not after so many seconds: in the middle is when half of the pack was sent, and nothing more comes.
        origin.wait_until(lambda origin: _is_in_the_middle(origin, second), HALF_SECONDS)
        assert not answer.done()
        environment.kill_function()
        assert "killed" in str(answer.result())
    assert service.current_commit() == first
    assert service.tree() == archive(upstream, first)
    assert [path for path in (service.mount / "octo/site/mirror.git").rglob("*") if path.is_file()]

    origin.clear_faults()
    event = http_api_event(service.push_request(upstream))
    healed = read_answer(environment.invoke_when_ready(event))
    assert (healed.content["outcome"], healed.content["commit"]) == ("published", second)
    assert service.tree() == archive(upstream, second)
    assert len(environment.init_milliseconds()) == 2, "the process that was killed is another one"


def _is_in_the_middle(origin: GitOrigin, commit: str) -> bool:
    """Tell whether half of a commit's pack was sent, and the request is under way."""
    return any(
        commit in request.wants and request.finished is None and request.response_bytes > LARGE_BYTES // 3
        for request in origin.requests
    )


def test_forged_push_is_refused(start: Start, service: Service, upstream: Upstream, origin: GitOrigin) -> None:
    """401 from the artefact too; and a body in base64, as API Gateway sends a form, is verified as it was signed."""
    service.put_repository()
    upstream.commit({"index.html": b"one"})
    environment = start()
    answer = send(environment, service.push_request(upstream, secret="a guess"))
    assert (answer.status, answer.content["reason"]) == (401, "signature_invalid")
    event = http_api_event(webhook_request("ping", ping_payload("octo/site"), service.secret), is_base64=True)
    assert base64.b64decode(event["body"])
    assert read_answer(environment.invoke(event)).content["reason"] == "pong"
    assert origin.requests == []


def test_worker_publishes_what_the_front_door_queued(
    start: Start, service: Service, upstream: Upstream, queue: MessageQueue
) -> None:
    """Queued mode: the webhook answers 202, and the worker takes the batch that Lambda would make of it."""
    service.use_queue(queue)
    service.put_repository()
    commit = upstream.commit({"index.html": b"one"})
    answer = send(start(), service.push_request(upstream))
    assert (answer.status, answer.content["outcome"]) == (202, "accepted")
    messages = queue.client().receive_message(QueueUrl=queue.url, MaxNumberOfMessages=10, AttributeNames=["All"])
    worker = start("Worker")
    assert worker.invoke(sqs_event(messages["Messages"], "queue.fifo")) == {"batchItemFailures": []}
    assert service.current_commit() == commit
    assert service.tree() == archive(upstream, commit)


def test_publisher_answers_ready_events(start: Start, service: Service) -> None:
    """Those of `sam local invoke PublisherFunction`: what it needs to know, a whole publish, and a part of a pack."""
    publisher = start("Publisher")
    recorded: dict[str, Any] = {name: json.loads((DIRECTORY / name).read_bytes()) for name in ("publish.json", PART)}
    assert publisher.invoke(recorded["publish.json"]) == {"version": 1, "result": {"need": {"ref": "refs/heads/main"}}}
    made = Made(commit=sample_commit(), asked_at=time.time())
    outcome = publisher.invoke(events(made)["publish.json"])["result"]["outcome"]
    assert (outcome["kind"], outcome["commit"]) == ("published", sample_commit())
    current = service.current(f"{made.repository}/main")
    assert differences(sample.first_push(), published_files(os.fspath(current))) == []
    size = len(base64.b64decode(recorded[PART]["arguments"]["content"]))
    assert publisher.invoke(recorded[PART]) == {"version": 1, "result": size}


def test_schedule_makes_a_lost_webhook_good_and_does_the_chores(
    start: Start, service: Service, upstream: Upstream
) -> None:
    """EventBridge Scheduler's two inputs, in the artefact."""
    service.put_repository()
    commit = upstream.commit({"index.html": b"one"})
    schedule = start("Schedule", timeout_seconds=120)
    done: Any = schedule.invoke({"task": "reconcile"})
    assert (done["outcome"], service.current_commit()) == ("done", commit)
    chores: Any = schedule.invoke({"task": "chores"})
    assert chores["outcome"] == "done"


def test_event_bus_has_its_client(start: Start, service: Service, upstream: Upstream) -> None:
    """All three of the services' models are in the artefact: a bus that is not there is warned about, by its reason."""
    service.put_repository()
    upstream.commit({"index.html": b"one"})
    environment = start(GIT2EFS_EVENT_BUS="house", AWS_ENDPOINT_URL_EVENTS="http://127.0.0.1:9")
    assert send(environment, service.push_request(upstream)).content["outcome"] == "published"
    assert "EventBridge did not take" in environment.log_text()
    assert "EndpointConnectionError" in environment.log_text()
