"""What stands on both sides of the door: answers, guesses, packs in parts, surveys, leases, the function's client."""

import io
import json
import os
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, cast

import pytest

from handler.errors import (
    CommitNotFound,
    ConfigurationInvalid,
    LockTimeout,
    Malformed,
    PackTooLarge,
    PublisherRefused,
    PublisherUnavailable,
    RemoteUnavailable,
)
from handler.exchange.answers import Answers, Failure, Missing, Need, PackAnswer, RefsAnswer
from handler.exchange.drift import RepositoryDrift
from handler.exchange.messages import encode_call
from handler.exchange.publisher import (
    MAX_MESSAGE_BYTES,
    MAX_PACK_BYTES,
    MAX_ROUNDS,
    MAX_SURVEYED,
    PART_BYTES,
    PublishAnswer,
    PublishRequest,
    SurveyFinding,
    SurveyItem,
)
from handler.exchange.remote import NO_SHALLOW_CHANGES, FetchQuery, RemoteRefs
from handler.exchange.schedule_state import RepositoryState, ScheduleState
from handler.model import NULL_OID, PushEvent, Repository, Target, Tip
from handler.mount.git.incoming import discard, open_transfer, sweep, write_part
from handler.mount.maintenance.state import end_lease, read_state, take_lease
from handler.network.aws.publisher_function import OPTIONS, PublisherFunction
from handler.network.driver import Driver
from handler.network.guess import Guess, KnownTarget, KnownTargets
from handler.network.pack_sender import UNASKED_BYTES, FetchRefused, PackSender
from handler.network.survey import MAX_SURVEY_BYTES, Surveyor, bytes_of
from handler.network.trigger import Trigger
from handler.outcome import RunFailed
from handler.settings import Settings

ONE, TWO, THREE = "1" * 40, "2" * 40, "3" * 40
MAIN = "refs/heads/main"
QUERY = FetchQuery(TWO, ONE, 0, (ONE,))
TRANSFER = "a" * 32
REPOSITORY = Repository(full_name="octo/site", url="https://example.com/x")


# -- answers ----------------------------------------------------------------------------------------------------------


def tip(object_id: str) -> Tip:
    """Return what main names."""
    return Tip(MAIN, object_id, object_id)


def test_the_latest_answer_about_a_ref_counts() -> None:
    """In whatever order they come; another ref's does not."""
    refs = (
        RefsAnswer(ref=MAIN, asked_at=10.0, tip=tip(TWO)),
        RefsAnswer(ref=MAIN, asked_at=9.0, tip=tip(ONE)),
        RefsAnswer(ref="refs/heads/x", asked_at=11.0, tip=tip(THREE)),
    )
    answers = Answers(refs)
    assert answers.tip(MAIN, now=12.0, not_before=0.0) == refs[0]
    assert answers.first_asked_at(MAIN) == 9.0


@pytest.mark.parametrize("asked_at", [39.9, 105.1])
def test_an_answer_that_is_old_or_of_the_future_is_asked_for_again(asked_at: float) -> None:
    """A minute is the most; and no clock may say that it was asked later than now."""
    with pytest.raises(Missing) as missing:
        Answers((RefsAnswer(ref=MAIN, asked_at=asked_at),)).tip(MAIN, now=100.0, not_before=0.0)
    assert (missing.value.need.ref, missing.value.need.after_seconds) == (MAIN, 0.0)


def test_an_answer_before_another_runs_is_asked_for_again() -> None:
    """And not too early, where the clocks of two hosts differ."""
    with pytest.raises(Missing) as missing:
        Answers((RefsAnswer(ref=MAIN, asked_at=99.0),)).tip(MAIN, now=100.0, not_before=99.5)
    assert missing.value.need.after_seconds == 0.5


def test_a_remotes_failure_is_raised_where_its_answer_would_be_used() -> None:
    """With its words."""
    failed = RefsAnswer(ref=MAIN, asked_at=99.0, failed=Failure("remote_unavailable", "it was away"))
    with pytest.raises(RemoteUnavailable, match="it was away"):
        Answers((failed,)).tip(MAIN, now=100.0, not_before=0.0)


