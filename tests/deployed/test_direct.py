"""The stack in direct mode: GitHub's answer is the outcome."""

import pytest

from testing.deliveries import FORM, JSON, ping_payload, webhook_request
from testing.origin import GitOrigin
from testing.repositories import archive
from tests.deployed.deployment import Deployment
from tests.deployed.pushes import Pusher


def test_ping_is_answered(direct: Deployment) -> None:
    """What GitHub sends when a webhook is made goes through API Gateway to the alias, and comes back."""
    status, answer = direct.send(webhook_request("ping", ping_payload("octo/ping")))
    assert (status, answer["reason"]) == (200, "pong")


def test_repository_with_a_secret_of_its_own_has_its_own_route(direct: Deployment, remote: GitOrigin) -> None:
    """The path says which secret verifies; the common one does not open that door."""
    pusher = Pusher(remote, "octo/own").configure(direct)
    direct.put_secret("its own", "octo/own")
    commit = pusher.commit()
    status, answer = direct.send(pusher.request(), "/github/octo/own")
    assert (status, answer["reason"]) == (401, "signature_invalid")
    status, answer = direct.send(pusher.request(secret="its own"), "/github/octo/own")
    assert (status, answer["outcome"], answer["commit"]) == (200, "published", commit)


@pytest.mark.parametrize("media_type", [JSON, FORM])
def test_push_is_published_and_answered(direct: Deployment, remote: GitOrigin, media_type: str) -> None:
    """The signed push of a commit, in both content types: API Gateway hands a form over in base64."""
    pusher = Pusher(remote, f"octo/direct-{media_type[-4:]}").configure(direct)
    commit = pusher.commit()
    status, answer = direct.send(pusher.request(media_type=media_type))
    assert (status, answer["outcome"], answer["commit"]) == (200, "published", commit)
    assert pusher.published(direct) == archive(pusher.upstream, commit)


def test_forged_push_is_refused(direct: Deployment, remote: GitOrigin) -> None:
    """A bad signature is answered 401; the remote is not asked and the mount not touched."""
    pusher = Pusher(remote, "octo/forged").configure(direct)
    pusher.commit()
    asked = len(remote.requests)
    status, answer = direct.send(pusher.request(secret="a guess"))
    assert (status, answer["reason"]) == (401, "signature_invalid")
    assert len(remote.requests) == asked
    assert not (direct.mount / "octo" / "forged").exists()


def test_outcomes_are_in_the_stacks_log_group(direct: Deployment, remote: GitOrigin) -> None:
    """One line an outcome, where the output says."""
    pusher = Pusher(remote, "octo/logged").configure(direct)
    pusher.commit()
    request = pusher.request()
    direct.send(request)
    (line,) = direct.log_lines("LogGroupName", request.headers["X-GitHub-Delivery"])
    assert (line["outcome"], line["repository"]) == ("published", "octo/logged")


def test_rights_are_enforced(direct: Deployment, remote: GitOrigin) -> None:
    """The emulator judges every call by the role's policies: without one, the webhook cannot read its parameters."""
    # Two, since what could not be read of one is believed for a while.
    without, with_policy = (Pusher(remote, f"octo/{name}-policy").configure(direct) for name in ("without", "with"))
    for pusher in (without, with_policy):
        pusher.commit()
    with direct.without_policy("FunctionName", "parameters"):
        status, answer = direct.send(without.request())
    assert (status, answer["reason"]) == (500, "configuration_invalid")
    assert direct.send(with_policy.request())[1]["outcome"] == "published"


def test_lost_webhook_is_healed_by_the_schedule(direct: Deployment, remote: GitOrigin) -> None:
    """A push that no webhook told of is published by the next run."""
    pusher = Pusher(remote, "octo/lost").configure(direct)
    commit = pusher.commit()
    direct.run_schedule("reconcile")
    assert pusher.is_published(direct, commit)
    assert pusher.published(direct) == archive(pusher.upstream, commit)


def test_chores_run(direct: Deployment) -> None:
    """The daily task ends without an error."""
    direct.run_schedule("chores")
