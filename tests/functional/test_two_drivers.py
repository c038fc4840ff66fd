"""Two drivers with caches of their own publish to one mount, in any order: it ends with the tip, and never goes back.

One push's way is cut where another process may come between: while the remote is asked, while it answers, and before
the mount side is called. There the other driver does a whole delivery. Requests are lost, doubled, held back and come
late, after others; their answers are lost; the branch moves, goes back, goes and comes again.
"""

import itertools
import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from handler.deadline import Deadline
from handler.errors import PublisherUnavailable
from handler.exchange.messages import decode_answer, decode_call, encode_call, encode_result
from handler.exchange.publisher import MAX_ROUNDS, PublishAnswer, PublishRequest
from handler.exchange.remote import RemoteRefs
from handler.model import NULL_OID, Outcome, OutcomeKind, PushEvent
from handler.mount.fs.lock import HeldLock
from handler.mount.publisher import LocalPublisher
from handler.network import driven_run
from handler.network.aws.parameters import Parameters
from handler.network.deliver import Deliverer
from handler.network.driven_run import DrivenRun
from handler.network.guess import KnownTargets
from handler.network.remote.client import HttpRemote
from handler.network.trigger import Trigger
from handler.settings import read_settings
from testing import selection
from testing.repositories import Upstream, archive
from testing.service import Service

REF = "refs/heads/main"
GRACE_SECONDS = 60
_numbers = itertools.count()


@dataclass(frozen=True, slots=True)
class Change:
    """What becomes of the branch, or of the clock."""

    what: str


@dataclass(frozen=True, slots=True)
class Late:
    """A request of an earlier delivery comes (again), with the answers that it had, from one of the drivers.

    It may go on from there, as a driver does that was held back: what the mount side needs it asks now.
    """

    number: int
    driver: int
    goes_on: bool


@dataclass(frozen=True, slots=True)
class Delivery:
    """A driver does a delivery: of the push of the last change, or of a timer.

    `fate` is that of its calls of the mount side. `within` is what happens at each cut of its way.
    """

    driver: int
    is_timer: bool
    fate: str
    within: dict[str, "list[Step]"] = field(default_factory=dict)


Step = Change | Late | Delivery


class Immediately:
    """Does what it is given at once, in the same thread: what happens beside each other happens in one order."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        """Take what a pool takes."""

    def __enter__(self) -> "Immediately":
        return self

    def __exit__(self, *arguments: object) -> None:
        """Wait for nobody."""

    def submit(self, function: Callable[[], object]) -> "Future[object]":
        """Call it."""
        done: Future[object] = Future()
        try:
            done.set_result(function())
        except BaseException as error:
            done.set_exception(error)
        return done


class Side:
    """The mount side as one driver sees it, in JSON; with a cache of its own."""

    def __init__(self, world: "World", number: int) -> None:
        """The first is a function; the second one is in the driver's process."""
        self._world = world
        self._publisher = LocalPublisher(world.settings, progress=lambda *_: None, clock=world.clock, sleep=world.sleep)
        self.is_remote = number == 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._publisher, name)

    def publish(self, request: PublishRequest) -> PublishAnswer:
        """Let come what comes before, and be lost what is to be lost."""
        world = self._world
        world.requests.append(request)
        fate = world.cut("publishing")
        if fate == "lost":
            raise PublisherUnavailable("the request is lost")
        answers = [self.arrive(request) for _ in range(2 if fate == "doubled" else 1)]
        if fate == "answer lost":
            raise PublisherUnavailable("the answer is lost")
        return answers[-1]

    def arrive(self, request: PublishRequest) -> PublishAnswer:
        """Publish, and have a reader look."""
        call = decode_call(json.loads(encode_call("publish", {"request": request})))
        answer = self._publisher.publish(call.arguments["request"])
        self._world.read()
        found = decode_answer("publish", json.dumps(encode_result(answer)).encode())
        assert isinstance(found, PublishAnswer)
        return found


