"""What is published equals the commit, push by push; and what stands around it on the mount."""

import json
import os
import time
from pathlib import Path

import pytest

from testing.hostile import LEGAL
from testing.origin import GitOrigin
from testing.repositories import Entry, Link, Submodule, Upstream, archive, snapshot
from testing.service import Service
from tests.functional.histories import STEPS
from tests.functional.mounts import check_mirror, footprint, history, names

MIRROR = "octo/site/mirror.git"


def push_each_step(service: Service, upstream: Upstream) -> list[str]:
    """Push the history step by step, holding `current` to the commit after each; return the tips."""
    tips = []
    for name, step in STEPS.items():
        step(upstream)
        tip = upstream.tip()
        assert tip is not None
        answer = service.push(upstream)
        assert (answer.status, answer.content["commit"]) == (200, tip), name
        link = service.current()
        assert os.readlink(link) == f"releases/{tip}", name
        assert snapshot(link) == archive(upstream, tip), name
        tips.append(tip)
    return tips


# -- a history ------------------------------------------------------------------------------------------------


def test_a_history_is_published_push_by_push_by_recycled_releases(service: Service, upstream: Upstream) -> None:
    """Without grace each tree is made from a retired one by the difference alone; the mirror is sound after it all."""
    service.put_repository(grace_seconds=0)
    tips = push_each_step(service, upstream)
    assert len(service.releases()) <= 3
    check_mirror(service.mount / MIRROR, tips[-1])
    assert os.listdir(service.mount / "octo/site/main/staging") == []


def test_a_history_is_published_push_by_push_in_whole_writes(service: Service, upstream: Upstream) -> None:
    """Within the grace nothing is recycled: every release stays, each equal to its commit to the end."""
    service.put_repository(depth=0)
    tips = push_each_step(service, upstream)
    assert service.releases() == sorted(set(tips))
    for tip in tips[::6]:
        assert snapshot(service.mount / "octo/site/main/releases" / tip) == archive(upstream, tip)


def test_a_recycled_release_is_written_by_the_difference_alone(service: Service, upstream: Upstream) -> None:
    """From the third push on, one changed file of a hundred costs one file written; the others keep their inodes."""
    service.put_repository(grace_seconds=0)
    upstream.commit({f"d{number % 10}/{number}": b"%d" % number for number in range(100)})
    assert service.push(upstream).content["files_written"] == 100
    upstream.commit({"d1/1": b"second"})
    assert service.push(upstream).content["files_written"] == 100
    before = footprint((service.mount / "octo/site/main/releases" / min_release(service)).resolve())
    upstream.commit({"d1/1": b"third", "d2/2": None})
    answer = service.push(upstream)
    assert (answer.content["files_written"], answer.content["files_removed"]) == (1, 1)
    after = footprint(service.current().resolve())
    changed = {path for path in after if path.count("/") and after[path] != before.get(path)}
    assert changed == {"d1/1"}


def min_release(service: Service) -> str:
    """Return the one release that is not current."""
    (retired,) = set(service.releases()) - {service.current_commit()}
    return retired


@pytest.mark.parametrize("case", sorted(set(LEGAL) - {"link-down-and-up"}))  # refused on purpose: see test_hostile
def test_odd_but_legal_trees_are_published(service: Service, upstream: Upstream, case: str) -> None:
    """Links within the tree, dangling ones, old modes, the empty tree: as git has them."""
    service.put_repository()
    commit = upstream.commit_tree(LEGAL[case](upstream))
    assert service.push(upstream).outcome == "published"
    assert snapshot(service.current()) == archive(upstream, commit)


def test_a_submodule_is_an_empty_directory_and_the_log_says_so(service: Service, upstream: Upstream) -> None:
    """The consumer finds the place, the operator the reason why it is empty."""
    service.put_repository()
    files: dict[str, Entry | None] = {"a": b"a", "lib/module": Submodule("1" * 40)}
    upstream.commit(files)
    service.push(upstream)
    assert os.listdir(service.current() / "lib/module") == []
    assert any("lib/module" in note and "submodule" in note for note in service.log_lines[-1]["notes"])


