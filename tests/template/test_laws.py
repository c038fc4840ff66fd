"""Each law can be broken: a change that ought to break it does. So no law is there for show."""

import copy
from collections.abc import Callable

import pytest

from . import laws
from .stack import Node, Stack, parse

METRICS = {"FailedOutcomes": ("service",), "LastSuccessAgeSeconds": ("service",)}


def _alarm_problems(stack: Stack) -> list[str]:
    return laws.alarm_problems(stack, METRICS)


def _statement(resources: Node, sid: str) -> Node:
    policies = resources["WebhookRole"]["Properties"]["Policies"]
    statements = [item for policy in policies for item in policy["PolicyDocument"]["Statement"]]
    return next(item for item in statements if item.get("Sid") == sid)


def _variables(resources: Node) -> Node:
    return resources["WebhookFunction"]["Properties"]["Environment"]["Variables"]


def _properties(resources: Node, name: str) -> Node:
    return resources[name]["Properties"]


BREAKS: dict[str, tuple[Callable[[Stack], list[str]], Callable[[Node], object]]] = {
    "a setting misspelt": (
        laws.environment_problems,
        lambda r: _variables(r).update(GIT2EFS_LOCK_SECOND=_variables(r).pop("GIT2EFS_LOCK_SECONDS")),
    ),
    "a setting with a default of its own": (
        laws.environment_problems,
        lambda r: _variables(r).update(GIT2EFS_LAG_SECONDS="5"),
    ),
    "a lock longer than API Gateway waits": (
        laws.time_problems,
        lambda r: _variables(r).update(GIT2EFS_LOCK_SECONDS="30"),
    ),
    "attempts longer than the function runs": (
        laws.time_problems,
        lambda r: _variables(r).update(GIT2EFS_READ_TIMEOUT_SECONDS="60"),
    ),
    "an alarm on a metric that nothing emits": (
        _alarm_problems,
        lambda r: _properties(r, "FailedOutcomesAlarm").update(MetricName="Failures"),
    ),
    "an alarm on a dimension that nothing emits": (
        _alarm_problems,
        lambda r: _properties(r, "FailedOutcomesAlarm")["Dimensions"].append({"Name": "reason", "Value": "x"}),
    ),
    "an alarm on another service": (
        _alarm_problems,
        lambda r: _variables(r).update(POWERTOOLS_SERVICE_NAME="other"),
    ),
    "metrics in another namespace": (
        _alarm_problems,
        lambda r: _variables(r).update(POWERTOOLS_METRICS_NAMESPACE="other"),
    ),
    "an alarm that tells nobody": (
        _alarm_problems,
        lambda r: _properties(r, "FunctionErrorsAlarm").pop("AlarmActions"),
    ),
    "an alarm that leaves silence open": (
        _alarm_problems,
        lambda r: _properties(r, "FunctionErrorsAlarm").pop("TreatMissingData"),
    ),
    "an alarm on somebody else's function": (
        _alarm_problems,
        lambda r: _properties(r, "FunctionErrorsAlarm")["Dimensions"][0].update(Value="webhook"),
    ),
    "all of a service's actions": (laws.rights_problems, lambda r: _statement(r, "Mount").update(Action="ssm:*")),
    "two actions in a statement": (
        laws.rights_problems,
        lambda r: _statement(r, "Mount").update(Action=["ssm:GetParameter", "ssm:PutParameter"]),
    ),
    "every resource": (laws.rights_problems, lambda r: _statement(r, "ReadSecret").update(Resource="*")),
    "every key without a condition": (laws.rights_problems, lambda r: _statement(r, "Decrypt").pop("Condition")),
    "a managed policy": (
        laws.rights_problems,
        lambda r: _properties(r, "WebhookRole").update(ManagedPolicyArns=["AdministratorAccess"]),
    ),
    "network interfaces for the code": (
        laws.rights_problems,
        lambda r: _statement(r, "NotFromTheCode")["Action"].remove("ec2:CreateNetworkInterface"),
    ),
    "another stack's parameters": (
        laws.parameter_rights_problems,
        lambda r: _statement(r, "ReadCredentials").update(Resource="arn:aws:ssm:::parameter/git2efs/*"),
    ),
    "logs for ever": (laws.log_problems, lambda r: _properties(r, "WebhookLogGroup").pop("RetentionInDays")),
    "a function that logs elsewhere": (
        laws.log_problems,
        lambda r: _properties(r, "WebhookFunction").pop("LoggingConfig"),
    ),
    "an API without an access log": (
        laws.log_problems,
        lambda r: _properties(r, "HttpApiApiGatewayDefaultStage").pop("AccessLogSettings"),
    ),
    "a mount target not waited for": (
        laws.mount_problems,
        lambda r: r["WebhookFunction"]["DependsOn"].remove("MountTargetB"),
    ),
    "both mount targets in one subnet": (
        laws.mount_problems,
        lambda r: _properties(r, "MountTargetB").update(SubnetId=_properties(r, "MountTargetA")["SubnetId"]),
    ),
    "a mount where nobody looks": (
        laws.mount_problems,
        lambda r: _variables(r).update(GIT2EFS_MOUNT="/mnt/elsewhere"),
    ),
    "a file system that dies with the stack": (laws.mount_problems, lambda r: r["FileSystem"].pop("DeletionPolicy")),
    "a file system in the clear": (laws.mount_problems, lambda r: _properties(r, "FileSystem").update(Encrypted=False)),
    "a file system without a policy": (
        laws.file_system_policy_problems,
        lambda r: _properties(r, "FileSystem").pop("FileSystemPolicy"),
    ),
    "a file system open to root": (
        laws.file_system_policy_problems,
        lambda r: _properties(r, "FileSystem")["FileSystemPolicy"]["Statement"][0].update(
            Action="elasticfilesystem:ClientRootAccess"
        ),
    ),
    "ingress from everywhere": (
        laws.network_problems,
        lambda r: _properties(r, "NfsFromConsumers").update(CidrIp="0.0.0.0/0"),
    ),
    "ingress that is not NFS": (
        laws.network_problems,
        lambda r: _properties(r, "NfsFromConsumers").update(ToPort=65535),
    ),
    "a group that lets everything out": (
        laws.network_problems,
        lambda r: _properties(r, "MountTargetSecurityGroup").pop("SecurityGroupEgress"),
    ),
    "egress that is not HTTPS": (
        laws.network_problems,
        lambda r: _properties(r, "FunctionSecurityGroup")["SecurityGroupEgress"][0].update(FromPort=0),
    ),
    "a NAT gateway that nobody asked for": (laws.network_problems, lambda r: r["NatGateway"].pop("Condition")),
    "a second route": (
        laws.route_problems,
        lambda r: _properties(r, "HttpApi")["Body"]["paths"].update({"/{proxy+}": {"any": {}}}),
    ),
    "a route without a throttle": (
        laws.route_problems,
        lambda r: _properties(r, "HttpApiApiGatewayDefaultStage").pop("RouteSettings"),
    ),
}


