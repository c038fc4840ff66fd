"""A target's directory holds what git2efs made for it alone: else a new target is refused, and an old one keeps off."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handler.errors import TargetOccupied
from handler.mount.target.directory import TargetDirectory
from handler.mount.target.layout import is_commit, is_staged
from testing.repositories import Upstream, archive, snapshot
from testing.service import Service
from tests.functional.mounts import footprint

TARGET = "octo/site/main"
NUMBER = "0123456789abcdef"


@pytest.mark.parametrize("inner", ["releases", "staging", "releases/deep", "staging/deep", "other"])
def test_a_first_publish_refuses_a_directory_that_holds_another_target(
    service: Service, upstream: Upstream, inner: str
) -> None:
    """Another repository's target was there first: the branch is refused, and the target stays as it is."""
    service.put_repository(publish=[{"ref": "refs/heads/main", "path": f"shared/x/{inner}"}])
    upstream.commit({"a": b"theirs"})
    assert service.push(upstream).outcome == "published"
    before = footprint(service.mount / "shared")
    service.put_repository(publish=[{"ref": "refs/heads/*", "path": "shared/*"}])
    service.reset()
    upstream.commit({"a": b"ours"}, "x")
    answer = service.push(upstream, "x")
    assert (answer.status, answer.reason) == (500, "target_occupied")
    assert footprint(service.mount / "shared") == before


@pytest.mark.parametrize("inner", ["releases", "staging", "other"])
def test_a_branch_that_ends_takes_only_what_git2efs_made_for_it(
    service: Service, upstream: Upstream, inner: str
) -> None:
    """Another repository's target came to lie in its directory: it outlives the branch."""
    service.put_repository(publish=[{"ref": "refs/heads/*", "path": "shared/*"}], grace_seconds=0)
    commit = upstream.commit({"a": b"ours"}, "x")
    assert service.push(upstream, "x").outcome == "published"
    ours = service.mount / "shared/x"
    theirs = ours / inner / "theirs"
    (theirs / "releases" / commit).mkdir(parents=True)
    (theirs / "releases" / commit / "a").write_bytes(b"theirs")
    (theirs / "current").symlink_to(f"releases/{commit}")
    before = snapshot(theirs)
    upstream.delete("x")
    service.push(upstream, "x", after="0" * 40)
    service.run_schedule()
    assert snapshot(theirs) == before
    assert os.listdir(ours) == [inner]
    assert os.listdir(ours / inner) == ["theirs"]


NAMES = st.one_of(
    st.sampled_from(["a" * 40, f"link-{NUMBER}", f"{'a' * 40}-{'b' * 40}", f"{'a' * 40}-{'b' * 40}.journal"]),
    st.text("ab01-.knil", min_size=1, max_size=45).filter(lambda name: name not in (".", "..")),
)


@given(releases=st.sets(NAMES, max_size=4), staged=st.sets(NAMES, max_size=4))
def test_a_new_target_is_refused_for_every_name_that_is_not_ours(
    tmp_path_factory: pytest.TempPathFactory, releases: set[str], staged: set[str]
) -> None:
    """Whatever lies in the two directories: it is refused where, and only where, one name is not git2efs's."""
    mount = tmp_path_factory.mktemp("mount")
    directory = TargetDirectory.of(os.fspath(mount), "t")
    for parent, names in ((directory.releases, releases), (directory.staging, staged)):
        for name in names:
            os.makedirs(os.path.join(parent, name))
    if all(map(is_commit, releases)) and all(map(is_staged, staged)):
        directory.refuse_foreign()
    else:
        with pytest.raises(TargetOccupied, match="is new"):
            directory.refuse_foreign()


def test_a_target_whose_current_somebody_removed_is_published_again(service: Service, upstream: Upstream) -> None:
    """It is registered, so it is not new: what somebody put beside it does not stop it."""
    service.put_repository()
    upstream.commit({"a": b"1"})
    assert service.push(upstream).outcome == "published"
    target: Path = service.mount / TARGET
    (target / "current").unlink()
    (target / "note").write_bytes(b"theirs")
    commit = upstream.commit({"a": b"2"})
    assert service.push(upstream).outcome == "published"
    assert service.tree() == archive(upstream, commit)
