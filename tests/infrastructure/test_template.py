"""The template keeps its laws; what one test here says, laws.py defines."""

import ast
import json
import re
import shlex

import pytest

from handler.config.repository import parse_repository
from handler.network.operations.command import read_command
from testing.stack import MODES, OWN_FILE_SYSTEM, OWN_KEY, OWN_TOPIC, OWN_VPC, ROOT, Stack

from . import flow, laws, rights


def test_parameters_are_described_and_bounded(stack: Stack) -> None:
    """Whoever runs `sam deploy --guided` is told what each parameter is, and refused nonsense in words."""
    assert laws.parameter_problems(stack) == []


def test_modes_have_their_functions(mode: Stack) -> None:
    """Direct: what answers also reconciles. Queued: the worker does, and the webhook only sends."""
    webhook = mode.plain["Resources"]["WebhookFunction"]["Properties"]
    assert {name for name, _ in mode.functions() if mode.reconciles(name)} == (
        {"WorkerFunction" if mode.is_queued else "WebhookFunction", "ScheduleFunction", "OperateFunction"}
    )
    takes = mode.is_queued or mode.parameters["SnapStart"]["Default"] == "always"
    assert ("SnapStart" in webhook) is takes


def test_one_side_has_the_mount_and_the_other_the_network(mode: Stack) -> None:
    """Isolated, as by default: the publisher alone is in the VPC and has the mount. Inline: whoever publishes is."""
    assert laws.side_problems(mode) == []
    assert mode.is_isolated is (mode.parameters["Publisher"]["Default"] == "isolated")


def test_environment_is_the_settings_fields(mode: Stack) -> None:
    """No setting is forgotten or misspelt, the template has no defaults of its own, and no function knows too much."""
    assert laws.environment_problems(mode) == []


@pytest.mark.parametrize("ports", ["8443", "8443,3128"])
def test_other_ports_are_open_where_they_are_named(stack: Stack, ports: str) -> None:
    """A git server's and a proxy's, inline, and nothing else."""
    whole = stack.under({**MODES["queued, inline"], "OtherPorts": ports})
    assert laws.network_problems(whole) == []
    rules = whole.plain["Resources"]["FunctionSecurityGroup"]["Properties"]["SecurityGroupEgress"]
    found = [str(whole.resolve(rule["FromPort"])) for rule in rules]
    assert sorted(found) == sorted(["443", "2049", *ports.split(",")])


@pytest.mark.parametrize("key", ["", OWN_KEY])
@pytest.mark.parametrize("shape", ["direct", "queued, inline"])
def test_secrets_are_read_where_they_are_asked_for(stack: Stack, shape: str, key: str) -> None:
    """Only below the stack's own prefix, by those that fetch, and with its own key through Secrets Manager alone."""
    whole = stack.under({**MODES[shape], "SecretsManager": "true", "KmsKeyArn": key})
    assert rights.rights_problems(whole) == rights.function_rights_problems(whole) == []
    readers = {
        name
        for name, _ in whole.functions()
        for _, item in rights.statements_of(whole, whole.role_of(name))
        if item["Action"] == "secretsmanager:GetSecretValue"
    }
    assert readers == {name for name, _ in whole.functions() if whole.reconciles(name)}


def test_functions_that_fetch_are_told_their_ways(stack: Stack) -> None:
    """A proxy and an authority of the stack's, for those and nobody else."""
    given = {"HttpsProxy": "http://proxy.example.com:3128", "NoProxy": ".amazonaws.com", "CaName": "corp"}
    whole = stack.under({**MODES["queued, inline"], **given})
    assert whole.refusals(given | MODES["queued, inline"]) == []
    assert laws.environment_problems(whole) == []
    told = {name for name, _ in whole.functions() if whole.resolve(whole.environment(name)["HTTPS_PROXY"])}
    assert told == {"WorkerFunction", "ScheduleFunction", "OperateFunction"}


def test_waits_fit_the_time_outs(mode: Stack) -> None:
    """A run ends by its own bounds, never by Lambda's."""
    assert flow.time_problems(mode) == []


def test_queues_serve_each_repository_apart(mode: Stack) -> None:
    """FIFO by group, encrypted, with dead letters that outlive what they came from."""
    assert flow.queue_problems(mode) == []


