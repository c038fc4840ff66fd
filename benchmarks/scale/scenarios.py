"""The organisations of docs/scale.md, and the settings of their stacks. Pure."""

from dataclasses import dataclass
from functools import cached_property

from benchmarks.scale.bill import bill
from benchmarks.scale.model import Stack
from benchmarks.scale.simulate import Result, Simulation
from benchmarks.scale.trace import Profile, Push, make_trace, make_trees

SEED = 20_261_122

PROFILES = (
    Profile(10, pushes_a_day=50, bots_a_day=1, bot_repositories=5),
    Profile(1_000, pushes_a_day=2_000, bots_a_day=4, bot_repositories=200),
    Profile(10_000, pushes_a_day=5_000, bots_a_day=8, bot_repositories=200),
    Profile(100_000, pushes_a_day=50_000, bots_a_day=8, bot_repositories=2_000),
)
DIRECT = Stack()
QUEUED = Stack(is_queued=True)
LARGE = QUEUED.with_(
    throttle_rate=200.0,
    throttle_burst=1_000,
    worker_concurrency=50,
    reconcile_seconds=3_600.0,
    listing_cache_seconds=3_600.0,
    ssm_rate=10_000.0,
)
"""Queued, for 100,000 repositories; docs/scale.md gives the reason for each setting."""
STACKS = {"direct": DIRECT, "queued": QUEUED, "queued, tuned": LARGE}


@dataclass(frozen=True)
class Day:
    """One organisation's day on one stack."""

    profile: Profile
    stack_name: str
    trace: tuple[Push, ...]
    trees: tuple[int, ...]

    @property
    def stack(self) -> Stack:
        """Its settings."""
        return STACKS[self.stack_name]

    @cached_property
    def result(self) -> Result:
        """The simulated result."""
        return Simulation(self.trace, self.trees, self.stack, seed=SEED).run()

    @cached_property
    def dollars(self) -> dict[str, float]:
        """A month's bill."""
        return bill(self.result, self.trees, self.stack)


def make_days() -> list[Day]:
    """Return each organisation with each stack; a day is simulated when first asked for its result."""
    days = []
    for profile in PROFILES:
        trace, trees = tuple(make_trace(profile, SEED)), tuple(make_trees(profile, SEED))
        names = [name for name in STACKS if STACKS[name] is not LARGE or profile.repositories > 10_000]
        days += [Day(profile, name, trace, trees) for name in names]
    return days