def test_files_are_readable_for_everybody_whatever_the_process_inherited(service: Service, upstream: Upstream) -> None:
    """Modes are git's two, directories 755: consumers run as other users."""
    before = os.umask(0o077)
    try:
        service.put_repository()
        files: dict[str, Entry | None] = {"d/plain": b"a", "link": Link(b"d")}
        upstream.commit(files)
        service.reset()
        service.push(upstream)
    finally:
        os.umask(before)
    modes = {str(path.relative_to(service.mount)): path.stat().st_mode & 0o777 for path in service.mount.rglob("*")}
    release = f"octo/site/main/releases/{service.current_commit()}"
    assert modes[f"{release}/d/plain"] == 0o644
    assert {modes[path] for path in ("octo", "octo/site/main", release, f"{release}/d")} == {0o755}


# -- current, releases, the record ----------------------------------------------------------------------------


def test_current_is_a_relative_link_that_leads_the_same_way_from_every_mount(
    service: Service, upstream: Upstream
) -> None:
    """Consumers mount the file system elsewhere than the function does."""
    service.put_repository()
    commit = upstream.commit({"a": b"a"})
    service.push(upstream)
    assert os.readlink(service.current()) == f"releases/{commit}"
    elsewhere = service.mount.with_name("elsewhere")
    service.mount.rename(elsewhere)
    assert (elsewhere / "octo/site/main/current/a").read_bytes() == b"a"
    elsewhere.rename(service.mount)


def test_a_replaced_release_stays_as_it_was_through_its_grace(service: Service, upstream: Upstream) -> None:
    """A reader that resolved the link before the flip reads on, whatever keep_releases says."""
    service.put_repository(keep_releases=1, grace_seconds=3600)
    first = upstream.commit({"a": b"a", "b": b"b"})
    service.push(upstream)
    old = service.current().resolve()
    before = {path: about[:1] + about[2:3] for path, about in footprint(old).items()}
    for number in range(4):
        upstream.commit({"a": b"%d" % number})
        service.push(upstream)
    assert snapshot(old) == archive(upstream, first)
    assert {path: about[:1] + about[2:3] for path, about in footprint(old).items()} == before
    assert len(service.releases()) == 5


@pytest.mark.parametrize("keep", [1, 2, 3])
def test_the_release_just_replaced_has_its_grace_however_long_it_was_current(
    service: Service, upstream: Upstream, keep: int
) -> None:
    """The grace runs from the flip, not from when the tree was written: published for days, retired just now."""
    service.put_repository(keep_releases=keep, grace_seconds=300)
    for number in range(3):
        upstream.commit({"a": b"%d" % number})
        service.push(upstream)
    commit = service.current_commit()
    age(service, 86_400)
    upstream.commit({"a": b"last"})
    assert service.push(upstream).outcome == "published"
    assert commit in service.releases()


def age(service: Service, seconds: float) -> None:
    """Make everything at the target look older, as if that time had passed since."""
    for release in (service.mount / "octo/site/main/releases").iterdir():
        then = release.stat().st_mtime - seconds
        os.utime(release, (then, then))


@pytest.mark.parametrize("keep", [1, 2, 4])
def test_past_their_grace_all_but_the_latest_releases_are_pruned(
    service: Service, upstream: Upstream, keep: int
) -> None:
    """`keep_releases` counts `current`; the retired ones that stay are the youngest."""
    service.put_repository(keep_releases=50, grace_seconds=3600)
    tips = []
    for number in range(6):
        tips.append(upstream.commit({"a": b"%d" % number}))
        service.push(upstream)
        age(service, 10)
    age(service, 7200)
    service.put_repository(keep_releases=keep, grace_seconds=3600)
    service.reset()
    tips.append(upstream.commit({"a": b"last"}))
    service.push(upstream)
    left = service.releases()
    # tips[-2] was retired just now: its grace begins. tips[0] was recycled.
    assert set(left) == {tips[-1], tips[-2], *tips[-keep:]}
    assert os.listdir(service.mount / "octo/site/main/staging") == []


