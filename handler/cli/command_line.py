"""From arguments to output and exit code.

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
from functools import partial

from handler.cli.completion import script
from handler.cli.credentials import find_token
from handler.cli.parser import COMPLETION, SETUP_ACTIONS, actions_of, build_parser
from handler.cli.stacks import choose_stack
from handler.cli.terminal import wants_colours
from handler.config.names import full_name_problem, is_owner
from handler.errors import Malformed
from handler.model import Forge
from handler.network.operations.aws import AccessDenied
from handler.network.operations.command import Command, read_command
from handler.network.operations.operator import FAILED, WELL, Content, content_of_failure
from handler.network.operations.render import render
from handler.network.operations.setup import Setup, check_parameter, secret_of

INTERRUPTED = 130
"""As a shell tells of a command that Ctrl-C ended."""
_ADDRESS_FIELDS = frozenset({"json", "function", "stack", "local", "region", "profile"})


def main(arguments: Sequence[str] | None = None, prog: str = "git2efs") -> int:
    """Carry out the command of the command line; return the exit code. Wrong usage exits with 2 (argparse)."""
    parser = build_parser(prog)
    parsed = parser.parse_args(arguments)
    if parsed.action == COMPLETION:
        return _write(script("git2efs", actions_of(parser), parsed.shell), WELL)
    try:
        content = _carry_out(parsed)
    except KeyboardInterrupt:
        # What a function was asked for goes on there: the next command meets what it did.
        sys.stderr.write("interrupted; what was asked of a function may go on there\n")
        return INTERRUPTED
    text = json.dumps(content, indent=2) + "\n"
    if not parsed.json:
        # A function of another version may answer what fits no table: then print the JSON.
        with suppress(LookupError, TypeError, ValueError, AttributeError, ArithmeticError):
            text = render(content, now=time.time(), has_colours=wants_colours(sys.stdout, os.environ))
    code = content.get("exit_code")
    return _write(text, code if isinstance(code, int) and not isinstance(code, bool) else FAILED)


def _write(text: str, code: int) -> int:
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader (`| head`) has enough. Without a standard output the interpreter does not fail at its exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return code


def _carry_out(parsed: argparse.Namespace) -> Content:
    asked: Command | None = None
    setup: Setup | None = None
    is_host = False
    try:
        if parsed.action in SETUP_ACTIONS:
            _refuse_names(parsed)
            setup = _make_setup(parsed)
            _set_up(setup, parsed)
            return {"action": parsed.action, "exit_code": WELL, "steps": setup.steps}
        event = _event(parsed)
        asked = read_command(event)
        stack = choose_stack(parsed, os.environ)
        is_host = stack.is_host
        return {"action": asked.action, **stack.operate(event, asked)}
    except AccessDenied as error:
        return {"action": parsed.action, "exit_code": FAILED, "reason": "not_allowed", "detail": str(error)}
    except Exception as error:
        # Only this host's own settings are something for the doctor to find wrong.
        content = content_of_failure(asked if is_host else None, error)
        if parsed.action in SETUP_ACTIONS:
            return {**content, "action": parsed.action, "steps": setup.steps if setup is not None else []}
        return {**content, "action": asked.action if asked is not None else None}


def _event(parsed: argparse.Namespace) -> dict[str, object]:
    """Return the event that asks a deployed function for the same."""
    fields = {name: value for name, value in vars(parsed).items() if name not in _ADDRESS_FIELDS}
    event: dict[str, object] = {name: value for name, value in fields.items() if value not in (None, False)}
    if "by" in fields and "by" not in event:
        with suppress(OSError, KeyError):  # a user without a name, as in some containers
            event["by"] = getpass.getuser()
    return event


# -- setting a repository up ------------------------------------------------------------------------------------------


def _refuse_names(parsed: argparse.Namespace) -> None:
    """Raise Malformed for a name, a parameter or an address that can be none: before anything is asked of AWS."""
    name: str | None = parsed.repository
    can_be_owner = parsed.action in ("add", "webhook")
    if name is not None and not (can_be_owner and is_owner(name)) and (problem := full_name_problem(name)):
        raise Malformed(f"repository {problem}")
    if parsed.action == "secret" and parsed.repository is not None and parsed.forge:
        raise Malformed("name a repository, or a forge: a repository's own secret is of its own forge")
    if parsed.action == "secret" and parsed.forge and parsed.forge not in frozenset(Forge):
        raise Malformed(f"forge is none of {', '.join(Forge)}")
    if parsed.action == "add":
        check_parameter(parsed.repository, parsed.parameter)
    url = getattr(parsed, "url", None)
    if url is not None and not url.startswith(("https://", "http://")):
        raise Malformed("url is not an address that a forge can send to: https://...")


def _make_setup(parsed: argparse.Namespace) -> Setup:
    stack = choose_stack(parsed, os.environ)
    address = stack.address()
    return Setup(
        parameters=stack.parameters(address),
        prefix=address.prefix,
        webhook_url=getattr(parsed, "url", None) or address.webhook_url,
        token_of=partial(find_token, environment=os.environ),
    )


def _set_up(setup: Setup, parsed: argparse.Namespace) -> None:
    if parsed.action == "add":
        with_webhook = not parsed.no_webhook
        setup.add(parsed.repository, parsed.parameter, is_replacing=parsed.replace, with_webhook=with_webhook)
    elif parsed.action == "secret":
        forge = Forge(parsed.forge) if parsed.forge else Forge.GITHUB
        setup.secret(parsed.repository or secret_of(forge), is_replacing=parsed.replace)
    else:
        setup.webhook(parsed.repository)
