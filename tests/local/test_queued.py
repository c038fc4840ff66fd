"""`serve --queued`: the front door, the queue and the worker as processes."""

import os
import signal
from pathlib import Path

from local import github, sample
from local.origin import SampleOrigin
from local.service import Service
from tests.local.conftest import children_of, is_alive, wait_for

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
    with Service(str(tmp_path / "mount"), SECRET, {}, ["--queued"]) as service:
        children = children_of(service.pid)
        assert len(children) == 2
        os.kill(service.pid, signal.SIGKILL)
        wait_for(lambda: not any(map(is_alive, children)))
