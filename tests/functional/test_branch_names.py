"""Branches that change their names: `team` goes and `team/x` comes; the default branch is renamed."""

import pytest

from handler import schedule
from testing.deliveries import LambdaContext
from testing.event_bus import Bus
from testing.queue import MessageQueue
from testing.repositories import Upstream, archive
from testing.service import Service
from tests.functional.test_schedule import age_record


def go_and_come(service: Service, upstream: Upstream, name: str = "team/x") -> str:
    """Publish `team`, delete it and commit to the new branch; return that commit."""
    service.put_repository(publish=[{"ref": "refs/heads/*"}])
    upstream.commit({"f": b"old"}, "team")
    assert service.push(upstream, "team").outcome == "published"
    upstream.delete("team")
    return upstream.commit({"f": b"new"}, name)


@pytest.mark.parametrize("name", ["team/x", "team/current", "team/published.json", "team/staging/y"])
def test_the_old_branch_is_retired_first(service: Service, upstream: Upstream, name: str) -> None:
    """Its readers keep it through the grace, whoever tells first that it is gone; then one run does both."""
    commit = go_and_come(service, upstream, name)
    request = service.push_request(upstream, name)
    answer = service.send(request)
    assert (answer.status, answer.outcome, answer.reason) == (503, "failed", "target_retiring")
    assert service.record("octo/site/team")["gone_since"] is not None
    assert (service.current("octo/site/team") / "f").read_bytes() == b"old"
    assert service.send(request).reason == "target_retiring"
    age_record(service.mount / "octo/site/team", 301)
    answer = service.send(request)
    assert (answer.status, answer.outcome) == (200, "published")
    assert service.tree(f"octo/site/{name}") == archive(upstream, commit)
    assert not service.current("octo/site/team").is_symlink()
    assert any("octo/site/team was retired first" in note for note in service.log_lines[-1]["notes"])
    assert service.run_schedule()["behind"] == 0
    assert service.operate("status")["exit_code"] == 0


def test_the_schedule_does_it_where_nothing_is_pushed_again(service: Service, upstream: Upstream) -> None:
    """Within two of its rounds after the grace."""
    commit = go_and_come(service, upstream)
    service.run_schedule()
    age_record(service.mount / "octo/site/team", 301)
    for _ in range(2):
        service.reset()
        service.operate("publish", "octo/site")
        service.run_schedule()
    assert service.tree("octo/site/team/x") == archive(upstream, commit)


def test_consumers_hear_of_the_old_branch_before_the_new_one(service: Service, upstream: Upstream, bus: Bus) -> None:
    """With a bus, the old target goes when the bus has taken its event; meanwhile the push waits."""
    service.configure(event_bus=bus.name)
    commit = go_and_come(service, upstream)
    request = service.push_request(upstream, "team/x")
    assert service.send(request).reason == "target_retiring"
    age_record(service.mount / "octo/site/team", 301)
    answer = service.send(request)
    assert (answer.status, answer.outcome, answer.reason) == (503, "failed", "target_retiring")
    (detail,) = bus.of_type("TargetRetired")
    assert detail["path"] == "octo/site/team"
    assert service.send(request).outcome == "published"
    assert service.tree("octo/site/team/x") == archive(upstream, commit)


def test_in_a_queue_the_message_waits_and_is_no_dead_letter(
    service: Service, upstream: Upstream, queue: MessageQueue
) -> None:
    """Shown again with growing pauses, which together are longer than the usual grace."""
    commit = go_and_come(service, upstream)
    service.use_queue(queue)
    service.push(upstream, "team/x")
    queue.deliver_batch(service.work)
    assert queue.dead_letters == []
    age_record(service.mount / "octo/site/team", 301)
    queue.show_all()
    queue.deliver_batch(service.work)
    assert service.tree("octo/site/team/x") == archive(upstream, commit)


def test_what_no_pattern_made_or_an_operator_holds_stays(service: Service, upstream: Upstream) -> None:
    """500 target_occupied: a person has to say what readers of the old one get."""
    go_and_come(service, upstream)
    assert service.operate("hold", "octo/site/team")["exit_code"] == 0
    answer = service.push(upstream, "team/x")
    assert (answer.status, answer.reason) == (500, "target_occupied")
    assert service.record("octo/site/team")["gone_since"] is None


def test_a_renamed_default_branch_is_told_of(service: Service, upstream: Upstream) -> None:
    """Readers of the old path stay with what they have: the schedule's log, `status` and the doctor say so."""
    service.put_repository()
    upstream.commit({"f": b"1"})
    service.push(upstream)
    told = "was published from refs/heads/main, and no rule publishes that there any more"
    service.run_schedule()
    assert told not in service.text
    assert service.operate("doctor", "octo/site")["exit_code"] == 0
    upstream.commit({"f": b"1"}, "trunk")
    upstream.set_default_branch("trunk")
    upstream.delete("main")
    assert service.push(upstream, "trunk").outcome == "published"
    assert service.run_schedule()["behind"] == 0
    with service.capturing():
        schedule.handler({"task": "reconcile"}, LambdaContext(remaining_ms=900_000))  # again, in the same process
    (line,) = [line for line in service.log_lines if told in line["message"]]
    assert (line["level"], line["message"].split()[0]) == ("WARNING", "octo/site/main")
    status = service.operate("status", "octo/site")
    targets = {target["path"]: target for target in status["repositories"][0]["targets"]}
    assert targets["octo/site/main"]["state"] == "left over"
    assert "its readers get no further pushes" in targets["octo/site/main"]["problems"][0]
    assert targets["octo/site/trunk"]["problems"] == []
    checks = [each for each in service.operate("doctor")["checks"] if each["name"] == "octo/site: targets"]
    assert [(each["verdict"], told in each["found"]) for each in checks] == [("wrong", True)]
    assert "the default branch is refs/heads/trunk" in checks[0]["found"]


def test_what_is_held_or_about_to_be_retired_is_not_left_over(service: Service, upstream: Upstream) -> None:
    """The one is an operator's wish, the other goes by itself."""
    service.put_repository(publish=[{"ref": "refs/heads/*"}])
    for branch in ("main", "held", "gone"):
        upstream.commit({"f": b"1"}, branch)
        service.push(upstream, branch)
    service.operate("hold", "octo/site/held")
    for branch in ("held", "gone"):
        upstream.delete(branch)
    service.run_schedule()
    service.run_schedule()
    assert "no rule publishes" not in service.text
    assert service.operate("doctor", "octo/site")["exit_code"] == 0
