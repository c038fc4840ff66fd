"""What somebody else did to the mount is repaired by the next delivery, or named where a person must do it."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from handler.model import NULL_OID
from testing.repositories import Upstream, archive
from testing.service import Service

TARGET = "octo/site/main"


def test_a_removed_release_is_made_again_by_a_redelivery(service: Service, upstream: Upstream) -> None:
    """`current` led nowhere; what is published is looked at before anything is called unchanged."""
    service.put_repository()
    commit = upstream.commit({"a": b"1"})
    request = service.push_request(upstream)
    assert service.send(request).outcome == "published"
    shutil.rmtree(service.mount / TARGET / "releases" / commit)
    assert service.send(request).outcome == "published"
    assert service.tree() == archive(upstream, commit)
    assert service.send(request).outcome == "unchanged"


def test_without_the_staging_directory_a_flip_makes_it(service: Service, upstream: Upstream) -> None:
    """A forced push back writes nothing but the link and the record."""
    service.put_repository()
    first = upstream.commit({"a": b"1"})
    service.push(upstream)
    upstream.commit({"a": b"2"})
    service.push(upstream)
    os.rmdir(service.mount / TARGET / "staging")
    upstream.point("refs/heads/main", first)
    assert service.push(upstream).outcome == "published"
    assert service.tree() == archive(upstream, first)


def test_a_file_in_the_way_needs_a_person(service: Service, upstream: Upstream) -> None:
    """Trying again would change nothing, and so the answer is not 503."""
    service.put_repository()
    (service.mount / "octo").write_bytes(b"a file where a directory should be")
    upstream.commit({"a": b"1"})
    answer = service.push(upstream)
    assert (answer.status, answer.reason) == (500, "target_occupied")
    os.unlink(service.mount / "octo")
    assert service.push(upstream).outcome == "published"


def test_a_record_that_is_a_directory_needs_a_person(service: Service, upstream: Upstream) -> None:
    """It is named in the log; what is published stays."""
    service.put_repository()
    first = upstream.commit({"a": b"1"})
    service.push(upstream)
    os.unlink(service.mount / TARGET / "published.json")
    (service.mount / TARGET / "published.json").mkdir()
    upstream.commit({"a": b"2"})
    answer = service.push(upstream)
    assert (answer.status, answer.reason) == (500, "target_occupied")
    assert service.tree() == archive(upstream, first)


def _file(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"theirs")
    os.utime(path, (1_700_000_000, 1_700_000_000))  # a whole second, as a seal has


def _directory(path: Path) -> None:
    path.mkdir(parents=True)
    (path / "theirs").write_bytes(b"theirs")


def _link(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to("nowhere")


# A directory with the name of a half-made tree is taken for one. If it is not, maintenance mends the release.
IN_THE_WAY = [("releases/{}", make) for make in (_file, _directory, _link)]
IN_THE_WAY += [("staging/{null}-{}.journal", make) for make in (_file, _directory, _link)]
IN_THE_WAY += [(name, make) for name in ("staging/{null}-{}", "staging/{base}-{}") for make in (_file, _link)]


@pytest.mark.parametrize("is_warm", [False, True])
@pytest.mark.parametrize("way", ["whole", "recycled"])
@pytest.mark.parametrize(("name", "make"), IN_THE_WAY)
@pytest.mark.sampled(12)
def test_what_has_a_name_that_a_release_needs_is_removed_by_the_same_push(
    service: Service, upstream: Upstream, *, name: str, make: Callable[[Path], None], way: str, is_warm: bool
) -> None:
    """Nobody but git2efs makes anything there; the log says what was in the way."""
    service.put_repository(grace_seconds=0 if way == "recycled" else 300)
    commits = []
    for number in range(3):
        commits.append(upstream.commit({"a": b"%d" % number, "d/b": b"b"}))
        service.push(upstream)
    wanted = upstream.commit({"a": b"wanted"})
    base = min(set(service.releases()) - {commits[-1]})
    place = name.format(wanted, null=NULL_OID, base=base)
    make(service.mount / TARGET / place)
    if not is_warm:
        service.reset()
    answer = service.push(upstream)
    assert (answer.status, answer.outcome) == (200, "published")
    assert service.tree() == archive(upstream, wanted)
    service.reset()  # a new process looks into staging, and removes what an old one could not know of
    upstream.commit({"a": b"next"})
    assert service.push(upstream).outcome == "published"
    assert os.listdir(service.mount / TARGET / "staging") == []
    assert service.run_schedule("chores")["outcomes"] == {"unchanged:verified": 1}


@pytest.mark.parametrize("name", ["releases", "staging"])
@pytest.mark.parametrize("way", ["first", "flip", "recycle"])
def test_a_file_in_the_place_of_our_directories_is_replaced_by_the_same_push(
    service: Service, upstream: Upstream, name: str, way: str
) -> None:
    """Neither `target_occupied` for ever nor a failure that seems to pass."""
    service.put_repository(grace_seconds=300 if way == "flip" else 0)
    if way != "first":
        for number in range(3):
            upstream.commit({"a": b"%d" % number})
            service.push(upstream)
        if way == "flip":
            upstream.point("refs/heads/main", upstream.git("rev-parse", "main~1").decode().strip())
        shutil.rmtree(service.mount / TARGET / name)
    if way != "flip":
        upstream.commit({"a": b"wanted"})
    _file(service.mount / TARGET / name)
    service.reset()
    answer = service.push(upstream)
    assert (answer.status, answer.outcome) == (200, "published")
    assert service.tree() == archive(upstream, upstream.tip() or "")
    assert any(f"{name} was in the way, and is removed" in note for note in service.log_lines[-1]["notes"])


def test_what_was_in_the_way_is_noted(service: Service, upstream: Upstream) -> None:
    """With its place in the target's directory."""
    service.put_repository()
    upstream.commit({"a": b"1"})
    service.push(upstream)
    wanted = upstream.commit({"a": b"2"})
    _directory(service.mount / TARGET / "releases" / wanted)
    assert service.push(upstream).outcome == "published"
    assert f"releases/{wanted} was in the way, and is removed" in service.log_lines[-1]["notes"]
