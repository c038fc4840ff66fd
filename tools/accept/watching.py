"""The steps that only look: rights, alarms, what the run cost."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from botocore.exceptions import ClientError

from tools.accept.context import Context
from tools.accept.report import Figure, StepFailed, StepNotRun
from tools.accept.stacks import PARAMETER_ROOT

COUNTER_SECONDS = 300.0
"""CloudWatch shows Lambda's own counters some minutes later."""
EVENT_BYTES = 26
"""What CloudWatch Logs adds to each event's size: https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_PutLogEvents.html"""
LEAST_ALARMS = 5
FUNCTIONS = ("FunctionName", "PublisherFunctionName", "ScheduleFunctionName", "OperateFunctionName")


def rights(context: Context) -> Iterator[Figure]:
    """IAM denies what a function must not do; and allows what it has to, so that the question is a real one."""
    stack, region, number = context.service.name, context.account.region, context.number
    partition = context.partition
    parameter = f"arn:{partition}:ssm:{region}:{number}:parameter"
    anywhere = f"arn:{partition}:lambda:{region}:{number}:function:some-other-function"
    own = f"{parameter}{PARAMETER_ROOT}/{stack}"
    system = (
        f"arn:{partition}:elasticfilesystem:{region}:{number}:file-system/{context.service.outputs['FileSystemId']}"
    )
    denied = [
        ("PublisherFunctionName", "ssm:GetParameter", f"{own}/webhook-secret"),
        ("PublisherFunctionName", "ssm:GetParameter", f"{own}/credentials/any"),
        ("PublisherFunctionName", "lambda:InvokeFunction", anywhere),
        ("PublisherFunctionName", "s3:GetObject", f"arn:{partition}:s3:::any/any"),
        ("FunctionName", "elasticfilesystem:ClientWrite", system),
        ("FunctionName", "ssm:GetParameter", f"{parameter}/another/stack"),
        ("FunctionName", "ssm:PutParameter", f"{own}/webhook-secret"),
        ("FunctionName", "lambda:InvokeFunction", anywhere),
        ("ScheduleFunctionName", "ssm:GetParameter", f"{own}/webhook-secret"),
        ("OperateFunctionName", "ssm:PutParameter", f"{own}/repositories/any/any"),
    ]
    allowed = [
        ("FunctionName", "ssm:GetParameter", f"{own}/webhook-secret"),
        ("ScheduleFunctionName", "ssm:GetParameter", f"{own}/credentials/any"),
    ]
    wrong = [f"{output} may {action} {arn}" for output, action, arn in denied if _may(context, output, action, arn)]
    wrong += [
        f"{output} may not {action} {arn}" for output, action, arn in allowed if not _may(context, output, action, arn)
    ]
    if wrong:
        raise StepFailed("; ".join(wrong))
    yield Figure("denied, as they have to be", str(len(denied)), "iam:SimulatePrincipalPolicy of the functions' roles")
    yield Figure("allowed, as they have to be", str(len(allowed)), "the same")


def trust(context: Context) -> Iterator[Figure]:
    """Nobody but Lambda gets the functions' rights: the caller, whatever else it may, tries to assume each role."""
    if context.account.is_emulator:
        raise StepNotRun("an emulator judges no role's trust policy")
    roles = _roles(context)
    if assumed := [role for role in roles if _assumes(context, role)]:
        raise StepFailed(f"{context.caller} may assume {', '.join(assumed)}")
    yield Figure("roles that this caller cannot assume", str(len(roles)), "sts:AssumeRole, tried")


def _roles(context: Context) -> list[str]:
    functions = context.account.client("lambda")
    names = [context.service.outputs[output] for output in FUNCTIONS]
    return [functions.get_function_configuration(FunctionName=name)["Role"] for name in names]


def _assumes(context: Context, role: str) -> bool:
    """Tell whether the caller, who is no function, gets the role's credentials; they are not kept."""
    try:
        context.account.client("sts").assume_role(RoleArn=role, RoleSessionName="git2efs-accept", DurationSeconds=900)
    except ClientError as error:
        if error.response["Error"]["Code"] not in ("AccessDenied", "AccessDeniedException"):
            raise
        return False
    return True


def _may(context: Context, output: str, action: str, resource: str) -> bool:
    functions, iam = context.account.client("lambda"), context.account.client("iam")
    role = functions.get_function_configuration(FunctionName=context.service.outputs[output])["Role"]
    (result,) = iam.simulate_principal_policy(PolicySourceArn=role, ActionNames=[action], ResourceArns=[resource])[
        "EvaluationResults"
    ]
    return bool(result["EvalDecision"] == "allowed")


