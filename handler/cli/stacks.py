"""Which stack the command asks, and how: a deployed one through AWS, this host's mount, or `make serve`."""

import os
import tomllib
from argparse import Namespace
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from handler.cli.served import ServedStack
from handler.cli.terminal import CheckoutProgress, say, waiting
from handler.errors import ConfigurationInvalid
from handler.network.operations.aws import invoke
from handler.network.operations.command import Command
from handler.network.operations.operator import Content, Operator
from handler.network.operations.stack import ParameterEditor, StackAddress, StackParameters, find_stack
from handler.settings import ENVIRONMENT_PREFIX, Settings, read_settings

PROJECT = Path(__file__).resolve().parents[2]
STACK_VARIABLE = "GIT2EFS_STACK"
DEFAULT_STACK = "git2efs"
_OWN = tuple(ENVIRONMENT_PREFIX + name for name in ("MOUNT", "PARAMETER_PREFIX"))


class OperatedStack(Protocol):
    """A stack that an operator's commands are about."""

    @property
    def is_host(self) -> bool:
        """Whether this process carries commands out itself, with the settings in its environment."""
        ...

    def operate(self, event: Mapping[str, object], command: Command) -> Content:
        """Carry out the command that `event` describes. Raises Git2EfsError, AccessDenied."""
        ...

    def address(self) -> StackAddress:
        """Return where its parameters and its webhook are. Raises as `operate`."""
        ...

    def parameters(self, address: StackAddress) -> ParameterEditor:
        """Return what reads and writes its parameters; `address` is its own."""
        ...


def choose_stack(parsed: Namespace, environment: Mapping[str, str]) -> OperatedStack:
    """Return the stack that the arguments, the environment, or else deploy.toml name. Raises ConfigurationInvalid."""
    name = parsed.stack or environment.get(STACK_VARIABLE)
    is_elsewhere = parsed.local is not None or getattr(parsed, "function", None) is not None
    is_host = not name and any(environment.get(each) for each in _OWN)
    found = {} if is_elsewhere or is_host else read_deployed()
    # A stack of another name has nothing to do with what was deployed from here.
    found = found if name in (None, "", found.get("stack", DEFAULT_STACK)) else {}
    _use_profile(parsed.profile or found.get("profile"), parsed.region or found.get("region"))
    if parsed.local is not None:
        return _Served(ServedStack(parsed.local))
    if is_elsewhere:
        return _Function(parsed.function)
    return _Host() if is_host else _Deployed(name or found.get("stack", DEFAULT_STACK))


def read_deployed() -> Mapping[str, str]:
    """Return what `make deploy` remembers beside this source: `stack`, `region` and `profile`, those that it has.

    Raises ConfigurationInvalid for a file that cannot be read.
    """
    path = PROJECT / "deploy.toml"
    try:
        found = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise ConfigurationInvalid(f"{path}: {error}") from None
    return {name: str(found[name]) for name in ("stack", "region", "profile") if found.get(name)}


def _use_profile(profile: str | None, region: str | None) -> None:
    """Let every client of this process use the profile and the region. Raises ConfigurationInvalid."""
    if profile is None and region is None:
        return
    import boto3
    from botocore.exceptions import BotoCoreError

    try:
        # Not by variables: credentials in the environment would come before a profile's.
        boto3.setup_default_session(profile_name=profile, region_name=region)
    except BotoCoreError as error:
        raise ConfigurationInvalid(f"--profile {profile}: {type(error).__name__}") from None


@dataclass(frozen=True, slots=True)
class _Function:
    name: str
    is_host: bool = False

    def operate(self, event: Mapping[str, object], command: Command) -> Content:
        with waiting(f"asking {self.name}"):
            return invoke(self.name, event)

    def address(self) -> StackAddress:
        raise ConfigurationInvalid("a function has no parameters of its own: name the --stack")

    def parameters(self, address: StackAddress) -> ParameterEditor:
        return StackParameters(address.kms_key)


@dataclass(frozen=True, slots=True)
class _Deployed:
    name: str
    is_host: bool = False

    def operate(self, event: Mapping[str, object], command: Command) -> Content:
        return _Function(self.address().operate_function).operate(event, command)

    def address(self) -> StackAddress:
        return find_stack(self.name)

    def parameters(self, address: StackAddress) -> ParameterEditor:
        return StackParameters(address.kms_key)


@dataclass(frozen=True, slots=True)
class _Served:
    service: ServedStack
    is_host: bool = False

    def operate(self, event: Mapping[str, object], command: Command) -> Content:
        with waiting("asking the service"):
            return self.service.operate(event)

    def address(self) -> StackAddress:
        return self.service.address()

    def parameters(self, address: StackAddress) -> ParameterEditor:
        return self.service


class _Host:
    """This host, on its mount, with the functions' settings in its environment."""

    is_host = True

    def operate(self, event: Mapping[str, object], command: Command) -> Content:
        # Imported when it is used: who asks a deployed stack waits for nothing of this.
        from handler.runtime import make_sides

        settings = _settings()
        publisher, deliverer = make_sides(settings, progress=CheckoutProgress(), warn=say, say=say)
        operator = Operator(settings, publisher.operations, deliverer, say=say)
        # As the functions do: readers run as other users.
        os.umask(0o022)
        try:
            return operator.run(command)
        finally:
            operator.close()

    def address(self) -> StackAddress:
        return StackAddress(prefix=_settings().parameter_prefix)

    def parameters(self, address: StackAddress) -> ParameterEditor:
        return StackParameters(address.kms_key)


def _settings() -> Settings:
    try:
        return read_settings(os.environ)
    except ConfigurationInvalid as error:
        raise ConfigurationInvalid(
            f"{error}; set them as the functions have them, or name a --stack or a --function"
        ) from None