def test_a_pack_counts_for_its_own_query_alone() -> None:
    """Another depth, another claim: it is not used."""
    answers = Answers((), (PackAnswer(query=QUERY, asked_at=1.0, size=5, pack=b"PACK!"),))
    assert answers.pack(QUERY).pack == b"PACK!"
    for other in (FetchQuery(TWO, ONE, 1, (ONE,)), FetchQuery(TWO, None, 0), FetchQuery(THREE, ONE, 0, (ONE,))):
        with pytest.raises(Missing) as missing:
            answers.pack(other)
        assert missing.value.need.fetch == other


def test_a_failed_fetch_grows_old_and_a_size_is_no_pack() -> None:
    """The remote may know by now what it did not know; and who needs the objects is not served by their number."""
    failed = PackAnswer(query=QUERY, asked_at=10.0, failed=Failure("commit_not_there", "no"))
    with pytest.raises(CommitNotFound):
        Answers((), (failed,)).pack(QUERY, not_before=10.0)
    with pytest.raises(Missing):
        Answers((), (failed,)).pack(QUERY, not_before=10.1)
    sized = PackAnswer(query=QUERY, asked_at=10.0, size=32)
    assert Answers((), (sized,)).pack(QUERY, is_size_enough=True).size == 32
    with pytest.raises(Missing):
        Answers((), (sized,)).pack(QUERY)


# -- guesses ----------------------------------------------------------------------------------------------------------


def guess(
    *, before: str = ONE, known: KnownTarget | None = None, is_copy: bool = False, depth: int = 1, **trigger: Any
) -> Guess:
    """Return the guess for a push of one commit from `before` to TWO."""
    push = PushEvent(repository="octo/site", ref=MAIN, before=before, after=TWO, is_single=True)
    repository = Repository(full_name="octo/site", url="https://example.com/x", depth=depth)
    target = Target(ref=MAIN, path="octo/site/main", is_copy=is_copy)
    fields: dict[str, Any] = {"ref": MAIN, "push": push, "delivery": "", "received_at": 0.0} | trigger
    return Guess(repository, target, Trigger(**fields), known)


def test_a_push_upon_what_is_published_is_guessed() -> None:
    """As the mount side is going to ask for it."""
    assert guess().of_push() == QUERY
    assert guess(known=KnownTarget(ONE)).of_push() == QUERY
    assert guess(depth=0).of_push() == FetchQuery(TWO, ONE, 0)


def test_what_would_be_in_vain_is_not_guessed() -> None:
    """A first publish, an overtaken push, a redelivery, a timer, a second target, and what waited."""
    assert guess(before=NULL_OID).of_push() is None
    assert guess(known=KnownTarget(None)).of_push() is None
    assert guess(known=KnownTarget(THREE)).of_push() is None
    assert guess(known=KnownTarget(TWO)).of_push() is None
    assert guess(push=None).of_push() is None
    assert guess(is_first=False).of_push() is None
    assert guess(is_late=True).of_push() is None


def test_after_the_refs_answer_a_late_push_is_guessed() -> None:
    """From what is known to be published to what the ref names now."""
    late = guess(is_late=True, known=KnownTarget(ONE))
    assert late.of_tip(tip(TWO)) == QUERY
    assert late.of_tip(tip(THREE)) == FetchQuery(THREE, ONE, 1, (ONE,))
    assert late.of_tip(tip(ONE)) is None
    assert late.of_tip(None) is None
    assert guess().of_tip(tip(THREE)) is None


def test_of_a_working_copy_it_has_to_be_known_where_its_history_ends() -> None:
    """Unless all of it is there."""
    assert guess(is_copy=True).of_push() is None
    assert guess(is_copy=True, known=KnownTarget(ONE, (THREE,))).of_push() == FetchQuery(TWO, ONE, 0, (THREE,))
    assert guess(is_copy=True, depth=0).of_push() == FetchQuery(TWO, ONE, 0)


def test_what_is_known_is_kept_until_more_is() -> None:
    """A commit alone does not make the rest forgotten, where it is the same."""
    known = KnownTargets()
    known.put("a", KnownTarget(ONE, (TWO,)))
    known.put_commit("a", ONE)
    assert known.get("a") == KnownTarget(ONE, (TWO,))
    known.put_commit("a", TWO)
    assert known.get("a") == KnownTarget(TWO)
    known.put("a", None)
    assert known.get("a") is None


# -- one run ----------------------------------------------------------------------------------------------------------


