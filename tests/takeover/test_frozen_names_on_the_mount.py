"""Names that others know: one literal expectation each, so that no rename of the code changes one unnoticed.

Others are an earlier or later version on the same mount or queue, and the people, programs and alarms that read what
this one says. Whoever has to change an expectation here breaks one of them, and owes it a way to go on.
"""

import fcntl
import json
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from handler.mount.fs import files
from handler.mount.fs.checkpoint import Checkpoint
from handler.mount.fs.plan import FileWrite, LinkWrite
from testing.repositories import Upstream
from testing.service import Service
from tests.functional.mounts import names
from tests.takeover.history import MAIN, NAME, lines
from tests.takeover.stored import TARGET, Stored, Take

RELEASES: dict[str, object] = {"ref": MAIN}
COPY: dict[str, object] = {"ref": MAIN, "mode": "working-copy", "autostash": True, "path": "octo/copy"}
PREVIEWS: dict[str, object] = {"ref": "refs/heads/preview/*", "path": "octo/site/previews/*"}
_COMMIT = re.compile(r"[0-9a-f]{40}")
_TREE = re.compile(r"/staging/[0-9a-f]{40}-[0-9a-f]{40}|/\.copies/[0-9a-f]+/[0-9a-f]{40}")
_RANDOM = re.compile(r"(?<![0-9a-f])[0-9a-f]{16}(?![0-9a-f])")


def masked(text: str) -> str:
    """Return a name without what differs from run to run."""
    return _RANDOM.sub("<random>", _COMMIT.sub("<id>", text.replace("0" * 40, "<none>")))


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[str, bytes]]]:
    """Return each name that something is created at, renamed from or removed from, with the content renamed."""
    found: list[tuple[str, bytes]] = []

    def noting(function: Callable[..., Any], at: int) -> Callable[..., Any]:
        def noted(*arguments: Any, **options: Any) -> Any:
            path = os.fsdecode(arguments[at])
            directory = options.get("src_dir_fd", options.get("dir_fd")) if function in (renamed, made) else None
            if directory is not None and fcntl.fcntl(directory, fcntl.F_GETFL) & os.O_PATH:
                # The directory above was opened as a path; what is in a tree is not ours.
                above = os.readlink(f"/proc/self/fd/{directory}")
                path = path if _TREE.search(above) else f"{above}/{path}"
            is_file = function is renamed and path.startswith("/") and os.path.isfile(path)
            if function not in (opened, opened_by_path) or arguments[1] & (os.O_CREAT | os.O_WRONLY | os.O_RDWR):
                found.append((path, Path(path).read_bytes() if is_file else b""))
            return function(*arguments, **options)

        return noted

    opened, opened_by_path, renamed, made = os.open, files.open_beneath, os.rename, os.mkdir
    monkeypatch.setattr(files, "open_beneath", noting(opened_by_path, 0))
    for name, at in (("open", 0), ("mkdir", 0), ("symlink", 1), ("rename", 0), ("unlink", 0), ("rmdir", 0)):
        monkeypatch.setattr(os, name, noting(getattr(os, name), at))
    yield found
    monkeypatch.undo()


# -- on the mount ----------------------------------------------------------------------------------------------------


