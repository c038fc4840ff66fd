"""What many threads ask for at once, and what is learnt on the side; test_parameters.py holds the rest."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from handler.errors import ParametersUnavailable, RepositoryUnknown
from handler.network.aws.cache import Cache, Lifetimes

THREADS = 16


class Source:
    """Counts its reads, and lets each end only when `go` is set."""

    def __init__(self, *ends: Callable[[], str]) -> None:
        """`ends` are what the reads do, in turn; the last one from then on."""
        self.ends = list(ends)
        self.reads = 0
        self.is_asked = threading.Event()
        self.go = threading.Event()

    def read(self) -> str:
        """Return or raise what is next."""
        end = self.ends[min(self.reads, len(self.ends) - 1)]
        self.reads += 1
        self.is_asked.set()
        assert self.go.wait(10.0)
        return end()


def failing(error: BaseException) -> Callable[[], str]:
    """Return a read that raises."""

    def end() -> str:
        raise error

    return end


def cache(fresh: float = 30.0, clock: Callable[[], float] = lambda: 1000.0) -> Cache[str]:
    """Return a cache with the lifetimes of repositories."""
    return Cache(Lifetimes(fresh, 30.0, 3600.0, 15.0), max_entries=10, clock=clock)


class Arrivals:
    """A clock that stands still and counts who looks at it."""

    def __init__(self) -> None:
        """Nobody yet."""
        self._count = 0
        self._condition = threading.Condition()

    def __call__(self) -> float:
        """Seconds."""
        with self._condition:
            self._count += 1
            self._condition.notify_all()
        return 1000.0

    def wait_for(self, count: int) -> None:
        """Return when so many looked."""
        with self._condition:
            assert self._condition.wait_for(lambda: self._count >= count, 10.0)


def all_at_once(source: Source, fresh: float = 30.0) -> list[object]:
    """Ask for one name in many threads, all while the first read is under way; return values and errors."""
    arrivals = Arrivals()
    kept = cache(fresh, arrivals)

    def get() -> object:
        try:
            return kept.get("a", source.read)
        except (Exception, SystemExit) as error:
            return error

    with ThreadPoolExecutor(THREADS) as pool:
        first = pool.submit(get)
        assert source.is_asked.wait(10.0)
        others = [pool.submit(get) for _ in range(THREADS - 1)]
        arrivals.wait_for(THREADS + 1)  # each looks at the clock as it comes, the one who reads twice
        source.go.set()
        return [future.result(10.0) for future in (first, *others)]


def test_those_who_miss_one_name_at_once_share_one_read() -> None:
    """A burst for a repository costs one call."""
    source = Source(lambda: "value")
    assert all_at_once(source) == ["value"] * THREADS
    assert source.reads == 1


@pytest.mark.parametrize("error", [ParametersUnavailable("x"), RepositoryUnknown("x")])
def test_they_share_its_failure_too(error: Exception) -> None:
    """Else each would wait through the same time-outs, one after the other; each gets an exception of its own."""
    source = Source(failing(error))
    found = all_at_once(source, fresh=0.0)
    assert [type(each) for each in found] == [type(error)] * THREADS
    assert len({id(each) for each in found}) == THREADS
    # Nobody who came while it was under way asks again; who came after it may, where it is not remembered.
    assert source.reads < THREADS


def test_an_end_that_says_nothing_about_the_name_lets_the_next_one_read() -> None:
    """The first thread was ended; those who wait do not wait for ever, nor fail with it."""
    source = Source(failing(SystemExit()), lambda: "value")
    first, *others = all_at_once(source)
    assert isinstance(first, SystemExit)
    assert others == ["value"] * (THREADS - 1)
    assert source.reads == 2


def test_names_do_not_wait_for_each_other() -> None:
    """One slow answer does not stop requests for other names."""
    kept, slow = cache(), Source(lambda: "slow")
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(kept.get, "slow", slow.read)
        assert slow.is_asked.wait(10.0)
        assert kept.get("quick", lambda: "quick") == "quick"
        slow.go.set()
        assert waiting.result(10.0) == "slow"


def never() -> str:
    """Be read where nothing is to be read."""
    raise AssertionError("it was read")


def test_what_is_learnt_serves_as_if_it_had_been_read_then() -> None:
    """Until its own time is over, counted from when it was read and not from when it was told."""
    now = [1000.0]
    kept = cache(clock=lambda: now[0])
    kept.put("a", "learnt", read_at=990.0)
    now[0] = 1019.0
    assert kept.get("a", never) == "learnt"
    now[0] = 1020.0
    assert kept.get("a", lambda: "read") == "read"


def test_what_is_learnt_does_not_replace_what_is_newer() -> None:
    """A listing takes a while: what a delivery found out meanwhile stands, also that a name is gone."""
    kept = cache()
    kept.get("a", lambda: "read")
    kept.put("a", "learnt", read_at=999.0)
    assert kept.get("a", never) == "read"
    with pytest.raises(RepositoryUnknown):
        kept.get("b", failing(RepositoryUnknown("b")))
    kept.put("b", "learnt", read_at=999.0)
    with pytest.raises(RepositoryUnknown):
        kept.get("b", never)
    kept.put("b", "learnt", read_at=1001.0)
    assert kept.get("b", never) == "learnt"
