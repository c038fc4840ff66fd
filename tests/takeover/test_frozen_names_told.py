"""Names that programs and people know, off the mount: one literal expectation each, so that no rename changes one.

Queue messages, events, answers, log fields, metrics, reasons, commands, settings. Whoever has to change an expectation
here breaks somebody's program, alarm or query, and owes them a way to go on.
"""

import re
import time
from dataclasses import fields

import pytest

from handler.cli import main
from handler.settings import read_settings
from testing.event_bus import Bus
from testing.queue import MessageQueue
from tests.docs.test_pages import documented
from tests.takeover.history import MAIN, NAME
from tests.takeover.stored import TARGET, Take, tree_of

RELEASES: dict[str, object] = {"ref": MAIN}
PREVIEWS: dict[str, object] = {"ref": "refs/heads/preview/*", "path": "octo/site/previews/*"}


# -- what travels -----------------------------------------------------------------------------------------------------


def test_keys_of_a_queues_messages(take: Take, queue: MessageQueue) -> None:
    """Of a push and of the schedule: a queue may hold what the version before this put there."""
    stored = take("published", publish=[RELEASES])
    stored.service.use_queue(queue)
    assert stored.push(4).status == 202
    (message,) = queue.messages
    assert {name: type(value).__name__ for name, value in message.items()} == {
        "version": "int",
        "cause": "str",
        "repository": "str",
        "ref": "str",
        "before": "str",
        "after": "str",
        "is_single": "bool",
        "is_deleted": "bool",
        "pushed_at": "int",
        "committed_at": "float",
        "delivery": "str",
        "received_at": "float",
    }
    assert (message["version"], message["cause"]) == (1, "push")
    stored.service.run_schedule()
    scheduled = queue.messages[-1]
    assert list(scheduled) == list(message)
    assert scheduled["cause"] == "schedule"


MESSAGES = {
    "push": (
        '{"version":1,"cause":"push","repository":"octo/site","ref":"refs/heads/main","before":"{before}","after":"{after}",'
        '"is_single":false,"is_deleted":false,"pushed_at":{now},"committed_at":{now}.0,'
        '"delivery":"11111111-2222-3333-4444-555555555555","received_at":{now}.5}'
    ),
    "schedule": (
        '{"version":1,"cause":"schedule","repository":"octo/site","ref":"refs/heads/main","before":null,"after":null,'
        '"is_single":null,"is_deleted":null,"pushed_at":null,"committed_at":null,"delivery":"","received_at":{now}.5}'
    ),
    "operator": (
        '{"version":1,"cause":"operator","repository":"octo/site","ref":"refs/heads/main","before":null,"after":null,'
        '"is_single":null,"is_deleted":null,"pushed_at":null,"committed_at":null,"delivery":"","received_at":{now}.5}'
    ),
}
"""Messages, byte for byte as the version before wrote them."""


@pytest.mark.parametrize("cause", MESSAGES)
def test_a_message_that_was_queued_before_is_worked_on(take: Take, queue: MessageQueue, cause: str) -> None:
    """Whoever asked."""
    stored = take("published", publish=[RELEASES])
    stored.service.use_queue(queue)
    commit = stored.history.push(4)
    about = {"{now}": str(int(time.time())), "{before}": stored.commits[3], "{after}": commit}
    queue.put(re.sub("|".join(about), lambda found: about[found[0]], MESSAGES[cause]))
    queue.deliver_all(stored.service.work)
    assert stored.service.tree() == tree_of(4)
    assert queue.dead_letters == []


def test_names_of_a_dead_letters_attributes(take: Take, queue: MessageQueue) -> None:
    """Operators and scripts read them to send it on."""
    stored = take("published", publish=[RELEASES])
    stored.service.use_queue(queue)
    queue.put("{}")
    queue.deliver_all(stored.service.work)
    ((body, attributes),) = queue.dead_letters
    assert (body, sorted(attributes)) == ("{}", ["detail", "reason"])


