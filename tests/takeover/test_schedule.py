"""The schedule's state, and targets on their way out, as an earlier version left them."""

import json
import os
import time

import pytest

from tests.functional.mounts import footprint
from tests.takeover.history import NAME
from tests.takeover.stored import Stored, Take, tree_of

PREVIEWS = [{"ref": "refs/heads/main"}, {"ref": "refs/heads/preview/*", "path": "octo/site/previews/*"}]
ONE = "octo/site/previews/one"


def with_broken(stored: Stored) -> Stored:
    """Configure the second repository, whose remote has nothing, and let the first one's refs be as they were."""
    stored.service.put_repository("octo/broken", url=stored.origin.url.replace(NAME, "octo/broken"))
    stored.history.push(1)
    stored.history.push(2, "refs/heads/preview/one")
    return stored


def test_who_kept_failing_rests_until_its_time(take: Take) -> None:
    """Three failures, and the pause after the third has not passed yet."""
    stored = with_broken(take("schedule", age_seconds=60, publish=PREVIEWS))
    before = stored.state("reconcile")["repositories"]
    done = stored.service.run_schedule()
    assert (done["looked_at"], done["resting"], done["failing"], done["behind"]) == (1, 1, 1, 0)
    after = stored.state("reconcile")["repositories"]
    assert isinstance(before, dict)
    assert isinstance(after, dict)
    assert after["octo/broken"] == before["octo/broken"]
    assert after[NAME]["confirmed_at"] > before[NAME]["confirmed_at"]


def test_its_failures_count_on(take: Take) -> None:
    """The fourth in a row: the pause doubles once more."""
    stored = with_broken(take("schedule", publish=PREVIEWS))
    before = stored.state("reconcile")["repositories"]
    done = stored.service.run_schedule()
    assert (done["looked_at"], done["resting"], done["failing"]) == (2, 0, 1)
    after = stored.state("reconcile")["repositories"]
    assert isinstance(before, dict)
    assert isinstance(after, dict)
    broken = after["octo/broken"]
    assert broken["failures"] == 4
    assert broken["confirmed_at"] == before["octo/broken"]["confirmed_at"]
    assert broken["not_before"] - time.time() == pytest.approx(300 * 2**3 - 30, abs=30)


def test_the_age_of_the_last_confirmation_goes_on(take: Take) -> None:
    """The alarm on it must not fall silent because the code is another one."""
    stored = with_broken(take("schedule", publish=PREVIEWS))
    stored.service.run_schedule()
    assert stored.service.metric_values("LastSuccessAgeSeconds")[-1] == pytest.approx(3600, abs=300)


@pytest.mark.parametrize("task", ["reconcile", "chores"])
def test_a_round_that_ended_early_goes_on_where_it_stopped(take: Take, task: str) -> None:
    """With no time at all, the next one stops at the same repository; with time enough it comes to all."""
    stored = with_broken(take("schedule", publish=PREVIEWS))
    assert stored.state(task)["stopped_at"] == NAME
    done = stored.service.run_schedule(task, remaining_ms=0)
    assert (done["looked_at"], done["left"]) == (0, 2)
    assert stored.state(task)["stopped_at"] == NAME, "the first by name would be octo/broken"
    assert stored.service.run_schedule(task)["left"] == 0
    assert stored.state(task)["stopped_at"] is None


def test_chores_go_on_with_the_target_where_they_stopped(take: Take) -> None:
    """What comes before it was looked at already, and has its turn in the round after this."""
    stored = with_broken(take("schedule", publish=PREVIEWS))
    commits = stored.commits
    assert stored.state("chores")["go_on_at"] == {NAME: f"{ONE}//{commits[2]}//0"}
    for path, number in (("octo/site/main", 1), (ONE, 2)):
        os.unlink(stored.mount / path / "releases" / commits[number] / "README")
    done = stored.service.run_schedule("chores")
    assert done["outcomes"]["published:repaired"] == 1
    assert stored.service.tree(ONE) == tree_of(2)
    assert stored.service.tree() != tree_of(1)
    assert stored.state("chores")["go_on_at"] == {}
    assert stored.service.run_schedule("chores")["outcomes"]["published:repaired"] == 1
    assert stored.service.tree() == tree_of(1)


