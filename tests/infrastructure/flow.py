"""The laws of how deliveries flow: queues, times, schedules, published versions. Pure: no I/O."""

import itertools
import json
import re
from collections.abc import Iterator

from handler.deadline import MARGIN_SECONDS
from handler.model import Forge
from handler.network.aws.publisher_function import OPTIONS
from handler.settings import read_settings
from testing.stack import Node, Stack, parameters_in

GATEWAY_SECONDS = 30
"""An HTTP API's integration may take no longer; the quota cannot be raised."""
DESCRIPTION_CHARACTERS = 256
"""How long Lambda lets the description of a function or version be."""
ID_DIGITS = 17
"""How many digits AWS's ids have behind their kind. A description takes an id without its kind."""
UNPUBLISHED = {"ReservedConcurrency", "ReservesConcurrency"}
"""What a function's properties depend on and its versions do not: a reservation is the function's own."""


def _seconds(stack: Stack, value: Node) -> tuple[int, int]:
    """The least and the most that a number of seconds may be: its own value, or the bounds of its parameter."""
    if isinstance(value, dict):
        parameter = stack.parameters[value["Ref"]]
        return int(parameter["MinValue"]), int(parameter["MaxValue"])
    return int(value), int(value)


def time_problems(stack: Stack) -> list[str]:
    """All waits of a run fit the shortest time-out allowed; what GitHub waits for fits API Gateway's."""
    problems = []
    for name, properties in stack.functions():
        settings = read_settings(stack.resolve(stack.environment(name)))
        shortest, longest = _seconds(stack, properties["Timeout"])
        attempt = settings.connect_timeout_seconds + settings.read_timeout_seconds
        waits = settings.lock_seconds + settings.lag_seconds + settings.fetch_attempts * attempt
        works = stack.reconciles(name) or stack.mounts(name)
        if works and waits > shortest:
            problems.append(f"{name} may wait {waits:g} s, and be stopped after {shortest} s")
        if not works and longest > GATEWAY_SECONDS:
            problems.append(f"{name} only answers, and may take {longest} s; API Gateway ends at {GATEWAY_SECONDS} s")
        if stack.mounts(name) and longest + MARGIN_SECONDS > OPTIONS.read_timeout_seconds:
            problems.append(f"{name} may run for {longest} s; who invokes it gives up before it answers")
        if settings.lock_seconds >= GATEWAY_SECONDS:
            problems.append(f"{name} waits {settings.lock_seconds:g} s for the lock; nobody hears its answer")
    return problems


def queue_problems(stack: Stack) -> list[str]:
    """Every queue is a FIFO that serves each group apart, is encrypted, and ends in dead letters kept longer."""
    problems = []
    queues = {name: queue["Properties"] for name, queue in stack.of_type("AWS::SQS::Queue").items()}
    dead = {_target(queue) for queue in queues.values()} - {None}
    for name, queue in queues.items():
        wanted = {
            "FifoQueue": True,
            "ContentBasedDeduplication": False,
            "DeduplicationScope": "messageGroup",
            "FifoThroughputLimit": "perMessageGroupId",
        }
        problems += [f"{name}: {key} is {queue.get(key)}" for key, value in wanted.items() if queue.get(key) != value]
        # SQS takes one of the two.
        if (queue.get("SqsManagedSseEnabled") is True) is bool(queue.get("KmsMasterKeyId")):
            problems.append(f"{name} is not encrypted, or by two keys")
        if name in dead:
            continue
        target = queues.get(str(_target(queue)))
        if target is None:
            problems.append(f"{name} has no dead letters")
        elif target["MessageRetentionPeriod"] <= queue["MessageRetentionPeriod"]:
            # A message's age counts from when it was sent first.
            problems.append(f"{name}: dead letters are gone as soon as it gives up")
    return problems


def _target(queue: Node) -> str | None:
    target: str | None = queue.get("RedrivePolicy", {}).get("deadLetterTargetArn", {}).get("Fn::GetAtt", [None])[0]
    return target