def alarms(context: Context) -> Iterator[Figure]:
    """Every alarm of the template is there, switched on, tells a topic, and does not ring now."""
    formation, cloudwatch = context.account.client("cloudformation"), context.account.client("cloudwatch")
    names = [
        resource["PhysicalResourceId"]
        for page in formation.get_paginator("list_stack_resources").paginate(StackName=context.service.name)
        for resource in page["StackResourceSummaries"]
        if resource["ResourceType"] == "AWS::CloudWatch::Alarm"
    ]
    found = cloudwatch.describe_alarms(AlarmNames=names)["MetricAlarms"] if names else []
    dumb = [alarm["AlarmName"] for alarm in found if not (alarm["ActionsEnabled"] and alarm["AlarmActions"])]
    ringing = [alarm["AlarmName"] for alarm in found if alarm["StateValue"] == "ALARM"]
    if len(found) != len(names) or len(found) < LEAST_ALARMS or dumb:
        raise StepFailed(f"{len(names)} alarms in the stack, {len(found)} in CloudWatch; without an action: {dumb}")
    yield Figure("alarms that are there, each with an action", str(len(found)), "CloudWatch")
    # The kill and the forged pushes may ring one; what rings is said, and is no failure.
    yield Figure("of them ringing now", ", ".join(ringing) or "none", "CloudWatch")


def bill(context: Context) -> Iterator[Figure]:
    """What the bill counts: invocations, GB-seconds, requests, the file system's bytes, logs, metrics."""
    outputs, functions = context.service.outputs, context.account.client("lambda")
    calls = {output: _sum(context, "AWS/Lambda", "Invocations", FunctionName=outputs[output]) for output in FUNCTIONS}
    uncounted = [output for output, count in calls.items() if not count]
    # An emulator counts what is invoked through Lambda's own API, without an alias, and nothing of other services.
    if uncounted and (not context.account.is_emulator or len(uncounted) == len(calls)):
        raise StepFailed(f"CloudWatch counts no invocations of {', '.join(uncounted)}")
    for output, count in calls.items():
        yield _counted(f"invocations of {output.removesuffix('Name')}", count, "AWS/Lambda, Invocations")
    gigabyte_seconds = sum(
        _sum(context, "AWS/Lambda", "Duration", FunctionName=outputs[output])
        / 1000
        * functions.get_function_configuration(FunctionName=outputs[output])["MemorySize"]
        / 1024
        for output in FUNCTIONS
    )
    yield _counted("GB-seconds", gigabyte_seconds, "AWS/Lambda, Duration, times the function's memory")
    api = outputs["WebhookUrl"].removeprefix("https://").partition(".")[0]
    yield _counted("requests to the API", _sum(context, "AWS/ApiGateway", "Count", ApiId=api), "AWS/ApiGateway, Count")
    system = outputs["FileSystemId"]
    metered = _sum(context, "AWS/EFS", "MeteredIOBytes", FileSystemId=system)
    yield _counted("bytes of the file system", metered, "AWS/EFS, MeteredIOBytes")
    groups = context.account.client("logs").describe_log_groups(logGroupNamePrefix=f"/git2efs/{context.service.name}/")
    messages = [text for group in groups["logGroups"] for text in context.service.log_messages(group["logGroupName"])]
    size = sum(len(text.encode()) + EVENT_BYTES for text in messages)
    yield Figure(
        "bytes of logs", f"{size:,} in {len(messages):,} events", f"CloudWatch Logs, with {EVENT_BYTES} an event"
    )
    metrics = context.account.client("cloudwatch").list_metrics(
        Namespace="git2efs", Dimensions=[{"Name": "service", "Value": context.service.name}]
    )["Metrics"]
    if not metrics and not context.account.is_emulator:
        raise StepFailed("the stack has no metric in the namespace git2efs")
    yield _counted("metrics", len(metrics), "CloudWatch, the namespace git2efs")
    if context.account.is_emulator:
        raise StepNotRun("an emulator counts some of the invocations, and nothing of other services")


def _counted(name: str, count: float, known_by: str) -> Figure:
    """Return a counter's figure; what CloudWatch has nothing of is not shown as zero."""
    return Figure(name, f"{count:,.0f}" if count else "not counted", known_by)


def _sum(context: Context, namespace: str, metric: str, **dimension: str) -> float:
    """Return a counter's sum since the run began. Lambda's are waited for, since they come late."""
    is_patient = namespace == "AWS/Lambda" and not context.account.is_emulator
    deadline = time.monotonic() + (COUNTER_SECONDS if is_patient else 0)
    while True:
        now = datetime.now(UTC)
        points = context.account.client("cloudwatch").get_metric_statistics(
            Namespace=namespace,
            MetricName=metric,
            Dimensions=[{"Name": name, "Value": value} for name, value in dimension.items()],
            StartTime=now - timedelta(hours=3),
            EndTime=now + timedelta(minutes=1),
            Period=60,
            Statistics=["Sum"],
        )["Datapoints"]
        if points or time.monotonic() > deadline:
            return float(sum(point["Sum"] for point in points))
        time.sleep(15)
