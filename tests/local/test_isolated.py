"""`serve --isolated`: pushes are published by a process that has no network."""

import json
import os
import random
import signal
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from handler import operate, webhook
from local import events, github, sample
from local.event import http_api_event, read_answer
from local.events import Made
from local.gateway import LambdaContext
from local.lambda_api import PUBLISHER_NAME, FunctionFailed
from local.mount_process import MountProcess, Probe, isolated
from local.options import build_parser, serve_options
from local.origin import FileContent, SampleOrigin
from local.parameters import embedded_parameters
from local.serve import serve
from local.service import Service
from local.tree import differences, published_files
from tests.local.conftest import children_of, is_alive, wait_for

SECRET = "s3cret"
PREFIX = "/git2efs/isolated"
REF = "refs/heads/main"


def push(origin: SampleOrigin, url: str, files: dict[bytes, FileContent], before: str = github.NO_COMMIT) -> str:
    """Commit, deliver, hold what readers see to the commit; return it."""
    commit = origin.commit(REF, files, "Next")
    answer = github.send(url, github.push_payload(origin.full_name, REF, before, commit), SECRET)
    assert (answer.status, answer.fields.get("outcome")) == (200, "published"), answer.body
    return commit


def pids_of(service: Service) -> tuple[int, int]:
    """Return the ids in the line about the two processes."""
    words = service.processes_line.replace(",", "").split()
    assert words[:2] == ["git2efs:", "process"]
    assert words[3:5] == ["fetches", "process"]
    return int(words[2]), int(words[5])


# -- the service ------------------------------------------------------------------------------------------------------


def test_a_push_is_published_by_the_process_without_a_network(origin: SampleOrigin, tmp_path: Path) -> None:
    """The line names both, and what became of the other's connection; the files are the mount side's."""
    with Service(str(tmp_path / "mount"), SECRET, {origin.full_name: origin.url}, ["--isolated"]) as service:
        network_side, mount_side = pids_of(service)
        assert network_side == service.pid
        assert children_of(service.pid) == [mount_side]
        base = service.url.removesuffix("/github")
        assert service.processes_line.endswith(f"its connection to {base} fails (NetworkForbidden)")
        assert "AWS_" not in Path(f"/proc/{mount_side}/environ").read_text()
        with urllib.request.urlopen(f"{base}/healthz", timeout=10) as healthz:
            assert (healthz.status, healthz.read()) == (200, b"ok")
        first = push(origin, service.url, sample.first_push())
        second = push(origin, service.url, sample.second_push()[0], first)
        current = tmp_path / "mount" / origin.full_name / "main" / "current"
        assert os.path.basename(os.readlink(current)) == second
        assert differences(origin.files(second), published_files(str(current))) == []
        assert service.stop() == 0
        assert not is_alive(mount_side)


def test_a_push_after_the_mount_side_was_killed_is_published_by_another(origin: SampleOrigin, tmp_path: Path) -> None:
    """Nobody has to start it."""
    with Service(str(tmp_path / "mount"), SECRET, {origin.full_name: origin.url}, ["--isolated"]) as service:
        first = push(origin, service.url, sample.first_push())
        _, mount_side = pids_of(service)
        os.kill(mount_side, signal.SIGKILL)
        wait_for(lambda: not is_alive(mount_side))
        wait_for(lambda: children_of(service.pid) == [])
        push(origin, service.url, sample.second_push()[0], first)
        (other,) = children_of(service.pid)
        assert other != mount_side


def test_with_a_queue_the_worker_publishes_there_too(origin: SampleOrigin, tmp_path: Path) -> None:
    """It invokes the same process, by Lambda's API."""
    urls = {origin.full_name: origin.url}
    with Service(str(tmp_path / "mount"), SECRET, urls, ["--isolated", "--queued"]) as service:
        commit = origin.commit(REF, sample.first_push(), "Begin")
        answer = github.send(service.url, github.push_payload(origin.full_name, REF, github.NO_COMMIT, commit), SECRET)
        assert (answer.status, answer.fields["reason"]) == (202, "queued")
        current = tmp_path / "mount" / origin.full_name / "main" / "current"
        wait_for(current.is_symlink)
        assert os.path.basename(os.readlink(current)) == commit
        children = children_of(service.pid)
        assert len(children) == 3
        assert service.stop() == 0
        assert not any(map(is_alive, children))


@pytest.mark.sampled(1)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_no_process_is_left_behind(tmp_path: Path, number: signal.Signals) -> None:
    """However the service ends."""
    with Service(str(tmp_path / "mount"), SECRET, {}, ["--isolated"]) as service:
        children = children_of(service.pid)
        assert len(children) == 1
        os.kill(service.pid, number)
        wait_for(lambda: not any(map(is_alive, [*children, service.pid])))


def test_a_signal_to_all_of_its_processes_lets_requests_end(origin: SampleOrigin, tmp_path: Path) -> None:
    """Ctrl-C goes to a whole group, and a supervisor may signal each: the service alone acts on it."""
    with Service(str(tmp_path / "mount"), SECRET, {origin.full_name: origin.url}, ["--isolated"]) as service:
        _, mount_side = pids_of(service)
        for number in (signal.SIGINT, signal.SIGTERM):
            os.kill(mount_side, number)
        push(origin, service.url, sample.first_push())
        assert children_of(service.pid) == [mount_side]


class NotIsolated(MountProcess):
    """A mount side whose connection is made, or that does not start."""

    def __init__(self, failure: str = "") -> None:
        super().__init__({})
        self._failure = failure

    def probe(self, host: str, port: int, *, seconds: float = 0) -> Probe:
        """Answer without a process."""
        if self._failure:
            raise FunctionFailed(self._failure)
        return Probe(has_namespace=False, refused="")


