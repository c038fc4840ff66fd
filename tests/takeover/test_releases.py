"""Releases that an earlier version left, whole or in the middle of a killed run."""

import json
import os
import re
import time

import pytest

from testing.repositories import has_git, snapshot
from tests.functional.mounts import check_mirror, footprint
from tests.takeover.history import NAME, WIDE, WIDE_FILES
from tests.takeover.stored import TARGET, Stored, Take, tree_of

CURRENT = {
    "published": 3,
    "killed-receiving": 3,
    "killed-in-a-recycled-tree": 3,
    "killed-in-a-written-tree": None,
    "killed-beside-a-staged-link": 3,
    "killed-before-the-flip": 3,
    "killed-after-the-flip": 4,
    "killed-before-the-record": 4,
    "killed-while-pruning": 6,
    "many-packs": 6,
    "killed-merging-packs": 7,
}
"""Each mount with releases, and the number of the commit that `current` names."""
KILLED_PUSH = {
    "killed-receiving": 4,
    "killed-in-a-recycled-tree": 4,
    "killed-in-a-written-tree": 1,
    "killed-beside-a-staged-link": 4,
    "killed-before-the-flip": 4,
    "killed-after-the-flip": 4,
    "killed-before-the-record": 4,
    "killed-while-pruning": 6,
    "killed-merging-packs": 7,
}
"""Each mount that a killed push left, and the number of the commit that was pushed."""
NEXT = 8
WIDE_DONE = 992
"""How many files the checkpoint of the killed long check-out counts."""
_PACK = re.compile(r"pack-[0-9a-f]{40}\.(pack|idx)")

EVERY_KEY = {
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
}
ADDED_LATER = {
    "before two sides": {"answered_at"},
    "before holds": {"gone_since", "held", "answered_at"},
    "before events": {"gone_since", "held", "answered_at", "announced", "previous_announced"},
    "the least": EVERY_KEY - {"repository", "ref", "commit", "previous_commit", "published_at", "asked_at"},
}
"""The keys that earlier versions did not write into `published.json`."""


def check(stored: Stored, number: int, path: str = TARGET) -> None:
    """Hold the mount to what follows a run in peace: the tip, whole trees, a true record, nothing left over."""
    service, commit = stored.service, stored.commits[number]
    assert service.current_commit(path) == commit
    assert service.record(path)["commit"] == commit
    for name in service.releases(path):
        release = stored.mount / path / "releases" / name
        assert snapshot(release) == tree_of(stored.commits.index(name)), name
    assert os.listdir(stored.mount / path / "staging") == []
    packs = os.listdir(stored.mount / "octo/site/mirror.git/objects/pack")
    assert [name for name in packs if not _PACK.fullmatch(name)] == []
    assert {name[:-5] for name in packs if name.endswith(".pack")} == {
        name[:-4] for name in packs if name.endswith(".idx")
    }


@pytest.mark.parametrize(("name", "current"), CURRENT.items())
def test_the_next_push_ends_with_the_tip(take: Take, name: str, current: int | None) -> None:
    """Readers go from the tree that the old version left to the pushed one; the record says so."""
    stored = take(name)
    before = None if current is None else stored.commits[current]
    assert stored.service.current_commit() == before
    answer = stored.push(NEXT)
    assert (answer.status, answer.outcome, answer.reason) == (200, "published", "pushed"), stored.service.text
    assert answer.content["previous_commit"] == before
    check(stored, NEXT)
    assert stored.service.record()["previous_commit"] == before
    if has_git():
        check_mirror(stored.mount / "octo/site/mirror.git", stored.commits[NEXT])


@pytest.mark.parametrize(("name", "number"), KILLED_PUSH.items())
def test_the_killed_push_delivered_again_ends_with_it(take: Take, name: str, number: int) -> None:
    """What the old version began, the present one ends."""
    stored = take(name)
    answer = stored.push(number)
    assert answer.status == 200, stored.service.text
    assert answer.outcome == ("unchanged" if CURRENT[name] == number else "published")
    assert stored.service.current_commit() == stored.commits[number]
    assert stored.service.record()["commit"] == stored.commits[number]
    assert stored.push(NEXT).outcome == "published"
    check(stored, NEXT)