class Asking:
    """A mount side, awake and elsewhere, that says it needs the same again and again; `requests` are what it got."""

    is_remote = True

    def __init__(self, need: Need) -> None:
        """Need this."""
        self.need = need
        self.requests: list[PublishRequest] = []

    def is_warm(self) -> bool:
        """Answer at once."""
        return True

    def publish(self, request: PublishRequest) -> PublishAnswer:
        """Need it."""
        self.requests.append(request)
        return PublishAnswer(need=self.need)


class Remote:
    """A remote whose main is TWO; `fetched` are the queries."""

    def __init__(self) -> None:
        """Nothing was fetched."""
        self.fetched: list[FetchQuery] = []

    def refs(self, refs: list[str]) -> RemoteRefs:
        """Answer."""
        assert refs == [MAIN]
        return RemoteRefs({MAIN: tip(TWO)})

    def fetch(self, query: FetchQuery, sink: Any) -> Any:
        """Bring a pack without objects."""
        self.fetched.append(query)
        sink()(b"PACK" * 8)
        return NO_SHALLOW_CHANGES


SETTINGS = Settings(parameter_prefix="/p", mount="/mnt", max_pack_bytes=1 << 20, lock_seconds=1.0, spare_files=0)


def drive(asking: Asking, remote: Remote) -> None:
    """Reconcile a target without a push."""
    driver = Driver(cast(Any, asking), put=None, settings=SETTINGS, clock=lambda: 50.0, sleep=lambda _: None)
    trigger = Trigger(ref=MAIN, push=None, delivery="", received_at=0.0)
    driver.reconcile(REPOSITORY, Target(ref=MAIN, path="octo/site/main"), cast(Any, remote), trigger)


@pytest.mark.parametrize("need", [Need(ref=MAIN), Need(fetch=FetchQuery(TWO, None, 1))])
def test_a_run_has_an_end_whatever_the_mount_side_says(need: Need) -> None:
    """After some rounds it is transient; all answers so far were there each time."""
    asking, remote = Asking(need), Remote()
    with pytest.raises(RunFailed, match=str(MAX_ROUNDS)) as failed:
        drive(asking, remote)
    assert isinstance(failed.value.error, PublisherUnavailable)
    # What was fetched is not lost with the answer that never came.
    assert failed.value.refused_commit == TWO
    assert failed.value.counts.bytes_fetched == 32 * len(remote.fetched)
    assert len(asking.requests) == MAX_ROUNDS + 1
    answers = [request.answers for request in asking.requests]
    assert [len(each.refs) + len(each.packs) for each in answers] == list(range(1, MAX_ROUNDS + 2))


@pytest.mark.parametrize("want", [ONE, THREE])
def test_a_mount_side_that_somebody_took_over_gets_no_other_commit(want: str) -> None:
    """With the network side's token it could read what the run is not about."""
    remote = Remote()
    with pytest.raises(RunFailed, match=want) as failed:
        drive(Asking(Need(fetch=FetchQuery(want, None, 1))), remote)
    assert isinstance(failed.value.error, PublisherRefused)
    assert remote.fetched == []


# -- packs in parts ---------------------------------------------------------------------------------------------------


class Parts:
    """The mount side, as far as parts go: `files` by transfer."""

    def __init__(self) -> None:
        """Nothing came."""
        self.files: dict[str, bytes] = {}
        self.sizes: list[int] = []

    def receive(self, repository: str, *, transfer: str, offset: int, content: bytes) -> int:
        """Take a part."""
        assert repository == "octo/site"
        known = b"" if offset == 0 else self.files[transfer]
        assert offset == len(known)
        self.files[transfer] = known + content
        self.sizes.append(len(content))
        return len(self.files[transfer])


def sender(parts: Parts, **options: Any) -> PackSender:
    """Return a sender of packs up to 64 MiB."""
    return PackSender(cast(Any, parts), "octo/site", **({"max_bytes": 64 << 20} | options))


def feed(taking: PackSender, content: bytes) -> None:
    """Have it take the content as an attempt brings it."""
    take = taking.begin()
    for at in range(0, len(content), 65_000):
        take(content[at : at + 65_000])


def test_a_small_pack_goes_with_the_request() -> None:
    """Nothing is sent ahead."""
    parts = Parts()
    taking = sender(parts)
    feed(taking, b"PACK" * 1000)
    answer = taking.answer(QUERY, NO_SHALLOW_CHANGES, asked_at=1.0)
    assert (answer.pack, answer.transfer, answer.size, parts.files) == (b"PACK" * 1000, None, 4000, {})