@pytest.mark.parametrize("content", ["", "{", '{"repositories": {}}', "[]"])
def test_a_state_that_cannot_be_read_is_begun_anew(take: Take, content: str) -> None:
    """Then everybody is looked at."""
    stored = with_broken(take("schedule", age_seconds=60, publish=PREVIEWS))
    (stored.mount / ".git2efs/reconcile.json").write_text(content)
    done = stored.service.run_schedule()
    assert (done["looked_at"], done["resting"], done["failing"]) == (2, 0, 1)


# -- targets whose refs are gone --------------------------------------------------------------------------------------


def left_by_one(stored: Stored) -> Stored:
    """Let the remote have every ref but the one whose target is on its way out."""
    stored.history.push(1)
    stored.history.push(3, "refs/heads/preview/team/two")
    stored.history.push(4, "refs/heads/preview/three")
    return stored


def test_a_retiring_target_stays_through_its_grace(take: Take) -> None:
    """Since when its ref is gone is taken from the record, and a target that was never finished is published."""
    stored = left_by_one(take("retiring", age_seconds=60, publish=PREVIEWS))
    record, before = stored.service.record(ONE), footprint(stored.mount / ONE)
    assert record["gone_since"] is not None
    done = stored.service.run_schedule()
    assert done["outcomes"]["ignored:retiring"] == 1
    assert (stored.service.record(ONE), footprint(stored.mount / ONE)) == (record, before)
    assert stored.service.tree("octo/site/previews/three") == tree_of(4)


def test_a_retiring_target_goes_after_its_grace(take: Take) -> None:
    """Its line in the list of targets goes too; the half line that a killed run left harms none of them."""
    stored = left_by_one(take("retiring", publish=PREVIEWS))
    targets = stored.mount / "octo/site/.targets"
    assert targets.read_bytes() == (
        b"\nocto/site/main\n\nocto/site/previews/one\n\nocto/site/previews/team/two\n\nocto/site/pr"
    )
    done = stored.service.run_schedule()
    assert done["outcomes"]["retired:ref_gone"] == 1
    assert not (stored.mount / ONE).exists()
    for path, number in (("main", 1), ("previews/team/two", 3), ("previews/three", 4)):
        assert stored.service.tree(f"octo/site/{path}") == tree_of(number)
    listed = targets.read_text().split()
    assert ONE not in listed
    assert {"octo/site/main", "octo/site/previews/team/two", "octo/site/previews/three"} <= set(listed)
    assert stored.service.run_schedule("chores")["outcomes"] == {"unchanged:verified": 3}


def test_a_ref_that_comes_back_keeps_its_target(take: Take) -> None:
    """Within the grace and after it: nothing was taken away yet."""
    stored = left_by_one(take("retiring", publish=PREVIEWS))
    assert stored.push(2, "refs/heads/preview/one").outcome == "unchanged"
    assert stored.service.record(ONE)["gone_since"] is None
    assert stored.service.tree(ONE) == tree_of(2)


def test_a_target_killed_while_it_was_taken_away_goes(take: Take) -> None:
    """`current` is gone, half a tree is in staging, and the record says whose it was."""
    stored = take("killed-retiring", publish=PREVIEWS)
    stored.history.push(1)
    assert stored.service.current_commit(ONE) is None
    assert json.loads((stored.mount / ONE / "published.json").read_text())["commit"] == stored.commits[2]
    done = stored.service.run_schedule()
    assert done["outcomes"]["retired:ref_gone"] == 1
    assert not (stored.mount / "octo/site/previews").exists()
    assert (stored.mount / "octo/site/.targets").read_text().split() == ["octo/site/main"]
    assert stored.service.tree() == tree_of(1)


def test_a_ref_that_comes_back_to_a_target_half_taken_away_is_published(take: Take) -> None:
    """From the objects that the mirror still has, or anew."""
    stored = take("killed-retiring", publish=PREVIEWS)
    stored.history.push(1)
    assert stored.push(3, "refs/heads/preview/one").outcome == "published"
    assert stored.service.tree(ONE) == tree_of(3)
    assert os.listdir(stored.mount / ONE / "staging") == []
