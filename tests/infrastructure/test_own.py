"""What a platform team brings: keys, topics, subnets. Each by itself; without it the stack is as it was."""

import json
import re
from collections.abc import Iterator
from fnmatch import fnmatchcase

import pytest

from testing.stack import EVERYTHING_OWN, OWN_FILE_SYSTEM, OWN_KEY, OWN_TOPIC, OWN_VPC, ROOT, Node, Stack

from . import laws, rights

KEYS = {
    "FileSystemKmsKeyArn": {("FileSystem", "KmsKeyId")},
    "QueueKmsKeyArn": {("DeliveryQueue", "KmsMasterKeyId"), ("DeadLetterQueue", "KmsMasterKeyId")},
    "TopicsKmsKeyArn": {("AlarmTopic", "KmsMasterKeyId"), ("EarlyTopic", "KmsMasterKeyId")},
    "LogsKmsKeyArn": {
        (f"{name}LogGroup", "KmsKeyId") for name in ("Api", "Operate", "Publisher", "Schedule", "Webhook", "Worker")
    },
}
"""Where each key goes, and nowhere else."""


def under_defaults(stack: Stack, **given: str) -> Stack:
    """The stack with a queue, and with the defaults of all parameters but the given ones."""
    defaults = {name: str(parameter["Default"]) for name, parameter in stack.parameters.items()}
    return stack.under(defaults | {"Delivery": "queued"} | given)


def keyed(stack: Stack) -> Iterator[tuple[str, str]]:
    """Every resource that has a key of the user's, with the property that names it."""
    for name, resource in stack.plain["Resources"].items():
        for key, value in resource.get("Properties", {}).items():
            if key.startswith("Kms") and key != "KmsDataKeyReusePeriodSeconds" and stack.resolve(value):
                yield name, key


@pytest.mark.parametrize("parameter", KEYS)
def test_a_key_encrypts_what_it_is_for(stack: Stack, parameter: str) -> None:
    """Each kind may have another; and the queue's alone is used by functions, through SQS."""
    whole = under_defaults(stack, **{parameter: OWN_KEY})
    assert stack.refusals({parameter: OWN_KEY, "Delivery": "queued"}) == []
    assert set(keyed(whole)) == KEYS[parameter]
    for name, key in KEYS[parameter]:
        assert whole.resolve(whole.plain["Resources"][name]["Properties"][key]) == OWN_KEY
    assert ("QueueKeyPolicy" in whole.plain["Resources"]) is (parameter == "QueueKmsKeyArn")
    assert rights.rights_problems(whole) == rights.function_rights_problems(whole) == []


def test_nothing_of_ones_own_is_needed(stack: Stack) -> None:
    """No key, no right to one, two mount targets, two topics."""
    for delivery in ("direct", "queued"):
        whole = under_defaults(stack, Delivery=delivery)
        assert list(keyed(whole)) == []
        assert "QueueKeyPolicy" not in whole.plain["Resources"]
        assert set(whole.of_type("AWS::EFS::MountTarget")) == {"MountTargetA", "MountTargetB"}
        assert set(whole.of_type("AWS::SNS::Topic")) == {"AlarmTopic", "EarlyTopic"}


@pytest.mark.parametrize("given", [("AlarmTopicArn",), ("EarlyTopicArn",), ("AlarmTopicArn", "EarlyTopicArn")])
def test_a_topic_takes_the_place_of_one_of_the_stacks(stack: Stack, given: tuple[str, ...]) -> None:
    """Alarms tell it; the outputs say where they go; an address is subscribed to what the stack still makes."""
    whole = under_defaults(stack, AlarmEmail="a@example.com", **dict.fromkeys(given, OWN_TOPIC))
    left = {"AlarmTopic", "EarlyTopic"} - {name.removesuffix("Arn") for name in given}
    assert set(whole.of_type("AWS::SNS::Topic")) == left
    subscribed = {item["Properties"]["TopicArn"]["Ref"] for item in whole.of_type("AWS::SNS::Subscription").values()}
    assert subscribed == left
    told = {whole.resolve(alarm["Properties"]["AlarmActions"])[0] for alarm in _alarms(whole)}
    assert told == {OWN_TOPIC, *(f"<{name}>" for name in left)}
    for name in given:
        assert whole.resolve(whole.plain["Outputs"][name]["Value"]) == OWN_TOPIC


def _alarms(stack: Stack) -> list[Node]:
    return list(stack.of_type("AWS::CloudWatch::Alarm").values())


