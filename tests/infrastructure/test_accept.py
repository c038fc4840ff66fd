"""`make accept` without an account: how steps end, what the report says, what is deleted, and when nothing is started.

The whole run is in tests/deployed/test_accept.py.
"""

import base64
import json
import os
import re
import signal
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import ClientError

from local.origin import SampleOrigin as LoopbackOrigin
from local.sample import first_push
from testing.documented import PROJECT
from tools.accept import __main__ as command
from tools.accept import leftovers, origin_function
from tools.accept.account import Account
from tools.accept.context import Context, Options
from tools.accept.leftovers import Leftovers
from tools.accept.origin import GivenOrigin, SampleOrigin, origin_template
from tools.accept.pushes import require_published
from tools.accept.report import Figure, Report, Result, Step, StepFailed, StepNotRun, spread
from tools.accept.run import DELETE, DELETE_PROMISE, STEPS, Planned, planned, run_step, run_steps
from tools.accept.sample import LARGE, LARGE_FILES, Repository, files_of
from tools.accept.service import Pushed, Service
from tools.accept.stacks import PARAMETER_ROOT, TAG, Stacks
from tools.accept.watching import LEAST_ALARMS, alarms, bill, rights, trust

RUN = "git2efs-accept-20261128-101112-0a1b"
OTHER_RUN = "git2efs-accept-20261127-101112-0a1b"
CALLER = "arn:aws:iam::123456789012:user/me"
ERROR = ClientError({"Error": {"Code": "Throttling", "Message": "too fast"}}, "Any")
PAGE = PROJECT / "docs" / "acceptance.md"


class FakeAccount(Account):
    """An account whose operations answer with what `answers` has by `service:operation`, and are noted in `called`."""

    def __init__(self, **answers: Any) -> None:
        self.answers = {key.replace("__", ":"): value for key, value in answers.items()}
        self.called: list[tuple[str, dict[str, Any]]] = []
        self.endpoint = None
        self.region = "eu-central-1"
        self.operations = set()

    def client(self, service: str) -> Any:
        """Return what has every operation."""
        return FakeClient(self, service)

    def names(self) -> list[str]:
        """Return which operations were called, in their order."""
        return [name for name, _ in self.called]


class FakeClient:
    """One service of a FakeAccount."""

    def __init__(self, account: FakeAccount, service: str) -> None:
        self.account = account
        self.service = service
        self.meta = SimpleNamespace(endpoint_url="https://s3.example")

    def get_paginator(self, operation: str) -> Any:
        """Answer in one page."""
        return SimpleNamespace(paginate=lambda **arguments: [getattr(self, operation)(**arguments)])

    def __getattr__(self, operation: str) -> Any:
        def call(**arguments: Any) -> Any:
            name = f"{self.service}:{operation}"
            self.account.called.append((name, arguments))
            answer = self.account.answers.get(name, {})
            if isinstance(answer, Exception):
                raise answer
            return answer(**arguments) if callable(answer) else answer

        return call


def context_in(account: FakeAccount, tmp_path: Path) -> Context:
    """Return a run that has done nothing yet."""
    stacks = Stacks(account, RUN, lambda text: None)
    return Context(account, stacks, Options(tmp_path / "template.yaml", "arm64"), lambda text: None, CALLER)


# -- steps and report -------------------------------------------------------------------------------------------------


def ends(error: BaseException | None) -> Iterator[Figure]:
    """A step that measures one thing, and then ends so."""
    yield Figure("one", "1 ms", "a clock")
    if error is not None:
        raise error


