"""The sample origin serves what real git accepts, and says no as clearly as a real one."""

import gzip
import http.client
import os
import subprocess
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from dulwich.protocol import pkt_line

from local.origin import EXECUTABLE, LINK, SUBMODULE, FileContent, SampleOrigin
from local.tree import differences, published_files
from local.upload_pack import DELIMITER, FLUSH

MAIN = "refs/heads/main"
FILES = {
    b"README.md": FileContent(b"Hello\n"),
    b"bin/run": FileContent(b"#!/bin/sh\n", EXECUTABLE),
    b"deep/er/still/x\xff": FileContent(bytes(range(256)) * 1000),
    b"link": FileContent(b"deep/er", LINK),
}


def run(git: str, *arguments: str, cwd: Path) -> str:
    """Run git as on a fresh machine: no configuration of a user, no prompt, objects checked as they come."""
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(cwd),
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_TERMINAL_PROMPT": "0",
    }
    command = [git, "-c", "protocol.version=2", "-c", "fetch.fsckObjects=true", *arguments]
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def checked_out(directory: Path) -> dict[bytes, FileContent]:
    """Return the work tree without `.git`."""
    return {path: file for path, file in published_files(str(directory)).items() if not path.startswith(b".git/")}


def history(origin: SampleOrigin, length: int) -> list[str]:
    """Commit `length` times on main, one more line in the README each time."""
    commits = []
    for number in range(length):
        readme = FileContent(b"line\n" * (number + 1))
        commits.append(origin.commit(MAIN, {**FILES, b"README.md": readme}, f"Commit {number}"))
    return commits


def test_git_clones_it(origin: SampleOrigin, git: str, tmp_path: Path) -> None:
    """Every path, mode, link and byte, and a history that fsck passes."""
    commits = history(origin, 3)
    run(git, "clone", "-q", origin.url, "work", cwd=tmp_path)
    work = tmp_path / "work"
    assert run(git, "rev-list", "HEAD", cwd=work).split() == commits[::-1]
    assert run(git, "symbolic-ref", "HEAD", cwd=work) == MAIN
    assert differences(origin.files(commits[-1]), checked_out(work)) == []
    run(git, "fsck", "--strict", cwd=work)


def test_git_clones_it_shallow_fetches_and_deepens(origin: SampleOrigin, git: str, tmp_path: Path) -> None:
    """depth 1, a plain fetch on top of it, then further down, then the whole."""
    commits = history(origin, 5)
    run(git, "clone", "-q", "--depth", "1", origin.url, "work", cwd=tmp_path)
    work = tmp_path / "work"
    assert run(git, "rev-list", "HEAD", cwd=work).split() == commits[-1:]
    commits.append(origin.commit(MAIN, {b"only": FileContent(b"1\n")}, "Next"))
    run(git, "fetch", "-q", cwd=work)
    assert run(git, "rev-list", "origin/main", cwd=work).split() == commits[:-3:-1]
    run(git, "fetch", "-q", "--depth", "4", cwd=work)
    assert run(git, "rev-list", "origin/main", cwd=work).split() == commits[:-5:-1]
    run(git, "fsck", "--strict", cwd=work)
    run(git, "fetch", "-q", "--unshallow", cwd=work)
    assert run(git, "rev-list", "origin/main", cwd=work).split() == commits[::-1]
    assert not (work / ".git" / "shallow").exists()
    run(git, "fsck", "--strict", cwd=work)


def test_git_fetches_only_what_it_lacks(origin: SampleOrigin, git: str, tmp_path: Path) -> None:
    """A one-file commit on a known history is three objects: commit, tree, blob."""
    commit = history(origin, 2)[-1]
    run(git, "clone", "-q", "--mirror", origin.url, "bare.git", cwd=tmp_path)
    bare = tmp_path / "bare.git"
    before = run(git, "count-objects", "-v", cwd=bare)
    origin.commit(MAIN, {**origin.files(commit), b"new": FileContent(b"new\n")}, "One file")
    run(git, "fetch", "-q", cwd=bare)
    assert objects(run(git, "count-objects", "-v", cwd=bare)) - objects(before) == 3


