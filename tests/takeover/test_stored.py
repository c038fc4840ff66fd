"""The stored mounts themselves."""

from pathlib import Path

from tests.takeover.history import COMMITS, NEWEST
from tests.takeover.stored import MOUNTS, Take, tree_of


def test_the_stored_mounts_and_the_history_belong_together(take: Take) -> None:
    """The history makes the same commits as on the day when the mounts were made."""
    stored = take("published")
    assert (len(stored.commits), stored.commits[-1]) == (COMMITS, NEWEST)
    assert stored.service.current_commit() == stored.commits[3]
    assert stored.service.releases() == sorted(stored.commits[1:4])
    assert stored.service.tree() == tree_of(3)


def test_every_stored_mount_is_tested() -> None:
    """None lies there unused."""
    used = "".join(path.read_text() for path in Path(__file__).parent.glob("test_*.py"))
    for path in MOUNTS.iterdir():
        assert f'"{path.name.removesuffix(".tar.gz")}"' in used, path.name
