"""Each law can be broken: a change that ought to break it does. So no law is there for show."""

import copy
from collections.abc import Callable

import pytest

from testing.stack import MODES, Node, Stack, parse

from . import flow, laws, rights

METRICS = dict.fromkeys(("FailedOutcomes", "LastSuccessAgeSeconds", "RefsBehind", "PushToVisibleSeconds"), ("service",))


def _alarm_problems(stack: Stack) -> list[str]:
    return laws.alarm_problems(stack, METRICS)


def _statement(resources: Node, sid: str, role: str = "WebhookRole") -> Node:
    return next(item for item in _policy(resources, sid, role) if item.get("Sid") == sid)


def _policy(resources: Node, sid: str, role: str = "WebhookRole") -> Node:
    """The statements among which `sid` is: in the role itself, or in a policy that roles share."""
    shared = [item["Properties"] for item in resources.values() if item["Type"] == "AWS::IAM::ManagedPolicy"]
    documents = [policy["PolicyDocument"] for policy in (*resources[role]["Properties"]["Policies"], *shared)]
    return next(
        document["Statement"] for document in documents if any(item.get("Sid") == sid for item in document["Statement"])
    )


def _variables(resources: Node, name: str = "WebhookFunction") -> Node:
    return resources[name]["Properties"]["Environment"]["Variables"]


def _schedule(resources: Node, name: str = "ScheduleFunctionReconcile") -> Node:
    return resources[name]["Properties"]["Target"]


def _properties(resources: Node, name: str) -> Node:
    return resources[name]["Properties"]


def _made(kind: str) -> Node:
    """A resource of EC2's that the stack makes with its VPC."""
    return {"Type": f"AWS::EC2::{kind}", "Condition": "MakesVpc", "Properties": {}}


HTTPS = {"IpProtocol": "tcp", "FromPort": 443, "ToPort": 443, "CidrIp": "0.0.0.0/0"}

Breaks = dict[str, tuple[Callable[[Stack], list[str]], Callable[[Node], object]]]

