"""`python -m tools.accept`, which is `make accept`: deploy what is built, prove it, delete it, write a report.

Exit status 0 means that every step that ran passed and nothing is left; 1 that one failed, or was interrupted; 2 that
nothing was started.
"""

import argparse
import os
import signal
import sys
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType

from botocore.exceptions import BotoCoreError, ClientError

from handler.cli.parser import version
from tools.accept import leftovers
from tools.accept.account import Account
from tools.accept.context import Context, Options
from tools.accept.report import Report, Step
from tools.accept.run import DELETE, DELETE_PROMISE, EMULATOR_LACKS, Interrupted, delete, planned, run_step, run_steps
from tools.accept.stacks import PREFIX, PROJECT, Stacks

COST = """\
This makes a stack named {name}
in {region}, as {caller},
and deletes it at the end: a VPC without a way out, a file system, functions, two HTTP APIs, alarms, a bucket.
By list prices it costs below 0.10 USD. It takes some 15 minutes, and up to 40 more until Lambda gives its network
interfaces back."""


def main(arguments: Sequence[str]) -> int:
    """Run the command; return the exit status."""
    parsed = parser().parse_args(arguments)
    try:
        options = _options(parsed)
        account = Account(parsed.profile, parsed.region, parsed.endpoint_url)
        caller = account.caller()
    except (BotoCoreError, ClientError, ValueError) as error:
        print(f"accept: {error}", file=sys.stderr)
        return 2
    name = f"{PREFIX}{datetime.now(UTC):%Y%m%d-%H%M%S}-{uuid.uuid4().hex[:4]}"
    stacks = Stacks(account, name, say, parsed.cloudformation_role)
    if parsed.clean:
        return clean(stacks, is_sure=parsed.yes)
    print(COST.format(name=name, region=account.region, caller=caller))
    if not (parsed.yes or _is_sure("Go on?")):
        return 2
    context = Context(account, stacks, options, say, caller)
    report = accept(context)
    parsed.report.write_text(report.render(), encoding="utf-8")
    print(f"accept: {report.verdict}; the report is in {parsed.report}")
    return 0 if report.has_passed else 1


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    made = argparse.ArgumentParser(prog="python -m tools.accept", description=__doc__.partition("\n")[0])
    add = made.add_argument
    add("--profile", help="the AWS profile (AWS_PROFILE, or the default one)")
    add("--region", help="the AWS region (the profile's)")
    add("--endpoint-url", metavar="URL", help="an emulator in AWS's place")
    add("--origin", metavar="URL", help="a public repository to publish, in place of the sample origin")
    add("--architecture", default="arm64", choices=("arm64", "x86_64"), help="(%(default)s)")
    add("--template-file", type=Path, help="a built template (.aws-sam/<architecture>/template.yaml)")
    add("--parameter", action="append", default=[], metavar="NAME=VALUE", help="a parameter of the stack; repeatable")
    add("--cloudformation-role", metavar="ARN", help="the role with which CloudFormation makes the stacks (your own)")
    add("--warm", type=int, default=Options.warm, metavar="N", help="pushes one after the other (%(default)s)")
    add("--burst", type=int, default=Options.repositories, metavar="N", help="repositories of the burst (%(default)s)")
    add("--report", type=Path, default=PROJECT / "acceptance.md", help="where the report goes (acceptance.md)")
    add("--clean", action="store_true", help="only delete what earlier runs left")
    add("--yes", action="store_true", help="do not ask")
    return made