def test_a_large_pack_goes_ahead_in_parts() -> None:
    """Each no larger than a message may be, and never more of it in memory than that."""
    parts, content = Parts(), os.urandom(MAX_PACK_BYTES * 2 + 12_345)
    taking = sender(parts)
    feed(taking, content)
    answer = taking.answer(QUERY, NO_SHALLOW_CHANGES, asked_at=1.0)
    assert (answer.pack, answer.size, answer.is_in_parts) == (None, len(content), True)
    assert answer.transfer is not None
    assert parts.files == {answer.transfer: content}
    assert max(parts.sizes) <= PART_BYTES


@pytest.mark.parametrize("second", [b"PACK" * 1000, bytes(MAX_PACK_BYTES + 1)])
def test_an_attempt_that_broke_off_leaves_nothing_in_the_next_ones_pack(second: bytes) -> None:
    """Be that small or large."""
    parts = Parts()
    taking = sender(parts)
    feed(taking, os.urandom(MAX_PACK_BYTES + PART_BYTES))
    feed(taking, second)
    answer = taking.answer(QUERY, NO_SHALLOW_CHANGES, asked_at=1.0)
    assert answer.size == len(second)
    assert second == (answer.pack if answer.pack is not None else parts.files[answer.transfer or ""])
    # By its name the rest of the first attempt is removed.
    assert answer.transfer is not None
    assert list(parts.files) == [answer.transfer]


def test_a_guess_is_asked_about_before_much_of_it_is_fetched() -> None:
    """Once; and it ends there where nobody needs it."""
    asked: list[int] = []

    def is_needed() -> bool:
        asked.append(1)
        return True

    taking = sender(Parts(), is_needed=is_needed)
    feed(taking, bytes(UNASKED_BYTES))
    assert asked == []
    feed(taking, bytes(UNASKED_BYTES * 3))
    assert asked == [1]
    refused = sender(Parts(), is_needed=lambda: False)
    with pytest.raises(FetchRefused):
        feed(refused, bytes(UNASKED_BYTES + 1))
    assert refused.size <= UNASKED_BYTES + 65_000


def test_bounds_of_a_pack() -> None:
    """Over the setting it is broken off; where the size is enough, after the first object's bytes."""
    with pytest.raises(PackTooLarge):
        feed(sender(Parts(), max_bytes=100), bytes(101))
    probing = sender(Parts(), is_size_enough=True)
    feed(probing, bytes(32))
    assert probing.answer(QUERY, NO_SHALLOW_CHANGES, asked_at=1.0).pack is None
    with pytest.raises(FetchRefused):
        feed(probing, bytes(33))


def test_parts_come_in_order_and_leftovers_go(tmp_path: Path) -> None:
    """A hole is refused; the first part begins anew; what nobody takes is swept after an hour."""
    place = str(tmp_path / ".incoming")

    def part(offset: int, content: bytes, transfer: str = TRANSFER, max_bytes: int = 100) -> int:
        return write_part(place, transfer, offset=offset, content=content, max_bytes=max_bytes)

    assert part(0, b"PA") == 2
    assert part(2, b"CK") == 4
    for offset in (1, 2, 5):
        with pytest.raises(Malformed):
            part(offset, b"X")
    file, path = open_transfer(place, TRANSFER)
    with file:
        assert file.read() == b"PACK"
    assert part(0, b"anew") == 4
    assert Path(path).read_bytes() == b"anew"
    with pytest.raises(PackTooLarge):
        part(4, b"x" * 97)
    with pytest.raises(FileNotFoundError):
        part(4, b"x", "b" * 32)
    with pytest.raises(Malformed):
        part(0, b"x", "../../etc")
    os.utime(path, (0, 0))
    assert part(0, b"x", "c" * 32) == 1
    assert os.listdir(place) == ["c" * 32]
    sweep(place, lambda: os.lstat(f"{place}/{'c' * 32}").st_mtime + 3599)
    assert os.listdir(place) == ["c" * 32]
    discard(place, ["c" * 32, "d" * 32])
    assert not os.path.exists(place)