BREAKS: Breaks = {
    "a setting misspelt": (
        laws.environment_problems,
        lambda r: _variables(r).update(GIT2EFS_LOCK_SECOND=_variables(r).pop("GIT2EFS_LOCK_SECONDS")),
    ),
    "a setting with a default of its own": (
        laws.environment_problems,
        lambda r: _variables(r).update(GIT2EFS_LAG_SECONDS="5"),
    ),
    "a lock longer than API Gateway waits": (
        flow.time_problems,
        lambda r: _variables(r).update(GIT2EFS_LOCK_SECONDS="30"),
    ),
    "attempts longer than the function runs": (
        flow.time_problems,
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
    "an expression over a metric that nothing emits": (
        _alarm_problems,
        lambda r: _properties(r, "LostWebhooksAlarm")["Metrics"][1]["MetricStat"]["Metric"].update(MetricName="Lost"),
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
    "all of a service's actions": (rights.rights_problems, lambda r: _statement(r, "Mount").update(Action="ssm:*")),
    "two actions in a statement": (
        rights.rights_problems,
        lambda r: _statement(r, "Mount").update(Action=["ssm:GetParameter", "ssm:PutParameter"]),
    ),
    "every resource": (rights.rights_problems, lambda r: _statement(r, "ReadSecret").update(Resource="*")),
    "every key without a condition": (
        rights.rights_problems,
        lambda r: _statement(r, "DecryptCredentials").pop("Condition"),
    ),
    "a managed policy": (
        rights.rights_problems,
        lambda r: _properties(r, "WebhookRole").update(ManagedPolicyArns=["AdministratorAccess"]),
    ),
    "keys for more than tokens": (
        rights.function_rights_problems,
        lambda r: _statement(r, "DecryptCredentials")["Condition"]["StringLike"].update(
            {"kms:EncryptionContext:PARAMETER_ARN": "*"}
        ),
    ),
    "a right that is missing": (
        rights.function_rights_problems,
        lambda r: _policy(r, "ReadReplacedSecrets").remove(_statement(r, "ReadReplacedSecrets")),
    ),
    "a function that Lambda cannot put into the VPC": (
        rights.function_rights_problems,
        lambda r: _properties(r, "PublisherRole")["ManagedPolicyArns"].remove({"Ref": "NetworkInterfacesPolicy"}),
    ),
    "parameters below another prefix": (
        rights.prefix_problems,
        lambda r: _variables(r).update(GIT2EFS_PARAMETER_PREFIX="/git2efs/other"),
    ),
    "a scheduler's role for any account": (
        rights.trust_problems,
        lambda r: _properties(r, "SchedulerRole")["AssumeRolePolicyDocument"]["Statement"][0].pop("Condition"),
    ),
    "a function's role for another service": (
        rights.trust_problems,
        lambda r: _properties(r, "WebhookRole")["AssumeRolePolicyDocument"]["Statement"][0].update(
            Principal={"Service": "ec2.amazonaws.com"}
        ),
    ),
    "a webhook that knows of dead letters": (
        laws.environment_problems,
        lambda r: _variables(r).update(GIT2EFS_DEAD_LETTER_URL="https://sqs"),
    ),
    "a schedule that may pile up": (
        flow.schedule_problems,
        lambda r: _schedule(r)["RetryPolicy"].update(MaximumEventAgeInSeconds=600),
    ),
    "a schedule without its task": (flow.schedule_problems, lambda r: _schedule(r).update(Input='{"task": "look"}')),
    "a schedule with a name": (
        flow.schedule_problems,
        lambda r: _properties(r, "ScheduleFunctionChores").update(Name="chores"),
    ),
    "a schedule that starts something else": (
        flow.schedule_problems,
        lambda r: _schedule(r).update(Arn={"Fn::GetAtt": ["WebhookFunction", "Arn"]}),
    ),
    "a schedule as somebody else": (
        flow.schedule_problems,
        lambda r: _schedule(r).update(RoleArn="arn:aws:iam::123456789012:role/other"),
    ),
    "a schedule that Lambda runs again": (
        flow.schedule_problems,
        lambda r: _properties(r, "ScheduleFunctionEventInvokeConfig").update(MaximumRetryAttempts=2),
    ),
    "a schedule that nobody misses": (laws.watch_problems, lambda r: r.pop("ScheduleSilenceAlarm")),
    "a schedule whose silence is good": (
        laws.watch_problems,
        lambda r: _properties(r, "ScheduleSilenceAlarm").update(TreatMissingData="notBreaching"),
    ),
    "a function that nobody watches": (laws.watch_problems, lambda r: r.pop("FunctionErrorsAlarm")),
    "a version that a changed mode does not reach": (
        flow.version_problems,
        lambda r: _properties(r, "WebhookFunction").update(Description="The webhook"),
    ),
    "a version that CloudFormation does not replace": (
        flow.version_problems,
        lambda r: next(
            item["Properties"].pop("Description") for item in r.values() if item["Type"] == "AWS::Lambda::Version"
        ),
    ),
    "a description that Lambda refuses": (
        flow.version_problems,
        lambda r: _properties(r, "WebhookFunction")["Description"].update(
            {"Fn::Sub": _properties(r, "WebhookFunction")["Description"]["Fn::Sub"] + "more " * 20}
        ),
    ),
    "a route that leads past the alias": (
        flow.route_problems,
        lambda r: _properties(r, "HttpApi")["Body"]["paths"]["/github"]["post"][
            "x-amazon-apigateway-integration"
        ].update(uri={"Fn::Sub": "arn:aws:apigateway:::functions/${WebhookFunction}/invocations"}),
    ),
    "network interfaces for the code": (
        rights.rights_problems,
        lambda r: _statement(r, "NotFromTheCode")["Action"].remove("ec2:CreateNetworkInterface"),
    ),
    "another stack's parameters": (
        rights.function_rights_problems,
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
        lambda r: r["PublisherFunction"]["Metadata"]["MountTargets"]["Fn::If"][1].remove({"Ref": "MountTargetB"}),
    ),
    "both mount targets in one subnet": (
        laws.mount_problems,
        lambda r: _properties(r, "MountTargetB").update(SubnetId=_properties(r, "MountTargetA")["SubnetId"]),
    ),
    "a mount where nobody looks": (
        laws.mount_problems,
        lambda r: _variables(r, "PublisherFunction").update(GIT2EFS_MOUNT="/mnt/elsewhere"),
    ),
    "a file system that dies with the stack": (laws.mount_problems, lambda r: r["FileSystem"].pop("DeletionPolicy")),
    "a file system in the clear": (laws.mount_problems, lambda r: _properties(r, "FileSystem").update(Encrypted=False)),
    "a file system without a policy": (
        laws.file_system_policy_problems,
        lambda r: _properties(r, "FileSystem").pop("FileSystemPolicy"),
    ),
    "a file system open to root": (
        laws.file_system_policy_problems,
        lambda r: _properties(r, "FileSystem")["FileSystemPolicy"]["Statement"][1]["Fn::If"][2].update(
            Action="elasticfilesystem:ClientRootAccess"
        ),
    ),
    "a file system in the clear on its way": (
        laws.file_system_policy_problems,
        lambda r: _properties(r, "FileSystem")["FileSystemPolicy"]["Statement"].pop(0),
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
    "egress that is not NFS": (
        laws.network_problems,
        lambda r: _properties(r, "FunctionSecurityGroup")["SecurityGroupEgress"][0].update(FromPort=0),
    ),
    "NFS to somebody else": (
        laws.network_problems,
        lambda r: _properties(r, "FunctionSecurityGroup")["SecurityGroupEgress"][0].update(
            DestinationSecurityGroupId="sg-1"
        ),
    ),
    "a publisher that calls HTTPS": (
        laws.network_problems,
        lambda r: _properties(r, "FunctionSecurityGroup")["SecurityGroupEgress"].append(HTTPS),
    ),
    "a NAT gateway": (laws.network_problems, lambda r: r.update(Nat=_made("NatGateway"))),
    "an internet gateway": (laws.network_problems, lambda r: r.update(Gateway=_made("InternetGateway"))),
    "a route": (laws.network_problems, lambda r: r.update(Way=_made("Route"))),
    "an endpoint to pay": (laws.network_problems, lambda r: r.update(Endpoint=_made("VPCEndpoint"))),
    "a subnet in a VPC that is named": (laws.network_problems, lambda r: r["PrivateSubnetA"].pop("Condition")),
    "a driver with the mount": (
        laws.side_problems,
        lambda r: _properties(r, "WebhookFunction").update(FileSystemConfigs=[{"LocalMountPath": "/mnt/efs"}]),
    ),
    "a driver in the VPC": (
        laws.side_problems,
        lambda r: _properties(r, "ScheduleFunction").update(VpcConfig={"SubnetIds": ["subnet-1"]}),
    ),
    "a publisher without the mount": (
        laws.side_problems,
        lambda r: _properties(r, "PublisherFunction").pop("FileSystemConfigs"),
    ),
    "a driver that may mount": (
        rights.function_rights_problems,
        lambda r: _properties(r, "WebhookRole")["ManagedPolicyArns"].append({"Ref": "MountPolicy"}),
    ),
    "a driver that may invoke everything": (
        rights.function_rights_problems,
        lambda r: _statement(r, "Publish").update(Resource="arn:aws:lambda:eu-central-1:123456789012:function:*"),
    ),
    "a driver that may invoke nothing": (
        rights.function_rights_problems,
        lambda r: _policy(r, "Publish").remove(_statement(r, "Publish")),
    ),
    "a driver that does not know the publisher": (
        laws.environment_problems,
        lambda r: _variables(r).update(GIT2EFS_PUBLISHER="publisher"),
    ),
    "a publisher that publishes by another": (
        laws.environment_problems,
        lambda r: _variables(r, "PublisherFunction").update(GIT2EFS_PUBLISHER="publisher"),
    ),
    "a publisher that reads tokens": (
        rights.publisher_problems,
        lambda r: _properties(r, "PublisherRole")["ManagedPolicyArns"].append({"Ref": "ReconcilePolicy"}),
    ),
    "a publisher with the whole file system": (
        rights.publisher_problems,
        lambda r: _statement(r, "Write", "PublisherRole").pop("Condition"),
    ),
    "a publisher that is told of the queue": (
        rights.publisher_problems,
        lambda r: _variables(r, "PublisherFunction").update(GIT2EFS_QUEUE_URL="https://sqs"),
    ),
    "a publisher that others invoke": (
        rights.invoker_problems,
        lambda r: r.update(
            Others={"Type": "AWS::Lambda::Permission", "Properties": {"FunctionName": {"Ref": "PublisherFunction"}}}
        ),
    ),
    "a function that invokes another": (
        rights.invoker_problems,
        lambda r: _statement(r, "Publish").update(Resource={"Fn::GetAtt": ["OperateFunction", "Arn"]}),
    ),
    "a second route": (
        flow.route_problems,
        lambda r: _properties(r, "HttpApi")["Body"]["paths"].update({"/{proxy+}": {"any": {}}}),
    ),
    "a route without a throttle": (
        flow.route_problems,
        lambda r: _properties(r, "HttpApiApiGatewayDefaultStage").pop("RouteSettings"),
    ),
}


QUEUED_BREAKS: Breaks = {
    "a webhook that may read tokens": (
        rights.function_rights_problems,
        lambda r: _properties(r, "WebhookRole")["ManagedPolicyArns"].append({"Ref": "ReconcilePolicy"}),
    ),
    "a webhook that may take messages": (
        rights.function_rights_problems,
        lambda r: _statement(r, "Send").update(Action="sqs:ReceiveMessage"),
    ),
    "a worker that may not back off": (
        rights.function_rights_problems,
        lambda r: _policy(r, "BackOff", "WorkerRole").remove(_statement(r, "BackOff", "WorkerRole")),
    ),
    "a worker that tells a bus without the right": (
        laws.environment_problems,
        lambda r: _variables(r, "WorkerFunction").update(GIT2EFS_EVENT_BUS="house"),
    ),
    "a webhook that does not know the queue": (
        laws.environment_problems,
        lambda r: _variables(r).update(GIT2EFS_QUEUE_URL=""),
    ),
    "a webhook that answers when nobody listens": (
        flow.time_problems,
        lambda r: _properties(r, "WebhookFunction").update(Timeout=60),
    ),
    "a publisher that runs for longer than anybody waits": (
        flow.time_problems,
        lambda r: _properties(r, "PublisherFunction").update(Timeout=920),
    ),
    "a picture of a function with a mount": (
        flow.version_problems,
        lambda r: _properties(r, "WebhookFunction").update(FileSystemConfigs=[{"LocalMountPath": "/mnt/efs"}]),
    ),
    "a picture that is never taken": (
        flow.version_problems,
        lambda r: _properties(r, "WorkerFunction").update(SnapStart={"ApplyOn": "PublishedVersions"}),
    ),
    "a batch handed out while it is worked on": (
        flow.source_problems,
        lambda r: _properties(r, "DeliveryQueue").update(VisibilityTimeout=900),
    ),
    "a batch that fails as one": (
        flow.source_problems,
        lambda r: _properties(r, "WorkerFunctionMessages").pop("FunctionResponseTypes"),
    ),
    "a worker that takes every run": (
        flow.source_problems,
        lambda r: _properties(r, "WorkerFunctionMessages").pop("ScalingConfig"),
    ),
    "a batch larger than a FIFO gives": (
        flow.source_problems,
        lambda r: _properties(r, "WorkerFunctionMessages").update(BatchSize=100),
    ),
    "a queue that feeds nobody": (flow.source_problems, lambda r: r.pop("WorkerFunctionMessages")),
    "a queue that swallows redeliveries": (
        flow.queue_problems,
        lambda r: _properties(r, "DeliveryQueue").update(ContentBasedDeduplication=True),
    ),
    "a queue with one limit for all": (
        flow.queue_problems,
        lambda r: _properties(r, "DeliveryQueue").update(FifoThroughputLimit="perQueue"),
    ),
    "a queue without dead letters": (
        flow.queue_problems,
        lambda r: _properties(r, "DeliveryQueue").pop("RedrivePolicy"),
    ),
    "dead letters in the clear": (
        flow.queue_problems,
        lambda r: _properties(r, "DeadLetterQueue").pop("SqsManagedSseEnabled"),
    ),
    "dead letters that are gone at once": (
        flow.queue_problems,
        lambda r: _properties(r, "DeadLetterQueue").update(MessageRetentionPeriod=345600),
    ),
    "dead letters that nobody sees": (laws.watch_problems, lambda r: r.pop("DeadLettersAlarm")),
    "a queue whose waiting nobody sees": (
        laws.watch_problems,
        lambda r: [r.pop("QueueAgeAlarm"), r.pop("QueueAgeEarlyAlarm")],
    ),
    "an alarm on a queue's URL": (
        _alarm_problems,
        lambda r: _properties(r, "QueueAgeAlarm")["Dimensions"][0].update(
            Value={"Fn::GetAtt": ["DeliveryQueue", "Arn"]}
        ),
    ),
    "a worker that publishes without the publisher": (
        rights.function_rights_problems,
        lambda r: _variables(r, "WorkerFunction").update(GIT2EFS_PUBLISHER=""),
    ),
}


INLINE_BREAKS: Breaks = {
    "a worker that does not wait for the mount": (
        laws.mount_problems,
        lambda r: r["WorkerFunction"]["Metadata"]["MountTargets"]["Fn::If"][1].remove({"Ref": "MountTargetA"}),
    ),
    "a worker without the mount": (
        laws.side_problems,
        lambda r: _properties(r, "WorkerFunction").pop("FileSystemConfigs"),
    ),
    "a front door with the mount": (
        laws.side_problems,
        lambda r: _properties(r, "WebhookFunction").update(FileSystemConfigs=[{"LocalMountPath": "/mnt/efs"}]),
    ),
    "egress that is not HTTPS": (
        laws.network_problems,
        lambda r: _properties(r, "FunctionSecurityGroup")["SecurityGroupEgress"][0].update(FromPort=0),
    ),
}


OWN_BREAKS: Breaks = {
    "a key of messages for every service": (
        rights.function_rights_problems,
        lambda r: _statement(r, "DecryptKeysOfMessages").pop("Condition"),
    ),
    "a key of messages for the publisher": (
        rights.function_rights_problems,
        lambda r: _properties(r, "PublisherRole")["ManagedPolicyArns"].append({"Ref": "QueueKeyPolicy"}),
    ),
    "a worker that cannot read what was sent": (
        rights.function_rights_problems,
        lambda r: _properties(r, "WorkerRole")["ManagedPolicyArns"].remove({"Ref": "QueueKeyPolicy"}),
    ),
    "a queue with two keys": (
        flow.queue_problems,
        lambda r: _properties(r, "DeadLetterQueue").update(SqsManagedSseEnabled=True),
    ),
    "a zone without a mount target": (laws.mount_problems, lambda r: r.pop("MountTargetD")),
    "a publisher that stays in two zones": (
        laws.mount_problems,
        lambda r: _properties(r, "PublisherFunction")["VpcConfig"].update(SubnetIds=["subnet-1", "subnet-2"]),
    ),
    "an alarm that tells nobody's topic": (
        _alarm_problems,
        lambda r: _properties(r, "ApiServerErrorsAlarm").update(AlarmActions=[{"Ref": "KmsKeyArn"}]),
    ),
}


BROKEN = {
    "direct": BREAKS,
    "queued": QUEUED_BREAKS,
    "queued, inline": INLINE_BREAKS,
    "queued, everything own": OWN_BREAKS,
}


@pytest.mark.parametrize(("mode", "name"), [(mode, name) for mode, breaks in BROKEN.items() for name in breaks])
def test_law_is_broken_by(stack: Stack, mode: str, name: str) -> None:
    """The law holds before the change and not after it."""
    law, change = BROKEN[mode][name]
    whole = stack.under(MODES[mode])
    assert law(whole) == []
    plain = copy.deepcopy(whole.plain)
    change(plain["Resources"])
    assert law(Stack(source=stack.source, plain=plain)) != []


@pytest.mark.parametrize("parameter", ["Delivery", "Publisher", "SnapStart"])
def test_version_law_sees_a_parameter_in_a_condition(stack: Stack, parameter: str) -> None:
    """What is made of the template as written: the mode is in no Ref, but decides what the function is."""
    plain = copy.deepcopy(stack.plain)
    description = plain["Resources"]["WebhookFunction"]["Properties"]["Description"]["Fn::If"]
    description[2]["Fn::Sub"] = description[2]["Fn::Sub"].replace(f"${{{parameter}}}", "")
    problems = flow.version_problems(Stack(source=stack.source, plain=plain))
    assert problems == [f"WebhookFunction stays as it is when {parameter} changes"]


@pytest.mark.parametrize("variable", ["A", "Point", "MountPath"])
def test_version_law_sees_a_parameter_of_a_function_with_the_mount(stack: Stack, variable: str) -> None:
    """In the branch whose ids are cut, since there is hardly room for them."""
    plain = copy.deepcopy(stack.plain)
    text = plain["Resources"]["WebhookFunction"]["Properties"]["Description"]["Fn::If"][1]["Fn::Sub"]
    text[0] = text[0].replace(f"${{{variable}}}", "")
    text[1].pop(variable, None)
    assert flow.version_problems(Stack(source=stack.source, plain=plain)) != []


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