@pytest.mark.parametrize(
    ("error", "result", "why"),
    [
        (None, Result.PASSED, ""),
        (StepFailed("it is\nnot | so"), Result.FAILED, "it is\nnot | so"),
        (StepNotRun("not here"), Result.NOT_RUN, "not here"),
        (ERROR, Result.FAILED, str(ERROR)),
        (KeyError("a defect"), Result.FAILED, "KeyError: 'a defect'"),
    ],
)
def test_however_a_step_ends_its_figures_and_the_reason_stay(
    error: Exception | None, result: Result, why: str, tmp_path: Path
) -> None:
    """And the others go on."""
    step = Step("one", "it is so")
    run_step(step, lambda context: ends(error), context_in(FakeAccount(), tmp_path))
    assert (step.result, step.why, len(step.figures)) == (result, why, 1)


def test_report_has_every_step_every_figure_and_every_reason() -> None:
    """What did not run is counted and named as such; text from AWS breaks no table."""
    steps = [
        Step("good", "a", Result.PASSED, figures=[Figure("time", "1 ms", "a clock")]),
        Step("bad", "b", Result.FAILED, "it is\nnot | so"),
        Step("absent", "c", Result.NOT_RUN, "not here"),
    ]
    text = Report({"where": "AWS"}, steps, ["s3:PutObject"]).render()
    assert "**Failed**: 1 passed, 1 failed, 1 not run." in text
    assert "| good | passed | 0.0 | a |" in text
    assert "| good | time | 1 ms | a clock |" in text
    assert "## Failed\n- bad: it is not \\| so\n\n## Not run\n- absent: not here\n" in text
    assert "- `s3:PutObject`" in text


@pytest.mark.parametrize(
    ("results", "has_passed"),
    [
        ((Result.PASSED, Result.NOT_RUN), True),
        ((Result.PASSED, Result.FAILED), False),
        ((Result.NOT_RUN,), False),
        ((), False),
    ],
)
def test_a_run_passes_only_where_something_passed_and_nothing_failed(
    results: tuple[Result, ...], has_passed: bool
) -> None:
    """Not run is never passed; an interruption between two steps fails none of them, and is no pass either."""
    steps = [Step("x", "x", each) for each in results]
    assert Report({}, steps).has_passed is has_passed
    assert not Report({}, steps, is_interrupted=True).has_passed


def test_durations_are_shown_with_their_median() -> None:
    """The mean would hide one slow push among many."""
    assert spread([0.3, 0.1, 0.2, 9]) == "250 ms (100 ms to 9,000 ms, 4 pushes)"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda number: number.name)
