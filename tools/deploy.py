"""`python -m tools.deploy`, which is `make deploy`: deploy what is built, as deploy.toml says.

deploy.toml is this machine's alone, and git ignores it. Where it is missing, it is made of the options. Exit status 2
says that nothing was started, and why; else it is the one of `sam deploy`.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from tools.contents import MACHINES

PROJECT = Path(__file__).resolve().parents[1]
BUILT = PROJECT / ".aws-sam"
PARAMETERS: Mapping[str, str] = {"repository": "FirstRepository", "email": "AlarmEmail"}
"""The stack's parameter that an option stands for."""
_NAMES = ("stack", "region", "profile", "architecture")
_TEXT = """\
# What `make deploy` deploys from this machine. Git ignores this file.
stack = {stack}
# region = "eu-central-1"      # else the one of the AWS profile
# profile = "default"
# architecture = "x86_64"      # else arm64

# The stack's parameters: docs/configuration.md has each with its default. What is not here stays as it is.
[parameters]
{parameters}
# Tags of the stack, and of everything in it that takes tags.
# [tags]
# owner = "web"
"""


# AWS takes blanks and other letters too, but SAM's option turns a blank into something else, and reads `=` at will.
_TAG = re.compile(r"(?![aA][wW][sS]:)[A-Za-z0-9_.:/+@-]{1,128}=[A-Za-z0-9_.:/+@-]{1,256}")


class Wrong(Exception):
    """Nothing can be deployed so; the text says what to do, one problem a line."""


@dataclass(frozen=True)
class Configuration:
    """What deploy.toml says; an empty region or profile is AWS's own choice."""

    stack: str = "git2efs"
    region: str = ""
    profile: str = ""
    architecture: str = "arm64"
    parameters: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)


def main(arguments: Sequence[str]) -> int:
    """Deploy; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tools.deploy", description=__doc__.partition("\n")[0])
    add = parser.add_argument
    add("--config", type=Path, default=PROJECT / "deploy.toml", help="(deploy.toml)")
    add("--stack", help="the stack's name (git2efs)")
    add("--repository", metavar="OWNER/NAME", help="the first repository to publish")
    add("--email", metavar="ADDRESS", help="who gets alarms")
    add("--template-file", type=Path, help="a built template (.aws-sam/<architecture>/template.yaml)")
    options, more = parser.parse_known_args(arguments)
    given = {name: getattr(options, name) for name in ("stack", *PARAMETERS) if getattr(options, name)}
    try:
        configuration = configured(options.config, given)
        template = options.template_file or BUILT / configuration.architecture / "template.yaml"
        problems = problems_of(configuration, template)
        if problems:
            raise Wrong("\n".join(f"{options.config}: {problem}" for problem in problems))
        _find_region(configuration)
    except Wrong as wrong:
        print(wrong, file=sys.stderr)
        return 2
    command = [*command_of(configuration, template, asks=sys.stdin.isatty()), *more]
    status = subprocess.run(command, env=os.environ | {"SAM_CLI_TELEMETRY": "0"}, check=False).returncode
    if status == 0:
        print(f"\ngit2efs: the stack {configuration.stack} is as {options.config} says")
    return status


def configured(path: Path, given: Mapping[str, str]) -> Configuration:
    """Return what the file says; where there is none, make it of what was given.

    Raises Wrong for a file that says otherwise: it would deploy another thing the next time.
    """
    if not path.exists():
        path.write_text(_text_of(given), encoding="utf-8")
        print(f"git2efs: {path} is written; the next `make deploy` needs no value")
    configuration = read_configuration(path)
    told = {"stack": configuration.stack}
    told |= {option: configuration.parameters.get(name, "") for option, name in PARAMETERS.items()}
    others = [
        f"{path}: {PARAMETERS.get(name, name)} is {told[name]!r}, and not {value!r}: change it there"
        for name, value in given.items()
        if told[name] != value
    ]
    if others:
        raise Wrong("\n".join(others))
    return configuration


def _text_of(given: Mapping[str, str]) -> str:
    # A JSON string is a TOML string.
    lines = [f"{name} = {json.dumps(given[option])}\n" for option, name in PARAMETERS.items() if option in given]
    return _TEXT.format(stack=json.dumps(given.get("stack", Configuration.stack)), parameters="".join(lines))


def read_configuration(path: Path) -> Configuration:
    """Return what the file says. Raises Wrong with every problem."""
    try:
        found = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise Wrong(f"{path}: {error}") from None
    tables = {name: found.pop(name, {}) for name in ("parameters", "tags")}
    problems = [f"{name} is unknown" for name in found.keys() - set(_NAMES)]
    problems += [f"{name} has to be text" for name in _NAMES if not isinstance(found.get(name, ""), str)]
    if found.get("architecture", "arm64") not in MACHINES:
        problems.append(f"architecture has to be {' or '.join(MACHINES)}")
    problems += [f"{name} has to be a table" for name, table in tables.items() if not isinstance(table, dict)]
    if problems:
        raise Wrong("\n".join(f"{path}: {problem}" for problem in sorted(problems)))
    values = {name: {key: _value(value) for key, value in table.items()} for name, table in tables.items()}
    return Configuration(**found, parameters=values["parameters"], tags=values["tags"])


def _value(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def problems_of(configuration: Configuration, template: Path) -> list[str]:
    """Return what is wrong with the parameters, as sentences: SAM passes over a name that it does not know."""
    if not template.is_file():
        return [f"{template} is not there: run make build"]
    known = parameter_names(template.read_text(encoding="utf-8"))
    problems = [f"the stack has no parameter {name}" for name in sorted(configuration.parameters.keys() - known)]
    problems += [
        f"{name} has a quote or a backslash in it"
        for name, value in configuration.parameters.items()
        if '"' in value or "\\" in value
    ]
    problems += [
        f"the tag {name}={value} may have letters, digits and _.:/+@- only, and not begin with aws:"
        for name, value in configuration.tags.items()
        if not _TAG.fullmatch(f"{name}={value}")
    ]
    return problems


def parameter_names(template: str) -> set[str]:
    """Return the names of a built template's parameters; SAM writes it without CloudFormation's tags."""
    return set(yaml.safe_load(template)["Parameters"])


def _find_region(configuration: Configuration) -> None:
    """Raise Wrong where nobody says which region, before SAM makes anything."""
    import boto3
    from botocore.exceptions import ProfileNotFound

    try:
        session = boto3.Session(profile_name=configuration.profile or None)
    except ProfileNotFound as error:
        raise Wrong(f"{error}") from None
    if not (configuration.region or session.region_name):
        raise Wrong("no region: name one in deploy.toml, or with `aws configure`")


def command_of(configuration: Configuration, template: Path, *, asks: bool) -> list[str]:
    """Return SAM's command line. With `asks` it shows the change set, and waits for a yes."""
    overrides = {"Architecture": configuration.architecture, **configuration.parameters}
    command = [os.fspath(Path(sys.executable).with_name("sam")), "deploy"]
    # SAM looks for it beside the template.
    command += ["--config-file", os.fspath(PROJECT / "samconfig.toml"), "--template-file", os.fspath(template)]
    command += ["--stack-name", configuration.stack]
    command += ["--region", configuration.region] if configuration.region else []
    command += ["--profile", configuration.profile] if configuration.profile else []
    command += [] if asks else ["--no-confirm-changeset"]
    if configuration.tags:
        command += ["--tags", *(f"{name}={value}" for name, value in configuration.tags.items())]
    return [*command, "--parameter-overrides", *(f'{name}="{value}"' for name, value in overrides.items())]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
