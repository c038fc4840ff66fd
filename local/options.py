"""Parse and check the arguments of `python -m local` before anything starts. A wrong one exits with 2 and one line."""

import argparse
import functools
import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from handler.errors import ConfigurationInvalid
from handler.settings import ENVIRONMENT_PREFIX, Settings, read_settings, variable_of

PREFIX = "/git2efs/local"
SECRET_VARIABLE = "GIT2EFS_LOCAL_SECRET"  # noqa: S105 -- the name of a variable, not a secret
MAX_PARAMETER_BYTES = 4096
"""The size limit of a standard parameter in Parameter Store."""

_FULL_NAME = re.compile(r"[A-Za-z0-9_.-]+/[A-Za-z0-9_.-]+")
_OWNER = re.compile(r"[A-Za-z0-9_.-]+")
_PARAMETER_NAME = re.compile(r"/?[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)*")


@dataclass(frozen=True, slots=True)
class ServeOptions:
    """The options of `serve`. `environment` holds the handler's settings by variable name."""

    host: str
    port: int
    mount: str
    prefix: str
    secret: str
    repositories: Mapping[str, str]
    secure: Mapping[str, str]
    environment: Mapping[str, str]
    is_queued: bool = False
    is_isolated: bool = False


class _Problem(Exception):
    """An argument is wrong; the text says which and why."""


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of `serve` and `demo`."""
    parser = argparse.ArgumentParser(prog="python -m local", description="git2efs on one machine.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="{serve,demo}")
    serve = commands.add_parser("serve", help="answer GitHub's webhooks on loopback until stopped")
    add = serve.add_argument
    add("--root", required=True, metavar="DIR", help="the directory that plays the mount; made if missing")
    add("--port", type=int, default=8080, metavar="N", help="8080 by default; 0 takes any that is free")
    add("--host", default="127.0.0.1", help="the address to listen on (default: loopback alone)")
    secret = serve.add_mutually_exclusive_group()
    secret.add_argument("--secret", metavar="S", help=f"the webhook's; `ps` shows it, {SECRET_VARIABLE} is better")
    secret.add_argument("--secret-file", metavar="FILE", help="read it from FILE, without the last line end")
    repeat = functools.partial(add, action="append", default=[])
    repeat("--repository", metavar="OWNER/NAME=URL", help="accept its pushes, fetch from URL")
    repeat(
        "--configure", metavar="OWNER/NAME=JSON", help="further fields of its parameter; OWNER=JSON: an owner's rule"
    )
    repeat("--secure", metavar="NAME=FILE", help="a SecureString with FILE's text, as `credentials` names it")
    repeat("--set", metavar="NAME=VALUE", help="any of the handler's settings")
    add("--queued", action="store_true", help="answer 202 at once; a worker behind a queue does the work")
    add("--isolated", action="store_true", help="publish in a process of its own, which has no network")
    add("--allow-sha1", action="store_true", help="accept X-Hub-Signature where no sha256 header is there")
    demo = commands.add_parser("demo", help="the main job once, from push to published tree, each step shown")
    demo.add_argument("--keep", action="store_true", help="leave the published tree where it is")
    return parser


def serve_options(
    parser: argparse.ArgumentParser, arguments: argparse.Namespace, environment: Mapping[str, str]
) -> ServeOptions:
    """Return the options that `arguments` state; if one is wrong, exit with 2 and one line that says why."""
    try:
        return _serve_options(arguments, environment)
    except _Problem as problem:
        parser.error(str(problem))


def _serve_options(arguments: argparse.Namespace, environment: Mapping[str, str]) -> ServeOptions:
    if not 0 <= arguments.port <= 65535:
        raise _Problem(f"--port must be from 0 to 65535, not {arguments.port}")
    mount = os.path.abspath(arguments.root)
    secret = _secret(arguments, environment)
    settings = _settings(arguments, environment, mount)
    return ServeOptions(
        host=arguments.host,
        port=arguments.port,
        mount=mount,
        prefix=settings.parameter_prefix,
        secret=secret,
        repositories=_repositories(arguments.repository, arguments.configure),
        secure=_secure(arguments.secure),
        environment=_variables(arguments, mount),
        is_queued=arguments.queued,
        is_isolated=arguments.isolated,
    )


def _secret(arguments: argparse.Namespace, environment: Mapping[str, str]) -> str:
    if arguments.secret_file is not None:
        return _read_secret("--secret-file", arguments.secret_file)
    given: str | None = arguments.secret
    secret = environment.get(SECRET_VARIABLE) if given is None else given
    if not secret:
        raise _Problem(f"the webhook's secret is missing: {SECRET_VARIABLE}, --secret-file FILE or --secret S")
    return secret


def _read_secret(option: str, path: str) -> str:
    """Return the file's text without its last line end, which editors add and GitHub's form does not."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or "not UTF-8"
        raise _Problem(f"{option}: cannot read {path}: {why}") from None
    secret = text.removesuffix("\n").removesuffix("\r")
    if not secret:
        raise _Problem(f"{option}: {path} is empty")
    return secret