@pytest.mark.parametrize("more", [1, 4])
@pytest.mark.parametrize("publisher", ["isolated", "inline"])
def test_every_zone_has_a_mount_target(stack: Stack, publisher: str, more: int) -> None:
    """Lambda refuses a function in a zone that has none, and each function waits for all."""
    listed = [f"subnet-0000000{number}" for number in range(more)]
    given = OWN_VPC | {"MoreSubnetIds": ",".join(listed), "Publisher": publisher, "Monitoring": "none"}
    assert stack.refusals(given) == []
    whole = under_defaults(stack, **given)
    assert laws.mount_problems(whole) == []
    assert laws.network_problems(whole) == []
    targets = whole.resolve(whole.of_type("AWS::EFS::MountTarget"))
    subnets = {target["Properties"]["SubnetId"] for target in targets.values()}
    assert subnets == {OWN_VPC["SubnetIdA"], OWN_VPC["SubnetIdB"], *listed}


def test_a_file_system_that_is_there_takes_subnets_of_any_number(stack: Stack) -> None:
    """Its mount targets are there too; nothing is made."""
    listed = [f"subnet-000000{number}" for number in range(10, 30)]
    given = OWN_FILE_SYSTEM | {"MoreSubnetIds": ",".join(listed)}
    assert stack.refusals(given) == []
    whole = under_defaults(stack, **given)
    assert whole.of_type("AWS::EFS::") == {}
    (network,) = (properties["VpcConfig"] for _, properties in whole.functions() if "VpcConfig" in properties)
    assert whole.resolve(network["SubnetIds"]) == [OWN_VPC["SubnetIdA"], OWN_VPC["SubnetIdB"], *listed]


def test_a_boundary_may_have_a_path(stack: Stack) -> None:
    """As those of an organisation have; each role of the stack bears it."""
    pattern = stack.parameters["PermissionsBoundary"]["AllowedPattern"]
    assert all(re.fullmatch(pattern, name) for name in ("", "baseline", "platform/eu/baseline"))
    assert not any(
        re.fullmatch(pattern, name) for name in ("/baseline", "baseline/", "a//b", "arn:aws:iam::1:policy/x")
    )
    whole = under_defaults(stack, PermissionsBoundary="platform/baseline")
    named = {
        whole.resolve(role["Properties"]["PermissionsBoundary"]) for role in whole.of_type("AWS::IAM::Role").values()
    }
    assert named == {"arn:aws:iam::123456789012:policy/platform/baseline"}


@pytest.mark.parametrize(
    ("parameter", "refused"),
    [
        ("MoreSubnetIds", ["subnet-1, subnet-2", "subnet-1,", ",subnet-1", "subnet-1;subnet-2", "vpc-1"]),
        ("AlarmTopicArn", ["arn:aws:sns:eu-central-1:123456789012:pagers.fifo", "pagers"]),
        ("EarlyTopicArn", ["arn:aws:sqs:eu-central-1:123456789012:pagers"]),
        *((name, ["alias/mine", "arn:aws:kms:eu-central-1:123456789012:alias/mine"]) for name in KEYS),
    ],
)
def test_what_would_fail_in_the_middle_of_a_deployment_is_refused(
    stack: Stack, parameter: str, refused: list[str]
) -> None:
    """With words, before anything is made."""
    pattern = stack.parameters[parameter]["AllowedPattern"]
    assert re.fullmatch(pattern, "")
    assert re.fullmatch(pattern, EVERYTHING_OWN[parameter])
    assert not [value for value in refused if re.fullmatch(pattern, value)]


def test_the_key_policies_on_the_page_are_for_this_stacks_logs_and_alarms(stack: Stack) -> None:
    """CloudWatch Logs names the log group when it asks for the key; a group that no pattern has would not be made."""
    page = (ROOT / "docs" / "deploy.md").read_text(encoding="utf-8")
    text = page.partition("## What a platform team brings")[2].partition("```json\n")[2].partition("```")[0]
    logs, alarms = json.loads(text)
    patterns = logs["Condition"]["ArnLike"]["kms:EncryptionContext:aws:logs:arn"]
    groups = stack.resolve(stack.of_type("AWS::Logs::LogGroup"), {"AWS::StackName": "STACK"})
    names = {
        f"arn:aws:logs:REGION:ACCOUNT:log-group:{group['Properties']['LogGroupName']}" for group in groups.values()
    }
    assert len(names) == len(KEYS["LogsKmsKeyArn"])
    assert not [name for name in names if not any(fnmatchcase(name, pattern) for pattern in patterns)]
    assert alarms["Principal"] == {"Service": "cloudwatch.amazonaws.com"}
