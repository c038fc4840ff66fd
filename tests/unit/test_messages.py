"""The messages between the two sides: whatever is sent comes back as it was, and nothing else is taken."""

import contextlib
import json
from collections.abc import Iterator, Mapping
from typing import Any, get_type_hints

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handler import publisher
from handler.deadline import Deadline
from handler.errors import Git2EfsError, Malformed, Rejected, Stalled, Transient, Unexpected
from handler.exchange.answers import Answers, Failure, Need, PackAnswer, RefsAnswer
from handler.exchange.checks import Check, Verdict
from handler.exchange.drift import RepositoryDrift, TargetDrift
from handler.exchange.events import EventKind, PendingEvent
from handler.exchange.messages import (
    OPERATOR_ACTIONS,
    PUBLISHER_ACTIONS,
    VERSION,
    decode_answer,
    decode_call,
    encode_call,
    encode_failure,
    encode_result,
)
from handler.exchange.operations import (
    Hold,
    MountedTarget,
    Operations,
    OperatorAnswer,
    RepositoryStatus,
    TargetState,
    TargetStatus,
)
from handler.exchange.publisher import (
    MAX_SURVEYED,
    MaintenanceResult,
    PublishAnswer,
    Publisher,
    PublishRequest,
    SurveyFinding,
    SurveyItem,
)
from handler.exchange.remote import FetchQuery, RemoteRefs
from handler.exchange.schedule_state import BackOff, RepositoryState, ScheduleState
from handler.model import Counts, ExternalLinks, Outcome, OutcomeKind, PublishRule, PushEvent, Repository, Target, Tip
from handler.mount.publisher import LocalPublisher
from handler.outcome import failure_of
from testing.deliveries import LambdaContext

