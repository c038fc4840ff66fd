"""When packs are merged or rewritten, and that what is written is a pack that git accepts."""

import io
from collections.abc import Iterable
from pathlib import Path

import pytest

from handler.mount.git.mirror import Mirror
from handler.mount.git.objects import Objects
from handler.mount.git.repack import (
    LARGE_BYTES,
    MAX_LARGE_PACKS,
    MAX_SMALL_PACKS,
    MIN_SPARE_BYTES,
    RepackStep,
    all_objects,
    needed_objects,
    plan_repack,
    write_pack,
)
from testing.origin import GitOrigin
from testing.repositories import Upstream, run_git
from testing.service import Service

KIB, MIB = 1024, 1024 * 1024


def sizes(base: int, *others: int) -> dict[str, int]:
    """Name some packs: `base`, and `p0`, `p1`, ..."""
    return {"base": base} | {f"p{number}": size for number, size in enumerate(others)}


def test_few_packs_are_left_alone() -> None:
    """Whatever they weigh."""
    assert plan_repack(sizes(10, *[900 * MIB] * (MAX_SMALL_PACKS - 1)), keeps_history=False).step is RepackStep.NOTHING


def test_the_small_packs_are_merged_and_the_largest_is_not() -> None:
    """The copy costs what the pushes since the last one brought."""
    upkeep = plan_repack(sizes(90 * MIB, *[KIB] * MAX_SMALL_PACKS), keeps_history=False)
    assert upkeep.step is RepackStep.MERGE
    assert upkeep.packs == {f"p{number}" for number in range(MAX_SMALL_PACKS)}


def test_a_merged_pack_that_has_grown_large_is_not_copied_again() -> None:
    """So that each byte is copied a bounded number of times."""
    upkeep = plan_repack(sizes(90 * MIB, LARGE_BYTES, *[KIB] * MAX_SMALL_PACKS), keeps_history=False)
    assert upkeep.step is RepackStep.MERGE
    assert "p0" not in upkeep.packs


@pytest.mark.parametrize(
    ("packs", "step"),
    [
        pytest.param(sizes(3 * MIB, *[MIN_SPARE_BYTES // 6 - KIB] * 6), RepackStep.MERGE, id="a small mirror has room"),
        pytest.param(sizes(3 * MIB, *[MIN_SPARE_BYTES // 6 + KIB] * 6), RepackStep.REWRITE, id="and an end of it"),
        pytest.param(sizes(100 * MIB, *[16 * MIB] * 6), RepackStep.NOTHING, id="a large one has as much again"),
        pytest.param(sizes(100 * MIB, *[17 * MIB] * 6), RepackStep.REWRITE, id="and not more"),
        pytest.param(
            sizes(900 * MIB, *[LARGE_BYTES] * (MAX_LARGE_PACKS + 1)), RepackStep.REWRITE, id="too many large ones"
        ),
    ],
)
def test_a_rewrite_comes_when_there_is_as_much_to_leave_out_as_to_keep(packs: dict[str, int], step: RepackStep) -> None:
    """The mirror's disk is bounded by what it needs."""
    assert plan_repack(packs, keeps_history=False).step is step


def test_with_the_whole_history_nothing_is_left_out() -> None:
    """Packs are merged, the large ones too when they are many."""
    many = plan_repack(sizes(MIB, *[17 * MIB] * 9), keeps_history=True)
    assert many.step is RepackStep.MERGE
    assert len(many.packs) == 9
    few = plan_repack(sizes(900 * MIB, LARGE_BYTES, *[KIB] * 7), keeps_history=True)
    assert few.packs == {f"p{number}" for number in range(1, 8)}
    for small in ([], [KIB]):
        large = plan_repack(sizes(900 * MIB, *[17 * MIB] * 6, *small), keeps_history=True)
        assert large.step is RepackStep.NOTHING


@pytest.fixture
def published(service: Service, upstream: Upstream, origin: GitOrigin) -> tuple[Mirror, list[str]]:
    """Return the mirror after some pushes, opened, and the pushes' commits."""
    service.put_repository(grace_seconds=0)
    commits = upstream.generate(60, commits=5, changes=3)
    for commit in commits:
        upstream.point("refs/heads/main", commit)
        assert service.push(upstream).outcome == "published"
    mirror = Mirror(str(service.mount / "octo/site/mirror.git"))
    mirror.refresh()
    return mirror, commits


def written(tmp_path: Path, content: bytes, shallow: Iterable[str] = ()) -> Path:
    """Let git itself index a pack and check it: ids, deltas, trees and links between objects."""
    run_git("init", "--quiet", "--bare", "checked", directory=tmp_path)
    run_git("index-pack", "--stdin", stdin=content, directory=tmp_path / "checked")
    (tmp_path / "checked" / "shallow").write_text("".join(f"{commit}\n" for commit in shallow))
    run_git("fsck", "--full", "--strict", directory=tmp_path / "checked")
    return tmp_path / "checked"


def test_a_merged_pack_holds_every_object_once_and_git_accepts_it(
    published: tuple[Mirror, list[str]], tmp_path: Path
) -> None:
    """Newest first, deltas kept: the merged pack is smaller than its parts."""
    mirror, _ = published
    packs = list(mirror.packs.values())
    wanted = all_objects(packs)
    content = io.BytesIO()
    indexed = write_pack(wanted, packs, content.write)
    assert indexed.object_count == len(wanted) < sum(len(pack) for pack in packs)
    repository = written(tmp_path, content.getvalue())
    listed = run_git("cat-file", "--batch-all-objects", "--batch-check", directory=repository)
    assert {line.split()[0].decode() for line in listed.splitlines()} == {each.hex() for each in wanted}
    mirror.close()


def test_a_rewritten_pack_holds_what_two_commits_need_and_no_more(
    published: tuple[Mirror, list[str]], tmp_path: Path
) -> None:
    """A delta whose base is left out becomes a whole object."""
    mirror, commits = published
    keep = [commits[-1], commits[1]]
    wanted = needed_objects(keep, mirror.read)
    content = io.BytesIO()
    write_pack(wanted, list(mirror.packs.values()), content.write)
    repository = written(tmp_path, content.getvalue(), shallow=keep)
    for commit in keep:
        trees = run_git("ls-tree", "-r", "-t", commit, directory=repository).split(b"\n")[:-1]
        assert trees
        assert all(bytes.fromhex(line.split()[2].decode()) in wanted for line in trees)
    assert bytes.fromhex(commits[2]) not in wanted
    mirror.close()


def test_an_object_that_no_pack_has_is_an_error() -> None:
    """And not a pack that lacks it."""
    with pytest.raises(KeyError):
        write_pack({b"\1" * 20: None}, [], io.BytesIO().write)
    with pytest.raises(KeyError):
        Objects().read_raw(b"1" * 40)