def test_the_record_tells_commit_previous_one_and_delivery(service: Service, upstream: Upstream) -> None:
    """published.json says what stands there, since when in UTC, and which delivery brought it."""
    service.put_repository()
    first = upstream.commit({"a": b"a"})
    service.push(upstream)
    assert service.record()["previous_commit"] is None
    second = upstream.commit({"a": b"b"})
    before = time.time()
    service.send(service.push_request(upstream, delivery_id="11111111-2222-3333-4444-555555555555"))
    record = service.record()
    assert (record["repository"], record["ref"]) == ("octo/site", "refs/heads/main")
    assert (record["commit"], record["previous_commit"]) == (second, first)
    assert record["delivery"] == "11111111-2222-3333-4444-555555555555"
    assert before - 1 <= record["published_at"] <= time.time()
    assert record["since"].endswith("Z")
    assert record["files_written"] == 1


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b"null", b'{"commit": 1}', b"\xff" * 100, b"[" * 60_000])
def test_a_damaged_record_is_made_anew(service: Service, upstream: Upstream, damage: bytes) -> None:
    """The record is told from what is published, never the other way round."""
    service.put_repository()
    commit = upstream.commit({"a": b"a"})
    request = service.push_request(upstream)
    service.send(request)
    (service.mount / "octo/site/main/published.json").write_bytes(damage)
    assert service.send(request).status == 200
    assert service.record()["commit"] == commit


def test_the_same_commit_again_writes_nothing(service: Service, upstream: Upstream) -> None:
    """A redelivery leaves every inode, size and time on the mount as it was."""
    service.put_repository()
    upstream.commit({"a": b"a"})
    request = service.push_request(upstream)
    service.send(request)
    before = footprint(service.mount)
    assert service.send(request).outcome == "unchanged"
    service.reset()
    assert service.send(request).outcome == "unchanged"
    assert footprint(service.mount) == before


def test_what_stands_around_current_is_what_the_layout_says(service: Service, upstream: Upstream) -> None:
    """No name but the documented ones, and nothing left in staging."""
    service.put_repository()
    commit = upstream.commit({"a": b"a"})
    service.push(upstream)
    assert sorted(os.listdir(service.mount / "octo/site")) == [".lock", ".targets", "main", "mirror.git"]
    found = names(service.mount / "octo/site/main")
    assert found == ["current", "published.json", "releases", f"releases/{commit}", f"releases/{commit}/a", "staging"]


# -- targets --------------------------------------------------------------------------------------------------


def test_a_ref_is_published_to_several_targets(service: Service, upstream: Upstream) -> None:
    """Each has its own tree, link and record; the objects are fetched once."""
    service.put_repository(publish=[{"ref": "refs/heads/main", "path": path} for path in ("www", "team/site/live")])
    commit = upstream.commit({"a": b"a"})
    answer = service.push(upstream)
    assert [target["path"] for target in answer.content["targets"]] == ["www", "team/site/live"]
    for path in ("www", "team/site/live"):
        assert service.tree(path) == archive(upstream, commit)
        assert service.record(path)["commit"] == commit
    assert service.origin is not None
    assert service.origin.counts["fetch"] == 1
    assert not (service.mount / "octo/site/main").exists()


def test_a_pattern_publishes_each_branch_at_its_own_path(service: Service, upstream: Upstream) -> None:
    """`refs/heads/preview/*` to `previews/*`: what the star stands for is the same on both sides."""
    service.put_repository(publish=[{"ref": "refs/heads/preview/*", "path": "previews/*"}])
    commits = {name: upstream.commit({"name": name.encode()}, f"preview/{name}") for name in ("one", "two/deep")}
    upstream.commit({"a": b"a"})
    for name in commits:
        assert service.push(upstream, f"preview/{name}").outcome == "published"
    assert service.push(upstream).reason == "ref_not_published"
    for name, commit in commits.items():
        assert service.tree(f"previews/{name}") == archive(upstream, commit)


