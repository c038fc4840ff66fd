"""The same pull by `git pull --rebase` and by ours, of random histories: the same result, or both refuse.

GIT2EFS_TEST_EXAMPLES=5000 tries that many. What ours does otherwise on purpose is told in verdicts.py.
"""

import os
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, Phase, event, given, settings

from testing import selection
from testing.origin import GitOrigin
from testing.parameters import ParameterStore
from testing.service import Service
from tests.working_copy.contenders import Ours
from tests.working_copy.histories import histories
from tests.working_copy.model import History
from tests.working_copy.trial import Disagreement, Trials

EXAMPLES = int(os.environ.get("GIT2EFS_TEST_EXAMPLES", selection.count(60, 12)))
# The same histories each time, unless more are asked for. A history is made smaller by hand alone: that takes minutes,
# and its account can be read as it is.
HOUSE = settings(
    max_examples=EXAMPLES,
    derandomize="GIT2EFS_TEST_EXAMPLES" not in os.environ,
    phases=[Phase.explicit, Phase.reuse, Phase.generate, *([] if os.environ.get("CI") else [Phase.shrink])],
    suppress_health_check=list(HealthCheck),
    report_multiple_bugs=False,
)
REPRESENTED = (
    "fast-forward",
    "replay of 1",
    "replay of 2",
    "replay of 3 or more",
    "conflict",
    "refused: local_changes",
    "refused: replay_conflict",
    "force-push: amended",
    "force-push: rewound",
    "upstream has our commits",
    "upstream has our patches",
    "shallow",
    "merge",
    "made by hand",
    "made git clone",
    "made us",
)
"""What at least three of a hundred histories are."""


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory, parameter_store: ParameterStore) -> Iterator[Service]:
    """Return one service, with one origin, for all histories."""
    directory = tmp_path_factory.mktemp("copy")
    (directory / "origin").mkdir()
    with GitOrigin(directory / "origin") as origin:
        service = Service(directory / "mount", parameter_store, origin).start()
        yield service
        service.stop()


@pytest.fixture(scope="module")
def trials(stage: Service) -> Trials:
    """Return what tries the product."""
    assert stage.origin
    return Trials(Ours(stage), stage.origin, stage.mount.with_name("work"))


@pytest.fixture(scope="module")
def stashing(stage: Service) -> Trials:
    """Return what tries the product with autostash."""
    assert stage.origin
    return Trials(Ours(stage, autostash=True), stage.origin, stage.mount.with_name("stashing"), autostash=True)


@HOUSE
@given(history=histories())
def test_ours_comes_to_what_git_comes_to(history: History, trials: Trials) -> None:
    """Files, index, commits, refs and logs; and where git refuses, so does ours, and nothing changed."""
    for name in sorted(trials.run(history)):
        event(name)


@pytest.mark.skipif(EXAMPLES < 500, reason="says something of many examples")
def test_every_kind_of_history_was_among_them(trials: Trials) -> None:
    """At least three of a hundred; otherwise the test above says less than it seems to."""
    total = trials.counts["examples"]
    for name, count in trials.counts.most_common():
        print(f"{100 * count / total:5.1f} % {name}")
    assert [name for name in REPRESENTED if trials.counts[name] < 0.03 * total] == []


@settings(HOUSE, max_examples=EXAMPLES // 3)
@given(history=histories(of_files=True))
def test_with_autostash_ours_carries_over_what_git_does(history: History, stashing: Trials) -> None:
    """The same files with the same changes uncommitted, or all that does not fit in a stash."""
    for name in sorted(stashing.run(history)):
        event(name)


@pytest.mark.sampled(0)
def test_the_product_without_autostash_is_caught(stage: Service, trials: Trials) -> None:
    """Where git carries a change over, a refusal is found out."""
    assert stage.origin
    wrong = Trials(trials.contender, stage.origin, stage.mount.with_name("wrong"), autostash=True)

    @settings(max_examples=200, phases=[Phase.generate], database=None, suppress_health_check=list(HealthCheck))
    @given(history=histories(of_files=True))
    def search(history: History) -> None:
        wrong.run(history)

    with pytest.raises(Disagreement, match=r"refused .local_changes: .*, git does not"):
        search()
