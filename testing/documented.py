"""The commands that README and the pages show, and what AWS's own models say of those to the AWS CLI. No network."""

import json
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import botocore.session
from botocore import xform_name

PROJECT = Path(__file__).resolve().parents[1]
PAGES = (*sorted(PROJECT.glob("*.md")), *sorted((PROJECT / "docs").glob("*.md")), PROJECT / "tests" / "README.md")
PROGRAMS = frozenset({"aws", "export", "gh", "git2efs", "make", "mount", "python", "sam", "sudo"})
"""The first words of commands; a path to one of them, as `.venv/bin/python`, is one too."""
GLOBAL_OPTIONS = frozenset({"cli-binary-format", "output", "profile", "query", "region"})
_BLOCK = re.compile(r"^ *```(\w*)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Shown:
    """A command as a page shows it, and which page does."""

    page: Path
    text: str

    @property
    def words(self) -> list[str]:
        """The words, without variables before the program and without what a shell does with the output."""
        words = shlex.split(self.text.partition(" | ")[0].removesuffix(" &"), comments=True)
        while "=" in words[0]:
            del words[0]
        return words


def commands_of(page: Path) -> list[Shown]:
    """Return the commands in the page's blocks without a language; where a block has prompts, the lines with one."""
    found: list[Shown] = []
    blocks = _BLOCK.findall(page.read_text(encoding="utf-8"))
    for block in [text for language, text in blocks if not language]:
        lines = block.replace("\\\n", " ").splitlines()
        prompted = [line.strip()[2:] for line in lines if line.lstrip().startswith("$ ")]
        commands = prompted or [line.strip() for line in lines if _is_command(line)]
        found += [Shown(page, command) for command in commands]
    return found


def _is_command(line: str) -> bool:
    words = [word for word in line.split() if "=" not in word]
    return bool(words) and words[0].removeprefix(".venv/bin/") in PROGRAMS


@dataclass(frozen=True)
class AwsCall:
    """What `aws SERVICE OPERATION --option value` asks for."""

    service: str
    operation: str
    arguments: dict[str, Any]
    query: str | None


def read_aws(words: list[str]) -> AwsCall:
    """Return the call that a command line of the AWS CLI makes, judged by the service's model.

    Raises ValueError for a service, an operation or an option that there is not, and for what is missing.
    """
    _, service, operation, *rest = words
    options = dict(_options(rest))
    query = options.pop("query", None)
    options = {option: value for option, value in options.items() if option not in GLOBAL_OPTIONS}
    model = _service(service)
    name = {xform_name(each, "-"): each for each in model.operation_names}.get(operation)
    if name is None:
        raise ValueError(f"{service} has no operation {operation}")
    shape = model.operation_model(name).input_shape
    members = {xform_name(each, "-"): each for each in shape.members} if shape else {}
    arguments = {}
    for option, value in options.items():
        member = members.get(option)
        if member is None:
            raise ValueError(f"aws {service} {operation} has no option --{option}")
        arguments[member] = _value(shape.members[member], value)
    # The CLI makes such a token itself.
    required = {each for each in (shape.required_members if shape else ()) if not _is_token(shape.members[each])}
    if missing := required - arguments.keys():
        raise ValueError(f"aws {service} {operation} needs {', '.join(sorted(missing))}")
    return AwsCall(service, xform_name(name), arguments, query if isinstance(query, str) else None)


def _is_token(shape: Any) -> bool:
    return bool(shape.metadata.get("idempotencyToken"))


@cache
def _service(name: str) -> Any:
    return botocore.session.get_session().get_service_model(name)


def _options(words: list[str]) -> Iterator[tuple[str, str | list[str] | bool]]:
    """Yield each option with its value: several words are a list, none is a flag. A word before them is a file."""
    name, values = "", list[str]()
    for word in [*words, "--"]:
        if word.startswith("--"):
            if name:
                yield name, True if not values else values[0] if len(values) == 1 else values
            name, values = word[2:], []
        else:
            values.append(word)


def _value(shape: Any, value: str | list[str] | bool) -> Any:
    """Return an argument as the model wants it, from JSON, from the CLI's shorthand, or as the text that it is."""
    if shape.type_name == "blob":
        return (value[0] if isinstance(value, list) else str(value)).encode()
    if shape.type_name == "list":
        return [_value(shape.member, each) for each in (value if isinstance(value, list) else [str(value)])]
    if shape.type_name == "structure" and isinstance(value, str):
        return json.loads(value) if value.startswith("{") else _shorthand(shape, value)
    if shape.type_name in ("integer", "long"):
        return int(str(value))
    return value


def _shorthand(shape: Any, text: str) -> dict[str, Any]:
    """Return what `A=1,B={C=2}` says; ValueError for a member that there is not."""
    found: dict[str, Any] = {}
    for name, value in re.findall(r"(\w+)=(\{[^}]*\}|[^,]*)", text):
        if name not in shape.members:
            raise ValueError(f"{shape.name} has no member {name}")
        member = shape.members[name]
        is_list = member.type_name == "list"
        inner = value[1:-1] if member.type_name == "structure" else [value] if is_list else value
        found[name] = _value(member, inner)
    return found
