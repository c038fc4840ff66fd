"""The stack in queued mode, deployed over the direct one: the answer is that the push is in the queue."""

import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from testing.deliveries import ping_payload, webhook_request
from testing.origin import GitOrigin
from testing.repositories import archive
from tests.deployed.deployment import Deployment
from tests.deployed.pushes import Pusher

PUSHES, REPOSITORIES = 200, 20
IN_FLIGHT = 4
"""More would measure how long this machine takes to start so many functions."""


@pytest.fixture(scope="module", autouse=True)
def previews(queued: Deployment, remote: GitOrigin) -> Pusher:
    """Return a repository with previews: for all, so that the schedule, which remembers for a minute, knows it."""
    rule = {"ref": "refs/heads/preview/*"}
    return Pusher(remote, "octo/previews").configure(queued, publish=[rule], grace_seconds=1)


def test_changed_mode_reaches_the_alias(queued: Deployment, remote: GitOrigin) -> None:
    """What the API calls is the new version: without the mount, and with the queue."""
    function = queued.emulator.client("lambda").get_function_configuration(
        FunctionName=queued.outputs["FunctionName"], Qualifier="live"
    )
    variables = function["Environment"]["Variables"]
    assert variables["GIT2EFS_QUEUE_URL"] == queued.outputs["QueueUrl"]
    assert not function.get("VpcConfig", {}).get("SubnetIds")
    assert not function.get("FileSystemConfigs")
    assert function["SnapStart"]["ApplyOn"] == "PublishedVersions"
    assert queued.send(webhook_request("ping", ping_payload("octo/ping")))[1]["reason"] == "pong"


def test_push_is_accepted_and_published_by_the_worker(queued: Deployment, remote: GitOrigin) -> None:
    """202 at once; a moment later the tree is there, and nothing waits any more."""
    pusher = Pusher(remote, "octo/queued").configure(queued)
    commit = pusher.commit()
    status, answer = queued.send(pusher.request())
    assert (status, answer["outcome"]) == (202, "accepted")
    queued.wait_until(lambda: pusher.is_published(queued, commit), "the push is published")
    assert pusher.published(queued) == archive(pusher.upstream, commit)
    queued.wait_until(lambda: queued.waiting() == 0, "the queue is empty")


def test_redelivery_is_not_swallowed(queued: Deployment, remote: GitOrigin) -> None:
    """The same request again is looked at again: GitHub redelivers with the same id."""
    pusher = Pusher(remote, "octo/redelivered").configure(queued)
    pusher.commit()
    request = pusher.request()
    assert [queued.send(request)[0] for _ in range(2)] == [202, 202]
    delivery = request.headers["X-GitHub-Delivery"]
    queued.wait_until(lambda: queued.waiting() == 0, "both are worked off")
    lines = queued.log_lines("LogGroupName", delivery)
    # Worked on in one batch they cost one look, in two the second finds it done.
    assert [line["outcome"] for line in lines] in (["published"], ["published", "unchanged"])
    assert sum(line["coalesced"] for line in lines) == 2


def test_forged_push_is_refused(queued: Deployment, remote: GitOrigin) -> None:
    """A bad signature is answered 401 and puts nothing into the queue."""
    pusher = Pusher(remote, "octo/forged-queued").configure(queued)
    pusher.commit()
    status, answer = queued.send(pusher.request(secret="a guess"))
    assert (status, answer["reason"]) == (401, "signature_invalid")
    assert queued.waiting() == 0
    assert not (queued.mount / "octo" / "forged-queued").exists()


