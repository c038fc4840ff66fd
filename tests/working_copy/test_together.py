"""Two processes pull one copy, a reader reads it, and somebody works in it with git: all at the same time."""

import os
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from testing.answers import Answer
from testing.deliveries import http_api_event
from testing.process import ANSWER_SECONDS
from testing.repositories import Upstream, git_environment
from testing.service import Service
from tests.working_copy.ending import commits_of
from tests.working_copy.person import Person

PUSHES = int(os.environ.get("GIT2EFS_TEST_PULLS", "8"))
"""How many pushes come; some hundred take minutes."""
_NAMES = [f"d{number % 2}/f{number}" for number in range(6)]
_ENDS = {(200, "published"), (200, "unchanged")}


def content(number: int) -> bytes:
    """Return what every file holds after push `number`: large enough for half of it to be seen."""
    return b"%d\n" % number * 20_000


@dataclass(slots=True)
class Seen:
    """What the reader saw that was no whole file, how often it looked, and what git said was committed, or refused."""

    broken: list[str] = field(default_factory=list)
    looks: int = 0
    committed: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)

    def refused_files(self) -> list[str]:
        """Return the paths that are there, and were not committed."""
        return ["mine/", *(name.replace(" ", "/") for name in self.refused)]


@contextmanager
def meanwhile(*works: Callable[[], None]) -> Iterator[None]:
    """Do all the works over and over while the block runs; what one raises is raised in the end."""
    is_over, failures = threading.Event(), list[BaseException]()

    def repeat(work: Callable[[], None]) -> None:
        try:
            while not is_over.is_set():
                work()
        except BaseException as failure:
            failures.append(failure)

    threads = [threading.Thread(target=repeat, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        is_over.set()
        for thread in threads:
            thread.join()
    if failures:
        raise failures[0]


def read(root: Path, seen: Seen) -> None:
    """Read every file once."""
    for name in _NAMES:
        try:
            found = (root / name).read_bytes()
        except OSError as error:
            seen.broken.append(f"{name}: {error}")
            continue
        number, _, _ = found.partition(b"\n")
        if not number.isdigit() or found != content(int(number)):
            seen.broken.append(f"{name}: {found[:20]!r}, {len(found)} bytes")
        seen.looks += 1


def git(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run git, which may be refused."""
    return subprocess.run(
        ["git", *arguments], cwd=root, env=git_environment(), capture_output=True, text=True, check=False
    )


def work(root: Path, seen: Seen) -> None:
    """Look, and commit a file."""
    number = len(seen.committed) + len(seen.refused)
    for command in (["status", "--porcelain"], ["log", "--oneline", "-3"]):
        assert git(root, *command).returncode == 0
    file = root / f"mine/{number}"
    file.parent.mkdir(exist_ok=True)
    file.write_text(f"{number}\n")
    if git(root, "add", "--", f"mine/{number}").returncode == 0:
        done = git(root, "commit", "-q", "-m", f"mine {number}", "--", f"mine/{number}")
        if done.returncode == 0:
            seen.committed.append(f"mine {number}")
            return
    seen.refused.append(f"mine {number}")


def push_to_both(service: Service, upstream: Upstream, person: Person, seen: Seen, *, commits: bool) -> list[Answer]:
    """Deliver every push to two processes at once, with a reader and somebody at work meanwhile."""
    works: list[Callable[[], None]] = [lambda: read(person.root, seen)]
    if commits:
        works.append(lambda: work(person.root, seen))
    answers = []
    with service.process() as one, service.process() as other:
        one.wait_until_ready()
        other.wait_until_ready()
        with meanwhile(*works):
            for number in range(1, PUSHES + 1):
                upstream.commit(dict.fromkeys(_NAMES, content(number)))
                event = http_api_event(service.push_request(upstream))
                later = [process.deliver_later(event) for process in (one, other)]
                answers += [each.result(ANSWER_SECONDS) for each in later]
    return answers


@pytest.fixture
def person(service: Service, upstream: Upstream) -> Person:
    """Return somebody in a working copy that was just made."""
    service.put_repository(publish=[{"ref": "refs/heads/main", "mode": "working-copy"}], depth=0)
    upstream.commit(dict.fromkeys(_NAMES, content(0)))
    assert service.push(upstream).outcome == "published", service.text
    return Person.at(service)


def test_two_processes_at_once_bring_a_copy_forward_and_a_reader_sees_whole_files(
    service: Service, upstream: Upstream, person: Person
) -> None:
    """Each delivery ends well, in one of the two by finding the work done; no file is ever half, or missing."""
    seen = Seen()
    answers = push_to_both(service, upstream, person, seen, commits=False)
    assert {(answer.status, answer.outcome) for answer in answers} == _ENDS
    assert seen.broken == []
    assert seen.looks > 10
    assert (person.head(), person.status()) == (upstream.tip(), "")
    person.is_sound()


def test_git_at_work_in_the_copy_loses_nothing_and_breaks_nothing(
    service: Service, upstream: Upstream, person: Person
) -> None:
    """Either may be refused by the other's lock; what git said is committed is in the history in the end."""
    seen = Seen()
    answers = push_to_both(service, upstream, person, seen, commits=True)
    ended = {(answer.status, answer.outcome) for answer in answers if answer.reason != "copy_busy"}
    assert ended <= _ENDS, [answer.reason for answer in answers]
    assert service.push(upstream).status == 200, service.text
    assert seen.broken == []
    assert seen.committed
    made = [each.rpartition("\n")[2] for each in commits_of(person)]
    assert [name for name in seen.committed if made.count(name) != 1] == []
    assert upstream.tip() in person.git("rev-list", "HEAD").splitlines()
    assert [line for line in person.status().splitlines() if not line.endswith(tuple(seen.refused_files()))] == []
    person.is_sound()
