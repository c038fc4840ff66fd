"""A network side that is killed at any of its calls of the mount side: pushes in parts, the schedule, an operator."""

import contextlib
import itertools
import json
import os
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from handler.deadline import NO_DEADLINE
from handler.exchange.messages import OPERATOR_ACTIONS, PUBLISHER_ACTIONS
from handler.mount.publisher import LocalPublisher
from handler.network.aws.parameters import Parameters
from handler.network.schedule import LEASE_SECONDS
from handler.settings import read_settings
from testing.event_bus import Bus
from testing.repositories import Upstream, archive, run_git
from testing.service import Service
from tests.functional.door import LARGE, Door, Killed, killed, let_parts_be_small, nothing
from tests.functional.mounts import check_mirror, names

MAIN = "octo/site/main"
OTHER = "0" * 32
"""A transfer that another run has begun."""
HOUR = 3601.0


@pytest.fixture
def door(monkeypatch: pytest.MonkeyPatch) -> Door:
    """Return what stands before every method of the mount side."""
    return Door(monkeypatch, (*PUBLISHER_ACTIONS, *OPERATOR_ACTIONS))


@pytest.fixture
def told(service: Service, bus: Bus) -> Bus:
    """Return a bus that the service tells; its repository's parameter is there."""
    service.configure(event_bus=bus.name)
    service.put_repository(grace_seconds=0)
    return bus


# -- a large pack -----------------------------------------------------------------------------------------------------


class LargePushes:
    """Pushes whose packs come in parts, and are thin: a delta in each has its base in the push before."""

    def __init__(self, service: Service, upstream: Upstream) -> None:
        """Push the first."""
        self._service, self._upstream, self._random = service, upstream, random.Random(3)
        self._base = self._random.randbytes(50_000)
        self.commit = self._next()
        service.push(upstream)

    def _next(self) -> str:
        self._base += b"."
        return self._upstream.commit({"like before": self._base, "large": self._random.randbytes(LARGE)})

    def request(self) -> Any:
        """Commit, and return the request."""
        self.commit = self._next()
        return self._service.push_request(self._upstream)


def is_thin(pack: Path, directory: Path) -> bool:
    """Whether git finds a delta in the pack whose base is not in it."""
    directory.mkdir()
    run_git("init", "--quiet", "--bare", ".", directory=directory)
    try:
        run_git("index-pack", "--stdin", directory=directory, stdin=pack.read_bytes())
    except RuntimeError as error:
        return "unresolved delta" in str(error)
    return False


def later(service: Service) -> LocalPublisher:
    """Return the mount side, by whose clock an hour has passed."""
    settings = read_settings({**os.environ, **service.environment})
    return LocalPublisher(settings, progress=lambda *_: None, clock=lambda: time.time() + HOUR)


def sweep_by_chores(service: Service) -> None:
    """Have the chores of the day sweep."""
    publisher = later(service)
    repository = Parameters(read_settings({**os.environ, **service.environment})).repository("octo/site")
    assert all(each.reason != "failed" for each in publisher.maintain(repository, deadline=NO_DEADLINE).outcomes)
    publisher.close()


def sweep_by_a_transfer(service: Service) -> None:
    """Have the first part of a transfer sweep, which then comes to its end."""
    publisher = later(service)
    publisher.receive("octo/site", transfer="f" * 32, offset=0, content=b"PACK")
    publisher.close()
    os.unlink(service.mount / "octo/site/.incoming" / ("f" * 32))


