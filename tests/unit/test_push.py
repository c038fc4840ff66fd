"""From a delivery's body to a push event."""

import json
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handler.errors import Git2EfsError, Malformed, MediaTypeUnsupported
from handler.model import NULL_OID, Delivery, PushEvent
from handler.network.forges.github import read_payload, read_push
from testing.deliveries import FORM, JSON, encode_payload, push_payload

BEFORE, AFTER = "a" * 40, "b" * 40


def delivery(body: bytes, media_type: str = JSON) -> Delivery:
    """Return a push delivery with this body."""
    return Delivery(id="", event="push", media_type=media_type, body=body)


def payload(**changes: Any) -> dict[str, Any]:
    """Return a push payload with some of its fields changed."""
    return push_payload("octo/site", "refs/heads/main", BEFORE, AFTER) | changes


def repository(**changes: Any) -> dict[str, Any]:
    """Return a push payload with some fields of its repository changed."""
    return payload(repository=payload()["repository"] | changes)


# -- read_payload -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("media_type", [JSON, FORM])
def test_a_payload_reads_the_same_from_json_and_from_a_form(media_type: str) -> None:
    """A form is GitHub's default; text beyond ASCII comes through both."""
    sent = payload(note="grün & 100% + naïve=日本 😀")
    assert read_payload(delivery(encode_payload(sent, media_type), media_type)) == sent


def test_other_fields_of_a_form_are_left_alone() -> None:
    """Only `payload` counts."""
    body = b"a=1&" + urlencode({"payload": '{"x": 1}'}).encode() + b"&b="
    assert read_payload(delivery(body, FORM)) == {"x": 1}


@pytest.mark.parametrize("media_type", ["", "text/plain", "application/xml", "multipart/form-data", "json"])
def test_another_media_type_is_not_supported(media_type: str) -> None:
    """GitHub sends two."""
    with pytest.raises(MediaTypeUnsupported):
        read_payload(delivery(b"{}", media_type))


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b"\xef\xbb\xbf{}", "not JSON"),
        (b'{"a": 1} x', "not JSON"),
        (b'"text"', "not a JSON object"),
        (b"[1]", "not a JSON object"),
        (b"null", "not a JSON object"),
        (b'{"a": "\xff"}', "not UTF-8"),
        (b'{"a": NaN}', "NaN"),
        (b'{"a": -Infinity}', "Infinity"),
        (b'{"a": ' + b"9" * 5000 + b"}", "too long"),
        (b'{"a": 1, "a": 2}', "twice"),
        (b"[" * 200_000, "nested too deeply"),
        (b'{"a":' * 200_000, "nested too deeply"),
    ],
)
def test_a_body_that_is_no_json_object_is_malformed(body: bytes, message: str) -> None:
    """Each with its own words, and never with a crash."""
    with pytest.raises(Malformed, match=message):
        read_payload(delivery(body))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"payload",
        b"other=1",
        b"payload={}&payload={}",
        b"payload=%ff",
        b'payload={"a":"%ff"}',
        b"payload={}" + b"&a=1" * 50,
    ],
)
def test_a_form_without_exactly_one_readable_payload_is_malformed(body: bytes) -> None:
    """Two payloads are as bad as none: which one was meant?"""
    with pytest.raises(Malformed):
        read_payload(delivery(body, FORM))


def test_messages_do_not_quote_the_body() -> None:
    """What is malformed goes to the log by its message."""
    for body in (b'{"hunter2"', b'{"hunter2": NaN}', b'{"hunter2": 1, "hunter2": 2}', b'"hunter2"'):
        with pytest.raises(Malformed) as caught:
            read_payload(delivery(body))
        assert "hunter2" not in str(caught.value)


# -- read_push --------------------------------------------------------------------------------------------