ONE, TWO = "1" * 40, "2" * 40
MAIN = "refs/heads/main"
URL = "https://git.example.com/octo/site.git"
REPOSITORY = Repository(full_name="octo/site", url=URL, publish=(PublishRule(ref=MAIN, path="a/b"),), depth=0)
TARGET = Target(ref=MAIN, path="octo/site/main", is_copy=True)
PART = Target(ref=MAIN, path="octo/site/part", subdirectory="team/dags", exclude=("*.md", "!/README.md"))
FILTERED = Repository(
    full_name="octo/site",
    url="https://git.example.com/octo/site.git",
    publish=(
        PublishRule(ref="refs/heads/*", path="b/*", exclude=("*.md",), exclude_refs=("dependabot/*",)),
        PublishRule(ref=MAIN, path="part", subdirectory="team/dags"),
    ),
    external_links=ExternalLinks.SKIP,
)
QUERY = FetchQuery(ONE, TWO, 1, (TWO,))
EVENT = PendingEvent(
    kind=EventKind.PUBLISHED, repository="octo/site", path="octo/site/main", commit=ONE, detail='{"é": 1}'
)
OUTCOME = Outcome(kind=OutcomeKind.PUBLISHED, reason="pushed", repository="octo/site", commit=ONE, notes=("a", "b"))
PUSH = PushEvent(repository="octo/site", ref=MAIN, before=ONE, after=TWO, pushed_at=7, committed_at=6.5, is_single=True)
REQUEST = PublishRequest(
    repository=REPOSITORY,
    target=TARGET,
    push=PUSH,
    delivery="d-1",
    received_at=12.25,
    answers=Answers(
        (RefsAnswer(ref=MAIN, asked_at=12.0, tip=Tip(MAIN, ONE, TWO)), RefsAnswer(ref=MAIN, asked_at=13.0)),
        (
            PackAnswer(query=QUERY, asked_at=12.0, size=4, shallow=(ONE,), pack=b"PA\x00\xff"),
            PackAnswer(query=QUERY, asked_at=12.0, size=9_000_000, transfer="a" * 32),
            PackAnswer(query=QUERY, asked_at=12.0, failed=Failure("commit_not_there", "no such commit")),
        ),
        4,
    ),
    deadline=Deadline(99.5),
)
STATE = ScheduleState(
    {"octo/site": RepositoryState(2, 3.5, confirmed_at=1.5, refs={MAIN: BackOff(1, 9.0)})}, "octo/site", {"a/b": "c"}
)
MOUNTED = MountedTarget("octo/site", "octo/site/main")
FAILED = OperatorAnswer(Outcome(kind=OutcomeKind.FAILED, reason="lock_timeout", status=503))
STATUS = TargetStatus(path="a", state=TargetState.HELD, held=Hold(since=1.0, by="mona", left=(ONE,)))
CALLS: tuple[tuple[str, Mapping[str, Any], Any], ...] = (
    ("publish", {"request": REQUEST}, PublishAnswer(outcome=OUTCOME, events=(EVENT,))),
    ("publish", {"request": REQUEST}, PublishAnswer(need=Need(fetch=QUERY, is_size_enough=True, after_seconds=0.5))),
    ("receive", {"repository": "octo/site", "transfer": "a" * 32, "offset": 4, "content": b"\x00\xff"}, 6),
    ("announced", {"event": EVENT}, None),
    ("announced", {"event": EVENT}, OUTCOME),
    ("look", {"repository": "octo/site", "target": TARGET}, OUTCOME),
    (
        "survey",
        {"items": (SurveyItem(REPOSITORY, RemoteRefs({MAIN: Tip(MAIN, ONE, ONE)}, MAIN)),)},
        (SurveyFinding(RepositoryDrift((MAIN,), (TargetDrift("a", MAIN, None, is_behind=False),))),),
    ),
    ("published_refs", {"repository": "octo/site"}, (MAIN,)),
    (
        "maintain",
        {"repository": REPOSITORY, "deadline": Deadline(None), "resume_at": "a//b//3"},
        MaintenanceResult((OUTCOME,), "x"),
    ),
    ("make_spares", {"repository": REPOSITORY, "target": TARGET, "deadline": Deadline(5.0)}, Counts(3, 0, 17)),
    ("make_spares", {"repository": FILTERED, "target": PART, "deadline": Deadline(5.0)}, Counts()),
    ("take_lease", {"task": "reconcile", "run": "abc", "until": 60.0}, STATE),
    ("end_lease", {"task": "chores", "run": "abc", "state": STATE}, None),
    ("end_lease", {"task": "chores", "run": "abc", "state": None}, None),
    ("repositories", {}, ("octo/other", "octo/site")),
    ("read_schedule_state", {"task": "chores"}, STATE),
    ("find_targets", {"name": None}, (MOUNTED,)),
    ("target_statuses", {"repository": "octo/site", "drift": None}, (STATUS,)),
    (
        "count_disk",
        {"statuses": (RepositoryStatus(repository="octo/site", targets=(STATUS,)),), "deadline": Deadline(5.0)},
        (),
    ),
    (
        "roll_back",
        {"target": MOUNTED, "to": "1" * 7, "by": "mona", "why": "it is slow", "deadline": Deadline(5.0)},
        OperatorAnswer(OUTCOME, (EVENT,)),
    ),
    ("roll_back", {"target": MOUNTED, "to": None, "by": "", "why": "", "deadline": Deadline(None)}, FAILED),
    ("hold", {"target": MOUNTED, "by": "mona", "why": "é", "deadline": Deadline(5.0)}, FAILED),
    ("end_hold", {"target": MOUNTED, "deadline": Deadline(None)}, MAIN),
    ("verify", {"target": MOUNTED, "is_repairing": True, "deadline": Deadline(5.0)}, OUTCOME),
    (
        "mount_checks",
        {},
        (Check("mount", Verdict.WRONG, "it is full", "delete something"), Check("clock", Verdict.UNKNOWN, "no right")),
    ),
    (
        "take_over",
        {"previous": "octo/site", "repository": "acme/web", "path": "octo/site/main", "deadline": Deadline(5.0)},
        (OUTCOME,),
    ),
    ("take_over", {"previous": "a/b", "repository": "c/d", "path": None, "deadline": Deadline(None)}, ()),
)


