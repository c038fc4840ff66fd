"""An event's detail: always JSON, never too large, never claiming to tell all when it does not."""

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from handler.errors import LockTimeout, MountFull
from handler.exchange.events import (
    MAX_DETAIL_BYTES,
    MAX_PATHS,
    ChangedPaths,
    Event,
    EventKind,
    detail_of,
    failed_event,
    retired_event,
)
from handler.model import Outcome, Target
from handler.outcome import outcome_of

TARGET = Target(ref="refs/heads/preview/x", path="previews/x", is_retirable=True)
PATHS = st.lists(st.binary(min_size=1, max_size=40), max_size=12).map(tuple)


def published(changes: ChangedPaths | None, **fields: Any) -> Event:
    """Return the announcement of a release."""
    about = {"repository": "octo/site", "ref": "refs/heads/main", "path": "octo/site/main", "delivery": "1"} | fields
    return Event(
        kind=EventKind.PUBLISHED, commit="a" * 40, previous_commit=None, at=1_750_000_000.25, changes=changes, **about
    )


@given(PATHS, PATHS, PATHS)
def test_every_path_is_told_where_there_is_room(
    added: tuple[bytes, ...], modified: tuple[bytes, ...], removed: tuple[bytes, ...]
) -> None:
    """Whatever bytes git has for it; what is no UTF-8 is replaced."""
    changes = json.loads(detail_of(published(ChangedPaths(added, modified, removed))))["changes"]
    for name, paths in (("added", added), ("modified", modified), ("removed", removed)):
        assert sorted(changes[name]) == sorted(path.decode("utf-8", "replace") for path in paths)
    assert changes["total"] == len(added) + len(modified) + len(removed)
    assert changes["is_complete"] is True


def test_the_most_that_is_told_is_some_hundred_paths_in_their_order() -> None:
    """The first by name, whichever list they are of."""
    every = [b"%04d" % number for number in range(MAX_PATHS + 2)]
    cut = json.loads(detail_of(published(ChangedPaths(tuple(every[::2]), (), tuple(every[1::2])))))["changes"]
    assert sorted(cut["added"] + cut["removed"]) == [path.decode() for path in every[:MAX_PATHS]]
    assert (cut["total"], cut["is_complete"]) == (MAX_PATHS + 2, False)
    whole = json.loads(detail_of(published(ChangedPaths(tuple(every[:MAX_PATHS])))))["changes"]
    assert (len(whole["added"]), whole["is_complete"]) == (MAX_PATHS, True)


@given(st.sampled_from([b"\x01", b"x", b"\xff", b'"', "é".encode(), "🌧".encode()]), st.integers(1, 3000))
def test_long_paths_are_cut_by_size(character: bytes, length: int) -> None:
    """Each character costs another number of bytes in JSON, up to six; the bound is kept, and used."""
    paths = tuple(b"%03d" % number + character * (length // len(character)) for number in range(MAX_PATHS))
    detail = detail_of(published(ChangedPaths(paths), path="p" * 1024, ref="r" * 512))
    changes = json.loads(detail)["changes"]
    assert len(detail.encode()) <= MAX_DETAIL_BYTES
    assert changes["is_complete"] is (len(changes["added"]) == MAX_PATHS)
    if not changes["is_complete"]:
        assert len(detail.encode()) > MAX_DETAIL_BYTES - 20_000


def test_changes_that_are_not_known_are_not_told_as_none() -> None:
    """Empty lists with `is_complete` would say that nothing changed."""
    changes = json.loads(detail_of(published(None)))["changes"]
    assert changes == {"added": [], "modified": [], "removed": [], "total": None, "is_complete": False}
    nothing = json.loads(detail_of(published(ChangedPaths())))["changes"]
    assert (nothing["total"], nothing["is_complete"]) == (0, True)


def test_times_are_utc_in_iso_format() -> None:
    """With milliseconds, as in published.json."""
    assert json.loads(detail_of(published(None)))["published_at"] == "2025-06-15T15:06:40.250Z"


def test_half_a_surrogate_pair_does_not_break_the_event() -> None:
    """A delivery's id is a header; whatever JSON can spell comes out as UTF-8."""
    detail = detail_of(published(None, delivery="\ud800"))
    assert json.loads(detail.encode())["delivery"] == "?"


def test_a_failure_tells_its_reason_and_whether_it_passes() -> None:
    """And never the message, which is for the log."""
    for error, is_transient in ((LockTimeout("a message"), True), (MountFull("a message"), False)):
        outcome = Outcome(
            **{
                **{name: getattr(outcome_of(error), name) for name in ("kind", "reason", "status", "detail")},
                "repository": "octo/site",
                "commit": "a" * 40,
            }
        )
        text = detail_of(failed_event(outcome, TARGET, delivery="1", at=1_750_000_000.0, pushed_commit="b" * 40))
        assert json.loads(text) == {
            "repository": "octo/site",
            "ref": TARGET.ref,
            "path": TARGET.path,
            "commit": "a" * 40,
            "previous_commit": "a" * 40,
            "delivery": "1",
            "pushed_commit": "b" * 40,
            "failed_at": "2025-06-15T15:06:40.000Z",
            "reason": error.reason,
            "is_transient": is_transient,
        }
        assert "a message" not in text


def test_a_retired_target_tells_what_stood_there() -> None:
    """It has no commit any more."""
    assert json.loads(
        detail_of(retired_event("octo/site", TARGET, commit="a" * 40, delivery="1", at=1_750_000_000.0))
    ) == {
        "repository": "octo/site",
        "ref": TARGET.ref,
        "path": TARGET.path,
        "commit": None,
        "previous_commit": "a" * 40,
        "delivery": "1",
        "retired_at": "2025-06-15T15:06:40.000Z",
    }
