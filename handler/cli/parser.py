"""The command line's grammar: the actions with their options, and what each is for."""

import argparse
import tomllib
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path

from handler.network.operations.command import ACTIONS

SETUP_ACTIONS: Mapping[str, str] = {
    "add": "put the parameter of a repository, or of an owner for all its repositories, a secret if there is none, "
    "and make the webhook on its forge",
    "secret": "make and put the webhook's secret, the common one, a forge's or a repository's own; never show it",
    "webhook": "make a repository's webhook on its forge, or give the one that is there the secret of now",
}
"""What is done from here with the caller's own rights, and by no function: none of them may write a parameter."""
COMPLETION = "completion"
SHELLS = ("bash", "zsh", "fish")
_HELP: Mapping[str, str] = {
    "status": "show every target: commit, since when, behind or not, held or not, releases, disk",
    "publish": "reconcile now: publish what the refs name",
    "rollback": "go back to the previous release, or a named one, and hold it there",
    "hold": "hold a target where it is: neither a push nor the schedule changes it",
    "resume": "end a hold, and publish what the ref names now",
    "take-over": "publish from this repository what another name of it published; nothing is removed",
    "verify": "compare published trees with their commits, file by file",
    "doctor": "check everything that publishing needs, and say what to do",
    **SETUP_ACTIONS,
    COMPLETION: "write what lets a shell complete this command",
}
_EPILOG = """Exit codes: 0 all is well, 1 something needs attention, 2 the command cannot do what you asked,
3 it failed. Without --stack, --function or --local it asks the stack that GIT2EFS_STACK names; else it works on this
host's mount where GIT2EFS_MOUNT is set; else it asks the stack that `make deploy` deployed from here, or `git2efs`."""


def version() -> str:
    """Return the version of what runs: the project's beside it, else that of the installed package."""
    # A copy of the source knows itself better than what was installed from it at some time.
    project = Path(__file__).resolve().parents[2] / "pyproject.toml"
    if project.is_file():
        return str(tomllib.loads(project.read_text(encoding="utf-8"))["project"]["version"])
    try:
        return metadata.version("git2efs")
    except metadata.PackageNotFoundError:
        return "unknown"


def build_parser(prog: str) -> argparse.ArgumentParser:
    """Return the parser of the whole command."""
    parser = argparse.ArgumentParser(prog=prog, description="Operate git2efs.", epilog=_EPILOG)
    parser.add_argument("--version", action="version", version=f"git2efs {version()}")
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    for name, action in ACTIONS.items():
        added = _add_action(actions, name, parents=[_shared(with_function=True)])
        _add_subject(added, action.subject, is_needed=action.is_subject_needed)
        _add_options(added, name)
    for name in SETUP_ACTIONS:
        added = _add_action(actions, name, parents=[_shared(with_function=False)])
        _add_subject(added, "repository", is_needed=name != "secret")
        _add_setup_options(added, name)
    _add_action(actions, COMPLETION, parents=[]).add_argument("shell", choices=SHELLS)
    return parser


def actions_of(parser: argparse.ArgumentParser) -> Mapping[str, argparse.ArgumentParser]:
    """Return the parser of each action."""
    (found,) = (each for each in parser._actions if isinstance(each, argparse._SubParsersAction))
    return dict(found.choices)


def _shared(*, with_function: bool) -> argparse.ArgumentParser:
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--json", action="store_true", help="write JSON, for programs")
    where = shared.add_mutually_exclusive_group()
    where.add_argument("--stack", metavar="NAME", help="ask the deployed stack of that name")
    where.add_argument("--local", metavar="DIR", help="ask the `make serve` on this machine that has DIR as its mount")
    if with_function:
        where.add_argument("--function", metavar="NAME", help="ask the deployed function of that name")
    shared.add_argument("--region", help="the AWS region; by default the profile's")
    shared.add_argument("--profile", help="the AWS profile; by default the environment's")
    return shared


def _add_action(
    actions: "argparse._SubParsersAction[argparse.ArgumentParser]", name: str, *, parents: list[argparse.ArgumentParser]
) -> argparse.ArgumentParser:
    return actions.add_parser(name, help=_HELP[name], description=_HELP[name], parents=parents, epilog=_EPILOG)


def _add_subject(parser: argparse.ArgumentParser, subject: str, *, is_needed: bool) -> None:
    parser.add_argument(
        subject,
        metavar=subject.upper(),
        nargs=None if is_needed else "?",
        help="owner/name" if subject == "repository" else "a target's path on the mount, or a repository",
    )


def _add_options(parser: argparse.ArgumentParser, action: str) -> None:
    add = parser.add_argument
    if action == "status":
        add("--offline", action="store_true", help="do not ask the remotes what their refs name")
        add("--no-disk", action="store_true", help="do not count files and bytes")
    if action == "publish":
        add("--ref", help="a branch, or a ref's full name; by default all that the repository publishes")
    if action == "rollback":
        add("--to", metavar="COMMIT", help="the release to go back to, by its first digits")
    if action in ("rollback", "hold"):
        add("--by", help="who asks; by default you")
        add("--why", help="the reason, for those who find the target held")
    if action == "take-over":
        add("--from", metavar="OWNER/NAME", required=True, help="the name that it was published under")
        add("--path", help="this target alone; by default all of that name's")
    if action == "verify":
        add("--repair", action="store_true", help="repair the current release, set aside a retired one that differs")


def _add_setup_options(parser: argparse.ArgumentParser, action: str) -> None:
    add = parser.add_argument
    if action == "add":
        add("--parameter", metavar="JSON", help="the parameter's fields; by default {}: the default branch")
        add("--no-webhook", action="store_true", help="make no webhook: an organisation's is there, or you make it")
    if action in ("add", "secret"):
        add("--replace", action="store_true", help="put it in the place of what is there already")
    if action in ("add", "webhook"):
        add("--url", help="the webhook's address as the forge reaches it; by default the stack's")
    if action == "secret":
        add("--forge", help="whose webhooks' common secret: gitlab, gitea or bitbucket; by default GitHub's")
