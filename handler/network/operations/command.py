"""An operator's command, from an event's fields to one frozen value, every problem at once. Pure: no I/O, no clock."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from handler.config.names import is_full_name, path_problem, ref_problem
from handler.errors import Malformed

SUBJECTS = {
    "status": "repository",
    "publish": "repository",
    "rollback": "path",
    "hold": "path",
    "resume": "path",
    "verify": "path",
    "doctor": "repository",
}
"""Each action, and the field that names what it is about: a repository, or a target's path (or a repository)."""
_NEEDED = frozenset({"publish", "rollback", "hold", "resume"})
_TEXTS = {
    "publish": {"ref"},
    "rollback": {"to", "by", "why"},
    "hold": {"by", "why"},
}
_FLAGS = {"status": {"offline", "no_disk"}, "verify": {"repair"}}
_MOST = {"by": 100, "why": 500}
_COMMIT = re.compile(r"[0-9a-f]{7,40}")


@dataclass(frozen=True, slots=True)
class Command:
    """What is asked. `subject` is a repository's full name or a target's path, None for all there are.

    `ref` is a full name; `to` a commit's first seven digits or more; `by` and `why` are what a hold remembers.
    """

    action: str
    subject: str | None = None
    ref: str | None = None
    to: str | None = None
    by: str = ""
    why: str = ""
    is_offline: bool = False
    counts_disk: bool = True
    is_repairing: bool = False


def read_command(event: object) -> Command:
    """Return the command in `event`: `{"action": "rollback", "path": "octo/site/main", "to": "1f0c2de", "why": ...}`.

    Raises Malformed, naming every problem.
    """
    if not isinstance(event, Mapping):
        raise Malformed("the event is not an object with an action")
    action = event.get("action")
    if not isinstance(action, str) or action not in SUBJECTS:
        raise Malformed(f"action is none of {', '.join(SUBJECTS)}")
    field, texts, flags = SUBJECTS[action], _TEXTS.get(action, set()), _FLAGS.get(action, set())
    known = {"action", field, *texts, *flags}
    problems = [f"{str(name)[:40]!a} is not a field of {action}" for name in event if name not in known]
    given = {name: _text(event, name, problems) for name in (field, *sorted(texts))}
    subject, ref, to = given[field], given.get("ref"), given.get("to")
    if subject is None and action in _NEEDED:
        problems.append(f"{action} needs {field}")
    if subject is not None and (problem := _subject_problem(field, subject)):
        problems.append(f"{field} {problem}")
    if ref is not None:
        ref = ref if ref.startswith("refs/") else f"refs/heads/{ref}"
        if problem := ref_problem(ref):
            problems.append(f"ref {problem}")
    if to is not None and not _COMMIT.fullmatch(to):
        problems.append("to is not a commit's id of 7 to 40 hex digits")
    said = {name: _flag(event, name, problems) for name in flags}
    if problems:
        raise Malformed("; ".join(problems))
    return Command(
        action,
        subject,
        ref,
        to,
        given.get("by") or "",
        given.get("why") or "",
        said.get("offline", False),
        not said.get("no_disk", False),
        said.get("repair", False),
    )


def _text(event: Mapping[object, object], name: str, problems: list[str]) -> str | None:
    value = event.get(name)
    if value is None:
        return None
    if not isinstance(value, str) or not value or len(value) > _MOST.get(name, 1024) or not value.isprintable():
        problems.append(f"{name} is not 1 to {_MOST.get(name, 1024)} printable characters")
        return None
    return value


def _flag(event: Mapping[object, object], name: str, problems: list[str]) -> bool:
    value = event.get(name, False)
    if not isinstance(value, bool):
        problems.append(f"{name} is neither true nor false")
    return value is True


def _subject_problem(field: str, subject: str) -> str | None:
    if field == "repository":
        return None if is_full_name(subject) else "is not <owner>/<name>"
    return path_problem(subject)