def sent(action: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return a call's message as it arrives."""
    message = json.loads(encode_call(action, arguments))
    assert isinstance(message, dict)
    return message


@pytest.mark.parametrize(("action", "arguments", "result"), CALLS)
def test_what_is_sent_comes_as_it_was(action: str, arguments: Mapping[str, Any], result: Any) -> None:
    """Arguments there, results back, each of its own type."""
    call = decode_call(sent(action, arguments))
    assert (call.action, call.arguments) == (action, dict(arguments))
    back = decode_answer(action, json.dumps(encode_result(result)).encode())
    assert (back, repr(back)) == (result, repr(result))


def test_what_every_action_sends_is_tried() -> None:
    """Above: with its arguments and its result."""
    assert {action for action, _, _ in CALLS} == {*PUBLISHER_ACTIONS, *OPERATOR_ACTIONS}


def test_every_method_of_the_mount_side_is_an_action() -> None:
    """One that is forgotten would only fail in a deployed stack."""
    own = {"close", "is_warm", "is_remote", "operations"}
    assert {name for name in vars(Publisher) if not name.startswith("_")} - own == set(PUBLISHER_ACTIONS)
    assert {name for name in vars(Operations) if not name.startswith("_")} == set(OPERATOR_ACTIONS)
    for action in (*PUBLISHER_ACTIONS, *OPERATOR_ACTIONS):
        assert "return" in get_type_hints(getattr(Publisher if action in PUBLISHER_ACTIONS else Operations, action))


def test_every_failure_comes_back_as_itself() -> None:
    """With its reason, its status and its words; a reason that is none is a defect."""
    leaves = [leaf for branch in (Rejected, Transient, Stalled) for leaf in branch.__subclasses__()]
    for leaf in (each for each in leaves if each.__module__ == Git2EfsError.__module__):
        payload = json.dumps(encode_failure(leaf("the words"))).encode()
        with pytest.raises(leaf, match="the words"):
            decode_answer("look", payload)
    assert isinstance(failure_of("none", "x"), Unexpected)


def changed(message: dict[str, Any], path: tuple[str | int, ...], value: object) -> dict[str, Any]:
    """Return the message with one field set; `path` leads there."""
    copy: Any = json.loads(json.dumps(message))
    place = copy
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    assert isinstance(copy, dict)
    return copy


def leaves_of(value: object, path: tuple[str | int, ...] = ()) -> Iterator[tuple[tuple[str | int, ...], object]]:
    """Return every value that holds no other, with what leads there."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else None
    if inner is None:
        yield path, value
    for step, each in inner or ():
        yield from leaves_of(each, (*path, step))


REQUESTED = ("arguments", "request")


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("version",), VERSION + 1),
        (("version",), None),
        (("version",), True),
        (("version",), float(VERSION)),
        (("version",), str(VERSION)),
        (("action",), "close"),
        (("action",), "__class__"),
        (("action",), ["publish"]),
        (("more",), 1),
        (("arguments",), []),
        (("arguments", "more"), 1),
        ((*REQUESTED, "more"), 1),
        ((*REQUESTED, "received_at"), True),
        ((*REQUESTED, "received_at"), "12"),
        ((*REQUESTED, "received_at"), 1e308 * 10),
        ((*REQUESTED, "received_at"), None),
        ((*REQUESTED, "deadline"), "soon"),
        ((*REQUESTED, "delivery"), "a\nb"),
        ((*REQUESTED, "delivery"), "x" * 201),
        ((*REQUESTED, "repository", "full_name"), "../site"),
        ((*REQUESTED, "repository", "parameter", "url"), "file:///etc/passwd"),
        ((*REQUESTED, "repository", "parameter", "publish", 0, "path"), "../x"),
        ((*REQUESTED, "repository", "more"), 1),
        ((*REQUESTED, "target", "path"), "a/../../b"),
        ((*REQUESTED, "target", "path"), "/a"),
        ((*REQUESTED, "target", "path"), "octo/site/mirror.git"),
        ((*REQUESTED, "target", "ref"), "refs/heads/a..b"),
        ((*REQUESTED, "push", "after"), "HEAD"),
        ((*REQUESTED, "answers", "refs", 0, "tip", "commit"), "1" * 39),
        ((*REQUESTED, "answers", "packs", 0, "query", "want"), "x" * 40),
        ((*REQUESTED, "answers", "packs", 0, "query", "deepen"), -1),
        ((*REQUESTED, "answers", "packs", 0, "pack"), "no base64!"),
        ((*REQUESTED, "answers", "packs", 0, "shallow"), ["x"]),
        ((*REQUESTED, "answers", "packs", 1, "transfer"), "../../x"),
        ((*REQUESTED, "answers", "packs", 2, "failed", "reason"), "target_unknown"),
        ((*REQUESTED, "answers", "packs", 2, "failed", "reason"), 7),
    ],
)
def test_nothing_else_is_taken(path: tuple[str | int, ...], value: object) -> None:
    """Unknown, missing, of another type, or no valid name; and what was sent is not in the failure's words."""
    with pytest.raises(Malformed) as refused:
        decode_call(changed(sent("publish", {"request": REQUEST}), path, value))
    assert "passwd" not in str(refused.value)
    assert "HEAD" not in str(refused.value)


@pytest.mark.parametrize("value", [True, 1.0, 1])
@pytest.mark.parametrize("call", CALLS)
def test_a_number_is_no_truth_and_a_truth_no_number(call: Any, value: object) -> None:
    """Wherever a message has one of the two, the other is refused; in Python `true` equals 1."""
    message = sent(call[0], call[1])
    for path, found in leaves_of(message):
        is_other = isinstance(found, bool) != isinstance(value, bool) and isinstance(found, bool | int | float)
        if is_other or (isinstance(found, int) and isinstance(value, float)):
            with pytest.raises(Malformed):
                decode_call(changed(message, path, value))


@pytest.mark.parametrize("version", [True, 1.0, "1", None, VERSION + 1])
def test_an_answer_of_no_version_of_ours_cannot_be_read(version: object) -> None:
    """Neither a result nor a failure."""
    contents: list[dict[str, object]] = [{"result": []}, {"failure": {"reason": "lock_timeout", "message": ""}}]
    for content in contents:
        with pytest.raises(Malformed, match="version"):
            decode_answer("published_refs", json.dumps({"version": version, **content}).encode())


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("subdirectory", "../etc"),
        ("subdirectory", "/etc"),
        ("subdirectory", ""),
        ("exclude", ["[a"]),
        ("exclude", ["*a*a*a*a*b"]),
        ("exclude", ["x"] * 101),
        ("exclude", "x"),
    ],
)
def test_a_filter_is_checked_where_it_comes_in_too(name: str, value: object) -> None:
    """The mount side takes no pattern that it could not match in time, and no path out of the tree."""
    message = sent("make_spares", {"repository": FILTERED, "target": PART, "deadline": Deadline(5.0)})
    decode_call(message)
    message["arguments"]["target"][name] = value
    with pytest.raises(Malformed, match=name):
        decode_call(message)


