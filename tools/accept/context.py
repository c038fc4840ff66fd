"""What the steps share: the account, the service, the origin, and how much of each to do."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tools.accept.account import Account
from tools.accept.origin import Origin
from tools.accept.report import StepNotRun
from tools.accept.service import Service
from tools.accept.stacks import Say, Stacks


@dataclass(frozen=True)
class Options:
    """What the command line says; counts are of pushes."""

    template: Path
    architecture: str
    origin: str | None = None
    parameters: Mapping[str, str] = field(default_factory=dict)
    warm: int = 10
    repositories: int = 10
    pushes_each: int = 3
    in_flight: int = 3
    """A push runs three functions at once: webhook, publisher, origin. A new account may run ten in all."""


@dataclass
class Context:
    """One run."""

    account: Account
    stacks: Stacks
    options: Options
    say: Say
    caller: str
    """The ARN of who runs it, which has the partition and the account's number too."""
    packages: dict[str, str] = field(default_factory=dict)
    """Where each package was uploaded, by name: `s3://...`."""
    found_service: Service | None = None
    found_origin: Origin | None = None

    @property
    def partition(self) -> str:
        """The partition, `aws` for most."""
        return self.caller.split(":")[1]

    @property
    def number(self) -> str:
        """The account's number."""
        return self.caller.split(":")[4]

    @property
    def service(self) -> Service:
        """The stack. Raises StepNotRun where it was not deployed."""
        if self.found_service is None:
            raise StepNotRun("the stack was not deployed")
        return self.found_service

    @property
    def origin(self) -> Origin:
        """The origin. Raises StepNotRun where there is none."""
        if self.found_origin is None:
            raise StepNotRun("there is no origin")
        return self.found_origin

    def configure(self, full_name: str) -> None:
        """Put a repository's parameter."""
        self.service.put_repository(full_name, self.origin.parameter(full_name))

    def push(self, full_name: str) -> str:
        """Push to a repository, where the origin takes pushes; return the commit that its ref names."""
        return self.origin.push([full_name])[full_name]
