"""A rule that leaves paths out, and one that leaves refs out: what readers get, and what a change of the rule costs."""

import os

import pytest

from handler.exchange.events import ChangedPaths
from handler.model import TreeFilter
from handler.mount.git.changes import changed_paths
from handler.mount.git.mirror import Mirror
from handler.network.background import Background
from testing.repositories import Entry, Executable, Upstream, archive, snapshot
from testing.service import Service

TARGET = "octo/site/main"
FILES: dict[str, Entry | None] = {
    "README.md": b"1",
    "tests/a.py": b"test",
    "tests/data/b": b"test",
    "app/a.py": b"a",
    "app/a.pyc": b"a",
    "app/tests/b.py": b"b",
    "run": Executable(b"#!"),
    **{f"many/{number}": b"%d" % number for number in range(20)},
}
EXCLUDE = ["*.md", "/tests/", "*.pyc"]


def rule(exclude: list[str], **fields: object) -> list[dict[str, object]]:
    """Return the rules of a parameter."""
    return [{"ref": "refs/heads/main", "exclude": exclude, **fields}]


def left(upstream: Upstream, commit: str) -> dict[bytes, tuple[int, bytes]]:
    """Return what EXCLUDE leaves of a commit."""
    return {
        path: entry
        for path, entry in archive(upstream, commit).items()
        if not path.endswith((b".md", b".pyc")) and not path.startswith(b"tests/")
    }


def verified(service: Service) -> None:
    """An audit finds each release as it should be."""
    (outcome,) = service.operate("verify", TARGET)["targets"]
    assert (outcome["reason"], outcome.get("notes", [])) == ("verified", [])


def test_what_is_excluded_is_not_published(service: Service, upstream: Upstream) -> None:
    """Nor when it changes, comes or goes. Each push writes what it changes of the rest."""
    service.put_repository(publish=rule(EXCLUDE), grace_seconds=0)
    commits = [upstream.commit(FILES)]
    assert service.push(upstream).outcome == "published"
    assert service.record()["filter"] == {"exclude": EXCLUDE}
    changes: list[dict[str, Entry | None]] = [
        {"README.md": b"2", "app/a.py": b"2"},
        {"tests": None, "app/new.pyc": b"n"},
        {"tests": b"a file by that name", "docs/only.md": b"x"},
        {"tests": None, "tests/again": b"x", "docs": None},
        {"app/a.py": b"3", "run": b"no program"},
    ]
    for change in changes:
        commits.append(upstream.commit(change))
        assert service.push(upstream).outcome == "published"
        assert service.tree() == left(upstream, commits[-1])
        assert service.current_commit() == commits[-1]
        assert not (service.current() / "docs").exists(), "nothing in it is left"
    assert service.answers[-1].content["files_written"] <= 3
    verified(service)


def test_a_changed_filter_publishes_once_and_writes_the_difference(service: Service, upstream: Upstream) -> None:
    """A release that is past its grace is brought to it, and nothing but what the filters make differ is written."""
    service.put_repository(grace_seconds=0)
    upstream.commit(FILES)
    assert service.push(upstream).outcome == "published"
    commit = upstream.commit({"app/a.py": b"2"})
    assert service.push(upstream).outcome == "published"
    retired = next(name for name in service.releases() if name != commit)
    inode = os.stat(service.mount / TARGET / "releases" / retired / "many" / "1").st_ino
    service.put_repository(publish=rule(EXCLUDE), grace_seconds=0)
    service.reset()
    assert service.run_schedule()["outcomes"] == {"published:ref_moved_on": 1}
    assert service.tree() == left(upstream, commit)
    assert os.stat(service.current() / "many" / "1").st_ino == inode
    record = service.record()
    assert (record["files_written"], record["files_removed"]) == (1, 4)
    assert service.run_schedule()["outcomes"] == {}
    verified(service)


def test_spares_are_brought_to_a_changed_filter_too(
    service: Service, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Within the grace of what they were made for: the rule's change is written into one, and the next push too."""
    monkeypatch.setattr(Background, "submit", lambda _, key, job: job())
    service.configure(spare_files=10_000, background=True)
    service.put_repository()
    upstream.commit(FILES)
    assert service.push(upstream).outcome == "published"
    service.put_repository(publish=rule(EXCLUDE))
    service.reset()
    assert service.run_schedule()["outcomes"] == {"published:ref_moved_on": 1}
    assert service.record()["files_written"] == 0
    for number in range(3):
        commit = upstream.commit({"app/a.py": b"%d" % number, "tests/a.py": b"%d" % number})
        assert service.push(upstream).outcome == "published"
        assert service.tree() == left(upstream, commit)
        assert service.answers[-1].content["files_written"] <= 2
    staging = service.mount / TARGET / "staging"
    for name in set(os.listdir(staging)) - {"spares.json"}:
        assert snapshot(staging / name) == service.tree()
    verified(service)


def test_of_a_subdirectory_patterns_are_relative_to_it(service: Service, upstream: Upstream) -> None:
    """As those of a .gitignore in it."""
    service.put_repository(publish=rule(["/tests/"], subdirectory="app"))
    upstream.commit(FILES)
    assert service.push(upstream).outcome == "published"
    assert sorted(service.tree()) == [b"a.py", b"a.pyc"]


def test_events_tell_what_is_published(service: Service, upstream: Upstream) -> None:
    """A path that is left out is in none."""
    service.put_repository()
    first = upstream.commit(FILES)
    service.push(upstream)
    second = upstream.commit({"README.md": b"2", "app/a.py": b"2", "tests/new": b"x"})
    service.push(upstream)
    mirror = Mirror(os.fspath(service.mount / "octo/site/mirror.git"))
    mirror.refresh()
    changes = changed_paths(mirror, first, second, TreeFilter(exclude=tuple(EXCLUDE)))
    assert changes == ChangedPaths(modified=(b"app/a.py",))
    mirror.close()


def test_refs_that_a_pattern_leaves_out_are_not_published(service: Service, upstream: Upstream) -> None:
    """What such a ref published before the rule said so stays, and is told as left over."""
    pattern = {"ref": "refs/heads/*", "path": "octo/site/b/*"}
    service.put_repository(publish=[pattern])
    upstream.commit(FILES)
    for branch in ("dependabot/pip", "preview"):
        upstream.commit({"a": branch.encode()}, branch=branch)
    assert service.push(upstream, "dependabot/pip").outcome == "published"
    service.put_repository(publish=[pattern | {"exclude_refs": ["dependabot/*"]}])
    service.reset()
    upstream.commit({"a": b"2"}, branch="dependabot/pip")
    assert service.push(upstream, "dependabot/pip").reason == "ref_not_published"
    assert service.push(upstream, "preview").outcome == "published"
    service.run_schedule()
    targets = service.operate("status", "octo/site")["repositories"][0]["targets"]
    states = {each["path"]: each["state"] for each in targets}
    assert states["octo/site/b/dependabot/pip"] == "left over"
    assert states["octo/site/b/preview"] == "current"