def test_worker_is_fed_within_the_visibility(mode: Stack) -> None:
    """A batch is not handed out again while it is worked on, and one message's failure is its own."""
    assert flow.source_problems(mode) == []


def test_schedules_ask_for_the_two_tasks(mode: Stack) -> None:
    """Each has its task, and a run that failed is left to the next one."""
    assert flow.schedule_problems(mode) == []


def test_alias_follows_every_parameter(stack: Stack, mode: Stack) -> None:
    """A changed mode or limit reaches the version that the API calls."""
    assert flow.version_problems(stack) == []
    assert flow.version_problems(mode) == []


@pytest.mark.parametrize(
    ("rate", "is_taken"),
    [
        ("rate(1 minute)", True),
        ("rate(5 minutes)", True),
        ("rate(59 minutes)", True),
        ("rate(1 hour)", True),
        ("rate(1 minutes)", False),
        ("rate(0 minutes)", False),
        ("rate(60 minutes)", False),
        ("rate(2 hours)", False),
        ("cron(0 * * * ? *)", False),
    ],
)
def test_rate_is_one_that_the_scheduler_and_the_alarm_take(stack: Stack, rate: str, is_taken: bool) -> None:
    """The scheduler refuses `1 minutes` in the middle of a deployment; the alarm waits for two hours."""
    assert bool(re.fullmatch(stack.parameters["ReconcileRate"]["AllowedPattern"], rate)) is is_taken


@pytest.mark.parametrize(
    ("cron", "is_taken"), [("cron(17 3 * * ? *)", True), ("cron(0 4 ? * MON-FRI *)", True), ("cron(0 4 * * *)", False)]
)
def test_chores_have_a_cron_of_six_fields(stack: Stack, cron: str, is_taken: bool) -> None:
    """Five, as in a crontab, are refused with words instead of a failed deployment."""
    assert bool(re.fullmatch(stack.parameters["ChoresSchedule"]["AllowedPattern"], cron)) is is_taken


def test_alarms_watch_what_the_code_emits(mode: Stack) -> None:
    """An alarm on a metric or a dimension that nothing emits can never fire."""
    from handler.network.aws.telemetry import METRICS

    assert laws.alarm_problems(mode, METRICS) == []


def test_functions_queues_and_the_schedules_silence_are_watched(mode: Stack) -> None:
    """Nothing fails, waits or stops without somebody being told."""
    assert laws.watch_problems(mode) == []


def test_powertools_is_told_the_stack_and_the_namespace_that_the_code_has(mode: Stack) -> None:
    """The service is the stack, so that one stack's failures do not raise another's alarm in the same account."""
    from handler.network.aws import telemetry

    for name, _ in mode.functions():
        variables = mode.environment(name)
        assert variables["POWERTOOLS_SERVICE_NAME"] == {"Ref": "AWS::StackName"}
        assert variables["POWERTOOLS_METRICS_NAMESPACE"] == telemetry.NAMESPACE


def test_failures_and_old_trees_have_alarms(stack: Stack) -> None:
    """Failed outcomes, the age of the last success, Lambda's and the API's own failures: each is watched."""
    watched = {
        (metric["Namespace"], metric["MetricName"])
        for alarm in stack.of_type("AWS::CloudWatch::Alarm").values()
        for metric in laws.metrics_of(alarm)
    }
    assert watched == {
        ("git2efs", "FailedOutcomes"),
        ("git2efs", "LastSuccessAgeSeconds"),
        ("git2efs", "RefsBehind"),
        ("git2efs", "PushToVisibleSeconds"),
        ("AWS/Lambda", "Errors"),
        ("AWS/Lambda", "Duration"),
        ("AWS/Lambda", "Throttles"),
        ("AWS/Lambda", "Invocations"),
        ("AWS/ApiGateway", "5xx"),
        ("AWS/SQS", "ApproximateNumberOfMessagesVisible"),
        ("AWS/SQS", "ApproximateAgeOfOldestMessage"),
    }


def test_rights_are_one_action_a_statement(mode: Stack) -> None:
    """No `*` in an action, nor in a resource without a recorded reason."""
    assert rights.rights_problems(mode) == []


def test_functions_may_do_what_they_need_and_no_more(mode: Stack) -> None:
    """The queued webhook reads no token and has no mount; nobody but the worker takes messages."""
    assert rights.function_rights_problems(mode) == []


