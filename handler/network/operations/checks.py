"""Whether what publishing needs of AWS is there: secrets, tokens, the queue, the bus. No value is ever shown."""

from collections.abc import Iterator, Sequence

from handler.exchange.checks import Check, carried_out, ok, unknown, wrong
from handler.model import Repository
from handler.network.aws.parameters import Parameters
from handler.network.operations.aws import AccessDenied, describe_bus, queue_depth
from handler.settings import Settings


def secret_checks(settings: Settings, parameters: Parameters, repositories: Sequence[Repository]) -> Iterator[Check]:
    """Yield the checks of the common webhook secret, and of those that repositories have of their own."""
    common = f"{settings.parameter_prefix}/webhook-secret"
    names = [common]
    names += [
        f"{settings.parameter_prefix}/webhook-secrets/{each.full_name}" for each in repositories if each.own_secret
    ]
    for name in names:
        todo = f"put it: aws ssm put-parameter --name {name} --type SecureString --overwrite --value ..."
        yield from carried_out(f"secret {name}", lambda name=name: _secret(parameters, name), todo)  # type: ignore[misc]


def _secret(parameters: Parameters, name: str) -> Iterator[Check]:
    problems = parameters.diagnose(name)
    if problems:
        yield wrong(f"secret {name}", found=" ".join(problems), todo="put it again, exactly as GitHub has it")
    else:
        yield ok(f"secret {name}", found="can be read")


def queue_checks(settings: Settings) -> Iterator[Check]:
    """Yield the check of the queue, where there is one."""
    if not settings.queue_url:
        return

    def step() -> Iterator[Check]:
        try:
            waiting, working = queue_depth(settings.queue_url)
            yield ok("queue", found=f"{waiting} messages wait, {working} are worked on")
        except AccessDenied as error:
            yield unknown("queue", found=f"it may not be asked: {error}", todo="allow sqs:GetQueueAttributes, to know")

    yield from carried_out("queue", step, "see that the queue is there, and GIT2EFS_QUEUE_URL names it")


def bus_checks(settings: Settings) -> Iterator[Check]:
    """Yield the check of the event bus, where there is one. Nothing is put: whoever listens would act on it."""
    if not settings.event_bus:
        return

    def step() -> Iterator[Check]:
        try:
            describe_bus(settings.event_bus)
            yield ok("event bus", found=f"{settings.event_bus} is there")
        except AccessDenied as error:
            yield unknown(
                "event bus", found=f"it may not be asked: {error}", todo="allow events:DescribeEventBus, to know"
            )

    yield from carried_out(
        "event bus", step, "make the bus, or set the stack's parameter EventBus to one that is there"
    )
