"""A stack with what a platform team brings: keys, topics, one subnet more. It publishes as any other."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from testing.origin import GitOrigin
from tests.deployed.deployment import Deployment, Sam
from tests.deployed.emulator import Emulator
from tests.deployed.pushes import Pusher


@pytest.fixture(scope="module")
def own(
    tmp_path_factory: pytest.TempPathFactory, emulator: Emulator, sam: Sam, built: Path
) -> Iterator[tuple[Deployment, str, str]]:
    """A queued stack of its own, its key and its topic; afterwards nothing of it is left."""
    mount = tmp_path_factory.mktemp("own")
    stack = Deployment(emulator, sam, "git2efs-own", mount)
    key = emulator.client("kms").create_key()["KeyMetadata"]["Arn"]
    topic = emulator.client("sns").create_topic(Name="pagers")["TopicArn"]
    subnets = emulator.client("ec2").describe_subnets()["Subnets"]
    keys = dict.fromkeys(
        ("KmsKeyArn", "FileSystemKmsKeyArn", "LogsKmsKeyArn", "QueueKmsKeyArn", "TopicsKmsKeyArn"), key
    )
    third = [subnet["SubnetId"] for subnet in subnets if subnet["VpcId"] == subnets[0]["VpcId"]][2]
    stack.deploy(
        built,
        Delivery="queued",
        ReconcileRate="rate(1 hour)",
        AlarmTopicArn=topic,
        MoreSubnetIds=third,
        **keys,
    )
    stack.put_secret()
    yield stack, key, topic
    system = stack.outputs["FileSystemId"]
    stack.delete()
    emulator.client("efs").delete_file_system(FileSystemId=system)
    shutil.rmtree(mount, ignore_errors=True)


def test_a_push_is_published(own: tuple[Deployment, str, str], remote: GitOrigin) -> None:
    """By way of a queue under the key."""
    stack, _, _ = own
    pusher = Pusher(remote, "octo/own").configure(stack)
    commit = pusher.commit()
    assert stack.send(pusher.request())[0] == 202
    stack.wait_until(lambda: pusher.is_published(stack, commit), "the push is published")


def test_what_is_stored_is_under_the_key(own: tuple[Deployment, str, str]) -> None:
    """Queues, log groups and the file system name it."""
    stack, key, _ = own
    client = stack.emulator.client
    for output in ("QueueUrl", "DeadLetterQueueUrl"):
        asked = client("sqs").get_queue_attributes(QueueUrl=stack.outputs[output], AttributeNames=["All"])
        assert asked["Attributes"]["KmsMasterKeyId"] == key
    groups = client("logs").describe_log_groups(logGroupNamePrefix=f"/git2efs/{stack.name}/")["logGroups"]
    assert {group.get("kmsKeyId") for group in groups} == {key}
    (system,) = client("efs").describe_file_systems(FileSystemId=stack.outputs["FileSystemId"])["FileSystems"]
    assert (system["Encrypted"], system["KmsKeyId"]) == (True, key)


def test_alarms_tell_the_topic_that_was_there(own: tuple[Deployment, str, str]) -> None:
    """Those that wake somebody; the early ones tell the topic that the stack made."""
    stack, _, topic = own
    assert stack.outputs["AlarmTopicArn"] == topic
    alarms = stack.emulator.client("cloudwatch").describe_alarms()["MetricAlarms"]
    told = {
        alarm["AlarmDescription"].partition(":")[0]: set(alarm["AlarmActions"])
        for alarm in alarms
        if alarm["AlarmName"].startswith(stack.name)
    }
    assert told == {"Page": {topic}, "Early": {stack.outputs["EarlyTopicArn"]}}
    assert stack.outputs["EarlyTopicArn"] != topic