@pytest.mark.sampled(2)
@pytest.mark.parametrize("sweep", [sweep_by_chores, sweep_by_a_transfer])
@pytest.mark.parametrize("is_after", [False, True])
def test_a_push_in_parts_killed_at_any_call_leaves_nothing_for_longer_than_an_hour(
    service: Service,
    upstream: Upstream,
    door: Door,
    sweep: Callable[[Service], None],
    is_after: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its redelivery publishes; what it left goes then, and no part of a transfer that goes on."""
    let_parts_be_small(monkeypatch)
    service.put_repository(grace_seconds=0)
    pushes, incoming = LargePushes(service, upstream), service.mount / "octo/site/.incoming"
    assert not incoming.exists()
    left = thin = 0
    for stop in itertools.count():
        request = pushes.request()
        service.reset()
        door.forget()
        door.at = stop
        door.before, door.after = (nothing, killed) if is_after else (killed, nothing)
        with contextlib.suppress(Killed):
            assert service.send(request).status == 200
        is_over = len(door.calls) <= stop
        door.forget()
        left += incoming.exists()
        if incoming.exists() and not thin and door_took_all(incoming):
            thin += is_thin(next(incoming.iterdir()), tmp_path / "thin")
        begun = LocalPublisher(read_settings({**os.environ, **service.environment}), progress=lambda *_: None)
        begun.receive("octo/site", transfer=OTHER, offset=0, content=b"PACK")
        assert service.send(request).status == 200
        assert service.tree() == archive(upstream, pushes.commit)
        # It goes on: its next part comes an hour later.
        now = time.time() + HOUR
        os.utime(incoming / OTHER, (now, now))
        sweep(service)
        assert names(incoming) == [OTHER]
        assert begun.receive("octo/site", transfer=OTHER, offset=4, content=b"more") == 8
        os.unlink(incoming / OTHER)
        incoming.rmdir()
        begun.close()
        if is_over:
            break
    assert (left, stop) >= (3, 5), "look, publish, three parts, publish"
    assert thin == 1
    check_mirror(service.mount / "octo/site/mirror.git", pushes.commit)


def door_took_all(incoming: Path) -> bool:
    """Whether the one file there is a whole pack."""
    (path,) = incoming.iterdir()
    return path.stat().st_size > LARGE


# -- the schedule -----------------------------------------------------------------------------------------------------


def let_time_pass(service: Service, task: str) -> None:
    """Let the task's lease, if a killed run left one, come to its end, and rests after failures too."""
    path = service.mount / f".git2efs/{task}.json"
    state = json.loads(path.read_text()) if path.exists() else {"repositories": {}}
    if "lease" in state:
        assert state["lease"]["until"] <= time.time() + LEASE_SECONDS
        state["lease"]["until"] -= LEASE_SECONDS + 1
    for each in state["repositories"].values():
        each["not_before"] = 0.0
    if path.exists():
        path.write_text(json.dumps(state))


@pytest.mark.sampled(1)
@pytest.mark.parametrize("is_after", [False, True])
def test_a_schedule_killed_at_any_call_is_healed_by_the_next(
    service: Service, upstream: Upstream, told: Bus, door: Door, is_after: bool
) -> None:
    """Of two branches that are behind, and one that is gone; and the bus was told of each commit."""
    service.put_repository(publish=[{"ref": "refs/heads/*"}], grace_seconds=0)
    for branch in ("main", "gone"):
        upstream.commit({"a": b"0"}, branch)
        service.push(upstream, branch)
    for stop in itertools.count():
        tips = {f"octo/site/{branch}": upstream.commit({"a": b"%d" % stop}, branch) for branch in ("main", "next")}
        if service.current("octo/site/gone").is_symlink() and upstream.tip("gone"):
            upstream.delete("gone")
        door.forget()
        door.at = stop
        door.before, door.after = (nothing, killed) if is_after else (killed, nothing)
        with contextlib.suppress(Killed):
            service.run_schedule()
        is_over = len(door.calls) <= stop
        door.forget()
        let_time_pass(service, "reconcile")
        for _ in range(2):  # the first run that finds the branch gone only notes that
            done = service.run_schedule()
            assert (done["outcome"], done["failing"]) == ("done", 0)
        for path, commit in tips.items():
            assert (service.current_commit(path), service.record(path)["announced"]) == (commit, True)
            assert commit in [each["commit"] for each in told.of_type("ReleasePublished")]
        assert not (service.mount / "octo/site/gone").exists()
        assert "lease" not in json.loads((service.mount / ".git2efs/reconcile.json").read_text())
        if is_over:
            break
    assert stop >= 6, "take_lease, survey, a publish and an event each, end_lease"
    assert len(told.of_type("TargetRetired")) >= 1


@pytest.mark.sampled(1)
@pytest.mark.parametrize("is_after", [False, True])
def test_chores_killed_at_any_call_are_done_by_the_next(
    service: Service, upstream: Upstream, told: Bus, door: Door, is_after: bool
) -> None:
    """A published file that somebody changed is repaired, and a mirror that is damaged is fetched anew."""
    commit = upstream.commit({"a": b"1"})
    service.push(upstream)
    for stop in itertools.count():
        for pack in (service.mount / "octo/site/mirror.git/objects/pack").glob("*.pack"):
            pack.unlink()
        (service.current() / "a").write_bytes(b"changed")
        door.forget()
        door.at = stop
        door.before, door.after = (nothing, killed) if is_after else (killed, nothing)
        with contextlib.suppress(Killed):
            service.run_schedule("chores")
        is_over = len(door.calls) <= stop
        door.forget()
        for _ in range(2):  # the first one's reconcile fetches the objects that the second one compares with
            let_time_pass(service, "chores")
            assert service.run_schedule("chores")["outcome"] == "done"
        assert (service.current_commit(), service.tree()) == (commit, archive(upstream, commit))
        check_mirror(service.mount / "octo/site/mirror.git", commit)
        if is_over:
            break
    assert stop >= 4, "take_lease, maintain, published_refs, a publish, end_lease"


# -- an operator ------------------------------------------------------------------------------------------------------


@pytest.mark.sampled(3)
@pytest.mark.parametrize("is_after", [False, True])
@pytest.mark.parametrize("action", ["rollback", "hold", "publish", "resume"])
def test_an_operators_command_killed_at_any_call_is_asked_for_again(
    service: Service, upstream: Upstream, told: Bus, door: Door, action: str, is_after: bool
) -> None:
    """It ends where asking once would have; and the bus was told of what readers have."""
    service.put_repository(keep_releases=5, grace_seconds=300)
    commits: list[str] = []

    def push() -> None:
        commits.append(upstream.commit({"a": b"%d" % len(commits)}))
        assert service.push(upstream).outcome in ("published", "ignored")

    push()
    subject = "octo/site" if action == "publish" else MAIN
    for stop in itertools.count():
        service.operate("resume", MAIN)
        push()
        before = commits[-2:]
        if action == "publish":
            commits.append(upstream.commit({"a": b"%d" % len(commits)}))
        elif action == "resume":
            service.operate("rollback", MAIN)
            commits.append(upstream.commit({"a": b"%d" % len(commits)}))
        # Without a commit, a rollback that was done whole goes further back: whoever got no answer names it.
        fields = {"to": before[0]} if action == "rollback" else {}
        door.forget()
        door.at = stop
        door.before, door.after = (nothing, killed) if is_after else (killed, nothing)
        with contextlib.suppress(Killed):
            service.operate(action, subject, **fields)
        is_over = len(door.calls) <= stop
        door.forget()
        again = service.operate(action, subject, **fields)
        assert again["exit_code"] == 0, again
        wanted = {"rollback": before[0], "hold": before[1]}.get(action, commits[-1])
        assert (service.current_commit(), service.tree()) == (wanted, archive(upstream, wanted))
        record = service.record()
        assert (record["commit"], record["announced"]) == (wanted, True)
        assert (record["held"] is not None) == (action in ("rollback", "hold"))
        assert told.of_type("ReleasePublished")[-1]["commit"] == wanted
        if is_over:
            break
    assert stop >= (2 if action == "hold" else 3)
