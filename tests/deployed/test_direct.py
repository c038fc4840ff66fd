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


def test_functions_that_fetch_know_the_publisher(direct: Deployment) -> None:
    """By its ARN, as deployed; it knows of none. (The emulator keeps neither mounts nor VPCs of functions.)"""
    client = direct.emulator.client("lambda")
    outputs = ("PublisherFunctionName", "FunctionName", "ScheduleFunctionName", "OperateFunctionName")
    found = {name: client.get_function_configuration(FunctionName=direct.outputs[name]) for name in outputs}
    known = {name: item["Environment"]["Variables"]["GIT2EFS_PUBLISHER"] for name, item in found.items()}
    publisher = found["PublisherFunctionName"]["FunctionArn"]
    assert known == dict.fromkeys(outputs[1:], publisher) | {"PublisherFunctionName": ""}


def test_driver_that_may_not_invoke_the_publisher_is_told_so(direct: Deployment, remote: GitOrigin) -> None:
    """Nothing is published by another way; with the right again, the same push is."""
    pusher = Pusher(remote, "octo/not-invoked").configure(direct)
    commit = pusher.commit()
    assert direct.send(webhook_request("ping", ping_payload("octo/ping")))[1]["reason"] == "pong"
    with direct.without_shared_policy("FunctionName", "ReconcilePolicy"):
        status, answer = direct.send(pusher.request())
    assert (status, answer["reason"]) == (500, "publisher_refused")
    assert not (direct.mount / "octo" / "not-invoked").exists()
    status, answer = direct.send(pusher.request())
    assert (status, answer["outcome"], answer["commit"]) == (200, "published", commit)


@pytest.mark.parametrize(
    "action",
    ["ssm:GetParameter", "lambda:InvokeFunction", "sqs:SendMessage", "events:PutEvents", "kms:Decrypt", "s3:GetObject"],
)
def test_publisher_may_call_nobody(direct: Deployment, action: str) -> None:
    """IAM says so, of everything; and the functions that fetch may not write to the file system."""
    assert not direct.may("PublisherFunctionName", action, "arn:aws:*:*:*:*")
    assert not direct.may("FunctionName", "elasticfilesystem:ClientWrite", "arn:aws:elasticfilesystem:*:*:*")


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