@pytest.mark.parametrize(
    ("mount_side", "why"),
    [
        (NotIsolated(), "the mount side has a network"),
        (NotIsolated("it died"), "the mount side does not start: it died"),
    ],
)
def test_a_mount_side_that_is_not_isolated_ends_the_service(
    mount_side: MountProcess,
    why: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Before it listens: 2, and why."""
    monkeypatch.setattr("local.mount_process.isolated", lambda: nullcontext(mount_side))
    monkeypatch.setattr("local.serve._catch_signals", lambda: lambda: None)
    for name in ("GIT2EFS_MOUNT", "GIT2EFS_PARAMETER_PREFIX", "AWS_LAMBDA_FUNCTION_NAME"):
        monkeypatch.delenv(name, raising=False)
    parser = build_parser()
    arguments = ["serve", "--root", str(tmp_path), "--port", "0", "--secret", SECRET, "--isolated"]
    before = dict(os.environ)
    try:
        assert serve(serve_options(parser, parser.parse_args(arguments), {}), lambda: lambda event, context: None) == 2
    finally:
        os.environ.clear()
        os.environ.update(before)
    captured = capfd.readouterr()
    assert captured.err == f"git2efs: {why}\n"
    assert "listening" not in captured.out


# -- the two sides, from this process ---------------------------------------------------------------------------------


class Sides:
    """The network side in this process; what it asks of the mount side is noted, by the names of the actions.

    The mount side is killed while it is asked for the action `killed_at`.
    """

    def __init__(self, origin: SampleOrigin, mount: Path) -> None:
        self.origin = origin
        self.actions: list[str] = []
        self.killed_at = ""
        self.current = mount / origin.full_name / "main" / "current"

    def note(self, action: str, pid: int) -> None:
        """Stop the process first, so that it cannot answer before it is killed."""
        self.actions.append(action)
        if action == self.killed_at:
            os.kill(pid, signal.SIGSTOP)
            threading.Timer(0.2, os.kill, (pid, signal.SIGKILL)).start()
            self.killed_at = ""

    def push(self, files: dict[bytes, FileContent]) -> tuple[str, dict[str, Any]]:
        """Commit, deliver; return the commit and the answer."""
        commit = self.origin.commit(REF, files, "Next")
        return commit, self.deliver(commit)

    def deliver(self, commit: str) -> dict[str, Any]:
        """Deliver the push of a commit; return the answer."""
        payload = github.push_payload(self.origin.full_name, REF, github.NO_COMMIT, commit)
        sent = events.request(Made(SECRET, self.origin.full_name), payload)
        event = http_api_event(sent, "request", 0.0, "Root=1-0-0")
        answer: dict[str, Any] = json.loads(read_answer(webhook.handler(event, LambdaContext("request"))).body)
        return answer

    def published(self) -> str:
        """Return the commit that readers have, whose tree is compared."""
        commit = os.path.basename(os.readlink(self.current))
        assert differences(self.origin.files(commit), published_files(str(self.current))) == []
        return commit


@pytest.fixture
def sides(origin: SampleOrigin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sides]:
    """Both sides, the mount side in its process."""
    sides = Sides(origin, tmp_path)
    invoke = MountProcess.invoke

    def noted(process: MountProcess, payload: bytes) -> bytes:
        sides.note(json.loads(payload)["action"], process.pid)
        return invoke(process, payload)

    monkeypatch.setattr(MountProcess, "invoke", noted)
    monkeypatch.setenv("GIT2EFS_MOUNT", str(tmp_path))
    monkeypatch.setenv("GIT2EFS_PARAMETER_PREFIX", PREFIX)
    parameter = json.dumps({"url": origin.url})
    with embedded_parameters(PREFIX, SECRET, {origin.full_name: parameter}), isolated():
        assert os.environ["GIT2EFS_PUBLISHER"] == PUBLISHER_NAME
        _reset()
        yield sides
        _reset()
    assert "GIT2EFS_PUBLISHER" not in os.environ


def _reset() -> None:
    webhook.reset()
    operate.reset()


def test_a_first_publish_of_more_than_4_mb_comes_in_parts(sides: Sides) -> None:
    """Its pack is over what one message may hold."""
    noise = random.Random(1).randbytes(9_000_000)
    commit, answer = sides.push({b"noise.bin": FileContent(noise), b"README.md": FileContent(b"Hello\n")})
    assert (answer["outcome"], sides.published()) == ("published", commit)
    assert answer["bytes_fetched"] > 9_000_000
    assert sides.actions.count("receive") == 3
    assert "publish" in sides.actions


def test_an_operator_rolls_back(sides: Sides) -> None:
    """The command goes the same way as a push."""
    first, _ = sides.push(sample.first_push())
    second, _ = sides.push(sample.second_push()[0])
    assert sides.published() == second
    path = f"{sides.origin.full_name}/main"
    content = operate.handler({"action": "rollback", "path": path, "why": "test", "by": "test"}, None)
    assert content["exit_code"] == 0, content
    assert sides.published() == first
    assert "roll_back" in sides.actions


def test_a_run_whose_mount_side_is_killed_is_healed_by_the_same_delivery(sides: Sides) -> None:
    """Killed in the call that publishes: the answer says that trying again helps."""
    first, _ = sides.push(sample.first_push())
    sides.killed_at = "publish"
    second, answer = sides.push(sample.second_push()[0])
    assert (answer["outcome"], answer["reason"]) == ("failed", "publisher_unavailable")
    assert sides.published() == first
    assert sides.deliver(second)["outcome"] == "published"
    assert sides.published() == second
