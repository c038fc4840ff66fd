"""The ready events for `sam local`: they are what their script makes, and do what their names say."""

import base64
import http.client
import json
import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import boto3
import pytest

from handler import operate, publisher, schedule, webhook, worker
from handler.network.aws import publisher_function
from local import sample
from local.aws import QUEUES
from local.event import read_answer
from local.events import (
    AWS_PORT,
    DIRECTORY,
    HOST,
    ORIGIN_PORT,
    PREFIX,
    REF,
    REPOSITORY,
    Made,
    events,
    main,
    sample_commit,
)
from local.gateway import LambdaContext
from local.stand_in import StandIn, standing_in
from local.stand_in import main as stand_in_main
from local.tree import differences, published_files
from testing.fake_lambda import NAME, FakeLambda
from testing.stack import ROOT, read_stack


def event(name: str) -> Any:
    """Return an event as it lies there."""
    return json.loads((DIRECTORY / name).read_text(encoding="utf-8"))


@pytest.fixture
def stand_in() -> Iterator[StandIn]:
    """The stand-in on free ports, which the sample repository's parameter then names."""
    with standing_in("127.0.0.1", 0, 0) as standing:
        yield standing
        # moto keeps them for as long as its process lives, which here is all tests'.
        client = boto3.client("ssm", endpoint_url=standing.aws_url, region_name="us-east-1")
        there = client.get_parameters_by_path(Path=PREFIX, Recursive=True)["Parameters"]
        client.delete_parameters(Names=[parameter["Name"] for parameter in there])


