"""A working copy that two hosts share: one pulls, on the other somebody works with git."""

import os
import re

import pytest

from testing.service import Service
from tests.nfs.conftest import Mounts
from tests.nfs.pushes import Pushes
from tests.working_copy.person import PATH, Person

FILES = {f"d/e/f{number}": b"%d\n" % number * 50 for number in range(6)}

_SIZE = re.compile(r"^(\S+)\n(?:  .*\n)*  size: (\d+)", re.MULTILINE)


@pytest.fixture
def copy(service: Service, pushes: Pushes, mounts: Mounts) -> Person:
    """Return somebody who works in the copy on the second host."""
    pushes.configure(publish=[{"ref": "refs/heads/main", "mode": "working-copy"}], depth=0)
    pushes.push(dict(FILES))
    os.close(os.open(mounts.second, os.O_RDONLY | os.O_DIRECTORY))
    return Person(mounts.second / PATH)


def look_at(service: Service) -> None:
    """Let the first host's client remember every file, as after somebody read them all there."""
    for directory, _, names in os.walk(service.mount / PATH):
        for name in names:
            os.lstat(os.path.join(directory, name))


def ask_for_news(copy: Person) -> None:
    """Let the second host's client ask what is new in every directory: else it may show what it knows for a minute."""
    for directory, _, _ in os.walk(copy.root):
        os.close(os.open(directory, os.O_RDONLY | os.O_DIRECTORY))


def test_git_on_another_host_finds_what_was_pulled_clean(service: Service, pushes: Pushes, copy: Person) -> None:
    """By the index alone: the files' clocks and inodes are the server's, the same for every host.

    Git reads only files of the very second in which an index was written: what the last pulls changed.
    """
    for number in range(3):
        tip = pushes.push({"d/e/f1": b"changed %d\n" % number, f"new{number}": b"new\n"})
        ask_for_news(copy)
        assert (copy.head(), copy.status()) == (tip, "")
        sizes = dict(_SIZE.findall(copy.git("ls-files", "--debug") + "\n"))
        read = {path for path, size in sizes.items() if size == "0"}
        assert read <= {"d/e/f1", "new0", "new1", "new2"}
        assert len(sizes) == len(FILES) + number + 1


def test_commits_of_another_host_are_replayed(service: Service, pushes: Pushes, copy: Person) -> None:
    """And seen at once, whatever the first host remembers of refs, index and files."""
    for number in range(3):
        look_at(service)
        copy.commit({f"local{number}": "local\n"})
        tip = pushes.push({"d/e/f1": b"changed %d\n" % number})
        assert copy.git("rev-parse", f"HEAD~{number + 1}") == tip
        ask_for_news(copy)
        assert copy.status() == ""
    copy.is_sound()


@pytest.mark.parametrize("how", ["in place", "replaced", "untracked"])
def test_what_somebody_just_did_on_another_host_is_not_overwritten(
    service: Service, pushes: Pushes, copy: Person, how: str
) -> None:
    """A change of the same size, in a file that the first host looked at a moment ago and so believes to know."""
    look_at(service)
    name = "new" if how == "untracked" else "d/e/f1"
    assert os.path.lexists(service.mount / PATH / name) == (how != "untracked")
    content = FILES["d/e/f1"].replace(b"1", b"x")
    file = copy.root / name
    if how == "in place":
        with file.open("r+b") as opened:
            opened.write(content)
    else:
        aside = copy.root.parent.parent / "aside"
        aside.write_bytes(content)
        aside.rename(file)
    pushes.commit({name: b"theirs\n"})
    answer = pushes.deliver()
    assert (answer.outcome, answer.reason) == ("failed", "local_changes"), service.text
    assert file.read_bytes() == content


def test_two_hosts_pull_by_turns(service: Service, pushes: Pushes, copy: Person, mounts: Mounts) -> None:
    """Each warm, each going on from what the other left."""
    with service.process() as first, service.process(extra=mounts.second_host) as second:
        for number in range(6):
            tip = pushes.commit({"d/e/f1": b"%d\n" % number, f"d/n{number}": b"new\n"})
            answer = (first, second)[number % 2].send(pushes.request())
            assert (answer.status, answer.outcome) == (200, "published"), answer.content
            ask_for_news(copy)
            assert (copy.head(), copy.status()) == (tip, "")
    copy.is_sound()
