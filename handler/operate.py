"""Entry point for operators: `aws lambda invoke`, and `python -m handler.operate` by a mount or a deployed function.

Exit codes: 0 all is well; 1 something needs attention; 2 what was asked cannot be, and nothing was done; 3 failed.
"""

import argparse
import getpass
import json
import os
import sys
import time
from collections.abc import Sequence
from contextlib import suppress

from handler.deadline import Deadline
from handler.errors import ConfigurationInvalid
from handler.network.aws.telemetry import Telemetry
from handler.network.operations.aws import AccessDenied, invoke
from handler.network.operations.command import SUBJECTS, Command, read_command
from handler.network.operations.operator import ATTENTION, FAILED, Content, Operator, content_of_failure
from handler.network.operations.render import plain, render
from handler.runtime import Runtime
from handler.settings import Settings, read_settings

_HELP = {
    "status": "show every target: commit, since when, behind or not, held or not, releases, disk",
    "publish": "reconcile now: publish what the refs name",
    "rollback": "go back to the previous release, or a named one, and hold it there",
    "hold": "hold a target where it stands: neither push nor schedule changes it",
    "resume": "end a hold, and publish what the ref names now",
    "verify": "compare published trees with their commits, file by file",
    "doctor": "check everything that publishing needs, and say what to do",
}
_EPILOG = "Exit codes: 0 all is well, 1 something needs attention, 2 it cannot be done as asked, 3 it failed."


def _make(settings: Settings, telemetry: Telemetry) -> Operator:
    return Operator(settings, telemetry.progress, lambda sentence: None, telemetry.warn)


_process = Runtime(_make)


def handler(event: object, context: object) -> dict[str, object]:
    """Carry out the command in `event`: `{"action": "status"}`; see `operations.command`. Never raises.

    Returns its content, with `exit_code`; a failure with reason and detail.
    """
    started = time.perf_counter()
    command: Command | None = None
    try:
        command = read_command(event)
        operator = _process.app(os.environ)
        content = operator.run(command, Deadline.of_context(context))
    except Exception as error:  # whatever it is becomes the answer
        return _without_settings(command, error)
    duration_ms = (time.perf_counter() - started) * 1000
    for outcome in operator.outcomes:
        _process.telemetry().record(
            outcome,
            delivery="",
            event=f"operator {command.action}",
            request_id=str(getattr(context, "aws_request_id", "")),
            duration_ms=duration_ms,
        )
    _process.warn_once(operator.secret_problems())
    return content


def _without_settings(command: Command | None, error: Exception) -> Content:
    """Return a failure's content; the doctor's for settings that are wrong, which is what it is asked for."""
    if command is not None and command.action == "doctor" and isinstance(error, ConfigurationInvalid):
        todo = "set the function's environment as template.yaml does"
        check = {"name": "settings", "verdict": "wrong", "found": str(error), "todo": todo}
        return {"action": "doctor", "exit_code": ATTENTION, "checks": [check]}
    return content_of_failure(command.action if command is not None else None, error)


def main(arguments: Sequence[str] | None = None) -> int:
    """Carry out the command of the command line; returns the exit code. argparse exits with 2 by itself."""
    parsed = _parser().parse_args(arguments)
    content = _carried_out(parsed)
    text = json.dumps(content, indent=2) + "\n"
    if not parsed.json:
        # What a function of another version says may not fit a table: then it is shown as it is.
        with suppress(LookupError, TypeError, ValueError, AttributeError, ArithmeticError):
            text = render(content, now=time.time(), has_colours=sys.stdout.isatty() and "NO_COLOR" not in os.environ)
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:  # `| head`: enough was read
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    code = content.get("exit_code")
    return code if isinstance(code, int) else FAILED


def _carried_out(parsed: argparse.Namespace) -> Content:
    command: Command | None = None
    try:
        event = _event(parsed)
        command = read_command(event)
        if parsed.function:
            _say(f"asking {parsed.function}")
            return invoke(parsed.function, event)
        operator = Operator(_settings(), _progress, _say, _say)
        os.umask(0o022)  # as the functions do: readers run as other users
        try:
            return operator.run(command)
        finally:
            operator.close()
    except AccessDenied as error:
        return {"action": parsed.action, "exit_code": FAILED, "reason": "not_allowed", "detail": str(error)}
    except Exception as error:
        return _without_settings(command, error)


def _settings() -> Settings:
    try:
        return read_settings(os.environ)
    except ConfigurationInvalid as error:
        raise ConfigurationInvalid(f"{error}; set them as the functions have them, or name a --function") from None


def _event(parsed: argparse.Namespace) -> dict[str, object]:
    """Return the event that asks a deployed function for the same."""
    fields = {name: value for name, value in vars(parsed).items() if name not in ("json", "function")}
    event: dict[str, object] = {name: value for name, value in fields.items() if value not in (None, False)}
    if "by" in fields and "by" not in event:
        with suppress(OSError, KeyError):  # a user without a name, in a container say
            event["by"] = getpass.getuser()
    return event


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m handler.operate", description=__doc__, epilog=_EPILOG)
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--json", action="store_true", help="write JSON, for programs")
    shared.add_argument(
        "--function", metavar="NAME", help="let the deployed function do it, not this host on its mount"
    )
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    for action, field in SUBJECTS.items():
        added = actions.add_parser(
            action, help=_HELP[action], description=_HELP[action], parents=[shared], epilog=_EPILOG
        )
        is_needed = action in ("publish", "rollback", "hold", "resume")
        about = "owner/name" if field == "repository" else "a target's path on the mount, or a repository"
        added.add_argument(field, metavar=field.upper(), nargs=None if is_needed else "?", help=about)
        _add_options(added, action)
    return parser


def _add_options(parser: argparse.ArgumentParser, action: str) -> None:
    if action == "status":
        parser.add_argument("--offline", action="store_true", help="do not ask the remotes what their refs name")
        parser.add_argument("--no-disk", action="store_true", help="do not count files and bytes")
    if action == "publish":
        parser.add_argument(
            "--ref", help="a branch, or a ref's full name; by default all that the repository publishes"
        )
    if action == "rollback":
        parser.add_argument("--to", metavar="COMMIT", help="the release to go back to, by its first digits")
    if action in ("rollback", "hold"):
        parser.add_argument("--by", help="who asks; by default you")
        parser.add_argument("--why", help="the reason, for those who find the target held")
    if action == "verify":
        parser.add_argument("--repair", action="store_true", help="mend what is published, set aside what is kept")


def _say(sentence: str) -> None:
    sys.stderr.write(f"{plain(sentence)}\n")


_shown_at = 0.0


def _progress(about: str, done: int, total: int) -> None:
    """Say how far a check-out is, every two seconds or so."""
    global _shown_at
    now = time.monotonic()
    if now - _shown_at >= 2 and done < total:
        _shown_at = now
        _say(f"checking out {about}: {done} of {total} files")


def reset() -> None:
    """Forget everything that the process keeps. For tests and tools."""
    _process.close()


if __name__ == "__main__":
    sys.exit(main())