def test_keys_of_events(take: Take, bus: Bus) -> None:
    """Of each kind, in the order of docs/events.md."""
    stored = take("retiring", publish=[RELEASES, PREVIEWS])
    stored.service.configure(event_bus=bus.name)
    assert stored.push(2).outcome == "published"
    stored.history.origin.set_ref("refs/heads/preview/one", None)
    stored.service.run_schedule()
    stored.service.put_repository("octo/site", url=stored.origin.url + "x", publish=[RELEASES])
    stored.service.reset()
    assert stored.push(3).outcome == "failed"
    details = {event["detail-type"]: event["detail"] for event in bus.events if event["source"] == "git2efs"}
    shared = ["repository", "ref", "path", "commit", "previous_commit", "delivery"]
    assert {kind: list(detail) for kind, detail in details.items()} == {
        "ReleasePublished": [*shared, "published_at", "counts", "changes"],
        "TargetRetired": [*shared, "retired_at"],
        "PublishFailed": [*shared, "pushed_commit", "failed_at", "reason", "is_transient"],
    }
    assert list(details["ReleasePublished"]["counts"]) == ["files_written", "files_removed", "bytes_fetched"]
    assert list(details["ReleasePublished"]["changes"]) == ["added", "modified", "removed", "total", "is_complete"]


# -- what is told ----------------------------------------------------------------------------------------------------


def test_keys_of_answers(take: Take) -> None:
    """Of one target, and of several."""
    stored = take("published", publish=[RELEASES])
    keys = [
        "outcome",
        "reason",
        "repository",
        "ref",
        "commit",
        "previous_commit",
        "files_written",
        "files_removed",
        "bytes_fetched",
    ]
    assert list(stored.push(4).content) == [*keys, "duration_ms"]
    stored.configure(publish=[RELEASES, RELEASES | {"path": "octo/other"}])
    stored.service.reset()
    content = stored.push(5).content
    assert list(content) == [*keys, "targets", "duration_ms"]
    assert [list(each) for each in content["targets"]] == [["path", *keys]] * 2
    assert list(stored.service.ping().content) == ["outcome", "reason", "duration_ms"]
    stored.configure(max_tree_bytes=1)
    stored.service.reset()
    assert list(stored.push(6).content) == [*keys[:2], "detail", "refused_commit", *keys[2:], "duration_ms"]


def test_fields_of_log_lines(take: Take) -> None:
    """Of a delivery that published, one that failed, and a run of the schedule."""
    stored = take("published", publish=[RELEASES])
    stored.push(4)
    stored.service.run_schedule()
    stored.service.put_repository("octo/site", url=stored.origin.url + "x", publish=[RELEASES])
    stored.service.reset()
    stored.push(5)
    published, scheduled, failed = stored.service.log_lines
    shared = {
        "commit",
        "correlation_id",
        "counts",
        "duration_ms",
        "durations",
        "event",
        "function_request_id",
        "last_success_age_seconds",
        "level",
        "location",
        "message",
        "outcome",
        "path",
        "reason",
        "ref",
        "repository",
        "service",
        "status",
        "timestamp",
    }
    assert set(published) == shared | {"previous_commit", "push_to_visible_seconds"}
    assert set(failed) == shared | {"detail", "refused_commit"}
    assert set(published["counts"]) == {"files_written", "files_removed", "bytes_written", "bytes_fetched"}
    assert set(published["durations"]) == {"fetch_ms", "checkout_ms", "publish_ms"}
    assert set(scheduled) == {
        "behind",
        "failing",
        "function_request_id",
        "held",
        "left",
        "level",
        "location",
        "looked_at",
        "message",
        "not_due",
        "outcome",
        "outcomes",
        "resting",
        "seconds",
        "service",
        "task",
        "timestamp",
    }
    assert (published["message"], scheduled["message"], failed["message"]) == ("delivery", "schedule", "delivery")