def test_publisher_may_do_nothing_but_mount_and_write(mode: Stack) -> None:
    """Whoever takes it over by a hostile pack finds no secret, no right and no address."""
    assert rights.publisher_problems(mode) == []


def test_publisher_is_invoked_by_the_stacks_functions_alone(mode: Stack) -> None:
    """And these invoke nothing else: the right names one function."""
    assert rights.invoker_problems(mode) == []


def test_functions_read_their_own_stacks_parameters_only(mode: Stack) -> None:
    """Two stacks in one account cannot read each other's secrets."""
    assert rights.prefix_problems(mode) == []


def test_roles_are_taken_by_whom_they_are_for(mode: Stack) -> None:
    """The scheduler's role is not lent to a schedule in another account."""
    assert rights.trust_problems(mode) == []


def test_logs_are_kept_for_a_time(mode: Stack) -> None:
    """Every function and API logs to a group of the stack, which has a retention."""
    assert laws.log_problems(mode) == []


def test_functions_wait_for_the_mount_targets(mode: Stack) -> None:
    """A missing DependsOn fails the first deployment, and no linter says so."""
    assert laws.mount_problems(mode) == []


def test_consumers_read_and_do_not_write(stack: Stack) -> None:
    """Without a file system policy, every client that reaches a mount target may write as root."""
    assert laws.file_system_policy_problems(stack) == []


def test_network_lets_in_nfs_from_groups_only(mode: Stack) -> None:
    """No address may come in. Isolated, nothing leads out: no gateway, no address, no route, and no rule for 443."""
    assert laws.network_problems(mode) == []
    groups = mode.of_type("AWS::EC2::SecurityGroup")
    leaving = [rule for group in groups.values() for rule in group["Properties"]["SecurityGroupEgress"]]
    assert any(rule.get("FromPort") == 443 for rule in leaving) is not mode.is_isolated


def test_default_stack_is_isolated_and_has_nothing_to_pay_in_its_network(stack: Stack) -> None:
    """`sam deploy` with all defaults: a VPC, two private subnets with their table, security groups."""
    assert stack.refusals({}) == []
    defaults = {name: str(parameter["Default"]) for name, parameter in stack.parameters.items()}
    whole = stack.under(defaults)
    assert whole.is_isolated
    kinds = sorted(item["Type"].removeprefix("AWS::EC2::") for item in whole.of_type("AWS::EC2::").values())
    assert kinds == sorted(
        ["VPC", "Subnet", "Subnet", "RouteTable", "SubnetRouteTableAssociation", "SubnetRouteTableAssociation"]
        + ["SecurityGroup"] * 3
        + ["SecurityGroupIngress"] * 2
    )


@pytest.mark.parametrize("publisher", ["isolated", "inline"])
@pytest.mark.parametrize("delivery", ["direct", "queued"])
def test_existing_file_system_is_used_and_nothing_of_it_made(stack: Stack, publisher: str, delivery: str) -> None:
    """Most people have one. The functions get it by its access point, and one rule lets them in."""
    given = OWN_FILE_SYSTEM | {"Publisher": publisher, "Delivery": delivery, "EventBus": "", "SnapStart": "queued"}
    given |= {"QueueKmsKeyArn": "", "SecretsManager": "false", "OtherPorts": ""}
    assert stack.refusals(given) == []
    whole = stack.under(given)
    assert whole.of_type("AWS::EFS::") == {}
    assert set(whole.of_type("AWS::EC2::")) == {"FunctionSecurityGroup", "NfsFromFunction"}
    ingress = whole.resolve(whole.of_type("AWS::EC2::SecurityGroupIngress")["NfsFromFunction"]["Properties"])
    assert (ingress["GroupId"], ingress["SourceSecurityGroupId"]) == ("sg-01234567", "<FunctionSecurityGroup.GroupId>")
    assert laws.side_problems(whole) == []
    assert laws.network_problems(whole) == []
    assert rights.rights_problems(whole) == []
    assert rights.function_rights_problems(whole) == []
    mounts = [properties["FileSystemConfigs"] for name, properties in whole.functions() if whole.mounts(name)]
    points = {whole.resolve(mount[0]["Arn"]) for mount in mounts}
    assert points == {"arn:aws:elasticfilesystem:eu-central-1:123456789012:access-point/fsap-0123456789abcdef0"}
    outputs = {name: whole.resolve(item["Value"]) for name, item in whole.plain["Outputs"].items()}
    assert (outputs["FileSystemId"], outputs["AccessPointId"]) == ("fs-0123456789abcdef0", "fsap-0123456789abcdef0")
    assert not [name for name in outputs if name.startswith("Consumers")]
    assert (
        '"FileSystemId", "fs-0123456789abcdef0"'
        in whole.resolve(whole.plain["Resources"]["DashboardOfStack"])["Properties"]["DashboardBody"]
    )


