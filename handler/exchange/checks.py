"""What the doctor finds: a list of checks, in which a step that raises becomes a check like any other. Pure."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum

from handler.outcome import summary_of

MAX_SKEW_SECONDS = 5.0
"""A clock that differs from ours by more than this is wrong."""


class Verdict(StrEnum):
    """The result of a check."""

    OK = "ok"
    WRONG = "wrong"
    UNKNOWN = "unknown"
    """The caller lacks the permission to find out: neither good nor bad."""


@dataclass(frozen=True, slots=True)
class Check:
    """One check: what was examined, what was found, and what to do about it (empty where there is nothing to do)."""

    name: str
    verdict: Verdict
    found: str
    todo: str = ""


class CheckList:
    """Collects checks in the order in which they were made."""

    def __init__(self) -> None:
        """Start with an empty list."""
        self._checks: list[Check] = []

    def __iter__(self) -> Iterator[Check]:
        return iter(self._checks)

    def ok(self, name: str, *, found: str, todo: str = "") -> None:
        """Add a check that found nothing wrong; `todo` is advice."""
        self._checks.append(Check(name, Verdict.OK, found, todo))

    def wrong(self, name: str, *, found: str, todo: str) -> None:
        """Add a check that found something wrong, and how to correct it."""
        self._checks.append(Check(name, Verdict.WRONG, found, todo))

    def unknown(self, name: str, *, found: str, todo: str) -> None:
        """Add a check that could not be made, and how to make it possible."""
        self._checks.append(Check(name, Verdict.UNKNOWN, found, todo))

    def extend(self, checks: Iterable[Check]) -> None:
        """Add checks that were made elsewhere."""
        self._checks += checks

    def are_well(self) -> bool:
        """Whether no check is wrong."""
        return all(each.verdict is not Verdict.WRONG for each in self._checks)

    @contextmanager
    def step(self, name: str, *, todo: str) -> Iterator[None]:
        """Make an Exception of the `with` block the wrong check `name`: it must not keep later checks from being made.

        `todo` says what to do about whatever was raised.
        """
        try:
            yield
        except Exception as error:
            self.wrong(name, found=summary_of(error), todo=todo)
