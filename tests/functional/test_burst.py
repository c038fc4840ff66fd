"""A burst through the local service, in both modes: every tip is published, and few pushes cost a fetch."""

from pathlib import Path

import pytest

from benchmarks.burst import TARGET_FETCHES, burst
from testing import selection
from testing.repositories import require_git


@pytest.mark.sampled(1)
@pytest.mark.parametrize("is_queued", [False, True])
def test_a_burst_ends_with_every_tip_and_few_fetches(tmp_path: Path, is_queued: bool) -> None:
    """Twenty pushes a repository, as fast as they can be made; the benchmark plays a thousand pushes."""
    require_git()
    repositories = selection.count(5, 3)
    pushes = 20 * repositories
    result = burst(
        tmp_path, pushes=pushes, repositories=repositories, in_flight=20, over_seconds=0.0, is_queued=is_queued
    )
    assert result.lost == []
    assert sum(result.answers.values()) == pushes
    assert {answer.split()[0] for answer in result.answers} == {"202" if is_queued else "200"}
    # Never behind what an earlier answer published: an overtaken push is not taken for one whose ref lags.
    assert not [answer for answer in result.answers if "payload_trusted" in answer]
    assert result.fetches_per_push <= TARGET_FETCHES, result.asked
