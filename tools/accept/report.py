"""What a run found: figures, results, and the report of them in Markdown."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum


class Result(StrEnum):
    """How a step ended. What did not run is never counted as passed."""

    PASSED = "passed"
    FAILED = "failed"
    NOT_RUN = "not run"


class StepFailed(Exception):
    """The step found something that is not as it should be; the text says what."""


class StepNotRun(Exception):
    """The step cannot be run here; the text says why."""


@dataclass(frozen=True)
class Figure:
    """One measured or counted value, as it is shown, and how it is known."""

    name: str
    value: str
    known_by: str


@dataclass
class Step:
    """One step of a run. `why` says what failed, or why it was not run."""

    name: str
    promise: str
    """What it proves, as a sentence."""
    result: Result = Result.NOT_RUN
    why: str = ""
    seconds: float = 0.0
    figures: list[Figure] = field(default_factory=list)


@dataclass
class Report:
    """A run: `facts` say where, of what and when; `left` names what could not be deleted."""

    facts: Mapping[str, str]
    steps: list[Step]
    operations: Sequence[str] = ()
    is_interrupted: bool = False

    @property
    def has_passed(self) -> bool:
        """Whether every step that ran passed, at least one did, and none was left out by an interruption."""
        results = [step.result for step in self.steps]
        return Result.PASSED in results and Result.FAILED not in results and not self.is_interrupted

    @property
    def verdict(self) -> str:
        """How the run ended, in a word."""
        return "interrupted" if self.is_interrupted else "passed" if self.has_passed else "failed"

    def render(self) -> str:
        """Return the report in Markdown."""
        counts = ", ".join(f"{sum(step.result is each for step in self.steps)} {each}" for each in Result)
        lines = ["# git2efs: acceptance", "", f"**{self.verdict.capitalize()}**: {counts}.", ""]
        lines += [*_table(("", ""), [(name, value) for name, value in self.facts.items()]), ""]
        lines += [
            "Nothing was mounted. That a tree is visible is known by the service's answer, which comes after the flip;",
            "the times inside are those of its log lines; that the files are the commit's is known by `verify`, which",
            "reads each one.",
            "",
            "## Steps",
        ]
        rows = [(step.name, step.result, f"{step.seconds:.1f}", step.promise) for step in self.steps]
        lines += [*_table(("step", "result", "seconds", "what it proves"), rows), ""]
        lines += ["## Figures"]
        figures = [(step.name, each.name, each.value, each.known_by) for step in self.steps for each in step.figures]
        lines += [*_table(("step", "figure", "value", "known by"), figures), ""]
        for result, title in ((Result.FAILED, "Failed"), (Result.NOT_RUN, "Not run")):
            found = [f"- {step.name}: {_cell(step.why)}" for step in self.steps if step.result is result]
            lines += [f"## {title}", *(found or ["Nothing."]), ""]
        lines += ["## AWS operations that this command called", *(f"- `{each}`" for each in self.operations), ""]
        return "\n".join(lines)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = [head, ["---"] * len(head), *rows]
    return [f"| {' | '.join(_cell(cell) for cell in line)} |" for line in lines]


def _cell(text: str) -> str:
    """Return text that stays in its cell and its line."""
    return " ".join(text.split()).replace("|", "\\|")


def milliseconds(seconds: float) -> str:
    """Return a duration as it is shown."""
    return f"{seconds * 1000:,.0f} ms"


def spread(values: Sequence[float]) -> str:
    """Return durations in seconds as their median, smallest and largest, and how many there are."""
    ordered = sorted(values)
    middle = (ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2]) / 2
    return f"{milliseconds(middle)} ({milliseconds(ordered[0])} to {milliseconds(ordered[-1])}, {len(ordered)} pushes)"
