"""The steps in which something is killed or lost, and is healed."""

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from tools.accept.context import Context
from tools.accept.leftovers import ONCE
from tools.accept.pushes import READ_ONLY, SITE, publish
from tools.accept.report import Figure, StepFailed, StepNotRun
from tools.accept.sample import LARGE

TIMEOUT_SECONDS = {True: 5, False: 10}
"""The publisher's, in an emulator and in AWS, where a file takes milliseconds to make. API Gateway waits for 30."""
HANGS_AFTER_FILES = 20
"""Fewer than a push of either tree creates."""
HEAL_SECONDS = 600.0
"""The run's own start of the schedule comes within two minutes, the deployed one every five, should the first be early:
NFS keeps a lock of a killed client for a while."""
STUCK_CODE = ("tools/__init__.py", "tools/accept/__init__.py", "tools/accept/stuck_publisher.py")
# Not imported: the module belongs to the function, and imports the publisher.
FILES_VARIABLE, STUCK_LINE = "GIT2EFS_ACCEPT_FILES", "hangs in a check-out"
STUCK_HANDLER = "tools.accept.stuck_publisher.handler"


def kill(context: Context) -> Iterator[Figure]:
    """The publisher is killed by Lambda's time-out, in the middle of a check-out: readers keep what they had."""
    service = context.service
    context.configure(LARGE)
    before = service.target(LARGE).get("commit")
    commit = context.push(LARGE)
    with stuck_publisher(context):
        pushed = service.push(LARGE, context.origin.ref, commit)
    yield Figure(
        "the webhook's answer to the killed push", pushed.outcome, f"the publisher's time-out was {_timeout(context)} s"
    )
    if pushed.fields.get("outcome") == "published" and not context.origin.takes_pushes:
        raise StepNotRun(f"the repository that was given has at most {HANGS_AFTER_FILES} files: nothing hung")
    if pushed.fields.get("reason") != "publisher_unavailable":
        raise StepFailed(f"expected publisher_unavailable, and got {pushed.outcome}")
    found = service.target(LARGE).get("commit")
    if found != before:
        raise StepFailed(f"readers had {before}, and have {found} after the kill")
    yield Figure("what readers have after the kill", str(found or "nothing")[:12], "`status`: as before")
    group = service.outputs["PublisherLogGroupName"]
    service.await_message(group, lambda message: STUCK_LINE in message, "it hangs in a check-out")
    known = f"the publisher's log has its line, at the file after {HANGS_AFTER_FILES}"
    yield Figure("it hung in a check-out", "yes", known)
    if not context.account.is_emulator:
        service.await_message(group, lambda message: "timed out" in message, "Lambda's time-out ended it")


def _timeout(context: Context) -> int:
    return TIMEOUT_SECONDS[context.account.is_emulator]


@contextmanager
def stuck_publisher(context: Context) -> Iterator[None]:
    """Give the publisher the code that hangs, and a short time-out, while the block runs."""
    client, name = context.account.client("lambda"), context.service.outputs["PublisherFunctionName"]
    before = client.get_function_configuration(FunctionName=name)
    variables = before["Environment"]["Variables"]
    original = {
        "Handler": before["Handler"],
        "Timeout": before["Timeout"],
        "Environment": {"Variables": variables},
    }
    stuck = {
        "Handler": STUCK_HANDLER,
        "Timeout": _timeout(context),
        "Environment": {"Variables": {**variables, FILES_VARIABLE: str(HANGS_AFTER_FILES)}},
    }
    try:
        _change(client, name, context.packages["stuck"], stuck)
        yield
    finally:
        _change(client, name, context.packages["PublisherFunction"], original)


def _change(client: Any, name: str, code: str, configuration: Mapping[str, Any]) -> None:
    """Change a function's code and configuration, and wait until it has both."""
    bucket, _, key = code.removeprefix("s3://").partition("/")
    client.update_function_code(FunctionName=name, S3Bucket=bucket, S3Key=key)
    client.get_waiter("function_updated_v2").wait(FunctionName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 300})
    client.update_function_configuration(FunctionName=name, **configuration)
    client.get_waiter("function_updated_v2").wait(FunctionName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 300})


def heal(context: Context) -> Iterator[Figure]:
    """What was killed, and a push that no webhook told of: the scheduler starts the schedule, which publishes both."""
    service = context.service
    # Where the origin takes pushes, this is one of which GitHub lost the delivery.
    expected = {name: context.push(name) for name in (LARGE, SITE)}
    waiting = {name: tip for name, tip in expected.items() if service.target(name).get("commit") != tip}
    if not waiting:
        raise StepNotRun("nothing is behind: no push was killed, and none can be lost")
    behind = ", ".join(waiting)
    started = time.monotonic()
    _start_schedule(context)
    while waiting:
        waiting = {name: tip for name, tip in waiting.items() if service.target(name).get("commit") != tip}
        if waiting and time.monotonic() > started + HEAL_SECONDS:
            raise StepFailed(f"not published within {HEAL_SECONDS:g} s: {', '.join(waiting)}")
        time.sleep(0.3 if context.account.is_emulator else 3)
    known = "`status`, asked again and again; with the time until the scheduler starts"
    yield Figure("healed after", f"{time.monotonic() - started:,.1f} s", known)
    yield Figure("behind before, and healed", behind, "`status`")


def _start_schedule(context: Context) -> None:
    """Have EventBridge Scheduler start once what the deployed schedule starts: function, input and role."""
    scheduler = context.account.client("scheduler")
    function = context.service.outputs["ScheduleFunctionName"]
    # Not by its name: CloudFormation makes one, and shortens the stack's in it.
    for summary in (
        each for page in scheduler.get_paginator("list_schedules").paginate() for each in page["Schedules"]
    ):
        if function not in summary["Target"]["Arn"]:
            continue
        target = scheduler.get_schedule(Name=summary["Name"])["Target"]
        if json.loads(target["Input"]) == {"task": "reconcile"}:
            scheduler.create_schedule(
                Name=context.stacks.name + ONCE,
                ScheduleExpression=_soon(context).strftime("at(%Y-%m-%dT%H:%M:%S)"),
                ActionAfterCompletion="DELETE",
                FlexibleTimeWindow={"Mode": "OFF"},
                Target=target,
            )
            return
    raise StepFailed("no schedule of the stack asks for reconcile")


def _soon(context: Context) -> datetime:
    """AWS takes no time that is past, and starts within a minute of the one that it is told."""
    return datetime.now(UTC) + timedelta(seconds=0 if context.account.is_emulator else 30)


def redelivery(context: Context) -> Iterator[Figure]:
    """The next push after a kill works as any other."""
    if not context.origin.takes_pushes:
        raise StepNotRun(READ_ONLY)
    _, pushed = publish(context, LARGE)
    yield Figure("next push after the kill", pushed.outcome, "the webhook's answer")