def test_names_on_the_mount(take: Take) -> None:
    """What stands after runs in peace, releases and a working copy, and what the schedule keeps."""
    stored = take("published", publish=[{"ref": MAIN}, {"ref": MAIN, "mode": "working-copy", "path": "octo/copy"}])
    assert stored.push(4).status == 200
    stored.service.run_schedule()
    stored.service.run_schedule("chores")
    found = {masked(name) for name in names(stored.mount)}
    assert {name for name in found if not re.match(r"octo/copy/(?!\.git)|.*releases/<id>/", name)} == {
        ".git2efs",
        ".git2efs/chores.json",
        ".git2efs/chores.lock",
        ".git2efs/reconcile.json",
        ".git2efs/reconcile.lock",
        "octo",
        "octo/copy",
        "octo/copy/.git",
        "octo/copy/.git/HEAD",
        "octo/copy/.git/config",
        "octo/copy/.git/git2efs",
        "octo/copy/.git/git2efs/published.json",
        "octo/copy/.git/index",
        "octo/copy/.git/logs",
        "octo/copy/.git/logs/HEAD",
        "octo/copy/.git/logs/refs",
        "octo/copy/.git/logs/refs/heads",
        "octo/copy/.git/logs/refs/heads/main",
        "octo/copy/.git/objects",
        "octo/copy/.git/objects/info",
        "octo/copy/.git/objects/pack",
        "octo/copy/.git/objects/pack/pack-<id>.idx",
        "octo/copy/.git/objects/pack/pack-<id>.pack",
        "octo/copy/.git/refs",
        "octo/copy/.git/refs/heads",
        "octo/copy/.git/refs/heads/main",
        "octo/copy/.git/refs/remotes",
        "octo/copy/.git/refs/remotes/origin",
        "octo/copy/.git/refs/remotes/origin/main",
        "octo/copy/.git/refs/tags",
        "octo/copy/.git/shallow",
        "octo/site",
        "octo/site/.copies",
        "octo/site/.lock",
        "octo/site/.targets",
        "octo/site/main",
        "octo/site/main/current",
        "octo/site/main/published.json",
        "octo/site/main/releases",
        "octo/site/main/releases/<id>",
        "octo/site/main/staging",
        "octo/site/mirror.git",
        "octo/site/mirror.git/HEAD",
        "octo/site/mirror.git/config",
        "octo/site/mirror.git/objects",
        "octo/site/mirror.git/objects/pack",
        "octo/site/mirror.git/objects/pack/pack-<id>.idx",
        "octo/site/mirror.git/objects/pack/pack-<id>.pack",
        "octo/site/mirror.git/refs",
        "octo/site/mirror.git/refs/heads",
        "octo/site/mirror.git/shallow",
    }
    assert os.readlink(stored.mount / TARGET / "current") == f"releases/{stored.commits[4]}"
    assert (stored.mount / "octo/site/.targets").read_bytes() == b"\nocto/site/main\n\nocto/copy\n"
    assert (stored.mount / "octo/site/mirror.git/HEAD").read_bytes() == b"ref: refs/heads/main\n"


@pytest.fixture
def steady(monkeypatch: pytest.MonkeyPatch) -> None:
    """Never take the mount for a slow one, however busy this machine is: on a slow one other names are used."""
    monkeypatch.setattr("handler.mount.fs.lock.SLOW_SECONDS", 1e9)


def passing(stored: Stored, written: list[tuple[str, bytes]]) -> set[str]:
    """Return our own names that are gone again after the runs: those that a killed run leaves."""
    found = {masked(os.path.relpath(path, stored.mount)) for path, _ in written if path.startswith(f"{stored.mount}/")}
    found |= {masked(path) for path, _ in written if path.startswith("tmp_")}
    found -= {masked(name) for name in names(stored.mount)}
    return {
        name
        for name in found
        if not re.search(r"/\.git2efs\.new/|/current/|/previews(?!/one/staging/)|/\.git/logs", name)
    }