class World:
    """One repository and its branch, one mount, two drivers, a reader, and a clock that all share."""

    def __init__(self, service: Service, upstream: Upstream) -> None:
        """Nothing is pushed."""
        self.service, self.upstream = service, upstream
        self.path = f"{upstream.full_name}/main"
        self.ahead = 0.0
        self.settings = read_settings(service.environment)
        self.repository = Parameters(self.settings).repository(upstream.full_name)
        self.sides = [Side(self, number) for number in range(2)]
        self.drivers: list[Deliverer] = []
        for side in self.sides:
            made = Deliverer(
                self.settings,
                cast(Any, side),
                put=None,
                warn=lambda _: None,
                clock=self.clock,
                sleep=self.sleep,
            )
            self.drivers.append(made)
        self.states: list[str | None] = [None]
        self.pushes: list[PushEvent] = []
        self.requests: list[PublishRequest] = []
        self.seen = 0
        self._under_way: list[Delivery] = []
        self._come: list[set[str]] = []
        self._pushed_at = int(time.time()) - 100_000

    def clock(self) -> float:
        """Return what the hosts' clocks say."""
        return time.time() + self.ahead

    def sleep(self, seconds: float) -> None:
        """Let that time pass at once."""
        self.ahead += seconds

    def close(self) -> None:
        """Close the drivers."""
        for driver in self.drivers:
            driver.close()

    # -- what happens ---------------------------------------------------------------------------------------------

    def do(self, step: Step) -> None:
        """Let one thing happen, and a reader look."""
        if isinstance(step, Change):
            self._change(step.what)
        elif isinstance(step, Delivery):
            self.deliver(step)
        elif self.requests:
            self._come_late(self.requests[step.number % len(self.requests)], step)
        self.read()

    def _come_late(self, request: PublishRequest, late: Late) -> None:
        if not late.goes_on:
            self.sides[late.driver].arrive(request)
            return
        run = DrivenRun(
            publisher=cast(Any, self.sides[late.driver]),
            known=KnownTargets(),
            put_events=lambda events: None,
            max_pack_bytes=self.settings.max_pack_bytes,
            clock=self.clock,
            sleep=self.sleep,
            repository=self.repository,
            target=request.target,
            remote=self.drivers[late.driver].remote(self.repository, None, request.deadline),
            trigger=Trigger(ref=REF, push=request.push, delivery="", received_at=request.received_at),
            begin=lambda commit: None,
            makes_spares=False,
            refs=list(request.answers.refs),
            packs=list(request.answers.packs),
        )
        with self._under(Delivery(late.driver, is_timer=False, fate="through")):
            for _ in range(MAX_ROUNDS):
                answer = run._publish()
                if answer.need is None:
                    break
                run._fulfil(answer.need)

    def _change(self, what: str) -> None:
        if what == "later":
            self.ahead += GRACE_SECONDS + 1
            return
        before, known = self.upstream.tip(REF), [each for each in self.states if each is not None]
        if what == "gone":
            if before is None:
                return
            self.upstream.delete(REF)
        elif what == "back" and known:
            self.upstream.point(REF, known[0])
        else:
            if what == "forced" and known:
                self.upstream.point(REF, known[0])
            self.upstream.commit({"a": b"%d" % len(self.states)})
        after = self.upstream.tip(REF)
        self.states.append(after)
        self._pushed_at += 1
        push = PushEvent(
            repository=self.upstream.full_name,
            ref=REF,
            before=before or NULL_OID,
            after=after or NULL_OID,
            is_deleted=after is None,
            pushed_at=self._pushed_at,
            is_single=what == "commit" and before is not None,
        )
        self.pushes.append(push)

    def deliver(self, delivery: Delivery) -> tuple[Outcome, ...]:
        """Have a driver deliver; return its outcomes."""
        push = self.pushes[-1] if self.pushes and not delivery.is_timer else None
        now = self.clock()
        trigger = Trigger(ref=REF, push=push, delivery="", received_at=now, deadline=Deadline(now + 10_000, self.clock))
        with self._under(delivery):
            return self.drivers[delivery.driver].deliver(self.repository, None, trigger)

    @contextmanager
    def _under(self, delivery: Delivery) -> Iterator[None]:
        self._under_way.append(delivery)
        self._come.append(set())
        try:
            yield
        finally:
            self._under_way.pop()
            self._come.pop()

    def cut(self, place: str) -> str:
        """Let happen what is to happen at this place of the delivery's way, once; return the fate of its requests."""
        delivery = self._under_way[-1]
        if place not in self._come[-1]:
            self._come[-1].add(place)
            for step in delivery.within.get(place, ()):
                self.do(step)
        return delivery.fate

    # -- what is seen ---------------------------------------------------------------------------------------------

    def read(self) -> None:
        """Hold what a reader sees to be no older than what one saw before."""
        found = self.service.current_commit(self.path)
        later = [number for number in range(self.seen, len(self.states)) if self.states[number] == found]
        assert later or found == self.states[self.seen], (
            f"a reader sees {found} after state {self.seen} of {self.states}"
        )
        self.seen = later[0] if later else self.seen


CHANGES = st.builds(Change, st.sampled_from(["commit", "commit", "commit", "forced", "back", "gone", "later"]))
LATE = st.builds(Late, st.integers(0, 30), st.integers(0, 1), st.booleans())
FATES = st.sampled_from(["through", "through", "lost", "answer lost", "doubled"])


def deliveries(driver: int, within: "st.SearchStrategy[dict[str, list[Step]]]") -> st.SearchStrategy[Delivery]:
    """Return a driver's deliveries."""
    return st.builds(Delivery, st.just(driver), st.booleans(), FATES, within)


