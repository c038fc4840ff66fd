"""The stack without a publisher of its own, deployed over the one with it: the function that fetches publishes."""

from testing.origin import GitOrigin
from testing.repositories import archive
from tests.deployed.deployment import Deployment
from tests.deployed.pushes import Pusher


def test_push_is_published_by_the_webhook_itself(inline: Deployment, remote: GitOrigin) -> None:
    """There is nobody else: the publisher is gone, and the alias is at a version that knows of none."""
    assert "PublisherFunctionName" not in inline.outputs
    function = inline.emulator.client("lambda").get_function_configuration(
        FunctionName=inline.outputs["FunctionName"], Qualifier="live"
    )
    assert function["Environment"]["Variables"]["GIT2EFS_PUBLISHER"] == ""
    pusher = Pusher(remote, "octo/inline").configure(inline)
    commit = pusher.commit()
    status, answer = inline.send(pusher.request())
    assert (status, answer["outcome"], answer["commit"]) == (200, "published", commit)
    assert pusher.published(inline) == archive(pusher.upstream, commit)


def test_lost_webhook_is_healed_by_the_schedule(inline: Deployment, remote: GitOrigin) -> None:
    """The schedule has the mount too."""
    pusher = Pusher(remote, "octo/lost-inline").configure(inline)
    commit = pusher.commit()
    inline.run_schedule("reconcile")
    assert pusher.is_published(inline, commit)