def _options(parsed: argparse.Namespace) -> Options:
    """Return the options. Raises ValueError with what is wrong."""
    template = parsed.template_file or PROJECT / ".aws-sam" / parsed.architecture / "template.yaml"
    if not (parsed.clean or template.is_file()):
        raise ValueError(f"{template} is not there: run make build")
    parameters: Mapping[str, str] = dict(text.split("=", 1) for text in parsed.parameter if "=" in text)
    if len(parameters) != len(parsed.parameter):
        raise ValueError("--parameter takes NAME=VALUE, each name once")
    for name, only in (("Delivery", "direct"), ("Publisher", "isolated")):
        if parameters.get(name, only) != only:
            raise ValueError(
                f"only a stack with {name}={only} is tried: the webhook's answer tells when a tree is visible"
            )
    if not parsed.report.absolute().parent.is_dir():
        raise ValueError(f"{parsed.report}: there is no such directory")
    if min(parsed.warm, parsed.burst) < 1:
        raise ValueError("--warm and --burst are at least 1")
    return Options(template, parsed.architecture, parsed.origin, parameters, parsed.warm, parsed.burst)


def accept(context: Context) -> Report:
    """Run every step, and delete what they made; return the report."""
    began = datetime.now(UTC)
    steps, last, is_interrupted = planned(), Step(DELETE, DELETE_PROMISE), False
    with stubborn():
        try:
            with interruptible():
                run_steps(context, steps)
        except Interrupted:
            is_interrupted = True
            say("interrupted: deleting what the run made")
        run_step(last, delete, context)
    say(f"{DELETE}: {last.result}{', ' + last.why if last.why else ''} ({last.seconds:.1f} s)")
    is_emulator = context.account.is_emulator
    lacks = [Step(f"on AWS alone: {name}", why, why=why) for name, why in EMULATOR_LACKS.items() if is_emulator]
    facts = {
        "where": "an emulator, not AWS" if is_emulator else f"AWS, account …{context.number[-4:]}",
        "region": str(context.account.region),
        "version": version(),
        "architecture": context.options.architecture,
        "stack": context.stacks.name,
        "origin": context.options.origin or "the sample's, in the same account",
        "parameters": ", ".join(f"{name}={value}" for name, value in context.options.parameters.items())
        or "the defaults",
        "began": f"{began:%Y-%m-%d %H:%M:%S} UTC",
        "ended": f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC",
    }
    return Report(facts, [*steps, last, *lacks], sorted(context.account.operations), is_interrupted)


def clean(stacks: Stacks, *, is_sure: bool) -> int:
    """Delete what earlier runs left; return the exit status."""
    found = leftovers.find(stacks.account, PREFIX)
    if not (found.names() or found.unknown):
        print("accept: nothing is left")
        return 0
    print("\n".join(found.names()))
    if not (is_sure or _is_sure("Delete all of it? A run that is under way loses its stack.")):
        return 2
    problems = leftovers.delete(stacks, found)
    print("\n".join(problems) or "accept: deleted", file=sys.stderr if problems else sys.stdout)
    return 1 if problems else 0


@contextmanager
def interruptible() -> Iterator[None]:
    """Make the first Ctrl-C, SIGTERM or SIGHUP an exception, so that what was made is deleted."""
    interrupted: list[int] = []

    def interrupt(number: int, frame: FrameType | None) -> None:
        if not interrupted:
            interrupted.append(number)
            raise Interrupted

    with _signals(interrupt):
        yield


@contextmanager
def stubborn() -> Iterator[None]:
    """Let the deletion go on at a Ctrl-C; a second one within five seconds ends the process."""
    last = [float("-inf")]

    def interrupt(number: int, frame: FrameType | None) -> None:
        if time.monotonic() < last[0] + 5:
            say("left as it is: make accept ARGS=--clean deletes the rest")
            os._exit(1)
        last[0] = time.monotonic()
        say("deleting goes on; once more within five seconds leaves the rest there")

    with _signals(interrupt):
        yield


@contextmanager
def _signals(handler: object) -> Iterator[None]:
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, handler) for number in numbers}  # type: ignore[arg-type]
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)


def _is_sure(question: str) -> bool:
    if not sys.stdin.isatty():
        print("accept: nobody can be asked here: --yes says yes", file=sys.stderr)
        return False
    return input(f"{question} [y/N] ").strip().lower() in ("y", "yes")


def say(text: str) -> None:
    """Show progress at once."""
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
