"""`sam delete`: what the stack made is gone, and what consumers read stays."""

import pytest

from testing.origin import GitOrigin
from tests.deployed.deployment import Deployment
from tests.deployed.pushes import Pusher


def test_delete_leaves_the_published_trees_and_nothing_else(queued: Deployment, remote: GitOrigin) -> None:
    """The file system is retained; functions, queues and schedules are gone."""
    pusher = Pusher(remote, "octo/left").configure(queued)
    commit = pusher.commit()
    assert queued.send(pusher.request())[0] == 202
    queued.wait_until(lambda: pusher.is_published(queued, commit), "the push is published")
    queued.delete()
    client = queued.emulator.client
    formation = client("cloudformation")
    with pytest.raises(formation.exceptions.ClientError, match="does not exist"):
        formation.describe_stacks(StackName=queued.name)
    assert client("lambda").list_functions()["Functions"] == []
    assert client("sqs").list_queues().get("QueueUrls", []) == []
    assert client("scheduler").list_schedules()["Schedules"] == []
    left = [system["FileSystemId"] for system in client("efs").describe_file_systems()["FileSystems"]]
    assert left == [queued.outputs["FileSystemId"]]
    assert pusher.is_published(queued, commit)