@pytest.mark.parametrize(("name", "current"), CURRENT.items())
def test_the_schedule_ends_with_the_tip_and_the_chores_find_every_release_sound(
    take: Take, name: str, current: int | None
) -> None:
    """Without any push: the timer finds what is behind, and compares all with its commit."""
    stored = take(name, publish=[{"ref": "refs/heads/main"}])
    stored.history.push(NEXT)
    done = stored.service.run_schedule()
    assert (done["outcome"], done["behind"], done["failing"]) == ("done", 1, 0)
    check(stored, NEXT)
    done = stored.service.run_schedule("chores")
    assert (done["outcome"], done["outcomes"]) == ("done", {"unchanged:verified": 1})
    check(stored, NEXT)


@pytest.mark.parametrize(("name", "current"), CURRENT.items())
def test_the_chores_alone_lose_nothing(take: Take, name: str, current: int | None) -> None:
    """They come first where nobody pushes: what readers have stays."""
    stored = take(name, publish=[{"ref": "refs/heads/main"}])
    done = stored.service.run_schedule("chores")
    assert (done["outcome"], done["failing"]) == ("done", 0), stored.service.text
    if current is not None:
        assert stored.service.current_commit() == stored.commits[current]
        assert stored.service.tree() == tree_of(current)
    assert stored.push(NEXT).outcome == "published"
    check(stored, NEXT)


@pytest.mark.parametrize(("name", "current"), CURRENT.items())
def test_an_operator_sees_what_stands_and_publishes(take: Take, name: str, current: int | None) -> None:
    """A status changes nothing; to publish by hand ends as a push does."""
    stored = take(name, publish=[{"ref": "refs/heads/main"}])
    stored.history.push(NEXT)
    before = footprint(stored.mount)
    found = stored.service.operate("status")["repositories"][0]["targets"][0]
    assert found["commit"] == (None if current is None else stored.commits[current])
    assert found["tip"] == stored.commits[NEXT]
    assert footprint(stored.mount) == before
    done = stored.service.operate("publish", NAME)
    assert (done["exit_code"], done["targets"][0]["outcome"]) == (0, "published")
    check(stored, NEXT)
    assert stored.service.operate("verify", TARGET)["exit_code"] == 0


def test_a_release_past_its_grace_is_recycled(take: Take) -> None:
    """The oldest of them, brought to the pushed commit by what differs."""
    stored = take("published", grace_seconds=300)
    root = stored.mount / TARGET / "releases"
    same = (root / stored.commits[1] / "README").stat().st_ino
    assert stored.push(4).outcome == "published"
    assert stored.service.releases() == sorted(stored.commits[2:5])
    assert (root / stored.commits[4] / "README").stat().st_ino == same


def test_a_release_within_its_grace_stays_as_it_is(take: Take) -> None:
    """The times that the old version wrote into the releases count on."""
    stored = take("published", grace_seconds=7200)
    root = stored.mount / TARGET / "releases"
    before = {name: footprint(root / name) for name in stored.commits[1:3]}
    assert stored.push(4).outcome == "published"
    assert stored.service.releases() == sorted(stored.commits[1:5])
    assert {name: footprint(root / name) for name in stored.commits[1:3]} == before


def test_a_release_that_somebody_changed_is_not_used_again(take: Take) -> None:
    """The seal, the whole second in a release's own time, is still read."""
    stored = take("published", grace_seconds=300)
    (stored.mount / TARGET / "releases" / stored.commits[1] / "__pycache__").mkdir()
    same = (stored.mount / TARGET / "releases" / stored.commits[2] / "README").stat().st_ino
    assert stored.push(1).outcome == "published"
    assert stored.service.tree() == tree_of(1)
    assert (stored.mount / TARGET / "releases" / stored.commits[1] / "README").stat().st_ino == same


def test_a_long_check_out_goes_on_where_it_was_killed(take: Take) -> None:
    """By the checkpoint that the old version kept beside the staged tree: what it counts is not written again."""
    stored = take("killed-in-a-long-check-out", age_seconds=3600, publish=[{"ref": WIDE}])
    assert stored.deliver(stored.history.push_wide(), WIDE).outcome == "published"
    root = stored.service.current("octo/site/wide").resolve()
    found = snapshot(root)
    assert len(found) == WIDE_FILES
    assert set(found.values()) == {(0o100644, b"small\n")}
    long_ago = time.time() - 1800
    assert sum(file.stat().st_mtime < long_ago for file in root.glob("wide/*/*")) == WIDE_DONE
    assert os.listdir(stored.mount / "octo/site/wide/staging") == []


