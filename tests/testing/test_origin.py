"""The origin does what it says: real git and bare sockets look at it from outside."""

import base64
import http.client
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import urllib3

from testing import origin_http
from testing.origin import GitOrigin
from testing.repositories import Upstream, git_environment

NOW = urllib3.Timeout(5.0)


@pytest.fixture
def client() -> Iterator[urllib3.PoolManager]:
    """Return an HTTP client that tries once."""
    with urllib3.PoolManager(retries=False, timeout=NOW) as pool:
        yield pool


def packet(text: str) -> bytes:
    """Return a pkt-line."""
    return b"%04x%b\n" % (len(text) + 5, text.encode())


LS_REFS = packet("command=ls-refs") + b"0001" + packet("peel") + packet("ref-prefix refs/heads/") + b"0000"


def fetch_body(commit: str) -> bytes:
    """Return a v2 fetch of one commit without its history."""
    return packet("command=fetch") + b"0001" + packet(f"want {commit}") + packet("deepen 1") + packet("done") + b"0000"


def post(
    client: urllib3.PoolManager, origin: GitOrigin, body: bytes, repository: str = "octo/site", **headers: str
) -> urllib3.BaseHTTPResponse:
    """Send an upload-pack request."""
    all_headers = {"Git-Protocol": "version=2", "Content-Type": "application/x-git-upload-pack-request"}
    return client.request("POST", f"{origin.url(repository)}/git-upload-pack", body=body, headers=all_headers | headers)


def git(*arguments: str, directory: Path) -> subprocess.CompletedProcess[str]:
    """Run git as a client."""
    return subprocess.run(
        ["git", *arguments], cwd=directory, env=git_environment(), capture_output=True, text=True, check=False
    )


def test_real_git_clones_from_it(origin: GitOrigin, upstream: Upstream, tmp_path: Path) -> None:
    """A clone over v2: advertisement, ls-refs and fetch, on one kept-alive connection."""
    commit = upstream.commit({"page": b"1"})
    assert git("clone", "-q", origin.url("octo/site"), "copy", directory=tmp_path).returncode == 0
    assert git("rev-parse", "HEAD", directory=tmp_path / "copy").stdout.strip() == commit
    assert [record.kind for record in origin.requests] == ["advertisement", "ls-refs", "fetch"]
    assert {record.connection for record in origin.requests} == {1}
    assert set(origin.requests[2].wants) == {commit}
    assert all(record.status == 200 and record.response_bytes for record in origin.requests)


def test_an_old_server_speaks_no_v2(origin: GitOrigin, upstream: Upstream, tmp_path: Path) -> None:
    """`no_v2` makes git fall back, and it still clones."""
    upstream.commit({"page": b"1"})
    origin.no_v2()
    assert git("clone", "-q", origin.url("octo/site"), "copy", directory=tmp_path).returncode == 0
    assert [record.kind for record in origin.requests] == ["advertisement", "fetch"]


def test_answers_are_chunked_and_connections_kept(
    origin: GitOrigin, upstream: Upstream, client: urllib3.PoolManager
) -> None:
    """As GitHub's: the length of git's answer is not known beforehand, and a drained connection is used again."""
    commit = upstream.commit({"page": b"1"})
    answer = post(client, origin, LS_REFS)
    assert answer.headers["Transfer-Encoding"] == "chunked"
    assert commit.encode() in answer.data
    assert post(client, origin, LS_REFS).status == 200
    assert [record.connection for record in origin.requests] == [1, 1]
    assert origin.requests[0].ref_prefixes == ["refs/heads/"]


