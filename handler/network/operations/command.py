"""An operator's command: an event's fields as one frozen value, every problem at once. Pure: no I/O, no clock."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from handler.config.fields import FieldReader, flag, nullable, printable
from handler.config.names import full_name_problem, path_problem, ref_problem
from handler.errors import Malformed


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """What an action takes, by the names of the event's fields.

    `subject` is the field that names what the action is about: "repository" (`<owner>/<name>`) or "path" (a target's
    path on the mount, or a repository).
    """

    subject: str
    is_subject_needed: bool = False
    texts: frozenset[str] = frozenset()
    needed: frozenset[str] = frozenset()
    """Those of `texts` without which the action says too little."""
    flags: frozenset[str] = frozenset()


ACTIONS: Mapping[str, Action] = {
    "status": Action(subject="repository", flags=frozenset({"offline", "no_disk"})),
    "publish": Action(subject="repository", is_subject_needed=True, texts=frozenset({"ref"})),
    "rollback": Action(subject="path", is_subject_needed=True, texts=frozenset({"to", "by", "why"})),
    "hold": Action(subject="path", is_subject_needed=True, texts=frozenset({"by", "why"})),
    "resume": Action(subject="path", is_subject_needed=True),
    "take-over": Action(
        subject="repository",
        is_subject_needed=True,
        texts=frozenset({"from", "path"}),
        needed=frozenset({"from"}),
    ),
    "verify": Action(subject="path", flags=frozenset({"repair"})),
    "doctor": Action(subject="repository"),
}
_MAX_CHARACTERS = {"by": 100, "why": 500}
_COMMIT = re.compile(r"[0-9a-f]{7,40}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """What the operator asks for. `subject` is a repository's full name or a target's path; None: all there are.

    `ref` is a full name; `to` a commit's id, or its first seven digits or more. A hold remembers `by` and `why`.
    `previous` is the full name of the repository to take over from, `path` its one target to take; None: all.
    """

    action: str
    subject: str | None = None
    ref: str | None = None
    to: str | None = None
    previous: str | None = None
    path: str | None = None
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
    name = event.get("action")
    if not isinstance(name, str) or name not in ACTIONS:
        raise Malformed(f"action is none of {', '.join(ACTIONS)}")
    action = ACTIONS[name]
    problems: list[str] = []
    reader = FieldReader(event, problems)
    reader.refuse_unknown({"action", action.subject, *action.texts, *action.flags}, f"is not a field of {name}")
    texts = {field: _read_text(reader, field) for field in (action.subject, *sorted(action.texts))}
    texts |= {"ref": _full_ref(texts.get("ref"))}
    needed = {action.subject} if action.is_subject_needed else set()
    problems += [f"{name} needs {field}" for field in sorted(needed | action.needed) if texts[field] is None]
    for field, value in texts.items():
        if value is not None and field in _PROBLEMS:
            reader.refuse(field, _PROBLEMS[field](value))
    if texts.get("from") is not None and texts["from"] == texts["repository"]:
        reader.refuse("from", "is the repository itself")
    flags = {field: reader.read(field, flag, False) for field in sorted(action.flags)}
    if problems:
        raise Malformed("; ".join(problems))
    return Command(
        action=name,
        subject=texts[action.subject],
        ref=texts["ref"],
        to=texts.get("to"),
        previous=texts.get("from"),
        path=texts["path"] if "path" in action.texts else None,
        by=texts.get("by") or "",
        why=texts.get("why") or "",
        is_offline=flags.get("offline", False),
        counts_disk=not flags.get("no_disk", False),
        is_repairing=flags.get("repair", False),
    )


def _commit_problem(text: str) -> str | None:
    return None if _COMMIT.fullmatch(text) else "is not a commit's id of 7 to 40 hex digits"


_PROBLEMS: Mapping[str, Callable[[str], str | None]] = {
    "repository": full_name_problem,
    "path": path_problem,
    "ref": ref_problem,
    "to": _commit_problem,
    "from": full_name_problem,
}
"""What is wrong with a field that is more than text."""


def _read_text(reader: FieldReader, name: str) -> str | None:
    return reader.read(name, nullable(printable(_MAX_CHARACTERS.get(name, 1024))), None)


def _full_ref(ref: str | None) -> str | None:
    return ref if ref is None or ref.startswith("refs/") else f"refs/heads/{ref}"