def objects(counts: str) -> int:
    """Return loose plus packed objects from `git count-objects -v`."""
    numbers = dict(line.split(": ") for line in counts.splitlines())
    return int(numbers["count"]) + int(numbers["in-pack"])


def test_git_follows_a_forced_branch_tags_and_deletions(origin: SampleOrigin, git: str, tmp_path: Path) -> None:
    """A history that begins anew, an annotated tag, a branch that goes away."""
    first = history(origin, 2)[0]
    origin.tag("v1", first)
    origin.set_ref("refs/heads/gone", first)
    run(git, "clone", "-q", "--mirror", origin.url, "bare.git", cwd=tmp_path)
    bare = tmp_path / "bare.git"
    assert run(git, "rev-parse", "v1^{commit}", cwd=bare) == first
    forced = origin.commit(MAIN, {b"anew": FileContent(b"")}, "Anew", parents=())
    origin.set_ref("refs/heads/gone", None)
    run(git, "fetch", "-q", "--prune", cwd=bare)
    assert run(git, "for-each-ref", "--format=%(refname)", cwd=bare).split() == [MAIN, "refs/tags/v1"]
    assert run(git, "rev-list", "main", cwd=bare) == forced
    listed = run(git, "ls-remote", origin.url, "refs/tags/*", cwd=bare).split()
    assert listed[1::2] == ["refs/tags/v1", "refs/tags/v1^{}"]
    assert listed[2] == first


def test_git_negotiates_through_a_history_of_its_own(origin: SampleOrigin, git: str, tmp_path: Path) -> None:
    """Many commits that the origin does not know come before the common one: no early end, no wrong pack."""
    history(origin, 2)
    run(git, "clone", "-q", origin.url, "work", cwd=tmp_path)
    work = tmp_path / "work"
    stream = ["commit refs/heads/own\ncommitter a <a@b> 2000000000 +0000\ndata 0\nfrom refs/heads/main\n"]
    stream += [f"commit refs/heads/own\ncommitter a <a@b> {2000000001 + n} +0000\ndata 0\n" for n in range(300)]
    subprocess.run([git, "fast-import", "--quiet"], cwd=work, input="\n".join(stream), text=True, check=True)
    tip = origin.commit(MAIN, FILES, "Theirs")
    run(git, "fetch", "-q", cwd=work)
    assert run(git, "rev-parse", "origin/main", cwd=work) == tip
    run(git, "fsck", "--strict", cwd=work)


def test_git_clones_an_empty_one(origin: SampleOrigin, git: str, tmp_path: Path) -> None:
    """Nothing committed yet: an unborn HEAD."""
    run(git, "clone", "-q", origin.url, "work", cwd=tmp_path)
    assert run(git, "symbolic-ref", "HEAD", cwd=tmp_path / "work") == MAIN


def test_files_are_read_back_from_the_objects(origin: SampleOrigin) -> None:
    """Submodules and empty trees too."""
    files = {**FILES, b"vendor/lib": FileContent(b"1" * 40, SUBMODULE)}
    assert origin.files(origin.commit(MAIN, files, "All")) == files
    assert origin.files(origin.commit(MAIN, {}, "Empty")) == {}


def test_a_path_below_a_file_is_refused(origin: SampleOrigin) -> None:
    """No tree can hold it."""
    with pytest.raises(ValueError, match="below a file"):
        origin.commit(MAIN, {b"a": FileContent(b""), b"a/b": FileContent(b"")}, "Impossible")