def test_names_dimensions_and_units_of_metrics(take: Take, queue: MessageQueue) -> None:
    """Alarms, dashboards and people's own queries name them."""
    stored = take("published", publish=[RELEASES])
    stored.service.use_queue(queue)
    stored.push(4)
    queue.deliver_all(stored.service.work)
    stored.service.run_schedule()
    found = {
        (part["Namespace"], metric["Name"], metric["Unit"], *sorted(part["Dimensions"][0]))
        for line in stored.service.metrics
        for part in line["_aws"]["CloudWatchMetrics"]
        for metric in part["Metrics"]
    }
    assert found == {
        ("git2efs", "BytesFetched", "Bytes", "service"),
        ("git2efs", "BytesWritten", "Bytes", "service"),
        ("git2efs", "CheckoutDuration", "Milliseconds", "service"),
        ("git2efs", "Coalesced", "Count", "service"),
        ("git2efs", "Deliveries", "Count", "outcome", "reason", "service"),
        ("git2efs", "FailedOutcomes", "Count", "service"),
        ("git2efs", "FetchDuration", "Milliseconds", "service"),
        ("git2efs", "FilesRemoved", "Count", "service"),
        ("git2efs", "FilesWritten", "Count", "service"),
        ("git2efs", "LastSuccessAgeSeconds", "Seconds", "service"),
        ("git2efs", "PublishDuration", "Milliseconds", "service"),
        ("git2efs", "PushToVisibleSeconds", "Seconds", "service"),
        ("git2efs", "QueueLagSeconds", "Seconds", "service"),
        ("git2efs", "RefsBehind", "Count", "service"),
        ("git2efs", "RepositoriesFailing", "Count", "service"),
        ("git2efs", "RepositoriesSurveyed", "Count", "service"),
        ("git2efs", "TargetsHeld", "Count", "service"),
    }


def test_outcomes_reasons_and_statuses() -> None:
    """All that docs/operations.md tells; another test holds the page to the code."""
    assert documented() == {
        ("published", "pushed"): 200,
        ("published", "ref_moved_on"): 200,
        ("published", "payload_trusted"): 200,
        ("published", "repaired"): 200,
        ("published", "rolled_back"): 200,
        ("unchanged", "already_published"): 200,
        ("unchanged", "subdirectory_unchanged"): 200,
        ("unchanged", "held"): 200,
        ("unchanged", "verified"): 200,
        ("unchanged", "drifted"): 200,
        ("unchanged", "set_aside"): 200,
        ("unchanged", "taken_over"): 200,
        ("ignored", "pong"): 200,
        ("ignored", "event_not_push"): 200,
        ("ignored", "ref_not_published"): 200,
        ("ignored", "ref_deleted"): 200,
        ("ignored", "ref_gone"): 200,
        ("ignored", "retiring"): 200,
        ("ignored", "held"): 200,
        ("ignored", "already_running"): 200,
        ("retired", "ref_gone"): 200,
        ("accepted", "queued"): 202,
        ("rejected", "malformed"): 400,
        ("rejected", "signature_invalid"): 401,
        ("rejected", "repository_unknown"): 404,
        ("rejected", "target_unknown"): 404,
        ("rejected", "release_unusable"): 409,
        ("rejected", "body_too_large"): 413,
        ("rejected", "media_type_unsupported"): 415,
        ("failed", "parameters_unavailable"): 503,
        ("failed", "queue_unavailable"): 503,
        ("failed", "remote_unavailable"): 503,
        ("failed", "publisher_unavailable"): 503,
        ("failed", "publisher_refused"): 500,
        ("failed", "commit_not_there"): 503,
        ("failed", "ref_lags"): 503,
        ("failed", "lock_timeout"): 503,
        ("failed", "lock_lost"): 503,
        ("failed", "mount_unavailable"): 503,
        ("failed", "too_many_open_files"): 503,  # new: was told as mount_unavailable
        ("failed", "releases_in_grace"): 503,
        ("failed", "target_retiring"): 503,
        ("failed", "out_of_time"): 503,
        ("failed", "copy_busy"): 503,
        ("failed", "mirror_damaged"): 503,
        ("failed", "configuration_invalid"): 500,
        ("failed", "secret_unusable"): 500,
        ("failed", "remote_refused"): 500,
        ("failed", "remote_unsupported"): 500,
        ("failed", "remote_untrusted"): 500,
        ("failed", "pack_invalid"): 500,
        ("failed", "pack_too_large"): 500,
        ("failed", "history_too_deep"): 500,  # new: was no bound
        ("failed", "object_too_large"): 500,
        ("failed", "object_collides"): 500,
        ("failed", "tree_too_large"): 500,
        ("failed", "tree_unsafe"): 500,
        ("failed", "subdirectory_missing"): 500,
        ("failed", "not_a_commit"): 500,
        ("failed", "target_occupied"): 500,
        ("ignored", "working_copy"): 200,
        ("failed", "copy_unusable"): 500,
        ("failed", "local_changes"): 500,
        ("failed", "replay_conflict"): 500,
        ("failed", "too_many_targets"): 500,
        ("failed", "mount_full"): 500,
        ("failed", "unexpected"): 500,
    }