def source_problems(stack: Stack) -> list[str]:
    """Every queue but that of dead letters feeds one function, message by message, within its visibility."""
    problems = []
    queues = stack.of_type("AWS::SQS::Queue")
    dead = {_target(queue["Properties"]) for queue in queues.values()}
    sources = [source["Properties"] for source in stack.of_type("AWS::Lambda::EventSourceMapping").values()]
    fed = [source["EventSourceArn"]["Fn::GetAtt"][0] for source in sources]
    if sorted(fed) != sorted(set(queues) - dead):
        problems.append(f"functions are fed by {fed}")
    for source, name in zip(sources, fed, strict=True):
        properties = stack.plain["Resources"][source["FunctionName"]["Ref"]]["Properties"]
        _, longest = _seconds(stack, properties["Timeout"])
        visibility = queues[name]["Properties"].get("VisibilityTimeout", 30)
        if visibility <= longest:
            problems.append(f"{name} hands out after {visibility} s again what is worked on for {longest} s")
        if source.get("FunctionResponseTypes") != ["ReportBatchItemFailures"]:
            problems.append(f"{name}: one message's failure is its whole batch's")
        if "MaximumConcurrency" not in source.get("ScalingConfig", {}):
            problems.append(f"{name} may take every run that the account has")
        if source.get("BatchSize", 10) > 10:
            problems.append(f"{name} is a FIFO, which gives ten at most")
    return problems


def schedule_problems(stack: Stack) -> list[str]:
    """Two schedules start one function, each with its task, and do not pile up what they could not start."""
    problems = []
    tasks = []
    schedules, roles = stack.of_type("AWS::Scheduler::Schedule"), stack.of_type("AWS::IAM::Role")
    targets = {json.dumps(schedule["Properties"]["Target"]["Arn"]) for schedule in schedules.values()}
    if len(targets) != 1:
        problems.append(f"the schedules start {sorted(targets)}")
    for name, schedule in schedules.items():
        properties = schedule["Properties"]
        tasks.append(json.loads(properties["Target"]["Input"]))
        if "Name" in properties:
            problems.append(f"{name} has a name of its own: a second stack could not be made")
        if not any(properties["Target"]["RoleArn"] == {"Fn::GetAtt": [role, "Arn"]} for role in roles):
            problems.append(f"{name} runs as a role that is not the stack's")
        rate = re.fullmatch(r"rate\((\d+) minutes?\)", stack.resolve(properties["ScheduleExpression"]))
        age = properties["Target"].get("RetryPolicy", {}).get("MaximumEventAgeInSeconds", 86_400)
        if age > (int(rate[1]) * 60 if rate else 86_400 / 2):
            problems.append(f"{name} is still being tried when the next is due")
    if sorted(task["task"] for task in tasks) != ["chores", "reconcile"] or any(len(task) != 1 for task in tasks):
        problems.append(f"the schedules ask for {tasks}")
    started = {target["Fn::GetAtt"][0] for target in map(json.loads, targets)}
    once = {
        config["Properties"]["FunctionName"]["Ref"]
        for config in stack.of_type("AWS::Lambda::EventInvokeConfig").values()
        if config["Properties"]["MaximumRetryAttempts"] == 0
    }
    return problems + [f"{name} is run again by Lambda when it fails" for name in sorted(started - once)]


def version_problems(stack: Stack) -> list[str]:
    """A picture is taken where there is no mount; the API calls the alias, and that follows every parameter.

    SAM makes a new version when a property's text changes, which a reference to a parameter does not. Both
    descriptions name every parameter: the function's, so that Lambda sees a change worth a version, and the
    version's, so that CloudFormation replaces it.
    """
    problems = []
    versions = {
        version["Properties"]["FunctionName"]["Ref"]: version["Properties"]
        for version in stack.of_type("AWS::Lambda::Version").values()
    }
    for name, properties in stack.functions():
        pictured = properties.get("SnapStart", {}).get("ApplyOn") == "PublishedVersions"
        if pictured and "FileSystemConfigs" in properties:
            problems.append(f"{name} cannot have both SnapStart and a mount")
        if pictured and name not in versions:
            problems.append(f"{name} is not published: SnapStart does nothing")
        if name not in versions:
            continue
        for case, shared in _cases(stack, properties["Description"]):
            function = case.plain["Resources"][name]["Properties"]
            (version,) = [
                version["Properties"]
                for version in case.of_type("AWS::Lambda::Version").values()
                if version["Properties"]["FunctionName"]["Ref"] == name
            ]
            wanted = _parameters_of(case, function) | shared
            for description in (function["Description"], version.get("Description")):
                problems += [f"{name} {problem}" for problem in _unseen(case, wanted, description)]
    return list(dict.fromkeys(problems))