def test_the_default_branch_is_what_the_remote_says(service: Service, origin: GitOrigin) -> None:
    """`{}` publishes it, whatever the payload calls default; when it is renamed, the new one is published."""
    upstream = Upstream(origin.root, "octo/old", "trunk")
    service.put_repository("octo/old")
    trunk = upstream.commit({"a": b"a"})
    other = upstream.commit({"a": b"b"}, "main")
    assert service.push(upstream, "main").reason == "ref_not_published"
    assert service.push(upstream, "trunk").outcome == "published"
    assert service.current_commit("octo/old/trunk") == trunk
    upstream.set_default_branch("main")
    assert service.push(upstream, "main").outcome == "published"
    assert service.current_commit("octo/old/main") == other


@pytest.mark.parametrize("is_nested", [False, True])
def test_an_annotated_tag_is_published_as_the_commit_it_leads_to(
    service: Service, upstream: Upstream, is_nested: bool
) -> None:
    """A ref may name a tag, and a tag a tag: the release bears the commit's id."""
    service.put_repository(publish=[{"ref": "refs/tags/*"}])
    commit = upstream.commit({"a": b"a"})
    tagged = upstream.tag("v1", commit)
    if is_nested:
        tagged = upstream.tag("v1", upstream.tag("inner", commit))
    answer = service.push(upstream, "refs/tags/v1")
    assert (answer.outcome, answer.reason) == ("published", "pushed")
    assert tagged != commit
    assert answer.content["commit"] == service.current_commit("octo/site/tags/v1") == commit
    assert service.tree("octo/site/tags/v1") == archive(upstream, commit)
    request = service.push_request(upstream, "refs/tags/v1")
    before = footprint(service.mount / "octo/site/tags/v1/releases")
    assert service.send(request).outcome == "unchanged"
    moved = upstream.commit({"a": b"b"})
    upstream.tag("v1", moved)
    assert service.push(upstream, "refs/tags/v1").content["commit"] == moved
    assert footprint(service.mount / "octo/site/tags/v1/releases") != before


def test_a_ref_that_names_no_commit_is_refused(service: Service, upstream: Upstream) -> None:
    """A tag of a blob has no tree to publish: an outcome that needs a person."""
    service.put_repository(publish=[{"ref": "refs/tags/*"}])
    upstream.commit({"a": b"a"})
    tagged = upstream.tag("v1", upstream.blob(b"no commit"))
    answer = service.push(upstream, "refs/tags/v1", after=tagged)
    assert (answer.status, answer.outcome, answer.reason) == (500, "failed", "not_a_commit")
    assert answer.content["detail"] == f"{tagged} names a blob and no commit"
    assert answer.content["refused_commit"] is not None
    assert not (service.mount / "octo/site/tags").exists()


def test_lfs_pointers_are_published_as_they_are_and_noted(service: Service, upstream: Upstream) -> None:
    """Whoever finds three lines where a large file should be reads why in the log; at most twenty are named."""
    service.put_repository(grace_seconds=0)
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:%064d\nsize 12345\n"
    files = {f"large/{number:02}.bin": pointer % number for number in range(25)}
    commit = upstream.commit(files | {"no-pointer": pointer % 1 + b"x" * 1024, "a": b"version"})
    assert service.push(upstream).outcome == "published"
    assert service.tree() == archive(upstream, commit)
    assert service.log_lines[-1]["notes"] == [
        f"b'large/{number:02}.bin' is a Git LFS pointer: its content is not fetched" for number in range(20)
    ]
    for number in range(2):
        upstream.commit({"large/00.bin": pointer % (100 + number)})
        assert service.push(upstream).outcome == "published"
    assert any("large/00.bin" in note for note in service.log_lines[-1]["notes"])


@pytest.mark.parametrize("name", [".github", ".dotfiles"])
def test_a_repository_whose_name_starts_with_a_dot_is_published_as_any_other(
    service: Service, origin: GitOrigin, name: str
) -> None:
    """With `{}`; an operator finds it too."""
    upstream = Upstream(origin.root, f"octo/{name}")
    service.put_repository(upstream.full_name)
    commit = upstream.commit({"profile/README.md": b"hello"})
    assert service.push(upstream).outcome == "published"
    assert service.current_commit(f"octo/{name}/main") == commit
    assert service.operate("verify", f"octo/{name}/main")["exit_code"] == 0
    assert [each["repository"] for each in service.operate("status")["repositories"]] == [f"octo/{name}"]