# -- commands and settings --------------------------------------------------------------------------------------------


def test_commands_and_options(capsys: pytest.CaptureFixture[str]) -> None:
    """Each with what it is about and its own options."""
    options = {
        "status": ("REPOSITORY", {"--offline", "--no-disk"}),
        "publish": ("REPOSITORY", {"--ref"}),
        "rollback": ("PATH", {"--to", "--by", "--why"}),
        "hold": ("PATH", {"--by", "--why"}),
        "resume": ("PATH", set()),
        "take-over": ("REPOSITORY", {"--from", "--path"}),
        "verify": ("PATH", {"--repair"}),
        "doctor": ("REPOSITORY", set()),
        "add": ("REPOSITORY", {"--parameter", "--replace", "--no-webhook", "--url"}),
        "secret": ("REPOSITORY", {"--replace", "--forge"}),
        "webhook": ("REPOSITORY", {"--url"}),
    }
    common = {"--help", "--json", "--function", "--stack", "--local", "--region", "--profile"}
    for command, (subject, own) in options.items():
        with pytest.raises(SystemExit) as ended:
            main([command, "--help"])
        assert ended.value.code == 0
        text = capsys.readouterr().out
        assert set(re.findall(r"--[a-z-]+", text)) == own | common, command
        assert re.search(rf"^  {subject}  ", text, re.MULTILINE), command
    with pytest.raises(SystemExit):
        main(["--help"])
    assert re.findall(r"^    ([a-z-]+)(?:  |$)", capsys.readouterr().out, re.MULTILINE) == [*options, "completion"]


def test_fields_of_commands_events(take: Take) -> None:
    """Of the operator's function: every one that the version before took."""
    stored = take("published", publish=[RELEASES])
    events: tuple[tuple[str, str, dict[str, object]], ...] = (
        ("status", NAME, {"offline": True, "no_disk": True}),
        ("publish", NAME, {"ref": "main"}),
        ("rollback", TARGET, {"to": stored.commits[2][:7], "by": "mona", "why": "a test"}),
        ("hold", TARGET, {"by": "mona", "why": "a test"}),
        ("verify", TARGET, {"repair": True}),
        ("resume", TARGET, {}),
        ("doctor", NAME, {}),
    )
    stored.history.push(3)
    for action, subject, options in events:
        content = stored.service.operate(action, subject, **options)
        assert (content["action"], content["exit_code"]) in ((action, 0), (action, 1)), content


def shape(value: object) -> object:
    """Return a value's keys, at every depth; of a list the first one's."""
    if isinstance(value, dict):
        return {name: shape(each) for name, each in value.items()}
    return [shape(each) for each in value[:1]] if isinstance(value, list) else None