REFUSED: dict[str, tuple[dict[str, str], str]] = {
    "inline in the VPC that the stack makes": ({"Publisher": "inline"}, "needs VpcId"),
    "a file system without an access point": (
        {key: value for key, value in OWN_FILE_SYSTEM.items() if key != "AccessPointId"},
        "needs AccessPointId",
    ),
    "a file system without its security group": (
        {key: value for key, value in OWN_FILE_SYSTEM.items() if key != "MountTargetSecurityGroupId"},
        "needs MountTargetSecurityGroupId",
    ),
    "a file system without its VPC": (
        {key: value for key, value in OWN_FILE_SYSTEM.items() if key not in OWN_VPC},
        "needs the VpcId",
    ),
    "an access point without a file system": ({"AccessPointId": "fsap-0123456789abcdef0"}, "needs FileSystemId"),
    "a security group without a file system": (
        {"MountTargetSecurityGroupId": "sg-01234567"},
        "MountTargetSecurityGroupId needs FileSystemId",
    ),
    "a VPC without subnets": ({"VpcId": "vpc-01234567"}, "needs SubnetIdA"),
    "subnets without a VPC": ({"SubnetIdB": "subnet-01234567"}, "SubnetIdB needs VpcId"),
    "more subnets without a VPC": ({"MoreSubnetIds": "subnet-01234567"}, "MoreSubnetIds needs VpcId"),
    "a key for somebody else's file system": (OWN_FILE_SYSTEM | {"FileSystemKmsKeyArn": OWN_KEY}, "stack makes"),
    "an address for topics that others made": (
        {"AlarmEmail": "a@example.com", "AlarmTopicArn": OWN_TOPIC, "EarlyTopicArn": OWN_TOPIC},
        "subscribe it",
    ),
    "a proxy that no new version of the webhook would learn of": (
        {"HttpsProxy": "http://proxy.example.com:3128"},
        "need Delivery=queued",
    ),
    "a port of a function outside a VPC": ({"OtherPorts": "8443"}, "needs Publisher=inline"),
    "an authority that it would not learn of": ({"CaName": "corp"}, "need Delivery=queued"),
    "a snapshot of a function with a mount": (
        OWN_VPC | {"Publisher": "inline", "SnapStart": "always"},
        "SnapStart=always",
    ),
    "writers whom nobody lets in": ({"ConsumersNeedIam": "true", "ConsumersMayWrite": "true"}, "ConsumersMayWrite"),
    "a directory of somebody else's file system": (OWN_FILE_SYSTEM | {"ConsumersDirectory": "a/b"}, "stack makes"),
}


@pytest.mark.parametrize("wish", REFUSED)
def test_parameters_that_do_not_go_together_are_refused_in_words(stack: Stack, wish: str) -> None:
    """Before anything is made, and not in the middle of a deployment."""
    given, words = REFUSED[wish]
    (refusal, *_) = stack.refusals(given)
    assert words in refusal


def test_inline_goes_with_a_vpc_that_is_named(stack: Stack) -> None:
    """Whether its subnets have a route, no template can see."""
    assert stack.refusals(OWN_VPC | {"Publisher": "inline"}) == []
    assert stack.refusals(OWN_VPC | {"Publisher": "inline", "Delivery": "queued", "SnapStart": "always"}) == []


@pytest.mark.parametrize(
    ("directory", "root"), [("", "/git2efs"), ("octo", "/git2efs/octo"), ("octo/site/main", "/git2efs/octo/site/main")]
)
def test_consumers_have_an_access_point_as_nobody(stack: Stack, directory: str, root: str) -> None:
    """It shows one directory, of as many levels as EFS takes, and owns none of what it shows."""
    point = stack.resolve(stack.plain["Resources"]["ConsumersAccessPoint"], {"ConsumersDirectory": directory})
    properties = point["Properties"]
    assert properties["RootDirectory"] == {"Path": root}
    assert root.count("/") <= 4
    assert properties["PosixUser"] == {"Uid": "65534", "Gid": "65534"}
    pattern = stack.parameters["ConsumersDirectory"]["AllowedPattern"]
    assert re.fullmatch(pattern, directory)
    assert not any(re.fullmatch(pattern, wrong) for wrong in ("/octo", "octo/", "a/b/c/d", "a//b", "a b"))


