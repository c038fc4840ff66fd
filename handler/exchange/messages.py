"""The messages between the two sides, as JSON: `{"version", "action", "arguments"}`, and what comes back. Pure.

Each action is a method of `Publisher` or `Operations`, and its message has the method's arguments. The answer is
`{"version", "result"}`, or `{"version", "failure"}` where the method raised one of our failures. Whatever else is sent
is refused: an unknown version, action or field, and a value that is not of its type or not a valid name.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, get_type_hints

from handler.config.fields import is_version
from handler.config.names import (
    delivery_problem,
    full_name_problem,
    is_object_id,
    is_transfer,
    path_problem,
    ref_problem,
    subdirectory_problem,
)
from handler.config.patterns import MAX_PATTERNS, exclude_problem
from handler.errors import Git2EfsError, Malformed
from handler.exchange.answers import FAILURES, Failure, Need, PackAnswer, RefsAnswer
from handler.exchange.codec import Check, PlainReader, to_plain
from handler.exchange.events import PendingEvent
from handler.exchange.operations import MountedTarget, Operations
from handler.exchange.publisher import MAX_SURVEYED, PublishAnswer, Publisher, PublishRequest
from handler.exchange.remote import MAX_BASES, FetchQuery
from handler.exchange.schedule_state import TASKS
from handler.model import Outcome, PushEvent, Target, Tip
from handler.outcome import failure_of

VERSION = 1
_MAX_ANSWERS = 100

PUBLISHER_ACTIONS = (
    "publish",
    "receive",
    "announced",
    "look",
    "make_spares",
    "survey",
    "published_refs",
    "maintain",
    "take_lease",
    "end_lease",
)
OPERATOR_ACTIONS = (
    "repositories",
    "read_schedule_state",
    "find_targets",
    "target_statuses",
    "count_disk",
    "roll_back",
    "hold",
    "end_hold",
    "take_over",
    "verify",
    "mount_checks",
)


@dataclass(frozen=True, slots=True)
class Call:
    """One call of the mount side: the name of a method, and its arguments by name."""

    action: str
    arguments: dict[str, Any]


def encode_call(action: str, arguments: Mapping[str, object]) -> bytes:
    """Return the message of a call."""
    plain = {name: to_plain(value) for name, value in arguments.items()}
    return _json({"version": VERSION, "action": action, "arguments": plain})


def decode_call(message: object) -> Call:
    """Return the call in a parsed message. Raises Malformed, naming what is wrong, and no value."""
    if not isinstance(message, dict) or set(message) != {"version", "action", "arguments"}:
        raise Malformed("the message is not a version, an action and its arguments")
    if not is_version(message["version"], VERSION):
        raise Malformed(f"the message is not of version {VERSION}")
    action, given = message["action"], message["arguments"]
    if not isinstance(action, str) or action not in (*PUBLISHER_ACTIONS, *OPERATOR_ACTIONS):
        raise Malformed("the message has no action that is known")
    if not isinstance(given, dict):
        raise Malformed("the message's arguments are not an object")
    types = _signature(action)[0]
    arguments = _READER.read_arguments(types, given, action)
    if missing := types.keys() - arguments.keys():
        raise Malformed(f"{action}.{min(missing)} is missing")
    if problem := _problem_of_arguments(arguments):
        raise Malformed(f"{action}: {problem}")
    return Call(action, arguments)


def encode_result(result: object) -> dict[str, object]:
    """Return the answer of a call that returned `result`."""
    return {"version": VERSION, "result": to_plain(result)}


def encode_failure(error: Git2EfsError) -> dict[str, object]:
    """Return the answer of a call that raised `error`."""
    return {"version": VERSION, "failure": to_plain(Failure(error.reason, str(error)))}


def decode_answer(action: str, payload: bytes) -> Any:
    """Return what the call returned, and raise what it raised. Raises Malformed for anything else."""
    try:
        answer = json.loads(payload)
    except (ValueError, RecursionError):
        raise Malformed("the answer is not JSON") from None
    if not isinstance(answer, dict) or not is_version(answer.get("version"), VERSION):
        raise Malformed(f"the answer is not of version {VERSION}")
    if "failure" in answer:
        failure = _READER.read(Failure, answer["failure"], "failure")
        raise failure_of(failure.reason, failure.message)
    return _READER.read(_signature(action)[1], answer.get("result"), "result")


def _json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":"), allow_nan=False).encode()


@cache
def _signature(action: str) -> tuple[dict[str, Any], Any]:
    """Return the types of an action's arguments, and of its result."""
    types = get_type_hints(getattr(Publisher if action in PUBLISHER_ACTIONS else Operations, action))
    result = types.pop("return")
    return types, result


# -- what is valid, beyond its type --------------------------------------------------------------------------------


def _field(name: str, problem: str | None) -> str | None:
    return None if problem is None else f".{name} {problem}"


def _first(*problems: str | None) -> str | None:
    return next((each for each in problems if each is not None), None)