def cuts(driver: int) -> "st.SearchStrategy[dict[str, list[Step]]]":
    """Return what may happen within a driver's delivery: the other driver has its turn, and the branch moves."""
    others = deliveries(1 - driver, st.just({}))
    steps: st.SearchStrategy[list[Step]] = st.lists(st.one_of(CHANGES, others, LATE), min_size=1, max_size=3)
    return st.dictionaries(st.sampled_from(["asking", "answering", "publishing"]), steps, max_size=2)


STEPS = st.lists(
    st.one_of(CHANGES, CHANGES, LATE, deliveries(0, cuts(0)), deliveries(1, cuts(1))),
    min_size=3,
    max_size=selection.count(14, 10),
)


MakeWorld = Callable[[], World]


@pytest.fixture
def make_world(service: Service, monkeypatch: pytest.MonkeyPatch) -> Iterator[MakeWorld]:
    """Return what makes a world with a repository of its own, in which everything happens in one thread."""
    worlds: list[World] = []
    refs = HttpRemote.refs

    def make() -> World:
        assert service.origin is not None
        for each in worlds:
            each.close()
        upstream = Upstream(service.origin.root, f"octo/two{next(_numbers)}")
        service.put_repository(upstream.full_name, publish=[{"ref": "refs/heads/*"}], grace_seconds=GRACE_SECONDS)
        worlds[:] = [World(service, upstream)]
        return worlds[0]

    def cut(remote: HttpRemote, names: list[str], *, with_head: bool = False) -> RemoteRefs:
        worlds[0].cut("asking")
        found = refs(remote, names, with_head=with_head)
        worlds[0].cut("answering")
        return found

    now = HeldLock.now
    # The mount's time goes on as the hosts' does.
    monkeypatch.setattr(HeldLock, "now", lambda lock: now(lock) + worlds[0].ahead)
    monkeypatch.setattr(HttpRemote, "refs", cut)
    monkeypatch.setattr(driven_run, "ThreadPoolExecutor", Immediately)
    yield make
    for each in worlds:
        each.close()


@settings(max_examples=selection.count(80, 12, long_run=150))
@given(STEPS)
def test_two_drivers_end_with_the_tip_and_never_go_back(make_world: MakeWorld, steps: list[Step]) -> None:
    """A reader looks after each call; in the end one delivery, and nothing else, brings the tip."""
    world = make_world()
    world.do(Change("commit"))
    for step in steps:
        world.do(step)
    check_end(world)


def check_end(world: World) -> None:
    """Deliver the last push once more, then have a timer come to each driver: the tip is there, and stays."""
    tip = world.upstream.tip(REF)
    for number, delivery in enumerate((Delivery(0, False, "through"), Delivery(1, True, "through"))):
        outcomes = world.deliver(delivery)
        if tip is None:
            # The first run that finds it gone notes that; after the grace the next one takes the target away.
            world.do(Change("later"))
            continue
        assert all(outcome.kind is not OutcomeKind.FAILED for outcome in outcomes), outcomes
        assert world.service.current_commit(world.path) == tip, number
        assert world.service.tree(world.path) == archive(world.upstream, tip)
    if tip is None:
        world.deliver(Delivery(0, True, "through"))
        assert world.service.current_commit(world.path) is None
    world.read()


def come_late(world: World) -> None:
    """Let every request so far come once more from either driver, which goes on with it."""
    for number in range(len(world.requests)):
        for driver in range(2):
            world.do(Late(number, driver, goes_on=True))


def test_who_asked_later_and_was_answered_earlier_does_not_lead_back(make_world: MakeWorld) -> None:
    """A slow question names the newer commit; the answer of a quick one that was asked after it comes late."""
    world = make_world()
    world.do(Change("commit"))
    world.do(Delivery(0, is_timer=False, fate="through"))
    quick = Delivery(1, is_timer=False, fate="lost")
    slow: dict[str, list[Step]] = {"asking": [Change("commit"), quick, Change("commit")]}
    world.do(Delivery(0, is_timer=True, fate="through", within=slow))
    assert world.service.current_commit(world.path) == world.upstream.tip()
    come_late(world)
    assert world.service.current_commit(world.path) == world.upstream.tip()


def test_an_answer_from_before_a_branch_went_does_not_bring_it_back(make_world: MakeWorld) -> None:
    """With the target its record went, and what was known of the remote: the answer is too old by then."""
    world = make_world()
    world.do(Change("commit"))
    world.do(Delivery(0, is_timer=False, fate="through"))
    world.do(Change("commit"))
    world.do(Delivery(1, is_timer=False, fate="lost"))
    world.do(Change("gone"))
    for _ in range(2):
        world.do(Delivery(0, is_timer=True, fate="through"))
        world.do(Change("later"))
    world.do(Delivery(0, is_timer=True, fate="through"))
    assert world.service.current_commit(world.path) is None
    come_late(world)
    assert world.service.current_commit(world.path) is None
