"""An answer in chunks whose sizes are not sizes: it broke off, which passes, and nothing is read without bound."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handler.errors import RemoteUnavailable
from handler.network.remote.client import RemotePool
from handler.settings import Settings

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/x-git-upload-pack-result\r\nTransfer-Encoding: chunked\r\n\r\n"
REF = b"003d" + b"1" * 40 + b" refs/heads/main\n"
TIP = "refs/heads/main"


@contextmanager
def answering(body: bytes) -> Iterator[str]:
    """Serve `body` as it is, once, and close; yields the URL."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                request = b""
                while b"0000" not in request:
                    request += connection.recv(65536)
                connection.sendall(HEAD + body)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}/octo/site.git"
        thread.join(10)


def tip(body: bytes) -> str:
    """Return what main is, by a remote that answers with this body."""
    settings = Settings(parameter_prefix="/p", mount="/m", fetch_attempts=1, read_timeout_seconds=5)
    pool = RemotePool(settings)
    try:
        with answering(body) as url:
            return pool.at(url, None).refs([TIP]).tips[TIP].object_id
    finally:
        pool.close()


def _chunk(content: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(content), content)


@pytest.mark.parametrize("size", [b"-1", b"-5", b"-ffffffff", b"+5", b"0x10", b"1_0", b" 5", b"", b"f" * 17, b"\xff"])
@pytest.mark.parametrize("before", [b"", _chunk(REF[:10])], ids=["first", "second"])
def test_a_size_that_is_none_breaks_the_answer_off(size: bytes, before: bytes) -> None:
    """It passes by itself: 503 remote_unavailable, not a defect of ours."""
    with pytest.raises(RemoteUnavailable):
        tip(before + size + b"\r\n" + REF + b"0000\r\n0\r\n\r\n")


@given(cuts=st.lists(st.integers(1, len(REF) + 3), max_size=6), extension=st.sampled_from([b"", b";a=b", b" ;c", b" "]))
def test_any_chunks_are_one_answer(cuts: list[int], extension: bytes) -> None:
    """With extensions, which nobody uses, and digits of either case."""
    content = REF + b"0000"
    places = [0, *sorted(set(cuts)), len(content)]
    parts = [content[start:end] for start, end in pairwise(places)]
    body = b"".join(b"%X%b\r\n%b\r\n" % (len(part), extension, part) for part in parts)
    assert tip(body + b"0\r\n\r\n") == "1" * 40