@pytest.fixture
def mount(tmp_path: Path, stand_in: StandIn, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The functions with the variables of env.json, but for where they lead; a directory plays the mount."""
    for name, value in event("env.json")["WorkerFunction"].items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_ENDPOINT_URL", stand_in.aws_url)
    monkeypatch.setenv("GIT2EFS_MOUNT", os.fspath(tmp_path))
    # A region of the user's own profile, which SAM passes on.
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-3")
    _reset()
    yield tmp_path
    _reset()


def _reset() -> None:
    for entry in (webhook, worker, schedule, operate, publisher):
        entry.reset()


@pytest.fixture
def direct(mount: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same without a queue."""
    monkeypatch.delenv("GIT2EFS_QUEUE_URL")
    monkeypatch.delenv("GIT2EFS_DEAD_LETTER_URL")
    return mount


@pytest.fixture
def localhost(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the name that containers know lead to this machine, as `--add-host` does."""
    import socket

    real = socket.getaddrinfo
    monkeypatch.setattr(
        socket, "getaddrinfo", lambda host, *rest, **more: real("127.0.0.1" if host == HOST else host, *rest, **more)
    )


def test_events_are_what_their_script_makes() -> None:
    """`python -m local.events` changes nothing; a change of the sample or of an event's shape has to be made there."""
    made = events(Made(commit=sample_commit()))
    assert {path.name for path in DIRECTORY.glob("*.json")} == set(made)
    for name, value in made.items():
        assert event(name) == value, f"{name}: run python -m local.events"


def test_same_arguments_make_the_same_bytes(tmp_path: Path) -> None:
    """Nothing of the clock or of chance; another secret makes other signatures."""
    for directory in ("one", "two"):
        assert main(["--directory", str(tmp_path / directory)]) == 0
    assert main(["--directory", str(tmp_path / "other"), "--secret", "another"]) == 0
    text = {name: (tmp_path / name / "push.json").read_text() for name in ("one", "two", "other")}
    assert text["one"] == text["two"] == (DIRECTORY / "push.json").read_text()
    assert text["other"] != text["one"]


@pytest.mark.usefixtures("localhost")
@pytest.mark.parametrize("name", ["push.json", "push-form.json"])
def test_push_is_published(direct: Path, name: str, stand_in: StandIn) -> None:
    """The main job, from the event alone."""
    answer = read_answer(webhook.handler(event(name), LambdaContext("request")))
    content = json.loads(answer.body)
    assert (answer.status, content["outcome"], content["commit"]) == (200, "published", stand_in.commit)
    assert os.readlink(direct / REPOSITORY / "main" / "current") == f"releases/{stand_in.commit}"


@pytest.mark.parametrize(
    ("name", "status", "reason"), [("ping.json", 200, "pong"), ("forged.json", 401, "signature_invalid")]
)
def test_other_deliveries_are_answered(direct: Path, name: str, status: int, reason: str) -> None:
    """A ping is ignored, a forgery refused; nothing is written."""
    answer = read_answer(webhook.handler(event(name), LambdaContext("request")))
    assert (answer.status, json.loads(answer.body)["reason"]) == (status, reason)
    assert list(direct.iterdir()) == []


@pytest.mark.usefixtures("localhost")
def test_batch_is_worked_off(mount: Path, stand_in: StandIn) -> None:
    """The worker publishes what the message names, and reports nothing as failed."""
    assert worker.handler(event("sqs.json"), LambdaContext("request")) == {"batchItemFailures": []}
    assert os.readlink(mount / REPOSITORY / "main" / "current") == f"releases/{stand_in.commit}"


@pytest.mark.usefixtures("localhost")
def test_schedule_publishes_and_does_the_chores(direct: Path, stand_in: StandIn) -> None:
    """Both of its inputs end well."""
    done = schedule.handler(event("reconcile.json"), LambdaContext("request"))
    assert isinstance(done, dict)
    assert (done["looked_at"], done["failing"]) == (1, 0)
    assert os.readlink(direct / REPOSITORY / "main" / "current") == f"releases/{stand_in.commit}"
    chores = schedule.handler(event("chores.json"), LambdaContext("request"))
    assert isinstance(chores, dict)
    assert (chores["outcome"], chores["failing"]) == ("done", 0)


@pytest.mark.usefixtures("localhost", "direct")
def test_operator_sees_what_was_published(stand_in: StandIn) -> None:
    """`status` of the sample, once it is there."""
    webhook.handler(event("push.json"), LambdaContext("request"))
    assert stand_in.commit in json.dumps(operate.handler(event("status.json"), LambdaContext("request")))


def test_publisher_needs_newer_answers_than_those_of_the_recorded_publish(mount: Path) -> None:
    """The event is of 2025: it is understood, and the answer says what the publisher has to know."""
    answer = publisher.handler(event("publish.json"), LambdaContext("request"))
    assert answer == {"version": 1, "result": {"need": {"ref": REF}}}
    assert not (mount / REPOSITORY / "main" / "current").is_symlink()


def test_publisher_publishes_what_was_asked_just_now(mount: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """The same with `--asked-at`: a whole publish from the event alone, and without a network."""
    directory = tmp_path_factory.mktemp("events")
    assert main(["--asked-at", str(time.time()), "--directory", str(directory)]) == 0
    recorded = json.loads((directory / "publish.json").read_text(encoding="utf-8"))
    answer: Any = publisher.handler(recorded, LambdaContext("request"))
    outcome = answer["result"]["outcome"]
    assert (outcome["kind"], outcome["commit"]) == ("published", sample_commit())
    published = published_files(str(mount / REPOSITORY / "main" / "current"))
    assert differences(sample.first_push(), published) == []


def test_publisher_takes_a_part(mount: Path) -> None:
    """The answer is how much is there."""
    answer = publisher.handler(event("receive.json"), LambdaContext("request"))
    (part,) = mount.rglob(event("receive.json")["arguments"]["transfer"])
    assert answer == {"version": 1, "result": part.stat().st_size}
    assert part.read_bytes() == base64.b64decode(event("receive.json")["arguments"]["content"])


@pytest.mark.usefixtures("localhost", "direct")
def test_recorded_publish_is_what_the_webhook_sends(monkeypatch: pytest.MonkeyPatch) -> None:
    """But for the times, and how the pack's objects are compressed."""
    sent: list[Any] = []

    class Recorder(FakeLambda):
        def invoke(self, *, FunctionName: str, InvocationType: str, Payload: bytes) -> Mapping[str, Any]:
            sent.append(json.loads(Payload))
            return super().invoke(FunctionName=FunctionName, InvocationType=InvocationType, Payload=Payload)

    monkeypatch.setattr(publisher_function, "make_lambda_client", Recorder)
    monkeypatch.setenv("GIT2EFS_PUBLISHER", NAME)
    answer = read_answer(webhook.handler(event("push.json"), LambdaContext("request")))
    assert json.loads(answer.body)["outcome"] == "published"
    published = [each for each in sent if each["action"] == "publish"]
    assert _without_times(published[-1]) == _without_times(event("publish.json"))


def _without_times(message: Any) -> Any:
    """Return a message without what differs from one run to the next."""
    passing = {"asked_at", "answered_at", "received_at", "deadline", "size", "bytes_fetched", "pack"}
    if isinstance(message, dict):
        return {name: _without_times(value) for name, value in message.items() if name not in passing}
    return [_without_times(each) for each in message] if isinstance(message, list) else message


def test_variables_are_those_that_the_template_declares() -> None:
    """`sam local` passes over all others without a word; and the template leaves them to AWS where it is deployed."""
    stack = read_stack().under({"Delivery": "queued"})
    for function, variables in event("env.json").items():
        assert set(variables) <= set(stack.environment(function)), function
        assert stack.environment(function)["AWS_ENDPOINT_URL"] == ""
    assert event("env.json")["WorkerFunction"]["GIT2EFS_QUEUE_URL"] == QUEUES.url


def test_samconfig_leads_to_the_stand_in() -> None:
    """One name for this machine in the events, in the variables and in samconfig.toml."""
    text = (ROOT / "samconfig.toml").read_text(encoding="utf-8")
    assert text.count(f'add_host = "{HOST}:host-gateway"') == 3
    assert text.count('env_vars = "tests/events/env.json"') == 3
    assert event("env.json")["WebhookFunction"]["AWS_ENDPOINT_URL"] == f"http://{HOST}:{AWS_PORT}"
    assert AWS_PORT != ORIGIN_PORT


def test_stand_in_answers_where_it_says(stand_in: StandIn) -> None:
    """The sample repository is really served."""
    parts = urlsplit(stand_in.origin_url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port or 0, timeout=10)
    connection.request("GET", f"{parts.path}/info/refs?service=git-upload-pack", headers={"Git-Protocol": "version=2"})
    assert connection.getresponse().status == 200
    connection.close()
    assert stand_in.commit == sample_commit()


def test_address_that_cannot_be_listened_on_is_said(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """2, and a line: the bridge's address differs from machine to machine."""
    import signal

    monkeypatch.setattr(signal, "signal", lambda *_: None)
    before = dict(os.environ)
    try:
        assert stand_in_main(["--host", "192.0.2.1"]) == 2
    finally:
        os.environ.clear()
        os.environ.update(before)
    assert "cannot listen on 192.0.2.1" in capsys.readouterr().err
