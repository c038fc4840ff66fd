"""`serve --queued`: the front door, the queue and the worker as processes."""

import os
import signal
import time
from pathlib import Path

import pytest

from local import github, sample
from local.origin import SampleOrigin
from local.service import Service

SECRET = "s3cret"
REF = "refs/heads/main"


def test_a_push_is_accepted_and_published_by_the_worker(tmp_path: Path) -> None:
    """Both tell it in the same output; what was accepted is published before the end."""
    with SampleOrigin() as origin:
        commit = origin.commit(REF, sample.first_push(), "Begin")
        urls = {origin.full_name: origin.url}
        with Service(str(tmp_path / "mount"), SECRET, urls, ["--queued"]) as service:
            payload = github.push_payload(origin.full_name, REF, github.NO_COMMIT, commit)
            answer = github.send(service.url, payload, SECRET, delivery="d1")
            assert (answer.status, answer.fields["reason"]) == (202, "queued")
            told: list[dict[str, object]] = []
            while not any(line.get("outcome") == "published" for line in told):
                logs, _ = service.records()
                assert logs, told
                told += logs
            assert service.stop() == 0
    assert {line.get("correlation_id") for line in told} == {"d1"}
    current = tmp_path / "mount" / origin.full_name / "main" / "current"
    assert os.path.basename(os.readlink(current)) == commit


def test_a_front_door_that_is_killed_leaves_no_process_behind(tmp_path: Path) -> None:
    """Queue and worker read their standard input: it ends with their parent, however that ended."""
    if not Path("/proc/self/task").is_dir():
        pytest.skip("looks for children in /proc")
    with Service(str(tmp_path / "mount"), SECRET, {}, ["--queued"]) as service:
        children = _children_of(service.pid)
        assert len(children) == 2
        os.kill(service.pid, signal.SIGKILL)
        deadline = time.monotonic() + 20
        while any(_is_alive(child) for child in children) and time.monotonic() < deadline:
            time.sleep(0.02)
        assert not [child for child in children if _is_alive(child)]


def _children_of(pid: int) -> list[int]:
    return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
