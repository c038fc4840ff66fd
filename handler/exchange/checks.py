"""What the doctor finds: checks, each a line, and what keeps one that fails from ending the others."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from functools import partial

from handler.mount.operations.status import sentence_of


class Verdict(StrEnum):
    """How a check came out."""

    OK = "ok"
    WRONG = "wrong"
    UNKNOWN = "unknown"
    """It could not be asked, for want of a right say: neither good nor bad."""


@dataclass(frozen=True, slots=True)
class Check:
    """A check: what was looked at, what was found, and what to do about it (empty where nothing is to be done)."""

    name: str
    verdict: Verdict
    found: str
    todo: str = ""


Step = Callable[[], Iterator[Check]]


def carried_out(name: str, step: Step, todo: str) -> Iterator[Check]:
    """Yield the checks of a step; what it raises is a check that went wrong, with what to do about that."""
    try:
        yield from step()
    except Exception as error:
        yield Check(name, Verdict.WRONG, sentence_of(error), todo)


ok = partial(Check, verdict=Verdict.OK)
wrong = partial(Check, verdict=Verdict.WRONG)
unknown = partial(Check, verdict=Verdict.UNKNOWN)