def test_names_of_what_passes(take: Take, written: list[tuple[str, bytes]], steady: None) -> None:
    """Staged trees, links, records, trash, packs, locks: what another version finds after a kill.

    An older version leaves staged trees with a token alone: it does not know such names. Those that a run gave up have
    none.
    """
    stored = take("killed-while-pruning", publish=[RELEASES, COPY, PREVIEWS], keep_releases=2)
    written.clear()
    assert stored.push(7).status == 200
    (stored.mount / "octo/copy/text").write_bytes(lines((15, "mine")))
    assert stored.push(8).status == 200
    assert stored.push(5, "refs/heads/preview/one").status == 200
    (stored.mount / TARGET / "current/README").unlink()
    stored.history.origin.set_ref("refs/heads/preview/one", None)
    stored.configure(publish=[RELEASES, COPY, PREVIEWS], grace_seconds=0)
    stored.service.run_schedule()
    stored.service.run_schedule("chores")
    assert not (stored.mount / "octo/site/previews").exists()
    assert passing(stored, written) == {
        ".git2efs/chores.json.new",
        ".git2efs/reconcile.json.new",
        "octo/copy/.git/git2efs/journal",
        "octo/copy/.git/git2efs/record-<random>",
        "octo/copy/.git/git2efs/tmp_idx_<random>",
        "octo/copy/.git/git2efs/tmp_index_<random>",
        "octo/copy/.git/git2efs/tmp_journal_<random>",
        "octo/copy/.git/git2efs/tmp_pack_<random>",
        "octo/copy/.git/git2efs/tmp_ref_<random>",
        "octo/copy/.git/index.lock",
        "octo/copy/.git/refs/heads/main.lock",
        "octo/copy/.git/refs/remotes/origin/main.lock",
        "octo/copy/.git/refs/stash.lock",
        "octo/site/.copies/<random>",
        "octo/site/.copies/<random>/.git",
        "octo/site/.copies/<random>/.git/git2efs/tmp_idx_<random>",
        "octo/site/.copies/<random>/.git/git2efs/tmp_pack_<random>",
        "octo/site/.copies/<random>/.git/git2efs/tmp_ref_<random>",
        "octo/site/.copies/<random>/.git/git2efs/tmp_shallow_<random>",
        "octo/site/.copies/<random>/.git/index",
        "octo/site/.copies/<random>/.git/refs/heads/main.lock",
        "octo/site/.copies/<random>/.git/refs/remotes/origin",
        "octo/site/.copies/<random>/.git/refs/remotes/origin/main.lock",
        "octo/site/.copies/<random>/.git/shallow.lock",
        "octo/site/.copies/<random>/.git2efs.new",
        "octo/site/.copies/<random>/<id>",
        "octo/site/.targets.new",
        "octo/site/main/staging/<id>-<id>.<random>-<random>-<random>",
        "octo/site/main/staging/<none>-<id>.<random>-<random>-<random>",
        "octo/site/main/staging/link-<random>",
        "octo/site/main/staging/record-<random>",
        "octo/site/main/staging/repair-<random>",
        "octo/site/main/staging/trash-<random>",
        "octo/site/previews/one/staging/<none>-<id>.<random>-<random>-<random>",
        "octo/site/previews/one/staging/link-<random>",
        "octo/site/previews/one/staging/record-<random>",
        "tmp_file_<random>",
    }


