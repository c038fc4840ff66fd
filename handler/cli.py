"""The `git2efs` command: an operator's command line, on this host's mount or by a deployed function.

Exit codes: 0 all is well; 1 something needs attention; 2 refused, and nothing was done; 3 failed.
"""

import argparse
import getpass
import json
import os
import sys
import time
from collections.abc import Sequence
from contextlib import suppress

from handler.errors import ConfigurationInvalid
from handler.network.operations.aws import AccessDenied, invoke
from handler.network.operations.command import ACTIONS, Command, read_command
from handler.network.operations.operator import FAILED, Content, Operator, content_of_failure
from handler.network.operations.render import plain, render
from handler.runtime import make_sides
from handler.settings import Settings, read_settings

_HELP = {
    "status": "show every target: commit, since when, behind or not, held or not, releases, disk",
    "publish": "reconcile now: publish what the refs name",
    "rollback": "go back to the previous release, or a named one, and hold it there",
    "hold": "hold a target where it is: neither a push nor the schedule changes it",
    "resume": "end a hold, and publish what the ref names now",
    "verify": "compare published trees with their commits, file by file",
    "doctor": "check everything that publishing needs, and say what to do",
}
_EPILOG = "Exit codes: 0 all is well, 1 something needs attention, 2 the command cannot do what you asked, 3 it failed."


def main(arguments: Sequence[str] | None = None, prog: str = "git2efs") -> int:
    """Carry out the command of the command line; return the exit code. Wrong usage exits with 2 (argparse)."""
    parsed = _parser(prog).parse_args(arguments)
    content = _carry_out(parsed)
    text = json.dumps(content, indent=2) + "\n"
    if not parsed.json:
        # A function of another version may answer what fits no table: then print the JSON.
        with suppress(LookupError, TypeError, ValueError, AttributeError, ArithmeticError):
            text = render(content, now=time.time(), has_colours=sys.stdout.isatty() and "NO_COLOR" not in os.environ)
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader (`| head`) has enough. Without a standard output the interpreter does not fail at its exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    code = content.get("exit_code")
    return code if isinstance(code, int) and not isinstance(code, bool) else FAILED


def _carry_out(parsed: argparse.Namespace) -> Content:
    command: Command | None = None
    try:
        event = _event(parsed)
        command = read_command(event)
        if parsed.function:
            _say(f"asking {parsed.function}")
            return invoke(parsed.function, event)
        operator = _make_operator(_settings())
        # As the functions do: readers run as other users.
        os.umask(0o022)
        try:
            return operator.run(command)
        finally:
            operator.close()
    except AccessDenied as error:
        return {"action": parsed.action, "exit_code": FAILED, "reason": "not_allowed", "detail": str(error)}
    except Exception as error:
        return content_of_failure(command, error)


def _make_operator(settings: Settings) -> Operator:
    publisher, deliverer = make_sides(settings, progress=_Progress(), warn=_say, say=_say)
    return Operator(settings, publisher.operations, deliverer, say=_say)


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
        with suppress(OSError, KeyError):  # a user without a name, as in some containers
            event["by"] = getpass.getuser()
    return event


def _parser(prog: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=prog, description=__doc__, epilog=_EPILOG)
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--json", action="store_true", help="write JSON, for programs")
    shared.add_argument(
        "--function", metavar="NAME", help="let the deployed function do it, not this host on its mount"
    )
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    for name, action in ACTIONS.items():
        added = actions.add_parser(name, help=_HELP[name], description=_HELP[name], parents=[shared], epilog=_EPILOG)
        is_repository = action.subject == "repository"
        added.add_argument(
            action.subject,
            metavar=action.subject.upper(),
            nargs=None if action.is_subject_needed else "?",
            help="owner/name" if is_repository else "a target's path on the mount, or a repository",
        )
        _add_options(added, name)
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
        parser.add_argument(
            "--repair", action="store_true", help="repair the current release, set aside a retired one that differs"
        )


def _say(sentence: str) -> None:
    sys.stderr.write(f"{plain(sentence)}\n")


class _Progress:
    """Says how far a check-out is, every two seconds or so."""

    def __init__(self) -> None:
        self._said_at = 0.0

    def __call__(self, about: str, done: int, total: int) -> None:
        now = time.monotonic()
        if now - self._said_at >= 2 and done < total:
            self._said_at = now
            _say(f"checking out {about}: {done} of {total} files")


if __name__ == "__main__":
    sys.exit(main())