def test_burst_ends_with_every_tip_published(queued: Deployment, remote: GitOrigin, say: Callable[[str], None]) -> None:
    """200 pushes over 20 repositories: nothing is lost, and many pushes cost few fetches."""
    pushers = [Pusher(remote, f"burst/r{number:02}").configure(queued) for number in range(REPOSITORIES)]
    rounds = [
        [pusher.request(after=pusher.commit(f"{turn}")) for pusher in pushers] for turn in range(PUSHES // REPOSITORIES)
    ]
    requests = [request for each in rounds for request in each]
    remote.forget()
    started = time.monotonic()
    with ThreadPoolExecutor(IN_FLIGHT) as pool:
        statuses = list(pool.map(lambda request: queued.send(request)[0], requests))
    answered_seconds = time.monotonic() - started
    assert statuses == [202] * PUSHES
    tips = {pusher.full_name: pusher.upstream.tip() for pusher in pushers}
    queued.wait_until(
        lambda: (
            all(queued.current_commit(f"{name}/main") == tip for name, tip in tips.items()) and not queued.waiting()
        ),
        "every tip is published and the queue empty",
    )
    visible_seconds = time.monotonic() - started
    fetches = remote.counts["fetch"]
    say(
        f"{PUSHES} pushes to {REPOSITORIES} repositories: answered within {answered_seconds:.1f} s, "
        f"published after {visible_seconds:.1f} s; {fetches} fetches, {remote.counts['ls-refs']} looks at refs"
    )
    assert REPOSITORIES <= fetches <= 0.3 * PUSHES
    assert queued.dead_letters() == []


def test_poisoned_repository_ends_in_the_dead_letters_and_is_sent_on(queued: Deployment, remote: GitOrigin) -> None:
    """What fails for good is put aside, while the others go on; mended, it is sent on as the output says."""
    healthy, poisoned = (Pusher(remote, f"octo/{name}").configure(queued) for name in ("healthy", "poisoned"))
    commits = {pusher.full_name: pusher.commit() for pusher in (poisoned, healthy)}
    requests = [pusher.request() for pusher in (poisoned, healthy)]
    away = poisoned.upstream.path.rename(poisoned.upstream.path.with_name("away"))
    assert [queued.send(request)[0] for request in requests] == [202, 202]
    queued.wait_until(lambda: healthy.is_published(queued, commits["octo/healthy"]), "the other one is published")
    queued.wait_until(lambda: queued.waiting("DeadLetterQueueUrl") == 1, "the dead letter is there")
    (letter,) = queued.dead_letters()
    assert json.loads(letter["Body"])["repository"] == "octo/poisoned"
    assert letter["MessageAttributes"]["reason"]["StringValue"] == "remote_refused"
    queued.wait_until(lambda: queued.waiting() == 0, "nothing is tried again")

    away.rename(poisoned.upstream.path)
    queued.redrive()
    queued.wait_until(lambda: poisoned.is_published(queued, commits["octo/poisoned"]), "it is published after all")
    assert queued.waiting("DeadLetterQueueUrl") == 0


def test_lost_webhook_is_healed_by_the_schedule(queued: Deployment, remote: GitOrigin) -> None:
    """A push that no webhook told of: the scheduler itself starts the run, which sends a message for what is behind."""
    pusher = Pusher(remote, "octo/lost-queued").configure(queued)
    commit = pusher.commit()
    queued.let_the_scheduler_start("reconcile")
    queued.wait_until(lambda: pusher.is_published(queued, commit), "the lost push is published")
    assert pusher.published(queued) == archive(pusher.upstream, commit)


def test_deleted_branch_is_retired_by_the_schedule(queued: Deployment, previews: Pusher) -> None:
    """A preview whose branch is gone, and whose webhook was lost, goes after its grace; the other one stays."""
    commits = {branch: previews.commit(branch, branch) for branch in ("preview/gone", "preview/kept")}
    for branch, commit in commits.items():
        assert queued.send(previews.request(branch))[0] == 202
        queued.wait_until(
            lambda branch=branch, commit=commit: previews.is_published(queued, commit, branch),  # type: ignore[misc]
            f"{branch} is published",
        )
    previews.upstream.delete("preview/gone")
    gone = queued.mount / "octo" / "previews" / "preview" / "gone" / "current"
    # What the deployed schedule listed at its own time may be from before this repository, and is kept for a minute.
    deadline = time.monotonic() + 100
    while gone.is_symlink() and time.monotonic() < deadline:
        queued.run_schedule("reconcile")
        queued.wait_until(lambda: queued.waiting() == 0, "the queue is empty")
        time.sleep(1)
    assert not gone.is_symlink()
    assert previews.is_published(queued, commits["preview/kept"], "preview/kept")


def test_webhook_may_not_read_tokens(queued: Deployment) -> None:
    """Its role has no right to: whoever breaks into the front door finds no token."""
    assert not queued.may("FunctionName", "ssm:GetParameter", f"parameter/git2efs/{queued.name}/credentials/x")
    assert queued.may("WorkerFunctionName", "ssm:GetParameter", f"parameter/git2efs/{queued.name}/credentials/x")