def test_leftovers_of_any_kind_go_and_nothing_else(tmp_path: Path) -> None:
    """After an hour: files, directories, links; what is written to stays, and the directory with it."""
    place = tmp_path / ".incoming"
    (place / "directory/inner").mkdir(parents=True)
    (place / "directory/inner/file").write_bytes(b"1")
    (place / "link").symlink_to(tmp_path)
    (place / ("a" * 32)).write_bytes(b"old")
    (place / ("b" * 32)).write_bytes(b"new")
    now = os.lstat(place / ("b" * 32)).st_mtime
    for name in ("directory", "link", "a" * 32):
        os.utime(place / name, (now - 3601, now - 3601), follow_symlinks=False)
    sweep(str(place), lambda: now)
    assert os.listdir(place) == ["b" * 32]
    sweep(str(place), lambda: now + 3601)
    assert not place.exists()
    assert os.listdir(tmp_path) == []
    sweep(str(place), lambda: now)


def test_a_link_in_the_directorys_place_has_nobody_elses_files_removed(tmp_path: Path) -> None:
    """It is in the way, and told as such."""
    (tmp_path / "other").mkdir()
    (tmp_path / "other/file").write_bytes(b"safe")
    os.utime(tmp_path / "other/file", (0, 0))
    (tmp_path / ".incoming").symlink_to("other")
    for call in (
        lambda: sweep(str(tmp_path / ".incoming")),
        lambda: write_part(str(tmp_path / ".incoming"), TRANSFER, offset=0, content=b"x", max_bytes=100),
    ):
        with pytest.raises(NotADirectoryError):
            call()
    assert os.listdir(tmp_path / "other") == ["file"]


def test_a_run_that_ends_meanwhile_takes_no_directory_from_a_transfer_that_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It removes the directory, empty as it is, right before the first part is written."""
    place, makedirs, calls = str(tmp_path / ".incoming"), os.makedirs, []

    def and_discard(path: str, *, exist_ok: bool) -> None:
        makedirs(path, exist_ok=exist_ok)
        calls.append(path)
        if len(calls) == 1:
            discard(place, ["b" * 32])

    monkeypatch.setattr(os, "makedirs", and_discard)
    assert write_part(place, TRANSFER, offset=0, content=b"PACK", max_bytes=100) == 4
    assert os.listdir(place) == [TRANSFER]


def test_a_link_in_a_transfers_place_is_not_followed(tmp_path: Path) -> None:
    """Readers may have put it there, where they may write."""
    (tmp_path / "canary").write_bytes(b"safe")
    place = tmp_path / ".incoming"
    place.mkdir()
    (place / TRANSFER).symlink_to(tmp_path / "canary")
    for offset in (0, 4):
        with pytest.raises(OSError):
            write_part(str(place), TRANSFER, offset=offset, content=b"bad!", max_bytes=100)
    with pytest.raises(OSError):
        open_transfer(str(place), TRANSFER)
    assert (tmp_path / "canary").read_bytes() == b"safe"


# -- the schedule -----------------------------------------------------------------------------------------------------


class Surveyed:
    """A mount side that is asked what is behind; `calls` are the numbers of repositories."""

    def __init__(self) -> None:
        """Answer nobody until `go` is set."""
        self.go = threading.Event()
        self.calls: list[int] = []
        self.sizes: list[int] = []
        self.fails = False

    def survey(self, items: Sequence[SurveyItem]) -> tuple[SurveyFinding, ...]:
        """Answer for each what its name says."""
        self.calls.append(len(items))
        self.sizes.append(len(encode_call("survey", {"items": items})))
        self.go.wait(10)
        if self.fails:
            raise PublisherUnavailable("away")
        return tuple(
            SurveyFinding(failed=Failure("configuration_invalid", "wrong"))
            if item.repository.full_name.endswith("/bad")
            else SurveyFinding(RepositoryDrift((item.repository.full_name,)))
            for item in items
        )


def asked(surveyor: Surveyor, name: str) -> tuple[str, ...]:
    """Return what is behind of a repository."""
    repository = Repository(full_name=f"octo/{name}", url="https://example.com/x")
    return surveyor.drift(repository, RemoteRefs({})).behind


def test_who_asks_meanwhile_is_in_the_next_call() -> None:
    """Nobody waits for others; and no call has more than it may."""
    mount, count = Surveyed(), MAX_SURVEYED + 50
    surveyor = Surveyor(cast(Any, mount))
    with ThreadPoolExecutor(count) as pool:
        answers = [pool.submit(asked, surveyor, str(number)) for number in range(count)]
        while sum(map(len, [surveyor._waiting])) < count - 1:
            threading.Event().wait(0.01)
        mount.go.set()
        assert [answer.result() for answer in answers] == [(f"octo/{number}",) for number in range(count)]
    assert mount.calls[0] == 1
    assert max(mount.calls) <= MAX_SURVEYED
    assert len(mount.calls) == 3


def item_of(number: int, count: int, letters: str) -> SurveyItem:
    """Return a repository with so many refs, in whose names the letters are."""
    names = [f"refs/heads/{at:05}{letters}" for at in range(count)]
    refs = RemoteRefs({name: Tip(name, ONE, TWO) for name in names}, MAIN)
    return SurveyItem(Repository(full_name=f"octo/{number}", url="https://example.com/x"), refs)


def asked_at_once(surveyor: Surveyor, mount: Surveyed, items: Sequence[SurveyItem]) -> list[tuple[str, ...]]:
    """Ask for the repositories, the first one's call being under way; return what is behind."""
    with ThreadPoolExecutor(len(items)) as pool:
        answers = []
        for number, item in enumerate(items):
            answers.append(pool.submit(surveyor.drift, item.repository, item.refs))
            while len(mount.calls) + len(surveyor._waiting) < number + 1:
                threading.Event().wait(0.005)
        mount.go.set()
        return [answer.result().behind for answer in answers]