def _secure(values: Sequence[str]) -> dict[str, str]:
    pairs = _pairs("--secure", values, "NAME=FILE")
    for name in pairs:
        if not _PARAMETER_NAME.fullmatch(name):
            raise _Problem(f"--secure {name!r}: not a parameter's name")
    return {name: _read_secret(f"--secure {name}", path) for name, path in pairs.items()}


def _pairs(option: str, values: Sequence[str], shape: str) -> dict[str, str]:
    """Split each `name=value` at its first equals sign; a name may come once.

    A problem's text does not repeat the value: a URL may contain a token.
    """
    pairs: dict[str, str] = {}
    for text in values:
        name, equals, value = text.partition("=")
        if not (name and equals and value):
            raise _Problem(f"{option} must look like {shape}")
        if name in pairs:
            raise _Problem(f"{option} {name} is given twice")
        pairs[name] = value
    return pairs


def _repositories(urls: Sequence[str], configurations: Sequence[str]) -> dict[str, str]:
    """Return each repository's parameter: the fields of --configure, then the URL of --repository."""
    fields_of: dict[str, dict[str, Any]] = {}
    for full_name, text in _pairs("--configure", configurations, "OWNER/NAME=JSON").items():
        try:
            value = json.loads(text)
        except ValueError as error:
            raise _Problem(f"--configure {full_name}: not JSON: {error}") from None
        if not isinstance(value, dict):
            raise _Problem(f"--configure {full_name}: must be a JSON object")
        fields_of[full_name] = value
    rules = {name for name in fields_of if _OWNER.fullmatch(name)}
    for full_name, url in _pairs("--repository", urls, "OWNER/NAME=URL").items():
        rules.discard(full_name)
        fields_of.setdefault(full_name, {})["url"] = url
    parameters = {full_name: json.dumps(value) for full_name, value in fields_of.items()}
    for full_name, text in parameters.items():
        if full_name not in rules and not _FULL_NAME.fullmatch(full_name):
            raise _Problem(f"a repository is named OWNER/NAME, not {full_name!r}")
        if len(text.encode()) > MAX_PARAMETER_BYTES:
            raise _Problem(f"--configure {full_name}: a parameter holds {MAX_PARAMETER_BYTES} bytes")
    return parameters


def _variables(arguments: argparse.Namespace, mount: str) -> dict[str, str]:
    """Return the environment variables that stand for the arguments."""
    variables = {ENVIRONMENT_PREFIX + "MOUNT": mount}
    names = sorted({field.name for field in fields(Settings)} - {"mount", "publisher", "queue_url", "dead_letter_url"})
    for name, value in _pairs("--set", arguments.set, "NAME=VALUE").items():
        if name not in names:
            raise _Problem(f"--set {name}: there is no such setting; there are {', '.join(names)}")
        variables[variable_of(name)] = value
    if arguments.allow_sha1:
        variables[ENVIRONMENT_PREFIX + "ALLOW_SHA1"] = "true"
    return variables


def _settings(arguments: argparse.Namespace, environment: Mapping[str, str], mount: str) -> Settings:
    prefix = {ENVIRONMENT_PREFIX + "PARAMETER_PREFIX": PREFIX}
    try:
        return read_settings(prefix | dict(environment) | _variables(arguments, mount))
    except ConfigurationInvalid as error:
        raise _Problem(str(error)) from None
