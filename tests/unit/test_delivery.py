"""What a delivery's headers say."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handler.errors import Git2EfsError, Malformed
from handler.model import Delivery
from handler.network.forges.github import read_delivery

GUID = "72d3162e-cc78-11e3-81ab-4c9367dc0958"
HEADERS = {"x-github-event": "push", "x-github-delivery": GUID, "content-type": "application/json"}


def test_githubs_headers_make_a_delivery() -> None:
    """Id, event, media type, and the body untouched."""
    assert read_delivery(HEADERS, b"\xff") == Delivery(
        id=GUID, event="push", media_type="application/json", body=b"\xff"
    )


@pytest.mark.parametrize(
    ("content_type", "media_type"),
    [
        ("application/json; charset=utf-8", "application/json"),
        ("Application/JSON", "application/json"),
        (" application/x-www-form-urlencoded ;x=y", "application/x-www-form-urlencoded"),
        ("", ""),
        ("application/json,application/json", "application/json,application/json"),
    ],
)
def test_the_media_type_is_lower_case_without_parameters(content_type: str, media_type: str) -> None:
    """Proxies add a charset, and case does not count."""
    assert read_delivery(HEADERS | {"content-type": content_type}, b"").media_type == media_type


def test_a_missing_content_type_is_the_empty_media_type() -> None:
    """Refusing it is for whoever reads the payload."""
    assert read_delivery({"x-github-event": "push"}, b"").media_type == ""


@pytest.mark.parametrize("event", ["", "Push", "push,push", "push ", "1push", "a" * 101, "pu\nsh", "pùsh", "-"])
def test_an_odd_event_is_malformed(event: str) -> None:
    """Only a name as GitHub writes them goes on, into log lines and metrics."""
    with pytest.raises(Malformed, match="X-GitHub-Event"):
        read_delivery(HEADERS | {"x-github-event": event}, b"")


def test_a_missing_event_is_malformed() -> None:
    """Nothing can be done without it."""
    with pytest.raises(Malformed, match="missing"):
        read_delivery({"x-github-delivery": GUID}, b"")


@pytest.mark.parametrize("delivery_id", ["", "a" * 101, "id\nforged log line", "id with space", "ídentité", "{}"])
def test_an_odd_delivery_id_is_dropped_and_harms_nothing(delivery_id: str) -> None:
    """It only correlates; a push is not lost for it, and nothing strange gets into the log."""
    assert read_delivery(HEADERS | {"x-github-delivery": delivery_id}, b"").id == ""


@given(
    st.dictionaries(
        st.sampled_from(["x-github-event", "x-github-delivery", "content-type"]),
        st.text() | st.sampled_from(["push", GUID]),
    )
)
def test_any_headers_give_a_delivery_or_our_error(headers: dict[str, str]) -> None:
    """No header raises anything else."""
    try:
        delivery = read_delivery(headers, b"")
    except Git2EfsError:
        return
    assert delivery.event.isascii()
    assert delivery.id.isascii()
