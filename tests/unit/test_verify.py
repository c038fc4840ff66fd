"""A tree cut into parts, and how drift is told; what an NFS client leaves is told from what does not belong."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handler.mount.fs.parallel import Workers
from handler.mount.fs.plan import FileWrite, LinkWrite, TreePlan
from handler.mount.releases import verify
from handler.mount.releases.verify import SILLY_SECONDS, Drift, compare, parts_of

NAMES = st.sampled_from([b"a", b"b", b"c"])
FILES = st.sets(st.lists(NAMES, min_size=1, max_size=4).map(b"/".join), max_size=40)


def plan_of(paths: set[bytes]) -> TreePlan:
    """Return the plan of a tree of these files, without those that others need as directories."""
    directories = {path[:at] for path in paths for at, byte in enumerate(path) if byte == ord("/")}
    files = sorted(paths - directories)
    return TreePlan(
        made_directories=tuple(sorted(directories)),
        files=tuple(FileWrite(path, b"0" * 40, False, False) for path in files[::2]),
        links=tuple(LinkWrite(path, b"x", False) for path in files[1::2]),
    )


@given(paths=FILES, size=st.integers(1, 20))
def test_every_entry_of_the_tree_is_in_one_part(paths: set[bytes], size: int) -> None:
    """And every directory is listed in one; the same plan is always cut alike, as a later run goes on by number."""
    plan, before = plan_of(paths), verify.PART_ENTRIES
    verify.PART_ENTRIES = size
    try:
        parts = parts_of(plan)
        assert [part.directories for part in parts] == [part.directories for part in parts_of(plan)]
    finally:
        verify.PART_ENTRIES = before
    listed = [path for part in parts for path in part.directories]
    assert sorted(listed) == sorted([b"", *plan.made_directories])
    items = [path for part in parts for path in part.items()]
    assert sorted(items) == sorted(
        [
            *plan.made_directories,
            *(write.path for write in plan.files),
            *(write.path for write in plan.links),
        ]
    )
    sizes = [sum(1 + len(within) for within in part.directories.values()) for part in parts]
    assert all(total <= size or len(part.directories) == 1 for total, part in zip(sizes, parts, strict=True))


def test_drift_is_told_by_its_first_paths_and_a_number() -> None:
    """A log line has an end, and a hostile name no say in it."""
    drift = Drift(missing=(b"a\n\xff", b"b"), changed=(b"c",), extra=tuple(b"%d" % number for number in range(30)))
    told = list(drift.shown(4))
    assert told == ["missing b'a\\n\\xff'", "missing b'b'", "changed b'c'", "extra b'0'", "and 29 more"]
    assert list(Drift(extra=(b"x" * 4000,)).shown()) == ["extra b'" + "x" * 200 + "'"]
    assert list(Drift().shown()) == []
    assert not Drift()


@pytest.mark.parametrize(
    ("name", "age_seconds", "is_extra"),
    [
        (".nfs00000000012a4f5d00000001", 0, False),
        (".nfs00000000012a4f5d00000001", SILLY_SECONDS + 1, True),
        (".nfs", 0, True),
        (".nfs-config", 0, True),
        ("nfs00000000012a4f5d00000001", 0, True),
    ],
)
def test_a_file_that_a_reader_still_holds_open_is_not_drift(
    tmp_path: Path, name: str, age_seconds: float, is_extra: bool
) -> None:
    """An NFS client renames what is removed while it is open; to remove that from elsewhere would break the reader."""
    root = tmp_path / "tree"
    root.mkdir(mode=0o755)
    (root / name).write_bytes(b"open")
    now = (root / name).stat().st_ctime + age_seconds
    (part,) = parts_of(TreePlan())
    drift = compare(os.fspath(root), part, Workers(1, is_slow=False), now=now)
    assert drift.extra == ((os.fsencode(name),) if is_extra else ())


def test_a_root_that_is_gone_or_a_link_is_an_error_and_not_drift(tmp_path: Path) -> None:
    """Whoever compares must know whether the release is still there."""
    (part,) = parts_of(TreePlan())
    with pytest.raises(FileNotFoundError):
        compare(os.fspath(tmp_path / "gone"), part, Workers(1, is_slow=False), now=0.0)
    (tmp_path / "link").symlink_to(tmp_path)
    with pytest.raises(NotADirectoryError):
        compare(os.fspath(tmp_path / "link"), part, Workers(1, is_slow=False), now=0.0)
