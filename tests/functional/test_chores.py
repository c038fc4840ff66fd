"""The daily chores: releases compared with their commits, mended or set aside; pruning and sweeping without a push."""

import os
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from handler.deadline import Deadline
from handler.errors import MountUnavailable
from handler.exchange.publisher import MaintenanceResult
from handler.model import Outcome, OutcomeKind, Repository
from handler.mount.fs import checkout
from handler.mount.git.mirror import Mirror, StorePool
from handler.mount.git.objects import BLOB
from handler.mount.maintenance.maintenance import Maintenance
from handler.mount.releases import verify
from handler.settings import read_settings
from testing import selection
from testing.repositories import Entry, Upstream, archive, fsck, snapshot
from testing.service import Service
from testing.tampering import SITE, TAMPERINGS, add, write
from tests.functional.mounts import Footprint, footprint

TARGET = "octo/site/main"


def make_maintenance(service: Service, clock: Callable[[], float] = time.time) -> Maintenance:
    """Return the maintenance of a cold start."""
    return Maintenance(read_settings(service.environment), StorePool(), clock)


def maintain_all(service: Service, **fields: Any) -> MaintenanceResult:
    """Maintain `octo/site`, with `fields` of its parameter."""
    return make_maintenance(service).maintain(Repository(full_name="octo/site", url="https://unused.example", **fields))


def maintain(service: Service, **fields: Any) -> Outcome:
    """Maintain the one target; return the outcome."""
    result = maintain_all(service, **fields)
    assert result.resume_at is None
    (outcome,) = result.outcomes
    return outcome


def publish(service: Service, upstream: Upstream, files: dict[str, Entry | None]) -> str:
    """Push a commit and return it."""
    commit = upstream.commit(files)
    assert service.push(upstream).outcome == "published"
    return commit


def release(service: Service, commit: str) -> Path:
    """Return a release's directory."""
    return service.mount / TARGET / "releases" / commit


def is_sealed(path: Path) -> bool:
    """Whether a release may be recycled."""
    return path.stat().st_mtime_ns % 10**9 == 0


def without_root(found: Footprint) -> Footprint:
    """Leave out the root's own clock."""
    return {path: about for path, about in found.items() if path != "."}


def age(service: Service, seconds: int) -> None:
    """Make every release that much older."""
    for each in (service.mount / TARGET / "releases").iterdir():
        then = each.stat().st_mtime_ns - seconds * 10**9
        os.utime(each, ns=(then, then))


@pytest.fixture
def published(service: Service, upstream: Upstream) -> str:
    """Publish every kind of entry; return the commit."""
    service.put_repository()
    return publish(service, upstream, dict(SITE))


def test_a_release_that_is_as_its_commit_has_it_is_verified_and_nothing_of_it_touched(
    service: Service, published: str
) -> None:
    """Not a time, not an inode; the record says by which delivery it came, and still does."""
    before = footprint(service.mount)
    outcome = maintain(service)
    assert (outcome.kind, outcome.reason) == (OutcomeKind.UNCHANGED, "verified")
    assert (outcome.path, outcome.ref, outcome.commit) == (TARGET, "refs/heads/main", published)
    assert outcome.notes == ()
    assert footprint(service.mount) == before