def test_githubs_push_payload_makes_a_push_event() -> None:
    """Every field that the service uses, from a whole payload."""
    sent = push_payload(
        "octo/site", "refs/heads/main", BEFORE, AFTER, pushed_at=1_750_000_000, committed_at=1_749_999_990
    )
    assert read_push(sent) == PushEvent(
        repository="octo/site",
        ref="refs/heads/main",
        before=BEFORE,
        after=AFTER,
        is_deleted=False,
        pushed_at=1_750_000_000,
        committed_at=1_749_999_990.0,
        is_single=True,
        default_branch_ref="refs/heads/main",
    )


@pytest.mark.parametrize("odd", [None, 7, "", "a..b", "with space", ["main"], "x" * 600, "\ud800"])
def test_a_default_branch_that_cannot_be_one_is_not_known(odd: object) -> None:
    """Only a hint: the push is one all the same."""
    assert read_push(repository(default_branch=odd)).default_branch_ref is None


@pytest.mark.parametrize(
    "odd", [{"forced": True}, {"forced": None}, {"commits": []}, {"commits": [{}, {}]}, {"commits": {"0": {}}}]
)
def test_only_one_commit_upon_another_is_a_single_one(odd: dict[str, object]) -> None:
    """The remote is asked in a cheaper way for it; what is odd is asked for in the way that is always right."""
    sent = push_payload("octo/site", "refs/heads/main", BEFORE, AFTER)
    assert read_push(sent).is_single
    assert not read_push({**sent, **odd}).is_single
    assert not read_push({name: value for name, value in sent.items() if name != "commits"}).is_single


def test_a_deleted_ref_is_read_from_its_flag_or_from_the_zeros() -> None:
    """Both say it; one is enough."""
    assert read_push(push_payload("o/n", "refs/heads/x", BEFORE, NULL_OID)).is_deleted
    assert read_push(payload(deleted=True)).is_deleted
    assert read_push(payload(deleted=None, after=NULL_OID, head_commit=None)).is_deleted
    assert not read_push(payload(deleted=False)).is_deleted


@pytest.mark.parametrize("name", ["o/n", "octo-org/site.js", "a_b/.github", "o/" + "n" * 100])
def test_repository_names_are_taken(name: str) -> None:
    """What GitHub allows."""
    assert read_push(repository(full_name=name)).repository == name


@pytest.mark.parametrize(
    "name",
    [
        "",
        "octo",
        "octo/",
        "/site",
        "octo/site/more",
        "../site",
        "octo/..",
        "./n",
        "o/n\n",
        "o/n:2",
        "ö/n",
        "o/ n",
        "o/" + "n" * 101,
        "o\\n",
        "o/%2e%2e",
    ],
)
def test_a_name_that_is_no_repository_is_malformed(name: str) -> None:
    """Names become parts of a parameter's name and of a path."""
    with pytest.raises(Malformed, match=r"repository\.full_name"):
        read_push(repository(full_name=name))


@pytest.mark.parametrize("ref", ["main", "", "HEAD", "refs/", "refs/heads/", "refs/heads/a..b", "refs/heads/x\n"])
def test_a_ref_that_git_would_not_have_is_malformed(ref: str) -> None:
    """test_names.py holds the rules to git's own."""
    with pytest.raises(Malformed, match="ref"):
        read_push(payload(ref=ref))


@pytest.mark.parametrize("field", ["before", "after"])
@pytest.mark.parametrize("commit", ["", "main", "A" * 40, "a" * 39, "a" * 41, "a" * 40 + "\n", "g" * 40])
def test_what_is_no_commit_id_is_malformed(field: str, commit: str) -> None:
    """40 lower-case hex digits, nothing else."""
    with pytest.raises(Malformed, match=f"{field} is not a commit id"):
        read_push(payload(**{field: commit}))