def test_two_branches_of_a_repository_share_one_mirror(service: Service, upstream: Upstream) -> None:
    """And neither's publishing touches the other's target."""
    service.put_repository(publish=[{"ref": "refs/heads/*"}])
    main = upstream.commit({"a": b"a"})
    service.push(upstream)
    before = footprint(service.mount / "octo/site/main")
    upstream.point("side", main)
    side = upstream.commit({"b": b"b"}, "side")
    service.push(upstream, "side")
    assert footprint(service.mount / "octo/site/main") == before
    assert service.tree("octo/site/side") == archive(upstream, side)
    assert names(service.mount)[:3] == ["octo", "octo/site", "octo/site/.lock"]


@pytest.mark.parametrize("branch", ["mirror.git", "mirror.git/hooks", "x/mirror.git"])
def test_a_branch_called_like_the_mirror_needs_a_path(service: Service, upstream: Upstream, branch: str) -> None:
    """It would be published into the mirror's midst: refused, with what to do in the log."""
    service.put_repository(publish=[{"ref": "refs/heads/*"}])
    upstream.commit({"a": b"a"}, branch)
    answer = service.push(upstream, branch)
    assert (answer.status, answer.reason) == (500, "configuration_invalid")
    assert "give it a path" in service.log_lines[-1]["detail"]
    assert names(service.mount) == []


@pytest.mark.parametrize("branch", ["releases/1.0", "current", "staging", "published.json", "x/current/y"])
def test_a_branch_may_be_called_like_a_targets_own_names(service: Service, upstream: Upstream, branch: str) -> None:
    """Many branches are called `staging`, and a target does not lie in another one."""
    service.put_repository(publish=[{"ref": "refs/heads/*"}])
    for number in range(3):
        commit = upstream.commit({"a": b"%d" % number}, branch)
        assert service.push(upstream, branch).outcome == "published"
        assert service.tree(f"octo/site/{branch}") == archive(upstream, commit)


@pytest.mark.parametrize("below", ["current/y", "releases/y", "staging", "published.json", "other"])
def test_a_new_branch_does_not_get_into_the_tree_of_a_deleted_one(
    service: Service, upstream: Upstream, below: str
) -> None:
    """`x` is deleted and stays published; `x/current/y` would lie in its release, `x/staging` be swept by it."""
    service.put_repository(publish=[{"ref": "refs/heads/*"}])
    upstream.commit({"a": b"a", "y/z": b"z"}, "x")
    service.push(upstream, "x")
    before, record = footprint(service.mount / "octo/site/x/releases"), service.record("octo/site/x")
    upstream.delete("x")
    upstream.commit({"evil": b"evil"}, f"x/{below}")
    answer = service.push(upstream, f"x/{below}")
    assert (answer.status, answer.reason) == (503, "target_retiring")
    assert footprint(service.mount / "octo/site/x/releases") == before
    assert sorted(os.listdir(service.mount / "octo/site/x")) == ["current", "published.json", "releases", "staging"]
    assert service.record("octo/site/x") | {"gone_since": None} == record


@pytest.mark.parametrize("kind", ["directory", "link", "foreign"])
def test_a_place_that_is_not_ours_is_left_alone(service: Service, upstream: Upstream, kind: str) -> None:
    """500 target_occupied where `current` is somebody's directory or link, or another repository's."""
    service.put_repository(publish=[{"ref": "refs/heads/main", "path": "www"}])
    target = service.mount / "www"
    target.mkdir()
    if kind == "directory":
        (target / "current").mkdir()
        (target / "current" / "theirs").write_bytes(b"theirs")
    elif kind == "link":
        (target / "current").symlink_to("/srv/theirs")
    else:
        make_foreign(target)
    before = footprint(target)
    upstream.commit({"a": b"a"})
    answer = service.push(upstream)
    assert (answer.status, answer.outcome, answer.reason) == (500, "failed", "target_occupied")
    assert footprint(target) == before