def test_an_answer_is_remembered_until_a_ref_or_an_object_is_another(
    origin: GitOrigin, upstream: Upstream, client: urllib3.PoolManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same question about the same repository is put to git once; an origin of its own asks each time."""
    asked: list[object] = []
    real = origin_http.cgi_answer

    def counted(*about: Any) -> Any:
        asked.append(about)
        return real(*about)

    monkeypatch.setattr(origin_http, "cgi_answer", counted)
    origin_http._known.clear()
    first = upstream.commit({"page": b"1"})
    answers = [post(client, origin, LS_REFS).data for _ in range(3)]
    assert len(asked) == 1 and len(set(answers)) == 1 and first.encode() in answers[0]
    second = upstream.commit({"page": b"2"})
    assert second.encode() in post(client, origin, LS_REFS).data
    packs = [post(client, origin, fetch_body(commit)).data for commit in (first, second, first)]
    assert packs[0] == packs[2] != packs[1]
    assert len(asked) == 4
    upstream.point("main", first)
    upstream.blob(b"another")
    assert first.encode() in post(client, origin, LS_REFS).data
    origin.is_remembering = False
    assert post(client, origin, LS_REFS).status == 200
    assert len(asked) == 6


def test_a_gzipped_request_is_understood(origin: GitOrigin, upstream: Upstream, client: urllib3.PoolManager) -> None:
    """Git compresses long requests; the record holds the plain one."""
    import gzip

    commit = upstream.commit({"page": b"1"})
    answer = post(client, origin, gzip.compress(LS_REFS), **{"Content-Encoding": "gzip"})
    assert commit.encode() in answer.data
    assert origin.requests[0].body == LS_REFS


def test_a_token_opens_and_anything_else_does_not(
    origin: GitOrigin, upstream: Upstream, client: urllib3.PoolManager
) -> None:
    """401 with a challenge without the token, git's answer with it, 404 for a repository that is not there."""
    upstream.commit({"page": b"1"})
    origin.require_token("s3cret")
    refused = post(client, origin, LS_REFS)
    assert (refused.status, refused.headers["WWW-Authenticate"]) == (401, 'Basic realm="GitHub"')
    right = "Basic " + base64.b64encode(b"x-access-token:s3cret").decode()
    assert post(client, origin, LS_REFS, Authorization=right).status == 200
    assert post(client, origin, LS_REFS, "octo/other", Authorization=right).status == 404
    assert origin.requests[1].authorization == right
    origin.require_token(None)
    assert post(client, origin, LS_REFS).status == 200


def test_failures_come_in_order_and_end(origin: GitOrigin, upstream: Upstream, client: urllib3.PoolManager) -> None:
    """A fault meets the requests of its kind, as many as ordered, and no more."""
    commit = upstream.commit({"page": b"1"})
    origin.fail_next(2, 502, kind="ls-refs")
    origin.fail_next(1, 429, headers={"Retry-After": "1"})
    assert [post(client, origin, LS_REFS).status for _ in range(2)] == [502, 502]
    limited = post(client, origin, fetch_body(commit))
    assert (limited.status, limited.headers["Retry-After"]) == (429, "1")
    assert post(client, origin, LS_REFS).status == 200


@pytest.mark.parametrize("after", [0.0, 0.5, 0.99])
def test_a_dropped_answer_is_no_whole_answer(
    origin: GitOrigin, upstream: Upstream, client: urllib3.PoolManager, after: float
) -> None:
    """The client sees a broken connection, not a short answer that looks whole."""
    upstream.commit({"page": b"1"})
    origin.drop_next(after=after)
    with pytest.raises(urllib3.exceptions.HTTPError):
        post(client, origin, LS_REFS)
    assert origin.requests[0].is_dropped
    assert post(client, origin, LS_REFS).status == 200


def test_a_stalled_answer_comes_late(origin: GitOrigin, upstream: Upstream) -> None:
    """A client with less patience gives up; stopping the origin does not wait for the stall."""
    upstream.commit({"page": b"1"})
    origin.stall_next(30.0)
    with urllib3.PoolManager(retries=False, timeout=0.1) as client, pytest.raises(urllib3.exceptions.TimeoutError):
        post(client, origin, LS_REFS)
    before = time.monotonic()
    origin.stop()
    assert time.monotonic() - before < 5


def test_an_answer_can_be_rewritten_or_replaced(
    origin: GitOrigin, upstream: Upstream, client: urllib3.PoolManager
) -> None:
    """For damaged packs, and for pages that are no git at all."""
    commit = upstream.commit({"page": b"1"})
    origin.rewrite_next(lambda body: body.replace(b"PACK", b"JUNK"), kind="fetch")
    assert b"JUNK" in post(client, origin, fetch_body(commit)).data
    assert b"PACK" in post(client, origin, fetch_body(commit)).data
    origin.answer_next(status=200, headers={"Content-Type": "text/html"}, body=b"<html>")
    assert post(client, origin, LS_REFS).data == b"<html>"


def test_a_paused_fetch_waits_for_resume(origin: GitOrigin, upstream: Upstream, client: urllib3.PoolManager) -> None:
    """A test can hold a run inside its fetch, while other requests pass."""
    commit = upstream.commit({"page": b"1"})
    statuses: list[int] = []
    with origin.paused("fetch"):
        thread = threading.Thread(target=lambda: statuses.append(post(client, origin, fetch_body(commit)).status))
        thread.start()
        origin.wait_for_held()
        assert post(client, origin, LS_REFS).status == 200
        assert statuses == []
    thread.join(5)
    assert statuses == [200]
    assert origin.of_kind("fetch")[0].overlaps(origin.of_kind("ls-refs")[0])


def test_frozen_refs_lag_behind_the_objects(origin: GitOrigin, upstream: Upstream, client: urllib3.PoolManager) -> None:
    """The old tip is told while the new commit can be fetched by its id; after `answers` the lag ends."""
    old = upstream.commit({"page": b"1"})
    origin.freeze_refs("octo/site", answers=2)
    new = upstream.commit({"page": b"2"})
    assert b"PACK" in post(client, origin, fetch_body(new)).data
    for _ in range(2):
        told = post(client, origin, LS_REFS).data
        assert old.encode() in told
        assert new.encode() not in told
    assert new.encode() in post(client, origin, LS_REFS).data


def test_frozen_refs_lag_for_an_old_server_too(origin: GitOrigin, upstream: Upstream, tmp_path: Path) -> None:
    """Without v2 the refs are in the advertisement."""
    old = upstream.commit({"page": b"1"})
    origin.no_v2()
    origin.freeze_refs("octo/site")
    upstream.commit({"page": b"2"})
    assert old in git("ls-remote", origin.url("octo/site"), "refs/heads/main", directory=tmp_path).stdout


def test_frozen_whole_knows_no_new_object(origin: GitOrigin, upstream: Upstream, client: urllib3.PoolManager) -> None:
    """Neither the ref nor the commit is there, until it thaws."""
    upstream.commit({"page": b"1"})
    origin.freeze_everything("octo/site")
    new = upstream.commit({"page": b"2"})
    assert new.encode() not in post(client, origin, LS_REFS).data
    assert b"PACK" not in post(client, origin, fetch_body(new)).data
    origin.thaw("octo/site")
    assert new.encode() in post(client, origin, LS_REFS).data
    assert b"PACK" in post(client, origin, fetch_body(new)).data


def test_a_request_in_chunks_is_read_whole(origin: GitOrigin, upstream: Upstream) -> None:
    """Clients that do not know a request's length send it in chunks."""
    commit = upstream.commit({"page": b"1"})
    connection = http.client.HTTPConnection(origin.address.removeprefix("http://"), timeout=5)
    headers = {"Git-Protocol": "version=2", "Content-Type": "application/x-git-upload-pack-request"}
    parts = iter([LS_REFS[:7], LS_REFS[7:]])
    connection.request("POST", "/octo/site.git/git-upload-pack", body=parts, headers=headers, encode_chunked=True)
    assert commit.encode() in connection.getresponse().read()
    connection.close()
