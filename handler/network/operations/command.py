"""An operator's command, from an event's fields to one frozen value, every problem at once. Pure: no I/O, no clock."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from handler.config.fields import FieldReader, flag, nullable, printable
from handler.config.names import full_name_problem, path_problem, ref_problem
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
_MAX_CHARACTERS = {"by": 100, "why": 500}
_COMMIT = re.compile(r"[0-9a-f]{7,40}")


@dataclass(frozen=True, slots=True, kw_only=True)
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
    problems: list[str] = []
    reader = FieldReader(event, problems)
    reader.refuse_unknown({"action", field, *texts, *flags}, f"is not a field of {action}")
    given = {name: _read_text(reader, name) for name in (field, *sorted(texts))}
    subject, ref, to = given[field], given.get("ref"), given.get("to")
    if subject is None and action in _NEEDED:
        problems.append(f"{action} needs {field}")
    if subject is not None:
        reader.refuse(field, (full_name_problem if field == "repository" else path_problem)(subject))
    if ref is not None:
        ref = ref if ref.startswith("refs/") else f"refs/heads/{ref}"
        reader.refuse("ref", ref_problem(ref))
    if to is not None and not _COMMIT.fullmatch(to):
        reader.refuse("to", "is not a commit's id of 7 to 40 hex digits")
    switches = {name: reader.read(name, flag, False) for name in flags}
    if problems:
        raise Malformed("; ".join(problems))
    return Command(
        action=action,
        subject=subject,
        ref=ref,
        to=to,
        by=given.get("by") or "",
        why=given.get("why") or "",
        is_offline=switches.get("offline", False),
        counts_disk=not switches.get("no_disk", False),
        is_repairing=switches.get("repair", False),
    )


def _read_text(reader: FieldReader, name: str) -> str | None:
    return reader.read(name, nullable(printable(_MAX_CHARACTERS.get(name, 1024))), None)