@pytest.mark.parametrize("letters", ["", "x" * 230, "ü" * 115])
def test_a_call_has_no_more_refs_than_fit_a_message(letters: str) -> None:
    """Many are shared out over several calls, whatever their names; those of one repository are never parted."""
    mount = Surveyed()
    half = MAX_SURVEY_BYTES // (2 * (bytes_of(item_of(0, 2, letters)) - bytes_of(item_of(0, 1, letters)))) + 1
    sizes = [1, half, half, 1, 2 * half, 1, 1, half - 9]
    found = asked_at_once(Surveyor(cast(Any, mount)), mount, [item_of(*each, letters) for each in enumerate(sizes)])
    assert found == [(f"octo/{number}",) for number in range(len(sizes))]
    assert mount.calls == [1, 1, 2, 1, 3]
    assert max(mount.sizes) <= MAX_MESSAGE_BYTES / 2


@pytest.mark.parametrize("letters", ["", '"' * 100, "x" * 230, "ü" * 115])
def test_a_repositorys_bytes_in_a_survey_are_known_before(letters: str) -> None:
    """At most so many, and not many less."""
    for count in (0, 1, 100):
        item = item_of(0, count, letters)
        size = len(encode_call("survey", {"items": [item]}))
        assert size - 60 <= bytes_of(item) < size + 200 + 10 * count


def test_a_failure_is_its_repositorys_or_the_calls() -> None:
    """And the next call is made all the same."""
    mount = Surveyed()
    mount.go.set()
    surveyor = Surveyor(cast(Any, mount))
    with pytest.raises(ConfigurationInvalid, match="wrong"):
        asked(surveyor, "bad")
    mount.fails = True
    with pytest.raises(PublisherUnavailable):
        asked(surveyor, "good")
    mount.fails = False
    assert asked(surveyor, "good") == ("octo/good",)


def test_one_run_has_the_task_until_it_ends_or_its_time_is_over(tmp_path: Path) -> None:
    """And whoever lost it does not write over the next one's state."""
    mount = str(tmp_path)

    def take(run: str, now: float) -> ScheduleState:
        return take_lease(mount, "reconcile", run=run, until=now + 60, now=now)

    def end(run: str, stopped_at: str | None) -> None:
        state = None if stopped_at is None else ScheduleState({"a/b": RepositoryState(confirmed_at=1.0)}, stopped_at)
        end_lease(mount, "reconcile", run=run, state=state, now=220.0)

    assert take("one", 100.0) == ScheduleState()
    with pytest.raises(LockTimeout):
        take("two", 159.0)
    take("one", 150.0)
    with pytest.raises(LockTimeout):
        take("two", 200.0)
    take("two", 211.0)
    end("one", "lost")
    assert read_state(mount, "reconcile", now=220.0).stopped_at is None
    end("two", "kept")
    assert take("three", 212.0).stopped_at == "kept"
    end("three", None)
    assert read_state(mount, "reconcile", now=220.0).stopped_at == "kept"