def test_keys_of_what_commands_return(take: Take) -> None:
    """Programs read them, by `--json` or from the function."""
    stored = take("held", publish=[RELEASES])
    stored.history.push(4)
    disk = {"files": None, "bytes": None}
    target = dict.fromkeys(
        ("path", "ref", "state", "commit", "since", "previous_commit", "confirmed_at", "tip", "held", "releases")
    ) | {"disk": disk, "problems": [], "published_from": None}
    target["held"] = dict.fromkeys(("since", "by", "why", "commit", "left"))
    target["releases"] = [
        dict.fromkeys(("commit", "is_current", "is_intact", "retired_at", "files", "bytes")),
    ]
    repository = {"repository": None, "confirmed_at": None, "failures": None, "mirror": disk} | {
        "targets": [target],
        "problems": [],
    }
    assert shape(stored.service.operate("status")) == {
        "action": None,
        "exit_code": None,
        "at": None,
        "repositories": [repository],
        "problems": [],
    }
    done = dict.fromkeys(("repository", "path", "ref", "outcome", "reason", "commit", "previous_commit"))
    for action in ("rollback", "hold", "verify"):
        content = stored.service.operate(action, TARGET)
        assert shape(content) == {"action": None, "exit_code": None, "targets": [done]}, action
    counts = dict.fromkeys(("files_written", "files_removed", "bytes_written", "bytes_fetched"))
    content = stored.service.operate("resume", TARGET)
    assert shape(content) == {"action": None, "exit_code": None, "targets": [done | counts]}
    checks = [dict.fromkeys(("name", "verdict", "found", "todo"))]
    assert shape(stored.service.operate("doctor")) == {"action": None, "exit_code": None, "checks": checks}
    refused = dict.fromkeys(("action", "exit_code", "reason", "detail"))
    assert shape(stored.service.operate("rollback", "octo/none")) == refused


def test_keys_of_what_the_schedule_returns(take: Take) -> None:
    """Of both tasks."""
    stored = take("published", publish=[RELEASES])
    keys = ["task", "outcome", "looked_at", "behind", "failing", "resting", "left", "held", "not_due"]
    keys += ["outcomes", "seconds"]
    for task in ("reconcile", "chores"):
        assert list(stored.service.run_schedule(task)) == keys


def test_names_of_settings() -> None:
    """Of the environment variables, which a deployment of before sets; new ones may come."""
    values = {
        "GIT2EFS_PARAMETER_PREFIX": "/git2efs/x",
        "GIT2EFS_MOUNT": "/mnt/x",
        "GIT2EFS_ALLOW_SHA1": "true",
        "GIT2EFS_EVENT_BUS": "bus",
        "GIT2EFS_MAX_BODY_BYTES": "1025",
        "GIT2EFS_SECRET_CACHE_SECONDS": "2",
        "GIT2EFS_SECRET_OVERLAP_SECONDS": "3",
        "GIT2EFS_SECRET_REFRESH_SECONDS": "4",
        "GIT2EFS_REPOSITORY_CACHE_SECONDS": "5",
        "GIT2EFS_LISTING_CACHE_SECONDS": "6",
        "GIT2EFS_MAX_TARGETS": "7",
        "GIT2EFS_CONNECT_TIMEOUT_SECONDS": "8.0",
        "GIT2EFS_READ_TIMEOUT_SECONDS": "9.0",
        "GIT2EFS_FETCH_ATTEMPTS": "10",
        "GIT2EFS_LAG_SECONDS": "11.0",
        "GIT2EFS_LOCK_SECONDS": "12.0",
        "GIT2EFS_MAX_PACK_BYTES": "1300",
        "GIT2EFS_BURST_FILES": "14",
        "GIT2EFS_CHECKOUT_WORKERS": "15",
        "GIT2EFS_QUEUE_URL": "https://queue.example",
        "GIT2EFS_DEAD_LETTER_URL": "https://dead.example",
    }
    settings = read_settings(values)
    read = {f"GIT2EFS_{each.name.upper()}": getattr(settings, each.name) for each in fields(settings)}
    assert {name: str(read[name]) for name in values} == values | {"GIT2EFS_ALLOW_SHA1": "True"}


def test_fields_of_a_repositorys_parameter(take: Take) -> None:
    """Every one that the version before took, with another value than its default; new ones may come."""
    stored = take("published")
    rules = [
        {"ref": "refs/heads/*"},
        {"ref": "refs/tags/v*", "path": "octo/latest", "latest": True, "prereleases": True},
        {"ref": "refs/heads/side", "path": "octo/copy", "mode": "working-copy", "autostash": True},
    ]
    token = stored.service.put_token("token")
    stored.configure(
        publish=rules,
        keep_releases=5,
        grace_seconds=60,
        depth=2,
        credentials=token,
        allow_external_links=True,
        commit_status=False,
        own_secret=False,
    )
    assert stored.push(4).outcome == "published", stored.service.text
