"""What a trial is and what came of it. Values only: they travel between the tests and their workers.

A trial starts from a copy of its scene's mount, lets the handler run until it is stopped (none, one or several runs),
and then once more in peace. After each run the mount is looked at.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from testing.repositories import Tree
from tests.crash.operations import Stop

TARGET = "octo/site/main"


@dataclass(frozen=True, slots=True)
class Push:
    """A state of the remote, and the delivery that tells of it."""

    origin: Path
    event: Mapping[str, Any]
    commit: str


@dataclass(frozen=True, slots=True)
class Scene:
    """A start state, the push to be published from there, and one that comes after it.

    `trees` are those of all commits that may be on the mount; `patches` are values of the handler's modules
    (`handler.mount.git.packs:IN_MEMORY_BYTES`) that bring a case about with little data.
    """

    name: str
    mount: Path
    old: str | None
    push: Push
    newer: Push
    trees: Mapping[str, Tree]
    parameter: Mapping[str, object]
    warm_up: Mapping[str, Any]
    patches: Mapping[str, object] = field(default_factory=dict)

    @property
    def grace_seconds(self) -> float:
        """How long a replaced release stays."""
        seconds = self.parameter["grace_seconds"]
        assert isinstance(seconds, int)
        return seconds


@dataclass(frozen=True, slots=True)
class Trial:
    """One run for each of `stops`, and the last one in peace: for the same push, or for the newer one.

    Each in a process of its own, but for `is_warm_next`: then the last run is in the process that met the last stop.
    """

    stops: tuple[Stop, ...] = ()
    is_newer_next: bool = False
    is_warm_next: bool = False

    def __str__(self) -> str:
        stops = ", then ".join(map(str, self.stops)) or "no stop"
        return stops + ", then a newer push" * self.is_newer_next + " in the same process" * self.is_warm_next


@dataclass(slots=True)
class Run:
    """One run of the handler: where it was stopped, and what it answered if it lived to (status, outcome, reason)."""

    stopped_at: str | None = None
    answer: tuple[int, str, str] | None = None
    modifying: list[str] = field(default_factory=list)
    reading: list[str] = field(default_factory=list)
    trouble: str | None = None
    """What no run may do: raise, or hang."""


@dataclass(slots=True)
class Report:
    """What came of a trial; no problems is what is hoped for."""

    trial: Trial
    runs: list[Run] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        stopped = "; ".join(str(run.stopped_at) for run in self.runs[:-1])
        return f"{self.trial} ({stopped}): " + "; ".join(self.problems)
