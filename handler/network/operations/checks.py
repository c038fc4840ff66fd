"""The doctor's AWS half: secrets, the queue, the event bus. No check shows a secret's value."""

from collections.abc import Iterable

from handler.exchange.checks import CheckList
from handler.model import Forge, Repository
from handler.network.aws.parameters import Parameters
from handler.network.operations.aws import AccessDenied, describe_bus, queue_depth
from handler.network.operations.setup import secret_of
from handler.settings import Settings


def check_secrets(
    checks: CheckList, settings: Settings, parameters: Parameters, repositories: Iterable[Repository]
) -> None:
    """Check the common webhook secret, those of other forges, and those that repositories have of their own."""
    names = {f"{settings.parameter_prefix}/webhook-secret": Forge.GITHUB}
    for each in repositories:
        whose = each.full_name if each.own_secret else secret_of(each.forge)
        if whose is not None:
            names[f"{settings.parameter_prefix}/webhook-secrets/{whose}"] = each.forge
    for name, forge in names.items():
        whose = name.partition("/webhook-secrets/")[2]
        option = f"--forge {whose}" if whose == forge else whose
        command = f"git2efs secret {option} --replace" if whose else "git2efs secret --replace"
        todo = f"{command}; or put it: aws ssm put-parameter --name {name} --type SecureString --overwrite --value ..."
        with checks.step(f"secret {name}", todo=todo):
            problems = parameters.diagnose(name)
            if problems:
                found = " ".join(problems)
                checks.wrong(f"secret {name}", found=found, todo=f"put it again, exactly as {forge.label} has it")
            else:
                checks.ok(f"secret {name}", found="can be read")


def check_queue(checks: CheckList, settings: Settings) -> None:
    """Check the queue, where there is one."""
    if not settings.queue_url:
        return
    with checks.step("queue", todo="see that the queue is there, and GIT2EFS_QUEUE_URL names it"):
        try:
            waiting, in_work = queue_depth(settings.queue_url)
        except AccessDenied as error:
            todo = "allow sqs:GetQueueAttributes, to know"
            checks.unknown("queue", found=f"this caller may not ask it: {error}", todo=todo)
        else:
            checks.ok("queue", found=f"{waiting} messages wait, {in_work} are in work")


def check_bus(checks: CheckList, settings: Settings) -> None:
    """Check the event bus, where there is one."""
    if not settings.event_bus:
        return
    with checks.step("event bus", todo="make the bus, or set the stack's parameter EventBus to one that exists"):
        try:
            # Describe it, and put no event: whoever listens would act on one.
            describe_bus(settings.event_bus)
        except AccessDenied as error:
            todo = "allow events:DescribeEventBus, to know"
            checks.unknown("event bus", found=f"this caller may not ask it: {error}", todo=todo)
        else:
            checks.ok("event bus", found=f"{settings.event_bus} is there")