def test_names_of_what_passes_on_a_slow_mount(
    take: Take, written: list[tuple[str, bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Working copies' files and refs are written in directories of our own there."""
    monkeypatch.setattr("handler.mount.fs.lock.SLOW_SECONDS", 0.0)
    stored = take("copy-clean", publish=[COPY | {"path": TARGET}], depth=0)
    written.clear()
    assert stored.push(3).status == 200
    assert passing(stored, written) == {
        "octo/site/main/.git/git2efs/journal",
        "octo/site/main/.git/git2efs/record-<random>",
        "octo/site/main/.git/git2efs/staging-refs/tmp_ref_<random>",
        "octo/site/main/.git/git2efs/tmp_idx_<random>",
        "octo/site/main/.git/git2efs/tmp_index_<random>",
        "octo/site/main/.git/git2efs/tmp_journal_<random>",
        "octo/site/main/.git/git2efs/tmp_pack_<random>",
        "octo/site/main/.git/index.lock",
        "octo/site/main/.git/refs/heads/main.lock",
        "octo/site/main/.git/refs/remotes/origin/main.lock",
        "tmp_file_<random>",
    }


# -- what is in the files ---------------------------------------------------------------------------------------------


def test_keys_of_a_record(take: Take) -> None:
    """`published.json`, of releases that are held, and of a working copy."""
    stored = take("held", publish=[RELEASES, COPY])
    assert stored.push(4).status == 200
    stored.service.operate("resume", TARGET)
    stored.service.operate("hold", TARGET, by="mona", why="wait")
    keys = [
        "since",
        "repository",
        "ref",
        "commit",
        "previous_commit",
        "published_at",
        "asked_at",
        "pushed_at",
        "delivery",
        "files_written",
        "files_removed",
        "bytes_fetched",
        "gone_since",
        "announced",
        "previous_announced",
        "held",
        "answered_at",
    ]
    record = stored.service.record()
    assert list(record) == keys
    assert list(record["held"]) == ["since", "by", "why", "commit", "left"]
    assert list(json.loads((stored.mount / "octo/copy/.git/git2efs/published.json").read_text())) == keys


def test_keys_of_the_schedules_state(take: Take) -> None:
    """Of both tasks."""
    stored = take("published", publish=[RELEASES])
    stored.service.run_schedule()
    stored.service.run_schedule("chores")
    for task in ("reconcile", "chores"):
        state = stored.state(task)
        assert list(state) == ["repositories", "stopped_at", "go_on_at"]
        assert isinstance(state["repositories"], dict)
        # Since the schedule asks remotes by turns; an older version reads the first three.
        turns = ["asked_at", "due_at", "pushes", "tips"] if task == "reconcile" else []
        assert list(state["repositories"][NAME]) == ["confirmed_at", "failures", "not_before", *turns]


def test_keys_of_a_pulls_journal(take: Take, written: list[tuple[str, bytes]], steady: None) -> None:
    """With a change that is carried over, and local commits that are replayed."""
    stored = take("copy-with-commits", publish=[COPY | {"path": TARGET}], depth=0)
    (stored.mount / TARGET / "run").write_bytes(b"mine\n")
    assert stored.push(3).status == 200
    (journal,) = (json.loads(content) for path, content in written if "tmp_journal_" in path and content)
    assert set(journal) == {
        "version",
        "branch",
        "old",
        "new",
        "committer",
        "at",
        "lines",
        "kept",
        "stash",
    }
    assert journal["version"] == 1
    assert journal["branch"] == "refs/heads/main"
    assert journal["lines"][-1] == [
        "HEAD",
        journal["new"],
        journal["new"],
        "pull --rebase (finish): returning to refs/heads/main",
    ]
    assert {path: [mode for mode, _ in each] for path, each in journal["kept"].items()} == {
        "72756e": [0o100755, 0o100644, 0o100755]
    }
    assert re.fullmatch(r"[0-9a-f]{40}", journal["stash"])


def test_content_of_a_checkpoint(tmp_path: Path) -> None:
    """The digest of what is to be written, and how many files of it are."""
    checkpoint = Checkpoint(os.fspath(tmp_path / "checkpoint"))
    writes: list[FileWrite | LinkWrite] = [
        FileWrite(b"a", b"1" * 40, is_executable=False, is_replacing=False),
        LinkWrite(b"l", b"a", False),
    ]
    assert checkpoint.begin(writes) == 0
    checkpoint.save(7)
    assert (tmp_path / "checkpoint").read_bytes() == b"f887cc01776db840147afc283e86566c34da981c 7\n"


def test_what_a_filter_leaves_on_the_mount(service: Service, upstream: Upstream) -> None:
    """Names and files by which a later version knows what of its commit a release is; ids are hashes."""
    rules: list[dict[str, object]] = [{"subdirectory": "d"}, {"exclude": ["*.md", "!a.md"]}]
    commit = upstream.commit({"d/a": b"1", "b.md": b"2"})
    for rule in rules:
        service.put_repository(publish=[{"ref": MAIN, "path": TARGET, **rule}])
        service.reset()
        service.run_schedule()
        assert service.record()["filter"] == rule
    releases = service.mount / TARGET / "releases"
    assert {name: (releases / name).read_bytes() for name in os.listdir(releases) if name.startswith(".")} == {
        ".plain-a39b72c82f69bc9c": b'{"subdirectory": "d"}',
        ".filter-863d43bc67ead5bb": b'{"exclude": ["*.md", "!a.md"]}',
    }
    assert sorted(os.listdir(releases))[2:] == [commit, f"{commit}.863d43bc67ead5bb"]
    assert os.readlink(service.current()) == f"releases/{commit}.863d43bc67ead5bb"
    upstream.commit({"c.md": b"3"})
    service.put_repository(publish=[{"ref": MAIN, "path": TARGET, "subdirectory": "d"}])
    service.reset()
    service.run_schedule()
    later = upstream.commit({"d.md": b"4"})
    assert service.push(upstream).reason == "subdirectory_unchanged"
    assert service.record()["confirmed_commit"] == later
