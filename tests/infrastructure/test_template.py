"""The template keeps its laws; what one test here says, laws.py defines."""

import ast
import json
import re
import shlex

import pytest

from handler.config.repository import parse_repository
from handler.network.operations.command import read_command
from testing.stack import ROOT, Stack

from . import flow, laws, rights


def test_parameters_are_described_and_bounded(stack: Stack) -> None:
    """Whoever runs `sam deploy --guided` is told what each parameter is, and refused nonsense in words."""
    assert laws.parameter_problems(stack) == []


def test_modes_have_their_functions(mode: Stack) -> None:
    """Direct: what answers also reconciles. Queued: the worker does, and the webhook has neither VPC nor mount."""
    webhook = mode.plain["Resources"]["WebhookFunction"]["Properties"]
    assert {name for name, _ in mode.functions() if mode.reconciles(name)} == (
        {"WorkerFunction" if mode.is_queued else "WebhookFunction", "ScheduleFunction", "OperateFunction"}
    )
    assert ("VpcConfig" in webhook) is not mode.is_queued
    assert ("SnapStart" in webhook) is mode.is_queued


def test_environment_is_the_settings_fields(mode: Stack) -> None:
    """No setting is forgotten or misspelt, the template has no defaults of its own, and no function knows too much."""
    assert laws.environment_problems(mode) == []


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


def test_network_lets_in_nfs_from_groups_only(stack: Stack) -> None:
    """No address may come in; a VPC that the user names costs no NAT gateway."""
    assert laws.network_problems(stack) == []


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