def make_foreign(target: Path) -> None:
    """Publish something there as another repository would have."""
    commit = "a" * 40
    (target / "releases" / commit).mkdir(parents=True)
    (target / "current").symlink_to(f"releases/{commit}")
    record = {"repository": "octo/other", "ref": "refs/heads/main", "commit": commit, "previous_commit": None}
    (target / "published.json").write_text(json.dumps(record | {"published_at": 1.0, "asked_at": 1.0}))


# -- the mirror -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("depth", [1, 2, 0])
def test_the_mirror_is_sound_after_every_push(service: Service, upstream: Upstream, depth: int) -> None:
    """Git's own fsck and rev-list find nothing missing, shallow or whole, along pushes, a merge and a force-push."""
    service.put_repository(depth=depth)
    mirror = service.mount / MIRROR
    for number in range(4):
        upstream.commit({f"old/{number}": b"%d" % number, "same": b"same" * 100})
    for name in ("the first commit", "a file changes", "several commits in one push", "a merge", "back by force"):
        STEPS[name](upstream)
        commit = service.push(upstream).content["commit"]
        assert commit == upstream.tip()
        check_mirror(mirror, commit)
    assert (mirror / "shallow").exists() == (depth > 0)


def test_depth_zero_brings_the_whole_history(service: Service, upstream: Upstream) -> None:
    """`git log` in the mirror shows what it shows upstream."""
    service.put_repository(depth=0)
    commits = upstream.generate(5, commits=6)
    service.push(upstream)
    assert history(service.mount / MIRROR, commits[-1]) == commits[::-1]


def test_depth_one_brings_one_commit_and_then_what_is_pushed(service: Service, upstream: Upstream) -> None:
    """History grows by the pushes alone."""
    service.put_repository(depth=1)
    commits = upstream.generate(5, commits=6)
    service.push(upstream)
    assert history(service.mount / MIRROR, commits[-1]) == commits[-1:]
    commits.append(upstream.commit({"x": b"x"}))
    service.push(upstream)
    assert history(service.mount / MIRROR, commits[-1])[:1] == commits[-1:]


def test_a_shallow_mirror_is_completed_when_the_depth_is_set_to_zero(service: Service, upstream: Upstream) -> None:
    """The next push after the change of the parameter brings the rest of the history."""
    service.put_repository(depth=1)
    commits = upstream.generate(5, commits=6)
    service.push(upstream)
    service.put_repository(depth=0)
    service.reset()
    commits.append(upstream.commit({"x": b"x"}))
    service.push(upstream)
    check_mirror(service.mount / MIRROR, commits[-1])
    assert history(service.mount / MIRROR, commits[-1]) == commits[::-1]


def test_a_whole_mirror_stays_sound_when_a_depth_is_set(service: Service, upstream: Upstream) -> None:
    """From then on less is fetched; what is there is not broken by it."""
    service.put_repository(depth=0)
    upstream.generate(5, commits=6)
    service.push(upstream)
    service.put_repository(depth=1)
    service.reset()
    for number in range(3):
        commit = upstream.commit({"x": b"%d" % number})
        service.push(upstream)
        check_mirror(service.mount / MIRROR, commit)
        assert service.tree() == archive(upstream, commit)


def test_only_the_published_ref_is_asked_for_and_fetched(service: Service, upstream: Upstream) -> None:
    """A repository with ten thousand branches costs what one with a single branch costs."""
    service.put_repository()
    base = upstream.commit({"a": b"a"})
    other = upstream.commit({"secret-elsewhere": b"x" * 1000}, "other")
    for number in range(20):
        upstream.point(f"b{number}", base)
    service.push(upstream)
    assert service.origin is not None
    prefixes = {prefix for record in service.origin.requests for prefix in record.ref_prefixes}
    assert prefixes == {"HEAD", "refs/heads/main"}
    with pytest.raises(RuntimeError):
        check_mirror(service.mount / MIRROR, other)
    assert service.origin.counts["advertisement"] == 0