def _cases(stack: Stack, description: Node) -> Iterator[tuple[Stack, set[str]]]:
    """The stack in each case that a description distinguishes; and what it must name, as the cases share a branch."""
    if not isinstance(description, dict) or set(description) != {"Fn::If"}:
        yield stack, set()
        return
    condition = stack.plain["Conditions"][description["Fn::If"][0]]
    deciding = sorted(parameters_in(condition))
    values = [map(str, stack.parameters[name]["AllowedValues"]) for name in deciding]
    cases = [stack.under(dict(zip(deciding, given, strict=True))) for given in itertools.product(*values)]
    branches = [json.dumps(_description_in(case, description)) for case in cases]
    for case, branch in zip(cases, branches, strict=True):
        yield case, set(deciding) if branches.count(branch) > 1 else set()


def _description_in(case: Stack, description: Node) -> Node:
    condition, yes, no = description["Fn::If"]
    return yes if case.holds(condition) else no


def _unseen(stack: Stack, wanted: set[str], description: Node) -> Iterator[str]:
    named = parameters_in(description)
    # By these rules the VPC never changes without its subnets, nor a file system without its access point.
    rules = set(stack.plain["Rules"])
    if "SubnetIdA" in named and {"SubnetsGoWithVpc", "VpcGoesWithSubnets"} <= rules:
        named = named | {"VpcId"}
    if "AccessPointId" in named and {"AccessPointGoesWithFileSystem", "FileSystemGoesWithAccessPoint"} <= rules:
        named = named | {"FileSystemId"}
    yield from (f"stays as it is when {parameter} changes" for parameter in sorted(wanted - named))
    if _length(stack, description) > DESCRIPTION_CHARACTERS:
        yield "has a description that may be too long for Lambda"


def _parameters_of(stack: Stack, properties: Node) -> set[str]:
    """The parameters that a function's properties depend on, those of the conditions in them too."""
    asked = {condition for condition in _conditions(properties) if condition not in UNPUBLISHED}
    found = parameters_in(properties)
    for condition in asked:
        found |= parameters_in(stack.plain["Conditions"][condition])
    return (found & set(stack.parameters)) - UNPUBLISHED


def _conditions(value: Node) -> Iterator[str]:
    if isinstance(value, dict):
        if set(value) == {"Fn::If"}:
            yield value["Fn::If"][0]
        for item in value.values():
            yield from _conditions(item)
    elif isinstance(value, list):
        for item in value:
            yield from _conditions(item)


def _length(stack: Stack, description: Node) -> int:
    """How long a description may become."""
    given = description["Fn::Sub"] if isinstance(description, dict) else str(description)
    text, more = given if isinstance(given, list) else (given, {})
    names = re.findall(r"\$\{([^!}]+)\}", text)
    return len(re.sub(r"\$\{[^!}]+\}", "", text)) + sum(
        ID_DIGITS if name in more else _longest(stack.parameters[name]) for name in names
    )


def _longest(parameter: Node) -> int:
    """How long a parameter's value may be; AWS's ids have 17 digits behind their kind."""
    if "AllowedValues" in parameter:
        return max(len(str(value)) for value in parameter["AllowedValues"])
    if "MaxValue" in parameter:
        return len(str(parameter["MaxValue"]))
    if "MaxLength" in parameter:
        return int(parameter["MaxLength"])
    kind = re.match(r"\^\(((?:vpc|subnet)-)", parameter["AllowedPattern"])
    assert kind, "nothing bounds its length"
    return len(kind[1]) + ID_DIGITS


def route_problems(stack: Stack) -> list[str]:
    """The API has the webhook's two routes of each forge, each throttled by its own limits, and leads to the alias."""
    problems = []
    for name, api in stack.of_type("AWS::ApiGatewayV2::Api").items():
        methods = {
            f"{method.upper()} {path}": definition
            for path, definitions in api["Properties"]["Body"]["paths"].items()
            for method, definition in definitions.items()
        }
        if set(methods) != {f"POST /{forge}{own}" for forge in Forge for own in ("", "/{owner}/{name}")}:
            problems.append(f"{name} has the routes {sorted(methods)}")
        aliases = set(stack.of_type("AWS::Lambda::Alias"))
        for route, definition in methods.items():
            uri = definition.get("x-amazon-apigateway-integration", {}).get("uri", {})
            if not parameters_in(uri) & aliases:
                problems.append(f"{route} leads past the alias: SnapStart's picture is never used")
            for stage in stack.of_type("AWS::ApiGatewayV2::Stage").values():
                limits = stage["Properties"].get("RouteSettings", {}).get(route, {})
                if not {"ThrottlingRateLimit", "ThrottlingBurstLimit"} <= set(limits):
                    problems.append(f"{route} is not throttled")
    return problems
