"""The contract with consumers, read on another host: two mounts of one NFS export, with the clients' default caching.

A recycled release keeps its directories' file handles, and an NFS client goes on using what it remembers of a handle.
Whatever it remembers, the tree that it reads through `current` is the commit's that `current` names.
"""

import random
import threading
import time

import pytest

from handler.mount.fs import checkout
from testing.repositories import snapshot
from tests.nfs.pushes import Changes, Pushes, executable, first_files, link
from tests.nfs.reader import Reader


def check(reader: Reader, pushes: Pushes, commit: str, *, by_name_first: bool = True) -> None:
    """Look at the link as soon as it has changed, read the whole tree twice, and keep some of it open."""
    assert reader.look() == commit
    assert reader.differences(pushes.trees[commit], by_name_first=by_name_first) == []
    assert reader.differences(pushes.trees[commit]) == []
    reader.hold(pushes.trees[commit])


@pytest.mark.parametrize("depth", range(1, 7))
def test_a_change_at_any_depth_is_seen_with_the_link(pushes: Pushes, reader: Reader, depth: int) -> None:
    """A file changed, one added, one removed, a mode, a link, a directory for a file, and back: twice over.

    The reader has used every release before it was recycled, and holds files and directories of it open.
    """
    pushes.configure(grace_seconds=0)
    place = "/".join("abcdef"[:depth])
    steps: list[Changes] = [
        {"top": b"second"},
        {f"{place}/one": b"changed"},
        {f"{place}/three": b"added", f"{place}/two": None},
        {f"{place}/one": executable(b"changed")},
        {f"{place}/one": link(b"three")},
        {f"{place}/one/below": b"deep"},
        {f"{place}/one": b"a file again", f"{place}/two": b"first"},
        {place: b"a file where directories were"},
        {place: link(b"top")},
        first_files(),
        {f"{place}/three": None},
    ]
    for changes in (first_files(), *steps, *steps):
        check(reader, pushes, pushes.push(changes))
    assert reader.broken_promises() == 0


@pytest.mark.parametrize("seed", range(3))
def test_any_change_is_seen_with_the_link(pushes: Pushes, reader: Reader, seed: int) -> None:
    """Forty pushes of random changes, some of them back by force; the reader reads by name and by listing, in turn."""
    chance = random.Random(seed)
    pushes.configure(grace_seconds=0)
    check(reader, pushes, pushes.push(first_files()))
    for number in range(40):
        if chance.random() < 0.1:
            pushes.go_back(chance.choice(list(pushes.trees)))
        check(reader, pushes, pushes.push(pushes.random_changes(chance)), by_name_first=number % 3 > 0)
    assert reader.broken_promises() == 0


def test_without_the_touches_the_reader_would_see_a_mix(
    pushes: Pushes, reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    """These tests can fail: with the touches of a change's ancestors left out, old content shows in the new tree."""
    monkeypatch.setattr(checkout, "touch", lambda directories, paths: 0)
    pushes.configure(grace_seconds=0)
    mixed = []
    for number in range(6):
        commit = pushes.push({**first_files(), "a/b/c/d/e/f/one": b"%d" % number, f"a/b/c/new{number}": b"new"})
        assert reader.look() == commit
        mixed += reader.differences(pushes.trees[commit])
        reader.hold(pushes.trees[commit] if not mixed else {})
    if not mixed:
        pytest.skip("these mounts remember too little to be wrong (noac, actimeo=0, lookupcache=none?)")


def test_a_reader_that_loops_through_many_pushes_never_sees_a_mix(pushes: Pushes, reader: Reader) -> None:
    """Releases take turns every few seconds, while the reader resolves the link and reads the whole tree."""
    grace_seconds = 2
    pushes.configure(grace_seconds=grace_seconds)
    pushes.push(first_files())
    stop = threading.Event()
    reads, mixed = [], []

    def loop() -> None:
        while not stop.is_set():
            commit = reader.look()
            started = time.monotonic()
            found = snapshot(reader.target / "releases" / commit)
            if time.monotonic() - started < grace_seconds:  # longer is more than the contract gives
                reads.append(commit)
                mixed.extend([commit] if found != pushes.trees[commit] else [])

    thread = threading.Thread(target=loop)
    thread.start()
    try:
        for number in range(8):
            pushes.push({"a/b/c/d/e/f/one": b"%d" % number, f"a/b/new{number % 3}": b"new", "top": b"%d" % number})
            time.sleep(grace_seconds + 1)
    finally:
        stop.set()
        thread.join()
    assert len(set(reads)) > len(pushes.trees) // 2
    assert mixed == []


def test_a_file_that_is_open_keeps_its_content(pushes: Pushes, reader: Reader) -> None:
    """A changed file is a new file: who has the old one open reads the old content, or is told that it is gone."""
    pushes.configure(grace_seconds=0)
    for number in range(6):
        check(reader, pushes, pushes.push({**first_files(), "top": b"%d" % number, "a/b/one": b"%d" % number}))
    assert reader.broken_promises() == 0