def test_a_signal_ends_the_steps_and_not_the_deletion(
    number: signal.Signals, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second signal comes while things are deleted, and only says so."""
    deleted = []

    def killed(context: Context) -> Iterator[Figure]:
        yield Figure("one", "1 ms", "a clock")
        os.kill(os.getpid(), number)
        raise AssertionError("the signal was passed over")

    def delete(context: Context) -> Iterator[Figure]:
        os.kill(os.getpid(), number)
        deleted.append(context.stacks.name)
        yield Figure("deleted", "all", "a list")

    steps = {"first": Planned(killed, "a"), "second": Planned(lambda context: ends(None), "b")}
    monkeypatch.setattr(command, "planned", lambda: planned(steps))
    monkeypatch.setattr(command, "run_steps", lambda context, found: run_steps(context, found, steps))
    monkeypatch.setattr(command, "delete", delete)
    before = signal.getsignal(number)
    report = command.accept(context_in(FakeAccount(), tmp_path))
    assert deleted == [RUN]
    assert signal.getsignal(number) == before
    first, second, last = report.steps
    assert (first.result, second.result, last.result) == (Result.FAILED, Result.NOT_RUN, Result.PASSED)
    assert "interrupted" in first.why
    assert "interrupted" in second.why
    assert report.verdict == "interrupted"


# -- deleting ---------------------------------------------------------------------------------------------------------


def things() -> dict[str, Any]:
    """What the services list: this run's, another run's, and what only looks like it."""
    tag = [{"Key": TAG, "Value": "any"}]
    names = (RUN, f"{RUN}-origin", OTHER_RUN, "git2efs", "git2efs-accept-by-hand")
    return {
        "cloudformation__describe_stacks": {
            "Stacks": [{"StackName": name, "Tags": tag} for name in names] + [{"StackName": f"{RUN}-of-somebody"}]
        },
        "efs__describe_file_systems": {
            "FileSystems": [
                *({"FileSystemId": f"fs-{name}", "Name": name, "LifeCycleState": "available"} for name in names),
                {"FileSystemId": "fs-of-nobody", "LifeCycleState": "available"},
                {"FileSystemId": "fs-going", "Name": RUN, "LifeCycleState": "deleting"},
            ]
        },
        "ssm__get_parameters_by_path": {"Parameters": [{"Name": f"{PARAMETER_ROOT}/{name}/x"} for name in names]},
        "scheduler__list_schedules": {
            "Schedules": [{"Name": f"{name}{end}"} for name in names for end in ("-once", "-Reconcile")]
        },
        "s3__list_buckets": {"Buckets": [{"Name": f"{name}-123456789012"} for name in names]},
    }


def test_a_run_finds_what_is_its_own_and_nothing_else() -> None:
    """By the name's whole shape; a stack by its tag too."""
    account = FakeAccount(**things())
    own = (RUN, f"{RUN}-origin")
    assert leftovers.find(account, RUN) == Leftovers(
        stacks=list(own),
        file_systems=[f"fs-{name}" for name in own],
        parameters=[f"{PARAMETER_ROOT}/{name}/x" for name in own],
        schedules=[f"{name}-once" for name in own],
        buckets=[f"{name}-123456789012" for name in own],
        unknown=[],
    )
    assert [name for name in leftovers.find(account, "git2efs-accept-").stacks if name not in own] == [OTHER_RUN]
    with pytest.raises(ValueError, match="is not a run"):
        leftovers.find(account, "git2efs")


def test_what_cannot_be_deleted_is_told_and_keeps_nothing_else(tmp_path: Path) -> None:
    """The stack goes before its file system, which it uses."""
    gone = ClientError({"Error": {"Code": "ValidationError", "Message": "Stack does not exist"}}, "DescribeStacks")
    account = FakeAccount(cloudformation__describe_stacks=gone, efs__delete_file_system=ERROR)
    stacks = context_in(account, tmp_path).stacks
    parameters = [f"{PARAMETER_ROOT}/{RUN}/{number}" for number in range(11)]
    found = Leftovers([RUN], ["fs-1"], parameters, [f"{RUN}-once"], ["bucket"], ["what cannot be listed"])
    assert leftovers.delete(stacks, found) == ["what cannot be listed", f"file system fs-1: {ERROR}"]
    assert account.names() == [
        "scheduler:delete_schedule",
        "cloudformation:delete_stack",
        "cloudformation:describe_stacks",
        "efs:delete_file_system",
        "ssm:delete_parameters",
        "ssm:delete_parameters",
        "s3:list_objects_v2",
        "s3:delete_bucket",
    ]


def test_what_cannot_be_listed_keeps_nothing_else_from_being_found() -> None:
    """A right that is missing for one service leaves that one's things, and says so."""
    found = leftovers.find(FakeAccount(**things() | {"efs__describe_file_systems": ERROR}), RUN)
    assert found.unknown == [f"file systems cannot be listed: {ERROR}"]
    assert found.file_systems == []
    assert len(found.names()) == 8


def test_a_stack_that_cannot_be_created_is_told_with_the_first_reason(tmp_path: Path) -> None:
    """CloudFormation's later events only say that the others were cancelled."""
    events = [
        {"LogicalResourceId": "B", "ResourceStatus": "CREATE_FAILED", "ResourceStatusReason": "cancelled"},
        {"LogicalResourceId": "A", "ResourceStatus": "CREATE_FAILED", "ResourceStatusReason": "no VPC is left"},
    ]
    account = FakeAccount(
        cloudformation__describe_stacks={"Stacks": [{"StackStatus": "CREATE_FAILED"}]},
        cloudformation__describe_stack_events={"StackEvents": events},
    )
    with pytest.raises(StepFailed, match="CREATE_FAILED: A: no VPC is left"):
        context_in(account, tmp_path).stacks.create(RUN, {}, "bucket", {})


# -- the command ------------------------------------------------------------------------------------------------------


@pytest.fixture
def account(monkeypatch: pytest.MonkeyPatch) -> FakeAccount:
    """The account that the command finds."""
    made = FakeAccount(sts__get_caller_identity={"Arn": CALLER}, **things())
    monkeypatch.setattr(command, "Account", lambda profile, region, endpoint: made)
    return made


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ((), "--yes says yes"),
        (("--template-file", "/nonexistent"), "run make build"),
        (("--parameter", "Delivery=queued"), "only a stack with Delivery=direct"),
        (("--parameter", "Delivery"), "NAME=VALUE"),
        (("--warm", "0"), "at least 1"),
        (("--report", "/nonexistent/report.md"), "no such directory"),
        (("--clean",), "--yes says yes"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, tuple) else "",
)
def test_nothing_is_started_without_a_yes_or_with_a_wrong_option(
    account: FakeAccount, more: tuple[str, ...], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit status 2, and nothing was called that changes anything; the cost is said before."""
    template = tmp_path / "template.yaml"
    template.touch()
    options = ["--template-file", str(template), *more]
    assert (
        command.main(options if "--clean" in more else [*options, *(() if said.startswith("--yes") else ("--yes",))])
        == 2
    )
    shown = capsys.readouterr()
    assert said in shown.err
    if not more:
        assert "0.10 USD" in shown.out
    assert all(re.search(":(get|list|describe)_", name) for name in account.names())


def test_clean_deletes_what_every_run_left(account: FakeAccount, capsys: pytest.CaptureFixture[str]) -> None:
    """It names it first."""
    deleted: list[str] = []
    listed = account.answers["cloudformation:describe_stacks"]
    gone = ClientError({"Error": {"Code": "ValidationError", "Message": "Stack does not exist"}}, "DescribeStacks")

    def describe_stacks(StackName: str | None = None) -> Any:
        if StackName is not None:
            raise gone
        return listed

    def delete_stack(StackName: str) -> None:
        deleted.append(StackName)

    account.answers["cloudformation:delete_stack"] = delete_stack
    account.answers["cloudformation:describe_stacks"] = describe_stacks
    assert command.main(["--clean", "--yes"]) == 0
    assert deleted == [RUN, f"{RUN}-origin", OTHER_RUN]
    assert f"stack {OTHER_RUN}" in capsys.readouterr().out


# -- the origins ------------------------------------------------------------------------------------------------------


def test_a_commit_is_the_same_wherever_it_is_made() -> None:
    """The command names the commit that the function serves; each push differs from the one before."""
    first, second = Repository("accept/site"), Repository("accept/site")
    assert [first.commit(push) for push in (1, 2, 3)] == [second.commit(push) for push in (1, 2, 3)]
    assert len({first.commit(1), first.commit(2), Repository("accept/other").commit(1)}) == 3
    assert len(files_of(LARGE, 1)) == LARGE_FILES
    assert not files_of(LARGE, 1).items() & files_of(LARGE, 2).items()


def test_the_function_answers_with_the_newest_push(monkeypatch: pytest.MonkeyPatch) -> None:
    """As an HTTP API calls it; a repository that nobody pushed to is not there."""
    parameters: dict[str, str] = {}

    def put(Name: str, Value: str, **_: Any) -> None:
        parameters[Name] = Value

    def get(Name: str) -> Mapping[str, Any]:
        return {"Parameter": {"Value": parameters[Name]}}

    account = FakeAccount(ssm__put_parameter=put, ssm__get_parameter=get)
    monkeypatch.setenv(origin_function.PUSHES_VARIABLE, "/pushes")
    monkeypatch.setattr("boto3.client", account.client)
    monkeypatch.setattr(origin_function, "_parameters", [])
    origin = SampleOrigin(account, "/pushes", "https://origin.example")
    body = "0014command=ls-refs\n0001001bref-prefix refs/heads/\n0000"
    event = {"rawPath": "/accept/site.git/git-upload-pack", "body": body, "headers": {}}
    for _ in range(2):
        commit = origin.push(["accept/site"])["accept/site"]
        answer = origin_function.handler(event, None)
        assert commit.encode() in base64.b64decode(str(answer["body"]))
    assert origin_function.handler({**event, "rawPath": "/accept/none.git/info/refs"}, None)["statusCode"] == 404
    assert origin.parameter("accept/site") == {"url": "https://origin.example/accept/site.git"}


def test_a_repository_that_is_given_is_asked_for_its_default_branch() -> None:
    """Its refs do not move, whatever is pushed."""
    with LoopbackOrigin("octo/given") as served:
        commit = served.commit("refs/heads/main", first_push(), "Begin")
        given = GivenOrigin(served.url)
    assert given.ref == "refs/heads/main"
    assert given.push(["accept/a", "accept/b"]) == {"accept/a": commit, "accept/b": commit}


@pytest.mark.parametrize("boundary", ["", "bounded"])
@pytest.mark.sampled(0)
def test_cloudformation_can_read_the_origins_stack(boundary: str) -> None:
    """Its role has the boundary that the other roles have."""
    from cfnlint.api import lint
    from cfnlint.config import ManualArgs

    template = origin_template({"S3Bucket": "bucket", "S3Key": "key"}, "/root/pushes", "arm64", boundary)
    assert lint(json.dumps(template), config=ManualArgs(regions=["eu-central-1"])) == []
    assert ("PermissionsBoundary" in template["Resources"]["Role"]["Properties"]) is bool(boundary)


# -- the page ---------------------------------------------------------------------------------------------------------


def test_the_page_names_every_step_and_every_option() -> None:
    """With its promise, in its order."""
    page = PAGE.read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([\w ]+)` \| ([^|]+) \|", page, re.MULTILINE)
    promises = {name: step.promise for name, step in STEPS.items()} | {DELETE: DELETE_PROMISE}
    assert [(name, promise.strip()) for name, promise in rows] == list(promises.items())
    options = {option for action in command.parser()._actions for option in action.option_strings} - {"-h", "--help"}
    assert options <= set(re.findall(r"--[a-z-]+", page))


# -- steps that find something ----------------------------------------------------------------------------------------

OUTPUTS = {
    "FunctionName": "webhook",
    "PublisherFunctionName": "publisher",
    "ScheduleFunctionName": "schedule",
    "OperateFunctionName": "operate",
    "FileSystemId": "fs-1",
    "WebhookUrl": "https://api.example/github",
}
DENIED = 10
"""How many rights `rights` asks for that nobody may have."""
ALARM = {"AlarmName": "a", "ActionsEnabled": True, "AlarmActions": ["topic"], "StateValue": "OK"}


def watched(tmp_path: Path, **answers: Any) -> Context:
    """Return a run with a stack, whose account answers so besides."""
    known = {
        "lambda__get_function_configuration": {"Role": "arn:aws:iam::123456789012:role/any", "MemorySize": 1024},
        "cloudformation__list_stack_resources": {
            "StackResourceSummaries": [
                {"ResourceType": "AWS::CloudWatch::Alarm", "PhysicalResourceId": str(number)}
                for number in range(LEAST_ALARMS)
            ]
        },
        "logs__describe_log_groups": {"logGroups": []},
    }
    context = context_in(FakeAccount(**known, **answers), tmp_path)
    context.found_service = Service(context.account, RUN, OUTPUTS, "secret")
    return context


def simulated(decide: Callable[[str, str], bool]) -> Any:
    """Return an answer of IAM's simulator; `decide` is asked with the action and the resource."""

    def answer(PolicySourceArn: str, ActionNames: list[str], ResourceArns: list[str]) -> Any:
        is_allowed = decide(ActionNames[0], ResourceArns[0])
        return {"EvaluationResults": [{"EvalDecision": "allowed" if is_allowed else "implicitDeny"}]}

    return answer


@pytest.mark.parametrize(
    ("step", "answers", "found"),
    [
        (rights, {"iam__simulate_principal_policy": simulated(lambda action, arn: True)}, "may s3:GetObject"),
        (rights, {"iam__simulate_principal_policy": simulated(lambda action, arn: False)}, "may not ssm:GetParameter"),
        (trust, {"sts__assume_role": {}}, "may assume arn:aws:iam::123456789012:role/any"),
        (trust, {"sts__assume_role": ERROR}, "Throttling"),
        (alarms, {"cloudwatch__describe_alarms": {"MetricAlarms": [ALARM] * (LEAST_ALARMS - 1)}}, "in CloudWatch"),
        (
            alarms,
            {"cloudwatch__describe_alarms": {"MetricAlarms": [{**ALARM, "AlarmActions": []}] * LEAST_ALARMS}},
            "without an action",
        ),
        (bill, {"cloudwatch__get_metric_statistics": {"Datapoints": [{"Sum": 0.0}]}}, "counts no invocations"),
        (
            bill,
            {
                "cloudwatch__get_metric_statistics": {"Datapoints": [{"Sum": 1.0}]},
                "cloudwatch__list_metrics": {"Metrics": []},
            },
            "has no metric",
        ),
    ],
    ids=lambda value: getattr(value, "__name__", None) or (value.replace(" ", "-") if isinstance(value, str) else ""),
)
def test_what_is_not_as_it_should_be_fails_the_step(
    step: Callable[[Context], Iterator[Figure]], answers: dict[str, Any], found: str, tmp_path: Path
) -> None:
    """And says what."""
    with pytest.raises((StepFailed, ClientError), match=re.escape(found)):
        list(step(watched(tmp_path, **answers)))


def test_rights_and_alarms_as_they_should_be_pass(tmp_path: Path) -> None:
    """The service's own secret and tokens are read, and nothing else is."""
    own = re.compile(rf"{PARAMETER_ROOT}/{RUN}/(webhook-secret|credentials/any)$")
    asked = []

    def decide(action: str, arn: str) -> bool:
        asked.append((action, arn))
        # The publisher and the schedule ask of these too; a role's own answer is the emulator's to test.
        return action == "ssm:GetParameter" and own.search(arn) is not None and len(asked) > DENIED

    denied = ClientError({"Error": {"Code": "AccessDenied", "Message": "no"}}, "AssumeRole")
    context = watched(
        tmp_path,
        iam__simulate_principal_policy=simulated(decide),
        sts__assume_role=denied,
        cloudwatch__describe_alarms={"MetricAlarms": [ALARM] * LEAST_ALARMS},
    )
    assert [figure.value for figure in rights(context)] == [str(DENIED), "2"]
    assert [figure.value for figure in trust(context)] == ["4"]
    assert [figure.value for figure in alarms(context)] == [str(LEAST_ALARMS), "none"]


@pytest.mark.parametrize(
    ("status", "outcome", "commit"),
    [(200, "published", "b" * 40), (200, "ignored", "a" * 40), (503, "published", "a" * 40), (202, "accepted", None)],
)
def test_only_a_published_commit_is_visible(status: int, outcome: str, commit: str | None) -> None:
    """Whatever else the webhook answers was not measured."""
    pushed = Pushed("delivery", status, {"outcome": outcome, "commit": commit}, 0.1, 1)
    with pytest.raises(StepFailed, match="expected 200 published"):
        require_published(pushed, "a" * 40)
    require_published(Pushed("delivery", 200, {"outcome": "unchanged", "commit": "a" * 40}, 0.1, 1), "a" * 40)
