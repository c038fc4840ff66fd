"""A stack of before the publisher, deployed anew: what consumers read stays where it is, and so do the parameters.

Everything here is written out as that template had it. A name that changes here is a file system, an access point or a
URL that CloudFormation makes anew.
"""

import re

import pytest

from testing.stack import OWN_VPC, Node, Stack

THIRD = {"Fn::Select": [2, {"Fn::Cidr": ["10.82.0.0/16", 4, 10]}]}
FOURTH = {"Fn::Select": [3, {"Fn::Cidr": ["10.82.0.0/16", 4, 10]}]}

KEPT: dict[str, tuple[str, dict[str, Node]]] = {
    "Vpc": ("AWS::EC2::VPC", {"CidrBlock": "10.82.0.0/16"}),
    "PrivateSubnetA": ("AWS::EC2::Subnet", {"VpcId": "<Vpc>", "CidrBlock": THIRD}),
    "PrivateSubnetB": ("AWS::EC2::Subnet", {"VpcId": "<Vpc>", "CidrBlock": FOURTH}),
    "PrivateRouteTable": ("AWS::EC2::RouteTable", {"VpcId": "<Vpc>"}),
    "PrivateRouteTableOfSubnetA": ("AWS::EC2::SubnetRouteTableAssociation", {"SubnetId": "<PrivateSubnetA>"}),
    "PrivateRouteTableOfSubnetB": ("AWS::EC2::SubnetRouteTableAssociation", {"SubnetId": "<PrivateSubnetB>"}),
    "FunctionSecurityGroup": (
        "AWS::EC2::SecurityGroup",
        {
            "GroupDescription": "git2efs function, which answers nobody, and calls HTTPS and the file system",
            "VpcId": "<Vpc>",
        },
    ),
    "ConsumersSecurityGroup": (
        "AWS::EC2::SecurityGroup",
        {"GroupDescription": "git2efs consumers, give it to what mounts the file system", "VpcId": "<Vpc>"},
    ),
    "MountTargetSecurityGroup": (
        "AWS::EC2::SecurityGroup",
        {
            "GroupDescription": "git2efs mount targets, which take NFS from the function and from the consumers",
            "VpcId": "<Vpc>",
        },
    ),
    "NfsFromFunction": (
        "AWS::EC2::SecurityGroupIngress",
        {
            "GroupId": "<MountTargetSecurityGroup.GroupId>",
            "SourceSecurityGroupId": "<FunctionSecurityGroup.GroupId>",
        },
    ),
    "NfsFromConsumers": (
        "AWS::EC2::SecurityGroupIngress",
        {
            "GroupId": "<MountTargetSecurityGroup.GroupId>",
            "SourceSecurityGroupId": "<ConsumersSecurityGroup.GroupId>",
        },
    ),
    "FileSystem": ("AWS::EFS::FileSystem", {"Encrypted": True, "PerformanceMode": "generalPurpose"}),
    "AccessPoint": (
        "AWS::EFS::AccessPoint",
        {
            "FileSystemId": "<FileSystem>",
            "PosixUser": {"Uid": "1000", "Gid": "1000"},
            "RootDirectory": {
                "Path": "/git2efs",
                "CreationInfo": {"OwnerUid": "1000", "OwnerGid": "1000", "Permissions": "0755"},
            },
        },
    ),
    "MountTargetA": ("AWS::EFS::MountTarget", {"FileSystemId": "<FileSystem>", "SubnetId": "<PrivateSubnetA>"}),
    "MountTargetB": ("AWS::EFS::MountTarget", {"FileSystemId": "<FileSystem>", "SubnetId": "<PrivateSubnetB>"}),
    "FirstRepositoryParameter": ("AWS::SSM::Parameter", {"Type": "String"}),
    "DeliveryQueue": ("AWS::SQS::Queue", {"FifoQueue": True}),
    "DeadLetterQueue": ("AWS::SQS::Queue", {"FifoQueue": True}),
    "ReconcilePolicy": (
        "AWS::IAM::ManagedPolicy",
        {"Description": "What a git2efs function needs that fetches and publishes"},
    ),
    "NetworkInterfacesPolicy": (
        "AWS::IAM::ManagedPolicy",
        {"Description": "What Lambda needs to put a git2efs function into a VPC"},
    ),
    "WebhookLogGroup": ("AWS::Logs::LogGroup", {"LogGroupName": "/git2efs/git2efs/webhook"}),
    "WorkerLogGroup": ("AWS::Logs::LogGroup", {"LogGroupName": "/git2efs/git2efs/worker"}),
    "ScheduleLogGroup": ("AWS::Logs::LogGroup", {"LogGroupName": "/git2efs/git2efs/schedule"}),
    "OperateLogGroup": ("AWS::Logs::LogGroup", {"LogGroupName": "/git2efs/git2efs/operate"}),
    "WebhookRole": ("AWS::IAM::Role", {}),
    "WorkerRole": ("AWS::IAM::Role", {}),
    "ScheduleRole": ("AWS::IAM::Role", {}),
    "OperateRole": ("AWS::IAM::Role", {}),
    "WebhookFunction": ("AWS::Lambda::Function", {}),
    "WebhookFunctionAliaslive": ("AWS::Lambda::Alias", {"Name": "live"}),
    "WorkerFunction": ("AWS::Lambda::Function", {}),
    "ScheduleFunction": ("AWS::Lambda::Function", {}),
    "OperateFunction": ("AWS::Lambda::Function", {}),
    "HttpApi": ("AWS::ApiGatewayV2::Api", {}),
    "HttpApiApiGatewayDefaultStage": ("AWS::ApiGatewayV2::Stage", {}),
}
"""Each by its id: its type, and those of its properties whose change would have CloudFormation replace it."""

