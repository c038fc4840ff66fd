"""Where statuses are posted, under which name, and what is left out when GitHub is slow."""

import threading
from collections.abc import Mapping

import pytest

from handler.errors import LockTimeout
from handler.model import NULL_OID, Outcome, OutcomeKind, PushEvent, Repository
from handler.network.forges.github_api import api_url
from handler.network.forges.statuses import (
    MAX_CONTEXT,
    MAX_DESCRIPTION,
    DeliveryStatuses,
    Statuses,
    context_of,
)
from handler.outcome import outcome_of

COMMIT = "a" * 40
PUBLISHED = Outcome(kind=OutcomeKind.PUBLISHED, reason="pushed", commit=COMMIT)


class Recorder:
    """Takes statuses, and waits with each until it may go on."""

    def __init__(self, *, is_free: bool = True) -> None:
        """Not `is_free`: the first waits until `free` is set."""
        self.posted: list[tuple[str, Mapping[str, str]]] = []
        self.free = threading.Event()
        self.entered = threading.Event()
        self.warnings: list[str] = []
        if is_free:
            self.free.set()

    def post(self, commit: str, status: Mapping[str, str]) -> None:
        """Remember a status."""
        self.entered.set()
        self.free.wait(10)
        self.posted.append((commit, status))

    def of(self, push: PushEvent | None = None) -> DeliveryStatuses:
        """Return a delivery's statuses that come here."""
        return DeliveryStatuses("octo/site", self.post, push, self.warnings.append)

    @property
    def states(self) -> list[tuple[str, str]]:
        """The context and state of each."""
        return [(status["context"], status["state"]) for _, status in self.posted]


@pytest.mark.parametrize(
    ("url", "api"),
    [
        ("https://github.com/octo/site.git", "https://api.github.com"),
        ("https://GitHub.com/octo/site", "https://api.github.com"),
        ("https://www.github.com/octo/site", "https://api.github.com"),
        ("https://octo.ghe.com/octo/site.git", "https://api.octo.ghe.com"),
        ("https://git.example.com/octo/site.git", "https://git.example.com/api/v3"),
        ("https://git.example.com:8443/a/octo/site.git", "https://git.example.com:8443/api/v3"),
        ("http://127.0.0.1:8080/octo/site.git", "http://127.0.0.1:8080/api/v3"),
        ("https://notgithub.com/octo/site.git", "https://notgithub.com/api/v3"),
        ("https://github.com.example.com/octo/site.git", "https://github.com.example.com/api/v3"),
    ],
)
def test_the_token_goes_to_the_host_that_it_is_for(url: str, api: str) -> None:
    """GitHub's own API for GitHub alone; an Enterprise Server's below its own name."""
    assert api_url(url) == api


def test_a_long_path_has_a_context_of_its_own() -> None:
    """Within what GitHub takes, and another one for another path with the same beginning."""
    long = "p" * 1000
    assert context_of("octo/site/main") == "git2efs/octo/site/main"
    assert len(context_of(long)) == MAX_CONTEXT
    assert context_of(long) != context_of(long + "x")


def test_a_long_description_is_cut() -> None:
    """GitHub refuses a longer one, and with it the status."""
    recorder = Recorder()
    statuses = recorder.of()
    statuses.conclude("p" * 1000, PUBLISHED)
    statuses.close()
    ((_, status),) = recorder.posted
    assert len(status["description"]) == MAX_DESCRIPTION
    assert status["description"].endswith("p...")


def test_a_pending_status_that_nobody_saw_is_left_out() -> None:
    """Several targets: what has ended by the time is told by its end alone."""
    recorder = Recorder(is_free=False)
    statuses = recorder.of()
    statuses.begin("one", COMMIT)
    recorder.entered.wait(5)
    statuses.conclude("one", PUBLISHED)
    statuses.begin("two", COMMIT)
    statuses.conclude("two", PUBLISHED)
    recorder.free.set()
    statuses.close()
    assert recorder.states == [("git2efs/one", "pending"), ("git2efs/one", "success"), ("git2efs/two", "success")]
    assert recorder.warnings == []


def test_a_second_try_does_not_begin_again() -> None:
    """After trouble with the mirror the run starts over."""
    recorder = Recorder()
    statuses = recorder.of()
    statuses.begin("one", COMMIT)
    statuses.begin("one", COMMIT)
    statuses.close()
    assert recorder.states == [("git2efs/one", "pending")]


@pytest.mark.parametrize(
    "push",
    [
        None,
        PushEvent(repository="octo/site", ref="refs/tags/v1", before=NULL_OID, after=COMMIT),
        PushEvent(repository="octo/site", ref="refs/heads/main", before=COMMIT, after=NULL_OID, is_deleted=True),
    ],
)
def test_a_failure_without_a_commit_is_told_of_none(push: PushEvent | None) -> None:
    """A timer's, a tag's (whose id may be no commit's), a deleted branch's."""
    recorder = Recorder()
    statuses = recorder.of(push)
    statuses.conclude("one", outcome_of(LockTimeout("")))
    statuses.close()
    assert recorder.posted == []


def test_no_thread_is_started_for_nothing() -> None:
    """Most repositories ask for no statuses."""
    before = threading.active_count()
    statuses = DeliveryStatuses("octo/site", None, None, lambda sentence: None)
    statuses.begin("one", COMMIT)
    statuses.conclude("one", PUBLISHED)
    assert threading.active_count() == before
    statuses.close()


@pytest.mark.parametrize(("end", "kind"), [("\r\nX-Other: 1", "ValueError"), ("é€", "UnicodeEncodeError")])
def test_a_token_that_is_no_header_is_in_no_warning(end: str, kind: str) -> None:
    """The exception's text quotes the header; its kind alone is told, and the thread does not die of it."""
    warnings: list[str] = []
    repository = Repository(full_name="octo/site", url="http://127.0.0.1:9/octo/site.git", commit_status=True)
    process = Statuses(warnings.append)
    statuses = process.of(repository, f"5ecret{end}", None)
    statuses.begin("one", COMMIT)
    statuses.conclude("one", PUBLISHED)
    statuses.close()
    process.close()
    assert [line.rpartition(": ")[2] for line in warnings] == [kind] * 2
    assert "5ecret" not in "".join(warnings)
