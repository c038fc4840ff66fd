"""The queue's messages: what is written is read, and whatever else comes is refused in words."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handler.errors import Malformed
from handler.model import PushEvent
from handler.network.queue.message import Cause, Message, decode_message, encode_message, group_of

PUSH = PushEvent(
    repository="octo/site",
    ref="refs/heads/main",
    before="a" * 40,
    after="b" * 40,
    is_deleted=False,
    pushed_at=1_750_000_000,
    committed_at=1_750_000_000.5,
    is_single=True,
)
MESSAGE = Message(
    cause=Cause.PUSH,
    repository="octo/site",
    ref="refs/heads/main",
    delivery="11111111-2222",
    received_at=1_750_000_001.25,
    push=PUSH,
)

commits = st.text("0123456789abcdef", min_size=40, max_size=40)
pushes = st.builds(
    PushEvent,
    repository=st.just("octo/site"),
    ref=st.just("refs/heads/main"),
    before=commits,
    after=commits,
    is_deleted=st.booleans(),
    pushed_at=st.none() | st.integers(0, 2**40),
    committed_at=st.none() | st.floats(-1e12, 1e12),
    is_single=st.booleans(),
)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@given(pushes, st.floats(0, 1e12), st.text("0123456789abcdef-", max_size=40))
def test_what_is_written_is_read(push: PushEvent, received_at: float, delivery: str) -> None:
    """A push with all that a payload claims of it, but for what only the front door needs."""
    message = Message(
        cause=Cause.PUSH,
        repository=push.repository,
        ref=push.ref,
        delivery=delivery,
        received_at=received_at,
        push=push,
    )
    assert decode_message(encode_message(message)) == message


@pytest.mark.parametrize("version", [True, 1.0, "1", 2, None])
def test_a_message_of_no_version_of_ours_is_refused(version: object) -> None:
    """In Python `true` and `1.0` equal 1."""
    message = Message(cause=Cause.OPERATOR, repository="octo/site", ref="refs/heads/main", delivery="", received_at=1.0)
    fields = json.loads(encode_message(message))
    with pytest.raises(Malformed, match="version"):
        decode_message(json.dumps(fields | {"version": version}))


@pytest.mark.parametrize("cause", [Cause.SCHEDULE, Cause.OPERATOR])
def test_who_only_says_look_now_claims_nothing(cause: Cause) -> None:
    """The fields of a push are there, and null."""
    message = Message(cause=cause, repository="octo/site", ref="refs/tags/v1", delivery="timer", received_at=1.0)
    fields = json.loads(encode_message(message))
    assert {fields[name] for name in ("before", "after", "is_single", "is_deleted", "pushed_at", "committed_at")} == {
        None
    }
    assert decode_message(encode_message(message)) == message


def test_a_message_is_small() -> None:
    """Four of them fit into what SQS charges as a part of one, and far more into a batch."""
    assert len(encode_message(MESSAGE)) < 500


@pytest.mark.parametrize("name", sorted(set(json.loads(encode_message(MESSAGE))) - {"pushed_at", "committed_at"}))
def test_a_missing_field_is_named(name: str) -> None:
    """The reader of the dead letter knows where to look."""
    fields = json.loads(encode_message(MESSAGE))
    del fields[name]
    with pytest.raises(Malformed, match=name):
        decode_message(json.dumps(fields))


@given(st.sampled_from(sorted(json.loads(encode_message(MESSAGE)))), json_values)
def test_any_value_in_any_field_is_a_message_or_our_error(name: str, value: object) -> None:
    """Whoever may send to the queue may send anything; the error holds none of it."""
    body = json.dumps(json.loads(encode_message(MESSAGE)) | {name: value})
    try:
        read = decode_message(body)
    except Malformed as error:
        if isinstance(value, str) and len(value) > 3:
            assert value not in str(error)
        return
    assert isinstance(read, Message)


@given(st.text() | json_values.map(json.dumps))
def test_any_text_is_a_message_or_our_error(body: str) -> None:
    """Nothing else is raised."""
    with pytest.raises(Malformed):
        decode_message(body)


def test_a_group_fits_sqs() -> None:
    """Two parts of 100 characters do not: their digest does, and is the same in any spelling."""
    assert group_of("Octo/Site") == "octo/site"
    long = "o" * 100 + "/" + "n" * 100
    assert group_of(long) == group_of(long.upper())
    assert len(group_of(long)) == 64
    assert len(group_of("o" * 64 + "/" + "n" * 63)) == 128