@pytest.mark.parametrize(
    ("name", "is_slow"),
    [
        pytest.param(name, is_slow, id=f"{name}-{'side by side' if is_slow else 'in turn'}")
        for at, name in enumerate(TAMPERINGS)
        for is_slow in selection.spread([False, True], 1, shift=at)
    ],
)
def test_whatever_somebody_did_to_what_is_published_is_found_and_mended(
    service: Service, upstream: Upstream, published: str, name: str, is_slow: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tree equals the commit's again, what was right was not touched, and the release is sealed again."""
    monkeypatch.setattr("handler.mount.fs.lock.SLOW_SECONDS", 0.0 if is_slow else 1000.0)
    told, tamper = TAMPERINGS[name]
    root = release(service, published)
    untouched = (root / "untouched").stat()
    tamper(root)
    outcome = maintain(service)
    assert (outcome.kind, outcome.reason) == (OutcomeKind.PUBLISHED, "repaired"), outcome
    kind, _, path = told.partition(" ")
    assert f"{kind} {os.fsencode(path)!r}" in outcome.notes, outcome.notes
    assert snapshot(root) == archive(upstream, published)
    for each in (root, *root.rglob("*")):
        if not each.is_symlink():
            assert each.stat().st_mode & 0o777 in ((0o755,) if each.is_dir() else (0o644, 0o755)), each
    after = (root / "untouched").stat()
    assert (after.st_ino, after.st_mtime_ns) == (untouched.st_ino, untouched.st_mtime_ns)
    assert is_sealed(root)
    assert os.listdir(service.mount / TARGET / "staging") == []
    assert maintain(service).reason == "verified"


def test_much_that_does_not_belong_is_removed_in_rounds(
    service: Service, upstream: Upstream, published: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However much it is: what is held in memory at a time is bounded."""
    monkeypatch.setattr(verify, "MOST_EXTRA", 3)
    for number in range(10):
        add(f"docs/extra-{number}")(release(service, published))
    outcome = maintain(service)
    assert outcome.counts.files_removed == 10
    assert snapshot(release(service, published)) == archive(upstream, published)


@pytest.mark.parametrize("part_entries", [1, 3])
def test_a_tree_of_many_parts_is_mended_part_by_part(
    service: Service, upstream: Upstream, published: str, part_entries: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A missing directory's own content may be in a part of its own."""
    monkeypatch.setattr(verify, "PART_ENTRIES", part_entries)
    root = release(service, published)
    shutil.rmtree(root / "docs")
    add("vendor/module/extra")(root)
    outcome = maintain(service)
    assert (outcome.counts.files_written, outcome.counts.files_removed) == (7, 1)
    assert snapshot(root) == archive(upstream, published)
    assert is_sealed(root)


def test_a_repair_by_many_threads_holds_few_contents_in_memory(
    service: Service, upstream: Upstream, published: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As many as a check-out reads at a time: a blob may have 100 MiB, and a function 512 MB."""
    paths = [f"files/{number}" for number in range(40)]
    published = publish(service, upstream, {path: path.encode() * 100 for path in paths})
    root = release(service, published)
    for path in paths:
        (root / path).write_bytes(b"wrong")
    monkeypatch.setattr("handler.mount.fs.lock.SLOW_SECONDS", 0.0)
    lock, reading, most, read = threading.Lock(), 0, 0, Mirror.read

    def watched(mirror: Mirror, object_id: bytes, kind: int) -> bytes:
        nonlocal reading, most
        with lock:
            reading += 1
            most = max(most, reading)
        try:
            time.sleep(0.002 if kind == BLOB else 0)
            return read(mirror, object_id, kind)
        finally:
            with lock:
                reading -= 1

    monkeypatch.setattr(Mirror, "read", watched)
    assert maintain(service).counts.files_written == 40
    assert snapshot(root) == archive(upstream, published)
    assert 1 < most <= checkout._READERS


def test_a_reader_never_misses_what_nobody_tampered_with(service: Service, upstream: Upstream, published: str) -> None:
    """And finds each tampered file wrong or right, never absent and never half written."""
    root, wrong = service.current(), b"WRONG" * 20_000
    right = b"right" * 20_000
    published = publish(service, upstream, {f"files/{number}": right for number in range(60)})
    stop, seen = threading.Event(), []

    def read() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            contents = [(root / "untouched").read_bytes(), (root / "docs/index").read_bytes()]
            if contents != [b"untouched\n", b"index\n"]:
                seen.append(f"untouched: {contents!r}"[:99])
            if (root / f"files/{number % 60}").read_bytes() not in (right, wrong):
                seen.append(f"half of files/{number % 60}")

    reader = threading.Thread(target=read)
    for number in range(60):
        (root / f"files/{number}").write_bytes(wrong)
    reader.start()
    for number in range(8):
        add(f"docs/other/more-{number}/x")(root)
        assert maintain(service).reason == "repaired"
        for each in range(60):
            # As somebody would who also renames: so that what the reader finds half made is ours.
            (root / ".new").write_bytes(wrong)
            (root / ".new").rename(root / f"files/{each}")
    assert maintain(service).reason == "repaired"
    stop.set()
    reader.join()
    assert seen == []
    assert snapshot(root.resolve()) == archive(upstream, published)


# -- releases that are kept ----------------------------------------------------------------------------------------


def test_a_kept_release_that_somebody_changed_is_not_the_base_of_the_next(service: Service, upstream: Upstream) -> None:
    """Deep down, where no push looks: after the chores the tree is written whole, and the change does not come back."""
    service.put_repository(grace_seconds=3600)
    first = publish(service, upstream, dict(SITE))
    second = publish(service, upstream, {"docs/index": b"2\n"})
    write("docs/guide/deep/file", b"EVIL\n")(release(service, first))
    before = footprint(release(service, first))
    outcome = maintain(service, grace_seconds=3600)
    assert (outcome.kind, outcome.reason, outcome.commit) == (OutcomeKind.UNCHANGED, "set_aside", second)
    assert outcome.notes[-2:] == (
        f"releases/{first} was changed by somebody else, and is not used again:",
        "changed b'docs/guide/deep/file'",
    )
    assert without_root(footprint(release(service, first))) == without_root(before), "readers may still be in it"
    age(service, 3700)
    third = publish(service, upstream, {"docs/index": b"3\n"})
    assert service.tree() == archive(upstream, third)
    assert service.answers[-1].content["files_written"] == 11
    assert first not in service.releases()


def test_without_the_chores_it_would_be(service: Service, upstream: Upstream) -> None:
    """The test above can fail: a push never looks, so that the chores are what finds it."""
    service.put_repository(grace_seconds=0)
    first = publish(service, upstream, dict(SITE))
    publish(service, upstream, {"docs/index": b"2\n"})
    write("docs/guide/deep/file", b"EVIL\n")(release(service, first))
    publish(service, upstream, {"docs/index": b"3\n"})
    assert service.tree()[b"docs/guide/deep/file"][1] == b"EVIL\n"
    assert maintain(service, grace_seconds=0).reason == "repaired"
    assert service.tree()[b"docs/guide/deep/file"][1] == b"deep\n"


def test_going_back_to_a_release_that_was_set_aside_writes_it_anew(service: Service, upstream: Upstream) -> None:
    """A forced push back within the grace."""
    service.put_repository(grace_seconds=3600)
    first = publish(service, upstream, dict(SITE))
    publish(service, upstream, {"docs/index": b"2\n"})
    write("docs/guide/deep/file", b"EVIL\n")(release(service, first))
    assert maintain(service, grace_seconds=3600).reason == "set_aside"
    upstream.point("refs/heads/main", first)
    assert service.push(upstream).outcome == "published"
    assert service.tree() == archive(upstream, first)


def test_a_release_whose_seal_alone_is_broken_is_sealed_again_and_keeps_its_clock(
    service: Service, upstream: Upstream
) -> None:
    """Somebody made a file there and removed it: the tree is what the commit has, and may be recycled."""
    service.put_repository(grace_seconds=3600)
    first = publish(service, upstream, dict(SITE))
    second = publish(service, upstream, {"docs/index": b"2\n"})
    for commit in (first, second):
        then = 1_700_000_000_500_000_000 if commit == second else time.time_ns() // 10**9 * 10**9 - 1000 * 10**9 + 5
        os.utime(release(service, commit), ns=(then, then))
    retired = release(service, first).stat().st_mtime
    assert maintain(service, grace_seconds=3600).reason == "verified"
    assert is_sealed(release(service, first))
    assert is_sealed(release(service, second))
    assert 0 <= retired - release(service, first).stat().st_mtime < 1


def test_a_quiet_repository_is_pruned(service: Service, upstream: Upstream) -> None:
    """After the last push nothing else removes what is past its grace; a changed release goes first."""
    service.put_repository(grace_seconds=3600)
    commits = [publish(service, upstream, {"a": b"%d" % number}) for number in range(6)]
    assert maintain(service, grace_seconds=3600).reason == "verified"
    assert len(service.releases()) == 6, "all are in their grace"
    for at, commit in enumerate(commits):
        then = (int(time.time()) - 3700 + at) * 10**9 + 5 * (at == 4)
        os.utime(release(service, commit), ns=(then, then))
    assert maintain(service, grace_seconds=3600).reason == "verified"
    assert service.releases() == sorted([commits[5], commits[3], commits[2]])
    assert os.listdir(service.mount / TARGET / "staging") == []
    assert service.tree() == archive(upstream, commits[-1])


def test_leftovers_are_swept_and_a_half_made_tree_stays(service: Service, published: str) -> None:
    """What a push goes on from is not removed."""
    staging, number = service.mount / TARGET / "staging", "0123456789abcdef"
    (staging / f"trash-{number}/a/b").mkdir(parents=True)
    (staging / f"link-{number}").symlink_to("nowhere")
    (staging / f"repair-{number}").write_bytes(b"half")
    half = staging / ("0" * 40 + "-" + published)
    half.mkdir()
    (staging / "not-ours").mkdir()
    assert maintain(service).reason == "verified"
    assert sorted(os.listdir(staging)) == sorted([half.name, "not-ours"])


@pytest.mark.parametrize("what", ["nothing", "a file", "a link"])
def test_a_published_release_that_is_gone_is_written_beside_and_renamed(
    service: Service, upstream: Upstream, published: str, what: str
) -> None:
    """`current` leads nowhere, and then to the whole tree."""
    root = release(service, published)
    root.rename(service.mount / "elsewhere")
    if what == "a file":
        root.write_bytes(b"x")
    elif what == "a link":
        root.symlink_to(service.mount / "elsewhere")
    outcome = maintain(service)
    assert (outcome.reason, outcome.counts.files_written) == ("repaired", 11)
    assert not root.is_symlink()
    assert service.tree() == archive(upstream, published)
    assert is_sealed(root)
    assert maintain(service).reason == "verified"
    assert os.listdir(service.mount / TARGET / "staging") == []


# -- whose a target is, and what is in the way ---------------------------------------------------------------------


def test_what_another_repository_publishes_is_left_alone(service: Service, published: str) -> None:
    """Its path was once this one's; the record says whose it is now."""
    record = service.mount / TARGET / "published.json"
    record.write_bytes(record.read_bytes().replace(b'"octo/site"', b'"octo/other"'))
    write("README", b"two\n")(release(service, published))
    before = footprint(service.mount / TARGET)
    assert maintain_all(service) == MaintenanceResult(())
    record.unlink()
    assert maintain_all(service) == MaintenanceResult(())
    del before["published.json"], before["."]
    assert {path: about for path, about in footprint(service.mount / TARGET).items() if path != "."} == before


def test_a_repository_that_was_never_published_leaves_no_trace(service: Service) -> None:
    """No directory is made for its lock."""
    assert maintain_all(service) == MaintenanceResult(())
    assert os.listdir(service.mount) == []


def test_lines_that_are_no_targets_lead_nowhere(service: Service, published: str, tmp_path: Path) -> None:
    """Half a line of a killed run, and paths that nobody may publish to."""
    with (service.mount / "octo/site/.targets").open("a") as targets:
        targets.write("\n../outside\n/etc\nocto/si\nocto/site/gone\nocto/site/ma")
    (outcome,) = maintain_all(service).outcomes
    assert outcome.reason == "verified"


def test_while_a_run_holds_the_lock_the_chores_say_so_and_wait_for_another_day(
    service: Service, published: str
) -> None:
    """One outcome, transient."""
    service.configure(lock_seconds=0.05)
    import fcntl

    with (service.mount / "octo/site/.lock").open("rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        (outcome,) = maintain_all(service).outcomes
    assert (outcome.kind, outcome.reason, outcome.status) == (OutcomeKind.FAILED, "lock_timeout", 503)
    assert outcome.repository == "octo/site"
    assert maintain(service).reason == "verified"


def test_a_target_that_fails_does_not_keep_the_others_from_their_chores(
    service: Service, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each has an outcome of its own; an error of the mount is told as one."""
    service.put_repository(publish=[{"ref": "refs/heads/main"}, {"ref": "refs/heads/dev"}])
    publish(service, upstream, dict(SITE))
    upstream.commit({"dev": b"1"}, "dev")
    assert service.push(upstream, "dev").outcome == "published"
    compare = verify.compare

    def failing(root: str, *arguments: Any, **options: Any) -> Any:
        if "/main/" in root:
            raise OSError(5, "input/output error")
        return compare(root, *arguments, **options)

    monkeypatch.setattr("handler.mount.maintenance.audit.compare", failing)
    failed, verified = maintain_all(service).outcomes
    assert (failed.path, failed.kind, failed.reason) == (TARGET, OutcomeKind.FAILED, MountUnavailable.reason)
    assert (verified.path, verified.reason) == ("octo/site/dev", "verified")


# -- beside pushes -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pushes", [1, 2, 3])
def test_a_push_need_not_wait_while_trees_are_read_and_what_it_changes_is_no_drift(
    service: Service, upstream: Upstream, pushes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Releases are retired, recycled and removed under the reading eyes."""
    service.put_repository(grace_seconds=0, keep_releases=2)
    for number in range(3):
        publish(service, upstream, {**SITE, "docs/index": b"%d\n" % number})
    compare, compared = verify.compare, []

    def interrupted(root: str, *arguments: Any, **options: Any) -> Any:
        compared.append(root)
        if len(compared) == 1:
            for number in range(pushes):
                publish(service, upstream, {"docs/index": b"push %d\n" % number, "docs/guide/deep/file": b"x"})
        return compare(root, *arguments, **options)

    monkeypatch.setattr("handler.mount.maintenance.audit.compare", interrupted)
    outcome = maintain(service, grace_seconds=0, keep_releases=2)
    assert outcome.reason == "verified", outcome
    assert compared
    latest = upstream.tip()
    assert latest is not None
    assert service.tree() == archive(upstream, latest)
    assert all(is_sealed(release(service, commit)) for commit in service.releases())
    assert all(snapshot(release(service, commit)) == archive(upstream, commit) for commit in service.releases())


def test_a_warm_process_looks_afresh_after_the_chores(service: Service, upstream: Upstream) -> None:
    """They removed releases that it remembers, and one that it would have recycled."""
    service.put_repository(grace_seconds=0, keep_releases=4)
    for number in range(4):
        publish(service, upstream, {"a": b"%d" % number})
    assert maintain(service, grace_seconds=0, keep_releases=1).reason == "verified"
    last = publish(service, upstream, {"a": b"last"})
    assert service.tree() == archive(upstream, last)


# -- time ----------------------------------------------------------------------------------------------------------


def test_out_of_time_the_chores_tell_where_to_go_on_and_go_on_there(
    service: Service, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever the time ends, all is done in the end, and each target is told once."""
    monkeypatch.setattr(verify, "PART_ENTRIES", 2)
    service.put_repository(publish=[{"ref": "refs/heads/main"}, {"ref": "refs/heads/dev"}])
    for number in range(2):
        first = publish(service, upstream, {**SITE, "docs/index": b"%d" % number})
        dev = upstream.commit({"dev/a/b": b"%d" % number, "dev/c": b"c"}, "dev")
        assert service.push(upstream, "dev").outcome == "published"
    now = 0.0

    def clock() -> float:
        nonlocal now
        now += 1
        return now

    write("docs/guide/deep/file", b"EVIL\n")(release(service, first))
    (service.mount / "octo/site/dev/releases" / dev / "dev/extra").write_bytes(b"x")
    maintenance = make_maintenance(service, clock)
    outcomes: list[Outcome] = []
    cursor, calls = None, 0
    while True:
        calls += 1
        result = maintenance.maintain(
            Repository(full_name="octo/site", url="https://unused.example"),
            deadline=Deadline(now + 30, clock),
            resume_at=cursor,
        )
        outcomes += result.outcomes
        assert result.resume_at != cursor or cursor is None
        cursor = result.resume_at
        if cursor is None:
            break
    assert calls > 4
    mended = [outcome for outcome in outcomes if outcome.reason == "repaired"]
    assert [outcome.path for outcome in mended] == [TARGET, "octo/site/dev"]
    assert service.tree() == archive(upstream, first)
    assert service.tree("octo/site/dev") == archive(upstream, dev)
    # Compared in pieces it is not sealed again: nobody saw the whole. The next whole look does.
    assert [outcome.reason for outcome in maintain_all(service).outcomes] == ["verified", "verified"]
    assert is_sealed(release(service, first))


@pytest.mark.parametrize("cursor", ["", "//", "octo/site/main//nonsense//x", "octo/site/gone//1//2", "////0"])
def test_a_place_that_is_none_any_more_means_to_begin(service: Service, published: str, cursor: str) -> None:
    """The target went meanwhile, or the text is not ours."""
    result = make_maintenance(service).maintain(
        Repository(full_name="octo/site", url="https://unused.example"), resume_at=cursor
    )
    assert [outcome.reason for outcome in result.outcomes] == ["verified"]


def test_with_no_time_at_all_nothing_is_begun(service: Service, published: str) -> None:
    """And the answer says that all is still to be done."""
    before = footprint(service.mount)
    result = make_maintenance(service).maintain(
        Repository(full_name="octo/site", url="https://unused.example"), deadline=Deadline(1.0)
    )
    assert result.outcomes == ()
    assert result.resume_at
    assert footprint(service.mount) == before


# -- the mirror ----------------------------------------------------------------------------------------------------


def test_what_a_push_does_not_read_of_the_mirror_and_git_does_is_mended(service: Service, upstream: Upstream) -> None:
    """Indices of small packs, HEAD, the config, where history ends."""
    service.put_repository()
    upstream.commit({"before": b"x"})
    for number in range(3):
        commit = publish(service, upstream, {"a": b"%d" % number})
    mirror = service.mount / "octo/site/mirror.git"
    indices = sorted(mirror.glob("objects/pack/*.idx"))
    indices[0].write_bytes(b"garbage")
    indices[1].write_bytes(indices[2].read_bytes())
    (mirror / "HEAD").write_bytes(b"garbage")
    (mirror / "config").unlink()
    (mirror / "shallow").write_bytes(b"garbage\n")
    with pytest.raises(RuntimeError):
        fsck(mirror)
    notes = maintain(service).notes
    assert len(notes) == 5, notes
    fsck(mirror)
    assert (mirror / "shallow").read_text().split()
    assert maintain(service).notes == ()
    commit = publish(service, upstream, {"a": b"last"})
    assert service.tree() == archive(upstream, commit)
    fsck(mirror)


def test_a_sound_mirror_is_left_as_it_is_by_git_too(service: Service, upstream: Upstream) -> None:
    """No daily rewriting of what is right, whatever wrote it: a push, a merge of packs, a large pack."""
    service.put_repository(grace_seconds=0)
    for number in range(9):
        publish(service, upstream, {"a": b"%d" % number, f"b{number}": os.urandom(60_000)})
    mirror = service.mount / "octo/site/mirror.git"
    maintain(service, grace_seconds=0)
    before = footprint(mirror)
    assert maintain(service, grace_seconds=0).notes == ()
    assert footprint(mirror) == before


def test_packs_that_are_too_many_are_merged(
    service: Service, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a push could not do it."""
    service.put_repository(grace_seconds=0)
    monkeypatch.setattr("handler.mount.git.mirror.Mirror.maintain", lambda *_, **__: None)
    for number in range(9):
        publish(service, upstream, {"a": b"%d" % number})
    monkeypatch.undo()
    packs = service.mount / "octo/site/mirror.git/objects/pack"
    assert len(list(packs.glob("*.pack"))) == 9
    assert maintain(service, grace_seconds=0).reason == "verified"
    assert len(list(packs.glob("*.pack"))) < 4


def test_a_damaged_mirror_is_emptied_and_filled_by_the_next_look_at_the_remote(
    service: Service, upstream: Upstream
) -> None:
    """Nothing is mended from nothing; a redelivery fetches, and then there is something to compare with."""
    service.put_repository()
    first = publish(service, upstream, dict(SITE))
    commit = upstream.commit({"docs/index": b"2\n"})
    request = service.push_request(upstream)
    assert service.send(request).outcome == "published"
    write("README", b"two\n")(release(service, commit))
    for pack in (service.mount / "octo/site/mirror.git/objects/pack").glob("*.pack"):
        pack.unlink()
    outcome = maintain(service)
    assert (outcome.kind, outcome.reason, outcome.status) == (OutcomeKind.FAILED, "mirror_damaged", 503)
    assert service.tree()[b"README"][1] == b"two\n"
    assert service.send(request).outcome == "unchanged"
    outcome = maintain(service)
    assert outcome.reason == "repaired"
    assert f"releases/{first} cannot be compared: the mirror does not have it any more" in outcome.notes
    assert service.tree() == archive(upstream, commit)


def test_one_target_that_the_mirror_lacks_does_not_cost_the_others_their_objects(
    service: Service, upstream: Upstream
) -> None:
    """After a fresh fetch for one of them the mirror is sound, and stays."""
    service.put_repository(publish=[{"ref": "refs/heads/main"}, {"ref": "refs/heads/dev"}])
    publish(service, upstream, dict(SITE))
    upstream.commit({"dev": b"1"}, "dev")
    request = service.push_request(upstream, "dev")
    assert service.send(request).outcome == "published"
    shutil.rmtree(service.mount / "octo/site/mirror.git/objects/pack")
    service.reset()
    assert service.send(request).outcome == "unchanged"
    before = footprint(service.mount / "octo/site/mirror.git")
    main, dev = maintain_all(service).outcomes
    assert (main.reason, dev.reason) == ("mirror_damaged", "verified")
    assert footprint(service.mount / "octo/site/mirror.git") == before