def post(url: str, body: bytes, **headers: str) -> tuple[int, bytes]:
    """Send one upload-pack request; return status and body."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=10.0)
    all_headers = {"Git-Protocol": "version=2"} | {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request("POST", parts.path + "/git-upload-pack", body, all_headers)
    response = connection.getresponse()
    answer = response.status, response.read()
    connection.close()
    return answer


def fetch_request(*arguments: bytes) -> bytes:
    """Return the body of a fetch with these arguments."""
    return pkt_line(b"command=fetch\n") + DELIMITER + b"".join(map(pkt_line, arguments)) + FLUSH


def test_a_gzipped_request_is_read(origin: SampleOrigin) -> None:
    """git packs larger requests so."""
    history(origin, 1)
    body = pkt_line(b"command=ls-refs\n") + DELIMITER + pkt_line(b"ref-prefix refs/heads/") + FLUSH
    plain = post(origin.url, body)
    assert plain == (200, pkt_line(f"{origin.tip(MAIN)} {MAIN}\n".encode()) + FLUSH)
    assert post(origin.url, gzip.compress(body), Content_Encoding="gzip") == plain
    assert post(origin.url, b"no gzip", Content_Encoding="gzip")[0] == 400


def test_no_done_means_acknowledgments_and_done_means_none(origin: SampleOrigin) -> None:
    """NAK alone while nothing is common; ACK and ready with the pack; the pack at once after done."""
    old, new = history(origin, 2)
    want, have = f"want {new}".encode(), f"have {old}".encode()
    acknowledgments = pkt_line(b"acknowledgments\n")
    assert (
        post(origin.url, fetch_request(want, b"have " + b"e" * 40))[1] == acknowledgments + pkt_line(b"NAK\n") + FLUSH
    )
    ready = acknowledgments + pkt_line(f"ACK {old}\n".encode()) + pkt_line(b"ready\n") + DELIMITER
    assert post(origin.url, fetch_request(want, have))[1].startswith(ready + pkt_line(b"packfile\n"))
    assert post(origin.url, fetch_request(want, have, b"done"))[1].startswith(pkt_line(b"packfile\n"))


def test_a_depth_is_answered_with_the_new_boundary(origin: SampleOrigin) -> None:
    """shallow for the last commit sent, unshallow for an old boundary that is passed."""
    first, second, third = history(origin, 3)
    request = fetch_request(f"want {third}".encode(), f"shallow {second}".encode(), b"deepen 3", b"done")
    expected = pkt_line(f"shallow {first}\n".encode()) + pkt_line(f"unshallow {second}\n".encode()) + DELIMITER
    assert post(origin.url, request)[1].startswith(pkt_line(b"shallow-info\n") + expected)


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (fetch_request(b"want " + b"e" * 40, b"done"), b"not our ref"),
        (fetch_request(b"want xyz", b"done"), b"not an object id"),
        (fetch_request(b"deepen 0"), b"positive"),
        (fetch_request(b"filter blob:none"), b"not supported"),
        (pkt_line(b"command=push\n") + FLUSH, b"unknown command"),
        (b"", b"no packet line"),
        (b"zzzz", b"no packet line"),
        (b"-001", b"cut short"),
        (b"00ffshort", b"cut short"),
        (b"0002", b"cut short"),
    ],
)
def test_what_is_not_understood_is_answered_in_the_protocol(origin: SampleOrigin, body: bytes, text: bytes) -> None:
    """An ERR packet with the reason, which git shows to its user."""
    status, answer = post(origin.url, body)
    assert status == 200
    assert answer[4:].startswith(b"ERR ")
    assert text in answer


def test_what_is_no_fetch_in_version_2_is_refused(origin: SampleOrigin) -> None:
    """Pushes, older protocols, and repositories that are not there."""
    assert post(origin.url, b"", Git_Protocol="version=1")[0] == 400
    assert post(origin.url.replace("weather", "other"), b"")[0] == 404
    parts = urlsplit(origin.url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=10.0)
    connection.request("GET", f"{parts.path}/info/refs?service=git-receive-pack", headers={"Git-Protocol": "version=2"})
    assert connection.getresponse().status == 403
    connection.close()
