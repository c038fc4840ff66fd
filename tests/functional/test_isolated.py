"""The main jobs with the mount side in a process of its own, which has no network."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from testing import fake_lambda
from testing.origin import GitOrigin
from testing.parameters import ParameterStore
from testing.repositories import Upstream, archive
from testing.service import Service

MAIN = "octo/site/main"

pytestmark = fake_lambda.for_calls("these tests have a transport of their own")


@pytest.fixture
def isolated(
    tmp_path: Path, parameter_store: ParameterStore, origin: GitOrigin, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Service]:
    """Return a service that publishes through the function, with one repository."""
    monkeypatch.setenv(fake_lambda.VARIABLE, "process")
    started = Service(tmp_path / "mount", parameter_store, origin).start()
    started.put_repository()
    yield started
    started.stop()


def test_pushes_are_published(isolated: Service, upstream: Upstream) -> None:
    """A first one, one more, and the same again; the tree is the commit's."""
    upstream.commit({"a": b"1", "b/c": b"2"})
    assert isolated.push(upstream).outcome == "published"
    second = upstream.commit({"a": b"3", "b/c": b"2"})
    request = isolated.push_request(upstream)
    assert [isolated.send(request).outcome for _ in range(2)] == ["published", "unchanged"]
    assert isolated.current_commit() == second
    assert isolated.tree() == archive(upstream, second)


def test_schedule_ends_its_lease(isolated: Service, upstream: Upstream) -> None:
    """What nobody pushed is published, and the chores are done: an answer without a result is one."""
    upstream.commit({"a": b"1"})
    isolated.push(upstream)
    second = upstream.commit({"a": b"2"})
    done = isolated.run_schedule()
    assert (done["behind"], done["failing"]) == (1, 0)
    assert isolated.current_commit() == second
    assert isolated.run_schedule("chores")["outcome"] == "done"


def test_operator_is_answered(isolated: Service, upstream: Upstream) -> None:
    """Status, rollback, resume, hold, verify and doctor."""
    first = upstream.commit({"a": b"1"})
    isolated.push(upstream)
    second = upstream.commit({"a": b"2"})
    isolated.push(upstream)
    assert second in str(isolated.operate("status"))
    assert isolated.operate("rollback", MAIN)["exit_code"] == 0
    assert isolated.current_commit() == first
    assert isolated.operate("resume", MAIN)["exit_code"] == 0
    assert isolated.current_commit() == second
    assert isolated.operate("hold", MAIN)["exit_code"] == 0
    assert isolated.operate("verify", MAIN)["exit_code"] == 0
    assert "exit_code" in isolated.operate("doctor")