def test_a_sha256_repository_is_refused_in_so_many_words() -> None:
    """Its ids are commit ids all right; the message says what is missing."""
    with pytest.raises(Malformed, match="sha256 objects are not supported"):
        read_push(payload(after="c" * 64))


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        (payload(ref=7), "ref"),
        (payload(before=None), "before"),
        (payload(after=[AFTER]), "after"),
        (payload(repository="octo/site"), "repository"),
        (payload(repository=None), "repository"),
        (repository(full_name={}), "repository.full_name"),
        (payload(deleted="false"), "deleted"),
        (payload(deleted=0), "deleted"),
        (payload(head_commit=[]), "head_commit"),
        (payload(head_commit={"timestamp": 1}), "head_commit.timestamp"),
        (repository(pushed_at=True), "repository.pushed_at"),
        (repository(pushed_at=1.5), "repository.pushed_at"),
        (repository(pushed_at=-1), "repository.pushed_at"),
        (repository(pushed_at=10**30), "repository.pushed_at"),
        (repository(pushed_at={}), "repository.pushed_at"),
    ],
)
def test_a_wrong_type_is_malformed_and_names_the_field(changed: dict[str, Any], field: str) -> None:
    """The reader of the log knows where to look."""
    with pytest.raises(Malformed) as caught:
        read_push(changed)
    assert str(caught.value).startswith(field + " ")


@pytest.mark.parametrize("missing", ["ref", "before", "after", "repository"])
def test_a_missing_field_is_malformed_and_named(missing: str) -> None:
    """Without these there is no push."""
    changed = payload()
    del changed[missing]
    with pytest.raises(Malformed, match=missing):
        read_push(changed)


@pytest.mark.parametrize(
    ("pushed_at", "seconds"),
    [
        (1_750_000_000, 1_750_000_000),
        ("2025-06-15T15:06:40Z", 1_750_000_000),
        ("2025-06-15T17:06:40+02:00", 1_750_000_000),
        ("2025-06-15T15:06:40", 1_750_000_000),
        ("1066-10-14T09:00:00Z", None),
        ("yesterday", None),
        (None, None),
    ],
)
def test_pushed_at_is_read_from_seconds_and_from_text(pushed_at: object, seconds: int | None) -> None:
    """GitHub writes seconds in push payloads and text in others."""
    assert read_push(repository(pushed_at=pushed_at)).pushed_at == seconds


@pytest.mark.parametrize("timestamp", ["0000-00-00T00:00:00Z", "", "2025-06-15T15:06:40+99:99", "9" * 10_000])
def test_a_commit_with_an_impossible_date_is_a_push_all_the_same(timestamp: str) -> None:
    """Anybody can date a commit as he likes; only a metric is missing then."""
    assert read_push(payload(head_commit={"timestamp": timestamp})).committed_at is None


# -- whatever comes ---------------------------------------------------------------------------------------

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@given(body=st.binary() | json_values.map(lambda value: json.dumps(value).encode()), form=st.booleans())
def test_any_body_is_a_payload_or_our_error(body: bytes, form: bool) -> None:
    """No bytes raise anything else."""
    try:
        read = read_payload(delivery(b"payload=" + quote(body).encode() if form else body, FORM if form else JSON))
    except Git2EfsError:
        return
    assert isinstance(read, dict)


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "ref": st.just("refs/heads/main") | json_values,
            "before": st.just(BEFORE) | json_values,
            "after": st.just(AFTER) | json_values,
            "deleted": json_values,
            "head_commit": st.fixed_dictionaries({"timestamp": st.datetimes().map(str) | json_values}) | json_values,
            "repository": st.fixed_dictionaries(
                {"full_name": st.just("o/n") | json_values, "pushed_at": st.integers() | json_values}
            )
            | json_values,
        },
    )
)
def test_any_payload_is_a_push_event_or_our_error(sent: dict[str, object]) -> None:
    """No JSON object raises anything else, and what is read is fit to go on."""
    try:
        event = read_push(sent)
    except Git2EfsError:
        return
    assert event.ref.encode().startswith(b"refs/")
    assert len(event.before) == len(event.after) == 40