def test_a_lease_of_the_far_future_keeps_nobody_away(tmp_path: Path) -> None:
    """No run of ours wrote it."""
    take_lease(str(tmp_path), "chores", run="a reader's", until=1e12, now=100.0)
    take_lease(str(tmp_path), "chores", run="ours", until=160.0, now=100.0)


# -- the function's client --------------------------------------------------------------------------------------------


class Lambda:
    """A client that answers in turn with what it is given; exceptions are raised."""

    def __init__(self, *answers: Any, seconds: float = 0.0) -> None:
        """Each call takes `seconds`."""
        self.answers = list(answers)
        self.seconds = seconds
        self.now = 0.0
        self.calls = 0

    def invoke(self, *, FunctionName: str, InvocationType: str, Payload: bytes) -> Mapping[str, Any]:
        """Answer."""
        assert (FunctionName, InvocationType) == ("publisher", "RequestResponse")
        self.calls += 1
        self.now += self.seconds
        answer = self.answers.pop(0)
        if isinstance(answer, BaseException):
            raise answer
        assert isinstance(answer, dict)
        return answer

    def function(self) -> PublisherFunction:
        """Return the publisher behind it."""
        return PublisherFunction("publisher", lambda: self, lambda: self.now)


def answered(content: object, **more: str) -> dict[str, Any]:
    """Return Lambda's answer with a function's."""
    return {"StatusCode": 200, "Payload": io.BytesIO(json.dumps(content).encode()), **more}


def refused(code: str, status: int = 400) -> Exception:
    """Return boto3's exception for an error code."""
    from botocore.exceptions import ClientError

    error: Exception = ClientError({"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}, "Invoke")
    return error


def closed() -> Exception:
    """Return botocore's exception for a connection that was closed."""
    from botocore.exceptions import ConnectionClosedError

    error: Exception = ConnectionClosedError(endpoint_url="https://example.com")
    return error


GOOD = {"version": 1, "result": [MAIN]}


@pytest.mark.parametrize(
    ("answer", "failure"),
    [
        (refused("TooManyRequestsException", 429), PublisherUnavailable),
        (refused("ServiceException", 500), PublisherUnavailable),
        (refused("AccessDeniedException", 403), PublisherRefused),
        (refused("ResourceNotFoundException", 404), PublisherRefused),
        (answered({"errorMessage": "a secret"}, FunctionError="Unhandled"), PublisherUnavailable),
        (answered({"version": 2, "result": []}), PublisherUnavailable),
        (answered({"version": 1, "result": [7]}), PublisherUnavailable),
        (answered([]), PublisherUnavailable),
    ],
)
def test_what_the_function_does_not_answer_is_a_failure_of_ours(answer: Any, failure: type[Exception]) -> None:
    """Transient where it passes by itself; and nobody else's text in it."""
    client = Lambda(answer)
    with pytest.raises(failure) as raised:
        client.function().published_refs("octo/site")
    assert "secret" not in str(raised.value)
    assert client.calls == 1


def test_a_connection_that_was_dead_is_tried_once_more() -> None:
    """At once, and no other time: botocore itself makes one attempt."""
    assert OPTIONS.attempts == 1
    assert OPTIONS.read_timeout_seconds > 900
    assert Lambda(closed(), answered(GOOD)).function().published_refs("octo/site") == (MAIN,)
    for client in (Lambda(closed(), closed(), answered(GOOD)), Lambda(closed(), answered(GOOD), seconds=2.0)):
        with pytest.raises(PublisherUnavailable):
            client.function().published_refs("octo/site")
        assert client.calls == (1 if client.seconds else 2)


def test_a_message_over_lambdas_bound_is_not_sent() -> None:
    """It is known before."""
    client = Lambda()
    with pytest.raises(PublisherRefused, match="bytes"):
        client.function().receive("octo/site", transfer=TRANSFER, offset=0, content=bytes(5_000_000))
    assert client.calls == 0


def test_a_function_that_answered_lately_is_awake() -> None:
    """Else it is looked at before it is needed."""
    client = Lambda(answered(GOOD))
    function = client.function()
    assert not function.is_warm()
    function.published_refs("octo/site")
    assert function.is_warm()
    client.now += 600
    assert not function.is_warm()
