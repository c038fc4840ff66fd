"""What bounds a request to a remote: the bytes beside the pack, and the watchdog that ends a read."""

import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handler.errors import Git2EfsError
from handler.network.remote import client, protocol, protocol_v0
from handler.network.remote.client import Watchdog
from handler.network.remote.protocol import RequestOverrun, packet

BOUND = 2000
LARGEST_PACKET = 300

LINES = st.one_of(
    st.binary(max_size=LARGEST_PACKET - 4).map(packet),
    st.binary(max_size=LARGEST_PACKET - 5).map(lambda content: packet(b"\1" + content)),
    st.binary(max_size=LARGEST_PACKET - 5).map(lambda content: packet(b"\2" + content)),
    st.sampled_from([b"0001", packet(b"1" * 40 + b" refs/heads/x\n"), packet(b"shallow " + b"1" * 40)]),
    st.sampled_from([packet(b"shallow-info\n"), packet(b"packfile\n"), packet(b"NAK\n"), packet(b"# service=x\n")]),
)


class Endless:
    """An answer that begins as it is told, and then repeats its last lines for ever."""

    def __init__(self, lines: list[bytes], repeated: list[bytes]) -> None:
        self._parts = self._all(lines, repeated)
        self._buffer = b""
        self.taken = 0

    @staticmethod
    def _all(lines: list[bytes], repeated: list[bytes]) -> Iterator[bytes]:
        yield from lines
        while True:
            yield from repeated

    def read(self, count: int) -> bytes:
        """Return so many bytes."""
        while len(self._buffer) < count:
            self._buffer += next(self._parts)
        content, self._buffer = self._buffer[:count], self._buffer[count:]
        self.taken += count
        return content


@pytest.mark.parametrize("reader", ["refs", "fetch", "advertisement", "fetch-v0", "fetch-v0-deepened"])
@given(lines=st.lists(LINES, max_size=10), repeated=st.lists(LINES, min_size=1, max_size=3))
def test_every_endless_answer_comes_to_an_end(reader: str, lines: list[bytes], repeated: list[bytes]) -> None:
    """Whatever comes in whatever order: one of our failures, after no more bytes than the bound and the pack's."""
    answer = Endless(lines, repeated)
    received = 0

    def write(content: bytes) -> None:
        nonlocal received
        received += len(content)
        if received > BOUND:  # as the spool does at `max_pack_bytes`
            raise RequestOverrun("the pack is too large")

    read = answer.read
    readers: dict[str, Callable[[], object]] = {
        "refs": lambda: protocol.read_refs(protocol.read_packets(read)),
        "fetch": lambda: protocol.read_fetch(protocol.read_packets(read), write),
        "advertisement": lambda: protocol_v0.read_advertisement(read),
        "fetch-v0": lambda: protocol_v0.read_fetch(read, write, is_deepened=False),
        "fetch-v0-deepened": lambda: protocol_v0.read_fetch(read, write, is_deepened=True),
    }
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(protocol, "MAX_BYTES_BESIDE_PACK", BOUND)
        with pytest.raises(Git2EfsError):
            readers[reader]()
    # Version 0 has two streams of packets, each with its own bound.
    assert answer.taken <= 2 * (BOUND + LARGEST_PACKET) + BOUND + LARGEST_PACKET


def test_the_packs_own_bytes_do_not_count() -> None:
    """They are bounded by `max_pack_bytes`; an honest pack is far larger than what is beside it."""
    content = b"\1" + b"x" * 60_000
    lines = [packet(b"packfile\n"), *[packet(content)] * 600, b"0000"]
    stream = b"".join(lines)
    assert len(stream) > protocol.MAX_BYTES_BESIDE_PACK
    at = 0

    def read(count: int) -> bytes:
        nonlocal at
        at += count
        return stream[at - count : at]

    sizes: list[int] = []
    protocol.read_fetch(protocol.read_packets(read), lambda part: sizes.append(len(part)))
    assert sum(sizes) == 600 * 60_000


@pytest.fixture
def watchdog() -> Iterator[Watchdog]:
    """Return a watchdog."""
    started = Watchdog()
    yield started
    started.close()


def reading(watchdog: Watchdog, seconds: float, *, hurry: float | None = None) -> float:
    """Read from a silent peer as a request does; return how long that took."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        started = time.monotonic()
        with watchdog.watching(started + seconds):
            client._thread.watch(ours)
            if hurry is not None:
                watchdog.hurry(hurry)
            assert ours.recv(1) == b""
        return time.monotonic() - started


@pytest.mark.parametrize("order", [(0.6, 0.1, 0.3), (0.1, 0.3, 0.6)])
def test_each_reader_is_woken_at_its_own_time(watchdog: Watchdog, order: tuple[float, ...]) -> None:
    """Whoever came first; one that comes later may be the first to end."""
    found: dict[float, float] = {}

    def read(seconds: float) -> None:
        found[seconds] = reading(watchdog, seconds)

    threads = [threading.Thread(target=read, args=[seconds]) for seconds in order]
    for thread in threads:
        thread.start()
        time.sleep(0.02)
    for thread in threads:
        thread.join(5)
    assert all(seconds <= found[seconds] < seconds + 0.3 for seconds in order), found


def test_a_reader_can_be_hurried_and_never_delayed(watchdog: Watchdog) -> None:
    """What follows a whole answer gets a second, and not the whole request's time."""
    assert reading(watchdog, 30, hurry=0.1) < 0.5
    assert reading(watchdog, 0.1, hurry=30) < 0.5


def test_a_socket_whose_request_has_ended_is_left_alone(watchdog: Watchdog) -> None:
    """It is in the pool, or serves another request."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        with watchdog.watching(time.monotonic() + 0.1):
            client._thread.watch(ours)
        time.sleep(0.2)
        theirs.send(b"x")
        assert ours.recv(1) == b"x"


def test_one_thread_watches_and_ends_with_the_pool(watchdog: Watchdog) -> None:
    """None before the first request, one for all of them, none after `close`; a later request gets a new one."""

    assert watchdog._thread is None
    reading(watchdog, 0.02)
    thread = watchdog._thread
    assert thread is not None
    reading(watchdog, 0.02)
    assert watchdog._thread is thread
    watchdog.close()
    thread.join(5)
    assert not thread.is_alive()
    assert reading(watchdog, 0.02) < 0.5
    assert watchdog._thread not in (None, thread)