def test_consumers_with_iam_mount_their_access_point_alone(stack: Stack) -> None:
    """The file system's policy lets nobody else in; their own lets them mount that one, and not write."""
    whole = stack.under({"ConsumersNeedIam": "true", "FileSystemId": ""})
    ((_, policy),) = [
        (name, item) for name, item in whole.of_type("AWS::IAM::ManagedPolicy").items() if name == "ConsumersPolicy"
    ]
    (statement,) = whole.resolve(policy["Properties"]["PolicyDocument"])["Statement"]
    assert (statement["Action"], statement["Resource"]) == ("elasticfilesystem:ClientMount", "<FileSystem.Arn>")
    point = {"elasticfilesystem:AccessPointArn": "<ConsumersAccessPoint.Arn>"}
    assert statement["Condition"] == {"StringEquals": point}
    assert "ConsumersPolicy" not in stack.under({"ConsumersNeedIam": "false"}).plain["Resources"]


def test_throughput_is_the_users_choice(stack: Stack) -> None:
    """Elastic unless it is said."""
    ((_, system),) = stack.of_type("AWS::EFS::FileSystem").items()
    modes = [stack.resolve(system["Properties"]["ThroughputMode"], given) for given in ({}, {"ThroughputMode": "x"})]
    assert modes == ["elastic", "x"]


@pytest.mark.parametrize(
    ("choice", "direct", "queued"), [("never", False, False), ("queued", False, True), ("always", True, True)]
)
def test_snapshots_are_the_users_choice(stack: Stack, choice: str, direct: bool, queued: bool) -> None:
    """They cost money: of a function that waits for the publisher they are taken only where somebody asks for it."""
    for delivery, expected in (("direct", direct), ("queued", queued)):
        given = {"Delivery": delivery, "Publisher": "isolated", "SnapStart": choice}
        webhook = stack.under(given).plain["Resources"]["WebhookFunction"]["Properties"]
        assert ("SnapStart" in webhook) is expected


def test_api_has_the_webhooks_routes_throttled(mode: Stack) -> None:
    """The API is the webhook, and nothing else."""
    assert flow.route_problems(mode) == []


def test_handler_exists_in_the_source(stack: Stack) -> None:
    """A handler's path leads to a function in a module that is in the artefact."""
    for _, properties in stack.functions():
        module, name = properties["Handler"].rsplit(".", 1)
        path = ROOT / (module.replace(".", "/") + ".py")
        names = set()
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                names.add(node.name)
            elif isinstance(node, ast.Assign):
                names |= {target.id for target in node.targets if isinstance(target, ast.Name)}
            elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                names.add(node.target.id)
        assert name in names


def test_artefact_is_the_package_under_its_own_name(stack: Stack) -> None:
    """Imports stay `handler.…`; tests, README and template stay out of the artefact."""
    for resource in stack.source["Resources"].values():
        if resource["Type"] == "AWS::Serverless::Function":
            assert stack.source["Globals"]["Function"]["CodeUri"] == "handler/"
            assert "CodeUri" not in resource["Properties"]
            assert resource["Metadata"]["BuildProperties"] == {
                "ParentPackageMode": "explicit",
                "ParentPackages": "handler",
            }


@pytest.mark.parametrize("architecture", ["arm64", "x86_64"])
def test_processor_is_the_users_choice(stack: Stack, architecture: str) -> None:
    """Both processors can be had, and the cheaper one is the default."""
    for _, properties in stack.functions():
        assert properties["Runtime"] == "python3.13"
        assert stack.resolve(properties["Architectures"]) == ["arm64"]
        assert stack.resolve(properties["Architectures"], {"Architecture": architecture}) == [architecture]