@pytest.mark.parametrize("name", BREAKS)
def test_law_is_broken_by(stack: Stack, name: str) -> None:
    """The law holds before the change and not after it."""
    law, change = BREAKS[name]
    assert law(stack) == []
    plain = copy.deepcopy(stack.plain)
    change(plain["Resources"])
    assert law(Stack(source=stack.source, plain=plain)) != []


@pytest.mark.parametrize("field", ["Description", "Default", "AllowedPattern", "ConstraintDescription"])
def test_parameter_law_is_broken_by_a_missing(stack: Stack, field: str) -> None:
    """A parameter without one of what the law asks for is named."""
    plain = copy.deepcopy(stack.plain)
    del plain["Parameters"]["VpcCidr"][field]
    assert any("VpcCidr" in problem for problem in laws.parameter_problems(Stack(stack.source, plain)))


def test_parameter_law_is_broken_by_a_parameter_in_no_group(stack: Stack) -> None:
    """A parameter that the console's form would put at the end is named."""
    plain = copy.deepcopy(stack.plain)
    plain["Parameters"]["Extra"] = {"Default": "", "Description": "It.", "AllowedValues": [""]}
    assert laws.parameter_problems(Stack(stack.source, plain)) == ["Extra stands in 0 groups"]


def test_repeated_key_is_refused() -> None:
    """YAML readers keep the last of two; the tests must not judge another template than SAM does."""
    with pytest.raises(ValueError, match="repeated"):
        parse("Resources:\n  One: {Type: A}\n  One: {Type: B}\n")