def test_what_only_new_publishers_know_is_sent_where_it_is_used() -> None:
    """While a deployment is under way, one of the version before takes all others' requests."""
    whole = Target(ref=MAIN, path="octo/site/main")
    kept = Repository(full_name="octo/site", url="", external_links=ExternalLinks.KEEP)
    told = json.dumps(sent("make_spares", {"repository": kept, "target": whole, "deadline": Deadline(5.0)}))
    assert "allow_external_links" in told
    assert not any(f'"{name}"' in told for name in ("external_links", "subdirectory", "exclude", "exclude_refs"))


@pytest.mark.parametrize("name", ["repository", "target", "push", "delivery", "received_at"])
def test_what_is_needed_may_not_be_missing(name: str) -> None:
    """Only what has a default may."""
    message = sent("publish", {"request": REQUEST})
    del message["arguments"]["request"][name]
    with pytest.raises(Malformed, match="missing"):
        decode_call(message)


@pytest.mark.parametrize(
    "result",
    [
        {},
        {"need": {}},
        {"need": {"after_seconds": 1.0}},
        {"need": {"ref": "../x\n"}},
        {"need": {"ref": MAIN}, "outcome": {"kind": "published", "reason": "pushed"}},
        {"outcome": {"kind": "failed", "reason": "tree_unsafe", "refused_commit": "x"}},
        {"events": []},
    ],
)
def test_an_answer_is_an_outcome_or_a_need_of_something(result: dict[str, object]) -> None:
    """Else a run would end as a defect, or use up its rounds for nothing."""
    with pytest.raises(Malformed):
        decode_answer("publish", json.dumps({"version": VERSION, "result": result}).encode())