def test_many_packs_become_few(take: Take) -> None:
    """The mirror is tidied after the next push, and is a shallow repository still."""
    stored = take("many-packs")
    packs = stored.mount / "octo/site/mirror.git/objects/pack"
    assert len(list(packs.glob("*.pack"))) == 6
    assert stored.push(7).outcome == "published"
    assert len(list(packs.glob("*.pack"))) < 6
    assert (stored.mount / "octo/site/mirror.git/shallow").read_text().split() == [stored.commits[1]]
    check(stored, 7)


@pytest.mark.parametrize("version", ADDED_LATER)
def test_a_record_of_any_earlier_shape_is_read(take: Take, version: str) -> None:
    """Keys that it lacks are made up for; the next record has them all."""
    stored = take("published")
    path = stored.mount / TARGET / "published.json"
    fields = json.loads(path.read_text())
    assert set(fields) == EVERY_KEY - ADDED_LATER["before two sides"], "as the version wrote it that the mount is from"
    path.write_text(json.dumps({name: value for name, value in fields.items() if name not in ADDED_LATER[version]}))
    found = stored.service.operate("status", offline=True)["repositories"][0]["targets"][0]
    assert (found["commit"], found["since"]) == (fields["commit"], fields["published_at"])
    assert stored.push(NEXT).outcome == "published"
    record = stored.service.record()
    assert set(record) == EVERY_KEY
    assert record["previous_commit"] == fields["commit"]


@pytest.mark.parametrize("content", ["", "{", "null", '{"commit": 1}'])
def test_a_record_that_cannot_be_read_is_made_anew(take: Take, content: str) -> None:
    """A killed write leaves none of these; a person may."""
    stored = take("published")
    (stored.mount / TARGET / "published.json").write_text(content)
    assert stored.push(NEXT).outcome == "published"
    check(stored, NEXT)


# -- holds -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["held", "killed-in-a-rollback"])
def test_what_is_held_stays_held_until_somebody_resumes_it(take: Take, name: str) -> None:
    """Neither push, schedule nor chores change it; a rollback killed after its flip is written down."""
    stored = take(name)
    service = stored.service
    hold = service.record()["held"]
    assert (hold["by"], hold["why"], hold["commit"]) == ("mona", "the site is blank", stored.commits[2])
    answer = stored.push(NEXT)
    assert (answer.status, answer.outcome, answer.reason) == (200, "ignored", "held")
    assert service.run_schedule()["behind"] == 0
    assert service.run_schedule("chores")["outcomes"] == {"unchanged:verified": 1}
    assert (service.current_commit(), service.record()["commit"]) == (stored.commits[2], stored.commits[2])
    assert service.record()["held"] == hold
    assert service.tree() == tree_of(2)
    done = service.operate("resume", TARGET)
    assert (done["exit_code"], done["targets"][0]["outcome"]) == (0, "published")
    assert service.record()["held"] is None
    check(stored, NEXT)


@pytest.mark.parametrize("name", ["held", "killed-in-a-rollback"])
def test_the_next_rollback_goes_further_back(take: Take, name: str) -> None:
    """The commits that earlier rollbacks left are remembered; a killed rollback asked again ends where it would."""
    stored = take(name)
    expected = 1 if name == "held" else 2
    done = stored.service.operate("rollback", TARGET)
    assert (done["exit_code"], done["targets"][0]["commit"]) == (0, stored.commits[expected])
    assert stored.service.tree() == tree_of(expected)
    assert stored.service.record()["held"]["commit"] == stored.commits[expected]


@pytest.mark.parametrize("hold", [{"since": 1.0}, {}, True, "held"])
def test_a_hold_of_any_shape_is_a_hold(take: Take, hold: object) -> None:
    """To lose one would undo a rollback."""
    stored = take("held")
    path = stored.mount / TARGET / "published.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"held": hold}))
    assert stored.push(NEXT).reason == "held"
    assert stored.service.current_commit() == stored.commits[2]