def _id_problem(name: str, value: str | None) -> str | None:
    return None if value is None or is_object_id(value) else f".{name} is not an object id"


def _ids_problem(name: str, values: tuple[str, ...]) -> str | None:
    return None if all(map(is_object_id, values)) else f".{name} holds what is not an object id"


def _failure_problem(failed: Failure | None) -> str | None:
    return None if failed is None or failed.reason in FAILURES else ".failed is no failure of a remote"


def _check_target(target: Target) -> str | None:
    ref = target.ref[:-1] + "x" if target.is_latest and target.ref.endswith("*") else target.ref
    part = target.subdirectory
    return _first(
        _field("path", path_problem(target.path)),
        _field("ref", ref_problem(ref)),
        _field("subdirectory", None if part is None else subdirectory_problem(part)),
        _field("exclude", _first(*map(exclude_problem, target.exclude[:MAX_PATTERNS]))),
        None if len(target.exclude) <= MAX_PATTERNS else ".exclude has too many patterns",
    )


def _check_push(push: PushEvent) -> str | None:
    return _first(
        _field("repository", full_name_problem(push.repository)),
        _field("ref", ref_problem(push.ref)),
        _id_problem("before", push.before),
        _id_problem("after", push.after),
    )


def _check_query(query: FetchQuery) -> str | None:
    if not 0 <= query.deepen < 2**31:
        return ".deepen is not a number of commits"
    if len(query.bases) > MAX_BASES:
        return f".bases has more than {MAX_BASES} commits"
    return _first(
        _id_problem("want", query.want),
        _id_problem("have", query.have),
        _ids_problem("shallow", query.shallow),
        _ids_problem("bases", query.bases),
    )


def _check_tip(tip: Tip) -> str | None:
    return _first(
        _field("ref", ref_problem(tip.ref)), _id_problem("object_id", tip.object_id), _id_problem("commit", tip.commit)
    )


def _check_refs(answer: RefsAnswer) -> str | None:
    return _first(_field("ref", ref_problem(answer.ref)), _failure_problem(answer.failed))


def _check_pack(answer: PackAnswer) -> str | None:
    if answer.size < 0 or (answer.transfer is not None and not is_transfer(answer.transfer)):
        return ".size or .transfer is none that can be"
    return _first(
        _ids_problem("shallow", answer.shallow),
        _ids_problem("unshallow", answer.unshallow),
        _failure_problem(answer.failed),
    )


def _check_event(event: PendingEvent) -> str | None:
    return _first(
        _field("repository", full_name_problem(event.repository)),
        _field("path", path_problem(event.path)),
        _id_problem("commit", event.commit),
    )


def _check_mounted(target: MountedTarget) -> str | None:
    return _first(_field("repository", full_name_problem(target.repository)), _field("path", path_problem(target.path)))


def _check_request(request: PublishRequest) -> str | None:
    if max(len(request.answers.refs), len(request.answers.packs)) > _MAX_ANSWERS:
        return f".answers has more than {_MAX_ANSWERS} answers"
    return _field("delivery", delivery_problem(request.delivery))


def _check_answer(answer: PublishAnswer) -> str | None:
    return " is neither an outcome nor a need" if (answer.outcome is None) == (answer.need is None) else None


def _check_need(need: Need) -> str | None:
    if need.ref is None and need.fetch is None:
        return " is of nothing"
    return None if need.ref is None else _field("ref", ref_problem(need.ref))


def _check_outcome(outcome: Outcome) -> str | None:
    commits = ("commit", "previous_commit", "refused_commit")
    return _first(*(_id_problem(name, getattr(outcome, name)) for name in commits))


_CHECKS: Mapping[type, Check] = {
    Outcome: _check_outcome,
    PublishRequest: _check_request,
    PublishAnswer: _check_answer,
    Need: _check_need,
    Target: _check_target,
    PushEvent: _check_push,
    FetchQuery: _check_query,
    Tip: _check_tip,
    RefsAnswer: _check_refs,
    PackAnswer: _check_pack,
    PendingEvent: _check_event,
    MountedTarget: _check_mounted,
}
_READER = PlainReader(_CHECKS)


def _problem_of_arguments(arguments: Mapping[str, Any]) -> str | None:
    """Return what is wrong with arguments that are no objects of their own."""
    transfer, task, items, path = (arguments.get(name) for name in ("transfer", "task", "items", "path"))
    for name in ("repository", "previous"):
        if isinstance(arguments.get(name), str) and (problem := full_name_problem(arguments[name])):
            return f"the {name} {problem}"
    if isinstance(path, str) and (problem := path_problem(path)):
        return f"the path {problem}"
    if isinstance(transfer, str) and not is_transfer(transfer):
        return "the transfer is not 32 hex digits"
    if isinstance(task, str) and task not in TASKS:
        return "the task is none that is known"
    if items is not None and len(items) > MAX_SURVEYED:
        return f"there are more than {MAX_SURVEYED} items"
    return None