def test_a_survey_is_bounded() -> None:
    """More repositories than are asked about at once are refused."""
    item = SurveyItem(REPOSITORY, RemoteRefs({}))
    with pytest.raises(Malformed, match=str(MAX_SURVEYED)):
        decode_call(sent("survey", {"items": (item,) * (MAX_SURVEYED + 1)}))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)


@given(JSON, st.sampled_from([*PUBLISHER_ACTIONS, *OPERATOR_ACTIONS]), JSON)
def test_anything_is_answered_or_refused(message: object, action: str, arguments: object) -> None:
    """No message makes anything but a refusal of what is no message."""
    for each in (message, {"version": VERSION, "action": action, "arguments": arguments}):
        try:
            decode_call(each)
        except Malformed as error:
            assert len(str(error)) < 4000


@given(st.sampled_from(CALLS), st.data())
def test_a_message_with_one_value_replaced_is_itself_or_refused(call: Any, data: st.DataObject) -> None:
    """Wherever it is replaced, and by whatever."""
    message = sent(call[0], call[1])
    path: list[Any] = []
    place: Any = message
    while isinstance(place, dict | list) and place:
        step = data.draw(st.sampled_from(list(place) if isinstance(place, dict) else list(range(len(place)))))
        path.append(step)
        place = place[step]
    with contextlib.suppress(Malformed):
        decode_call(changed(message, tuple(path), data.draw(JSON)))


def test_the_function_answers_whatever_comes(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    """What is no message, a failure, and a defect, whose text is not told."""
    monkeypatch.setenv("GIT2EFS_MOUNT", str(tmp_path))
    monkeypatch.setenv("GIT2EFS_PARAMETER_PREFIX", "/git2efs/test")
    publisher.reset()
    context = LambdaContext()
    assert publisher.handler({"anything": 1}, context)["failure"]
    answered = publisher.handler(sent("published_refs", {"repository": "octo/site"}), context)
    assert answered == {"version": VERSION, "result": []}
    unknown = publisher.handler(sent("find_targets", {"name": "octo/none"}), context)
    assert unknown["failure"]["reason"] == "target_unknown"  # type: ignore[index]
    monkeypatch.setattr(LocalPublisher, "published_refs", lambda self, repository: 1 / 0)
    defect = publisher.handler(sent("published_refs", {"repository": "octo/site"}), context)
    assert defect["failure"]["reason"] == "unexpected"  # type: ignore[index]
    assert "division" not in json.dumps(defect)
    publisher.reset()