def test_nothing_is_reserved_unless_asked(stack: Stack) -> None:
    """A new account has no concurrency to reserve, and 0 as a reservation would switch the function off."""
    reservations = [
        properties["ReservedConcurrentExecutions"]
        for _, properties in stack.functions()
        if "ReservedConcurrentExecutions" in properties
    ]
    assert len(reservations) == 1
    for reserved in reservations:
        assert stack.resolve(reserved, {"ReservedConcurrency": "0"}) == "<AWS::NoValue>"
        assert stack.resolve(reserved, {"ReservedConcurrency": "5"}) == "5"


@pytest.mark.parametrize(
    ("branch", "refs"), [("", [None]), ("main", ["refs/heads/main"]), ("release/2.x", ["refs/heads/release/2.x"])]
)
def test_first_repository_is_one_that_the_handler_takes(stack: Stack, branch: str, refs: list[str | None]) -> None:
    """`sam deploy --guided` ends with a working webhook: the parameter it writes is read by our own rules."""
    ((_, parameter),) = stack.of_type("AWS::SSM::Parameter").items()
    given = {"FirstRepository": "octo/site", "FirstRepositoryBranch": branch}
    properties = stack.resolve(parameter["Properties"], given)
    assert properties["Name"] == "/git2efs/git2efs/repositories/octo/site"
    repository = parse_repository("octo/site", properties["Value"])
    assert [rule.ref for rule in repository.publish] == refs


@pytest.mark.parametrize("key", ["", "arn:aws:kms:eu-central-1:123456789012:key/1-2"])
def test_outputs_are_commands_that_work_as_they_stand(stack: Stack, key: str) -> None:
    """The commands put what the function reads, and hold no secret; the URL is the route's."""
    given = {"KmsKeyArn": key}
    outputs = {name: stack.resolve(item["Value"], given) for name, item in stack.plain["Outputs"].items()}
    assert outputs["WebhookUrl"] == "https://<HttpApi>.execute-api.eu-central-1.amazonaws.com/github"
    secret, repository = outputs["PutSecretCommand"].split(), outputs["PutRepositoryCommand"].split()
    for command, name in ((secret, "webhook-secret"), (repository, "repositories/OWNER/NAME")):
        assert command[:3] == ["aws", "ssm", "put-parameter"]
        assert command[command.index("--name") + 1] == f"/git2efs/git2efs/{name}"
        assert command[command.index("--region") + 1] == "eu-central-1"
    assert secret[secret.index("--type") + 1] == "SecureString"
    assert secret[-2:] == ["--value", '"$WEBHOOK_SECRET"']
    assert ("--key-id" in secret) == bool(key)
    assert json.loads(repository[-1].strip("'")) == {}
    named = {"FileSystemId", "AccessPointId", "ConsumersSecurityGroupId", "FunctionName", "LogGroupName"}
    assert named <= set(outputs)


def test_operators_are_given_a_command_that_the_function_takes(mode: Stack) -> None:
    """Its payload is a command, it waits for the answer; and nothing but IAM lets anybody invoke the function."""
    command = mode.resolve(mode.plain["Outputs"]["OperateCommand"]["Value"])
    words = shlex.split(command)
    assert words[:3] == ["aws", "lambda", "invoke"]
    assert words[words.index("--function-name") + 1] == "<OperateFunction>"
    assert words[words.index("--cli-read-timeout") + 1] == "0"
    assert read_command(json.loads(words[words.index("--payload") + 1])).action == "status"
    for permission in mode.of_type("AWS::Lambda::Permission").values():
        assert permission["Properties"]["FunctionName"] != {"Ref": "OperateFunction"}
    assert mode.of_type("AWS::Lambda::Url") == {}


def test_dead_letters_are_sent_on_by_a_command_that_says_where_to(mode: Stack) -> None:
    """What the worker put among the dead letters itself has no queue that it came from: SQS could not send it back."""
    outputs = {name: mode.resolve(item["Value"]) for name, item in mode.plain["Outputs"].items()}
    assert ("RedriveCommand" in outputs) is ("QueueUrl" in outputs) is ("WorkerFunctionName" in outputs)
    assert ("RedriveCommand" in outputs) is mode.is_queued
    if mode.is_queued:
        command = outputs["RedriveCommand"].split()
        assert command[:3] == ["aws", "sqs", "start-message-move-task"]
        assert command[command.index("--source-arn") + 1] == "<DeadLetterQueue.Arn>"
        assert command[command.index("--destination-arn") + 1] == "<DeliveryQueue.Arn>"
