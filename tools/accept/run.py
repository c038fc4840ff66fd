"""The steps in their order, and what becomes of their ends."""

import secrets
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from botocore.exceptions import BotoCoreError, ClientError

from tools.accept import failures, leftovers, pushes, watching
from tools.accept.context import Context
from tools.accept.origin import CODE, GivenOrigin, SampleOrigin, origin_template, pushes_parameter
from tools.accept.report import Figure, Result, Step, StepFailed, StepNotRun
from tools.accept.service import Service
from tools.accept.stacks import PARAMETER_ROOT, code_directories, pack, read_template, with_code

StepFunction = Callable[[Context], Iterable[Figure]]


class Interrupted(BaseException):
    """Somebody ends the run: Ctrl-C, or a signal."""


def deploy(context: Context) -> Iterator[Figure]:
    """What was built becomes a stack in CloudFormation, with a VPC and a file system of its own."""
    options, stacks, account = context.options, context.stacks, context.account
    bucket = stacks.make_bucket(context.number)
    template = read_template(options.template)
    directories = code_directories(template, options.template)
    for name in ("PublisherFunction", "WebhookFunction"):
        context.say(f"  uploading {name}")
        context.packages[name] = stacks.upload(bucket, f"{name}.zip", pack(directories[name]))
    stuck = pack(directories["PublisherFunction"], failures.STUCK_CODE)
    context.packages["stuck"] = stacks.upload(bucket, "stuck.zip", stuck)
    # The others are the webhook's package, with another entry point: `make build` says so.
    urls = {name: context.packages.get(name, context.packages["WebhookFunction"]) for name in directories}
    parameters = {"Architecture": options.architecture, "ParameterRoot": PARAMETER_ROOT, **options.parameters}
    started = time.monotonic()
    stacks.create(stacks.name, with_code(template, urls), bucket, parameters)
    yield Figure("creating the stack", f"{time.monotonic() - started:,.0f} s", "this machine's clock")
    context.found_service = Service(account, stacks.name, stacks.outputs(stacks.name), secrets.token_hex(32))
    context.found_service.put_secret()


def origin(context: Context) -> Iterator[Figure]:
    """A sample origin in the account, or the repository that was given, can be fetched from."""
    given = context.options.origin
    if given is not None:
        try:
            context.found_origin = GivenOrigin(given)
        except Exception as error:  # dulwich's errors have no one class
            raise StepFailed(f"{given} cannot be asked: {type(error).__name__}") from error
        yield Figure("origin", given, "given; its refs do not move")
        return
    stacks, options = context.stacks, context.options
    bucket = context.packages["WebhookFunction"].removeprefix("s3://").partition("/")[0]
    directory = code_directories(read_template(options.template), options.template)["WebhookFunction"]
    stacks.upload(bucket, "origin.zip", pack(directory, CODE))
    name = f"{stacks.name}-origin"
    parameter = pushes_parameter(stacks.name)
    code = {"S3Bucket": bucket, "S3Key": "origin.zip"}
    boundary = options.parameters.get("PermissionsBoundary", "")
    stacks.create(name, origin_template(code, parameter, options.architecture, boundary), bucket, {})
    url = stacks.outputs(name)["Url"]
    context.found_origin = SampleOrigin(context.account, parameter, url)
    yield Figure("origin", "a function of the run's own behind an HTTP API", "CloudFormation")


@dataclass(frozen=True)
class Planned:
    """A step before it runs; `promise` is what it proves."""

    run: StepFunction
    promise: str


STEPS: Mapping[str, Planned] = MappingProxyType(
    {
        "deploy": Planned(deploy, "what was built becomes a stack of its own"),
        "origin": Planned(origin, "there is a repository to fetch from"),
        "cold": Planned(pushes.cold, "the first signed push is published, though nothing has run before"),
        "warm": Planned(pushes.warm, "pushes of one changed file are published, one after the other"),
        "large": Planned(pushes.large, "a larger tree is published"),
        "refusals": Planned(pushes.refusals, "a forged push and an unknown repository are refused"),
        "burst": Planned(pushes.burst, "many pushes at once are all published"),
        "rollback": Planned(pushes.rollback, "a target goes back, stays there, and goes forward again"),
        "kill": Planned(failures.kill, "a publisher killed in a check-out leaves readers what they had"),
        "heal": Planned(failures.heal, "the scheduler makes good a killed push and a lost webhook"),
        "after the kill": Planned(failures.redelivery, "the next push is published as any other"),
        "verify": Planned(pushes.verify, "every published file is its commit's"),
        "rights": Planned(watching.rights, "IAM denies the functions what they must not do"),
        "trust": Planned(watching.trust, "nobody but Lambda gets the functions' rights"),
        "alarms": Planned(watching.alarms, "the alarms are there, and tell somebody"),
        "bill": Planned(watching.bill, "what the bill counts is counted"),
    }
)
DELETE = "delete"
DELETE_PROMISE = "nothing that the run made is left"
EMULATOR_LACKS: Mapping[str, str] = MappingProxyType(
    {
        "mount": "an emulator mounts no file system: the functions wrote to a directory of this machine",
        "network": "an emulator has no VPC, security groups or EFS policy that anything obeys",
    }
)
"""What no step can prove in an emulator, though its steps pass there."""


def planned(steps: Mapping[str, Planned] = STEPS) -> list[Step]:
    """Return the steps before they run: one that is never reached was not run, and says why."""
    return [Step(name, each.promise, why="the run was interrupted before it") for name, each in steps.items()]


def run_steps(context: Context, found: Iterable[Step], steps: Mapping[str, Planned] = STEPS) -> None:
    """Run the steps. Raises Interrupted, and nothing for what a step finds."""
    for step in found:
        context.say(f"{step.name}: {step.promise}")
        run_step(step, steps[step.name].run, context)
        context.say(f"{step.name}: {step.result}{', ' + step.why if step.why else ''} ({step.seconds:.1f} s)")


def run_step(step: Step, run: StepFunction, context: Context) -> None:
    """Run one step, and note how it ended. Raises Interrupted."""
    started = time.monotonic()
    step.why = ""
    try:
        for figure in run(context):
            step.figures.append(figure)
            context.say(f"  {figure.name}: {figure.value}")
        step.result = Result.PASSED
    except StepNotRun as error:
        step.result, step.why = Result.NOT_RUN, str(error)
    except Interrupted:
        step.result, step.why = Result.FAILED, "interrupted in this step"
        raise
    except (StepFailed, ClientError, BotoCoreError, OSError) as error:
        step.result, step.why = Result.FAILED, f"{error}"
    except Exception as error:  # a defect of a step's must not keep the others, or the deletion, from running
        step.result, step.why = Result.FAILED, f"{type(error).__name__}: {error}"
    finally:
        step.seconds = time.monotonic() - started


def delete(context: Context) -> Iterator[Figure]:
    """Delete all that the run made. Raises StepFailed with what is left."""
    account, name = context.account, context.stacks.name
    made = leftovers.find(account, name)
    problems = leftovers.delete(context.stacks, made)
    left = leftovers.find(account, name).names()
    if problems or left:
        raise StepFailed(f"left: {', '.join(left) or 'nothing'}; {'; '.join(problems)}; try make accept ARGS=--clean")
    yield Figure("deleted", made.counts(), "asked again afterwards: nothing is left")
