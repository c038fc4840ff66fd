"""How often the schedule asks: whose turn it is, when the next one is, and what the simulation makes of it."""

import math
import re
from pathlib import Path
from typing import Any

import pytest

from benchmarks.scale.healing import LEARNING_DAYS, Simulation, at_random, between, heal, of_repositories
from benchmarks.scale.model import Stack, Times
from benchmarks.scale.schedule import pass_of
from benchmarks.scale.trace import DAY_SECONDS, Profile, Push
from handler.exchange.schedule_state import DAY_HOURS, RepositoryState, ScheduleState
from handler.network import pace

NOW, LONGEST = 1e9, 5400.0
HOUR = 3600.0


def states(*due_at: float) -> ScheduleState:
    """Return the state of repositories that are due at these times."""
    return ScheduleState({f"o/{number}": RepositoryState(due_at=each) for number, each in enumerate(due_at)})


def pause(pushes: float = 0.0, hours: tuple[float, ...] = (), now: float = NOW, longest: float = 1e6) -> float:
    """Return how long a repository with so many pushes of late is not asked."""
    return pace.next_turn(RepositoryState(pushes=pushes), hours, now, longest_seconds=longest) - now


def test_few_repositories_are_all_asked_in_every_run() -> None:
    """Whenever their turns come."""
    state = states(*[NOW + 1e6] * pace.ALWAYS_ASKED)
    assert pace.due(state.repositories, state, NOW) == list(state.repositories)


def test_of_many_those_are_asked_whose_turn_it_is_and_never_too_few(monkeypatch: pytest.MonkeyPatch) -> None:
    """In the order of the list; a repository that nobody has visited yet is due, and so is one due in half a minute."""
    monkeypatch.setattr(pace, "ALWAYS_ASKED", 2)
    state = states(NOW + 900, NOW - 1, NOW + 29, NOW + 300, NOW)
    assert pace.due([*state.repositories, "o/new"], state, NOW) == ["o/1", "o/2", "o/4", "o/new"]
    assert pace.due(["o/0", "o/1", "o/3"], state, NOW) == ["o/1", "o/3"]


def test_the_pause_goes_with_the_square_root_of_the_pushes() -> None:
    """Four times the pushes, twice as often; a lost one counts as ten; and the bound is kept."""
    quiet = pause()
    assert 1200 < quiet < LONGEST
    assert pause(pushes=12) == pytest.approx(quiet / 2)
    assert pause(pushes=pace.LOST_PUSHES) < quiet / 1.8
    assert pause(longest=600) == 600


def test_pushes_are_forgotten_with_time() -> None:
    """Each answer counts those that it shows, and a third of what was three days ago."""
    assert pace.with_pushes(0.0, 9, 1e9) == 9
    assert pace.with_pushes(9.0, 1, 3 * DAY_SECONDS) == pytest.approx(9 / math.e + 1, abs=0.01)
    assert pace.with_pushes(9.0, 0, -5) == 9


def test_hours_with_pushes_are_asked_more_often_than_others() -> None:
    """Each push counts for the hour in the middle of the time that it may have been in; long ago counts less."""
    hours: tuple[float, ...] = ()
    midnight = 11574 * DAY_SECONDS
    for _ in range(400):
        hours = pace.with_push(hours, midnight + 10 * HOUR, midnight + 11 * HOUR)
    assert hours == tuple(400.0 if each == 10 else 0.0 for each in range(DAY_HOURS))
    by_day, by_night = pause(hours=hours, now=midnight + 10 * HOUR), pause(hours=hours, now=midnight + HOUR)
    assert by_day < pause() / 4
    assert by_night > pause() * 3.9
    # A turn does not come later because the busy hour has not begun yet.
    assert pause(hours=hours, now=midnight + 10 * HOUR - 60) < 60 + by_day
    assert sum(pace.with_push((20_000.0, *[0.0] * 23), midnight, midnight)) == pytest.approx(10_000.5)


@pytest.mark.parametrize(
    ("lost", "asked", "are_many"), [(4, 10, False), (5, 10, True), (29, 1500, False), (30, 1500, True)]
)
def test_many_lost_pushes_are_a_fiftieth_and_five(lost: int, asked: int, are_many: bool) -> None:
    """Single ones are lost at any time."""
    assert pace.are_many_lost(lost, asked) is are_many


def test_the_simulation_finds_a_lost_push_at_the_next_visit_or_delivery() -> None:
    """By hand: one that the schedule finds, one that the next delivery brings; those of the first days do not count."""
    day = LEARNING_DAYS * DAY_SECONDS
    pushes = [Push(100.0, 0, 1), Push(day + 1000.0, 0, 1), Push(day + 2000.0, 1, 1), Push(day + 2010.0, 1, 1)]
    tour = pass_of(2, Stack(), Times())
    found = Simulation(tour, pushes, lambda push: push is not pushes[3], LONGEST).run()
    waits = [10 + Times().webhook, 1200 + tour.listing_seconds - 1000]
    assert found.waits == pytest.approx(waits)
    every = heal(Profile(2, 0), pushes, lambda push: push is not pushes[3], 0.0)
    assert every.waits == pytest.approx(waits)
    assert (every.share, every.mean, every.wait(1.0)) == (1.0, sum(every.waits) / 2, every.waits[-1])


def test_pushes_are_lost_in_three_ways() -> None:
    """At random, of some repositories, for a while."""
    pushes = [Push(float(number), number % 100, 1) for number in range(1000)]
    for is_lost, fewest, most in (
        (at_random(0.1, 1), 60, 140),
        (of_repositories(0.1, 100, 1), 100, 100),
        (between(0.0, 100.0), 100, 100),
    ):
        assert fewest <= sum(map(is_lost, pushes)) <= most


def test_at_ten_thousand_repositories_the_page_shows_what_was_promised() -> None:
    """A seventh of the requests (more while nothing arrives), and less than ten minutes on average."""
    page = (Path(__file__).parents[2] / "docs/scale.md").read_text()
    table = re.search("<!-- healing -->(.*)<!-- /healing -->", page, re.DOTALL)
    assert table is not None
    rows: list[list[Any]] = [
        [cell.strip() for cell in line.split("|")[1:-1]] for line in table[1].strip().split("\n")[2:]
    ]
    turns = [row for row in rows if row[0] == "10,000" and row[3] != "1.000"]
    assert [float(row[5]) < 10 for row in turns] == [True] * 3
    assert [float(row[3]) <= 0.15 for row in turns] == [True, True, "nothing arrives" not in turns[2][1]]