GONE = frozenset(
    {
        "InternetGateway",
        "InternetGatewayAttachment",
        "PublicSubnetA",
        "PublicSubnetB",
        "PublicRouteTable",
        "PublicDefaultRoute",
        "PublicRouteTableOfSubnetA",
        "PublicRouteTableOfSubnetB",
        "NatAddress",
        "NatGateway",
        "PrivateDefaultRoute",
    }
)
"""What led out of the VPC that the stack makes."""

PARAMETERS = {
    "FirstRepository": "octo/site",
    "FirstRepositoryBranch": "release/2.x",
    "Delivery": "queued",
    "WorkerConcurrency": "5",
    "ReconcileRate": "rate(5 minutes)",
    "ChoresSchedule": "cron(17 3 * * ? *)",
    "AlarmEmail": "somebody@example.com",
    "LastSuccessAgeAlarmSeconds": "3600",
    "EventBus": "house",
    **OWN_VPC,
    "VpcCidr": "10.82.0.0/16",
    "ParameterRoot": "/git2efs",
    "KmsKeyArn": "arn:aws:kms:eu-central-1:123456789012:key/1-2",
    "AllowedHosts": "github.com,git.example.com",
    "AllowSha1": "true",
    "MountPath": "/mnt/efs",
    "OwnerUid": "1000",
    "OwnerGid": "1000",
    "ConsumersMayWrite": "true",
    "Architecture": "x86_64",
    "MemorySize": "1769",
    "TimeoutSeconds": "300",
    "ReservedConcurrency": "5",
    "ThrottleRate": "20",
    "ThrottleBurst": "40",
    "LogLevel": "DEBUG",
    "LogRetentionDays": "90",
}
"""A value of each parameter that a stack of before may have; `sam deploy` gives all of them again."""


@pytest.mark.parametrize("name", KEPT)
def test_what_there_was_stays_under_its_name(stack: Stack, name: str) -> None:
    """The file system, the access point, the mount targets, the URL, the logs: none is made anew."""
    defaults = {parameter: str(each["Default"]) for parameter, each in stack.parameters.items()}
    whole = stack.under(defaults | {"Delivery": "queued", "FirstRepository": "octo/site"})
    kind, frozen = KEPT[name]
    resource = whole.plain["Resources"][name]
    assert resource["Type"] == kind
    properties = {key: whole.resolve(resource["Properties"].get(key)) for key in frozen}
    assert properties == frozen


def test_what_led_out_is_gone(stack: Stack) -> None:
    """And nothing of its name came back."""
    assert GONE.isdisjoint(stack.plain["Resources"])


def test_parameters_are_still_taken(stack: Stack) -> None:
    """An update with the previous values is refused by none of them, nor by a rule."""
    for name, value in PARAMETERS.items():
        parameter = stack.parameters[name]
        assert value in [str(allowed) for allowed in parameter.get("AllowedValues", [value])], name
        assert re.fullmatch(parameter.get("AllowedPattern", ".*"), value), name
    assert stack.refusals(PARAMETERS) == []


def test_function_that_leaves_the_vpc_can_give_its_interfaces_back(stack: Stack) -> None:
    """Lambda does it by the function's role, long after the deployment: each role keeps that right."""
    for name in ("WebhookRole", "WorkerRole", "ScheduleRole", "OperateRole", "PublisherRole"):
        arns = stack.plain["Resources"][name]["Properties"]["ManagedPolicyArns"]
        assert {"Ref": "NetworkInterfacesPolicy"} in arns
