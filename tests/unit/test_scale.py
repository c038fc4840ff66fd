"""The capacity model: the trace is what it says, the simulation loses nothing, and small cases come out by hand."""

from collections import Counter
from dataclasses import replace
from itertools import pairwise

import pytest
import simpy

from benchmarks.scale.__main__ import DOCUMENT
from benchmarks.scale.bill import bill, full_monitoring_dollars, others, readers_dollars, within_free_tiers
from benchmarks.scale.engine import Bucket, Function, Meter, Steps, until
from benchmarks.scale.model import Free, Limits, Others, Prices, Sizes, Stack, Times, figures_of
from benchmarks.scale.mount import End
from benchmarks.scale.report import figures_table, schedule_table, with_tables
from benchmarks.scale.scenarios import PROFILES, SEED, Day
from benchmarks.scale.schedule import pass_of
from benchmarks.scale.simulate import Result, Simulation
from benchmarks.scale.trace import HOUR_SECONDS, HOURS, Profile, Push, make_trace, make_trees, peak_rate, storm
from handler.network.aws.telemetry import FEW_METRICS, METRICS
from testing.process import PROJECT
from testing.stack import MODES, read_stack
from tests.infrastructure.laws import metrics_of

PROFILE = Profile(200, pushes_a_day=4_000, bots_a_day=3, bot_repositories=50)
PEOPLE = replace(PROFILE, bots_a_day=0)
ROUND = Times(
    webhook=1.0,
    door=0.0,
    send=0.1,
    poll=0.1,
    parameter=0.0,
    cold=2.0,
    cold_door=0.5,
    connect=0.0,
    github=0.2,
    read_share=0.5,
    lock=0.1,
    publish=0.3,
    strange=0.0,
    tidy=0.1,
    confirm=0.1,
    file=0.0,
    processor=0.1,
    ask_processor=0.0,
)
"""Times to reckon with by hand."""
TIGHT = Stack(throttle_rate=2.0, throttle_burst=5, webhook_concurrency=3, worker_concurrency=2, ssm_rate=2.0)
"""Too little of everything."""


# --- The trace -------------------------------------------------------------------------------------------------


def test_a_trace_is_its_seed() -> None:
    """The same again, and another with another seed."""
    assert make_trace(PROFILE, 7) == make_trace(PROFILE, 7)
    assert make_trace(PROFILE, 7) != make_trace(PROFILE, 8)
    assert make_trees(PROFILE, 7) == make_trees(PROFILE, 7)


def test_a_trace_has_the_stated_number_of_pushes() -> None:
    """People's, with their follow-ups, within five standard deviations; and each bot's."""
    counts = [len(make_trace(PEOPLE, seed)) for seed in range(8)]
    assert sum(counts) / len(counts) == pytest.approx(PEOPLE.pushes_a_day, rel=0.05)
    assert len(make_trace(PROFILE, 1)) > len(make_trace(PEOPLE, 1)) + 100


def test_pushes_follow_the_working_day() -> None:
    """Each hour has its share, within four standard deviations of a Poisson process without follow-ups."""
    profile = replace(PEOPLE, pushes_a_day=40_000, follow_up=0.0)
    hours = Counter(int(push.at // HOUR_SECONDS) for push in make_trace(profile, 1))
    for hour, weight in enumerate(HOURS):
        expected = profile.pushes_a_day * weight / sum(HOURS)
        assert abs(hours[hour] - expected) <= 4 * expected**0.5


def test_popularity_is_heavy_tailed() -> None:
    """The busiest of 200 has what Zipf gives it, many times the median's."""
    trace = make_trace(replace(PEOPLE, pushes_a_day=40_000), 1)
    counts = sorted(Counter(push.repository for push in trace).values(), reverse=True)
    zipf = 1 / sum(1 / rank**PEOPLE.popularity for rank in range(1, 201))
    assert counts[0] / len(trace) == pytest.approx(zipf, rel=0.15)
    assert counts[0] > 10 * counts[100]


def test_who_pushed_pushes_again_soon() -> None:
    """With follow-ups, far more pushes to the same repository are minutes apart."""

    def soon(profile: Profile) -> int:
        last: dict[int, float] = {}
        found = 0
        for push in make_trace(profile, 1):
            found += push.at - last.get(push.repository, -1e9) < 300
            last[push.repository] = push.at
        return found

    many = replace(PEOPLE, repositories=20_000, pushes_a_day=4_000)
    assert soon(many) > 3 * soon(replace(many, follow_up=0.0))


def test_a_bot_pushes_to_many_different_repositories_within_a_minute() -> None:
    """So the peak of a minute is the bot's."""
    trace = make_trace(Profile(200, pushes_a_day=0, bots_a_day=1, bot_repositories=50), 1)
    assert len({push.repository for push in trace}) == len(trace) == 50
    assert trace[-1].at - trace[0].at <= 60
    assert peak_rate(trace, 60.0) == pytest.approx(50 / 60)


def test_the_peak_is_counted_over_a_window() -> None:
    """Three pushes in two seconds, one later."""
    trace = [Push(at, 0, 1) for at in (0.0, 1.0, 1.9, 10.0)]
    assert peak_rate(trace, 2.0) == 1.5
    assert peak_rate(trace, 1.0) == 2.0
    assert peak_rate([], 1.0) == 0.0


# --- Small cases by hand ---------------------------------------------------------------------------------------


def test_two_pushes_direct_by_hand() -> None:
    """Delivered at 1, ready at 3, asks at 3.1, sees both pushes at 3.2, fetches twice 0.2, publishes in 0.3."""
    result = Simulation([Push(0.0, 0, 1), Push(2.95, 0, 1)], [100], Stack(), ROUND).run()
    assert result.mount.visible_at == [pytest.approx(3.8), pytest.approx(3.8)]
    assert (result.mount.ends[End.PUBLISHED], result.mount.ends[End.UNCHANGED]) == (1, 1)
    assert (result.webhook.runs, result.webhook.cold_starts, result.webhook.peak) == (2, 1, 1)
    # 1.0 to 3.9; then 3.95: lock 0.1, ask 0.2, confirm 0.1.
    assert result.webhook.busy_seconds == pytest.approx(2.9 + 0.4)


def test_two_pushes_queued_by_hand() -> None:
    """Delivered at 1, sent at 1.6, received at 1.7, ready at 3.7, asks at 3.8, sees both, visible at 4.5."""
    result = Simulation([Push(0.0, 0, 1), Push(2.95, 0, 1)], [100], Stack(is_queued=True), ROUND).run()
    assert result.mount.visible_at == [pytest.approx(4.5), pytest.approx(4.5)]
    assert (result.mount.ends[End.PUBLISHED], result.mount.ends[End.UNCHANGED]) == (1, 1)
    assert (result.worker.runs, result.worker.cold_starts, result.queue.batches) == (2, 1, 2)
    assert result.webhook.busy_seconds == pytest.approx(0.6 + 0.1)


def test_a_push_that_is_seen_at_once_costs_one_round_trip() -> None:
    """The ref names what the delivery said: the side-by-side fetch is the one that is needed."""
    result = Simulation([Push(0.0, 0, 1)], [100], Stack(), ROUND).run()
    assert result.mount.visible_at == [pytest.approx(3.0 + 0.1 + 0.2 + 0.3)]


def test_a_tree_is_written_whole_within_the_grace_and_patched_after_it() -> None:
    """Two retired releases are there at first; the third push in a row finds none that is past its grace."""
    pushes = [Push(10.0 * number, 0, 1) for number in range(3)] + [Push(1000.0, 0, 1)]
    result = Simulation(pushes, [100], Stack(), ROUND).run()
    assert result.mount.ends[End.PUBLISHED] == 4
    assert (result.mount.whole_trees, result.mount.whole_files) == (1, 100)


def test_what_is_refused_is_found_by_the_schedule() -> None:
    """The throttle lets one of two through; the other's push is visible when the schedule has come by."""
    stack = Stack(throttle_rate=0.001, throttle_burst=1)
    result = Simulation([Push(10.0, 0, 1), Push(10.0, 1, 1)], [100, 100], stack, ROUND).run()
    assert result.refused == {End.THROTTLED: 1}
    assert result.healed == 1
    visit = pass_of(2, stack, ROUND).next_visit(11.0, 1)
    assert visit > 300
    # The schedule hoped for no commit: it asks, then fetches.
    assert result.lags[-1] == pytest.approx(visit + 0.1 + 2 * 0.2 + 0.3 - 10.0)


def test_the_messages_of_one_repository_cost_one_look() -> None:
    """Ten pushes while the worker starts: one batch, one fetch."""
    pushes = [Push(0.01 * number, 0, 1) for number in range(10)]
    result = Simulation(pushes, [100], Stack(is_queued=True), replace(ROUND, poll=1.0)).run()
    assert result.mount.fetches == 1
    assert result.queue.batches == 1


def test_repositories_of_a_batch_share_one_processor() -> None:
    """Side by side, but for what they compute: the last of ten is visible 0.9 s after the first."""
    pushes = [Push(0.0, number, 1) for number in range(10)]
    times = replace(ROUND, poll=1.0)
    result = Simulation(pushes, [100] * 10, Stack(is_queued=True, ssm_rate=1000.0), times).run()
    assert result.queue.batches == 1
    assert result.lags[-1] - result.lags[0] == pytest.approx(0.9)


# --- What always holds -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_queued", [False, True])
@pytest.mark.parametrize("stack", [Stack(), TIGHT], ids=["roomy", "tight"])
def test_no_push_is_lost_or_published_twice(stack: Stack, is_queued: bool) -> None:
    """Whatever is refused, each push becomes visible once, after it was made; nothing runs or waits at the end."""
    trace = make_trace(PROFILE, 3)
    simulation = Simulation(trace, make_trees(PROFILE, 3), stack.with_(is_queued=is_queued))
    result = simulation.run()
    assert (result.never_visible, result.mount.published_twice, len(result.lags)) == (0, 0, len(trace))
    assert result.lags[0] > 0
    unstarted = sum(result.refused.get(end, 0) for end in (End.THROTTLED, End.NO_CONCURRENCY))
    assert result.webhook.runs + unstarted == len(trace)
    assert result.webhook.running == result.worker.running == 0
    assert not any(each.waiting or each.is_locked for each in result.mount.repositories)
    assert bool(result.refusals) == (stack is TIGHT)
    if is_queued:
        assert result.sends.total == len(trace) - result.refusals


def test_the_same_arguments_give_the_same_result() -> None:
    """Polling for the lock is random, and seeded."""
    trace, trees = make_trace(PROFILE, 3), make_trees(PROFILE, 3)
    assert Simulation(trace, trees, TIGHT).run().lags == Simulation(trace, trees, TIGHT).run().lags


def test_more_workers_never_make_more_lag() -> None:
    """Cold starts and caches apart: those a further worker does bring."""
    pushes = storm(600, 20.0, 1)
    times = replace(ROUND, cold=0.0, cold_door=0.0)
    stack = Stack(is_queued=True, throttle_rate=1e6, throttle_burst=1_000_000, ssm_rate=1e6)
    results = [
        Simulation(pushes, [100] * 600, stack.with_(worker_concurrency=n), times).run() for n in (1, 2, 3, 5, 10, 40)
    ]

    def never_rises(lags: list[float]) -> bool:
        return all(after <= before + 1e-9 for before, after in pairwise(lags))

    for part in (0.5, 0.99, 1.0):
        assert never_rises([result.lag(part) for result in results])
    assert results[0].lag(1.0) > 5 * results[-1].lag(1.0)
    assert results[0].worker.peak == 1


def test_a_busy_large_repository_times_out_directly_and_never_queued() -> None:
    """Whole trees of four seconds, a push a second: the lock's deadline passes; in the queue nobody waits for it."""
    pushes = [Push(1.0 * number, 0, 1) for number in range(60)]
    direct, queued = (Simulation(pushes, [10_000], Stack(is_queued=each)).run() for each in (False, True))
    assert direct.refused[End.LOCK_TIMEOUT] > 0
    assert direct.late_answers > 0
    assert (queued.refusals, queued.late_answers) == (0, 0)
    assert queued.mount.fetches < 60


def test_too_many_releases_in_grace_are_a_failure_that_passes() -> None:
    """Eight trees of a size that `burst_files` does not allow more of; the rest is published after the grace."""
    pushes = [Push(20.0 * number, 0, 1) for number in range(12)]
    stack = Stack(is_queued=True, burst_files=1000)
    result = Simulation(pushes, [1000], stack, ROUND).run()
    assert result.mount.ends[End.IN_GRACE] > 0
    assert (result.never_visible, result.refusals) == (0, 0)


def test_one_readers_limit_holds_for_all() -> None:
    """Fifty environments that each read the secret and a repository, at four reads a second: some are refused."""
    result = Simulation(storm(50, 1.0, 1), [100] * 50, Stack(ssm_rate=4.0, throttle_burst=100), ROUND).run()
    assert result.refused[End.PARAMETERS] > 0
    assert result.never_visible == 0


# --- The machinery ---------------------------------------------------------------------------------------------


def test_a_time_that_is_past_is_now() -> None:
    """simpy refuses to wait for the past, and a look may be done before what it waited for."""
    clock, done = simpy.Environment(), list[float]()

    def steps() -> Steps[None]:
        for when in (2.0, 1.0, 3.0):
            yield until(clock, when)
            done.append(clock.now)

    clock.process(steps())
    clock.run()
    assert done == [2.0, 2.0, 3.0]


def test_a_bucket_lets_through_its_burst_and_then_its_rate() -> None:
    """Two at once, one more a second later, and never more than the burst."""
    bucket = Bucket(1.0, 2.0)
    assert [bucket.take(0.0) for _ in range(3)] == [True, True, False]
    assert [bucket.take(1.0) for _ in range(2)] == [True, False]
    assert [bucket.take(100.0) for _ in range(3)] == [True, True, False]


def test_a_meter_knows_its_busiest_second() -> None:
    """What takes longer is spread over its seconds."""
    meter = Meter()
    meter.add(0.5, 10)
    meter.add(0.9, 6, 2.0)
    assert (meter.total, meter.peak) == (16, 12)


def test_an_environment_is_used_again_until_it_was_idle_for_too_long() -> None:
    """One run at a time each; at the limit nobody more."""
    function = Function(cold_seconds=2.0, limit=2, keep_alive=600.0)
    first, ready = function.start(0.0) or pytest.fail()
    assert ready == 2.0
    second, _ = function.start(0.0) or pytest.fail()
    assert first is not second
    assert function.start(0.0) is None
    function.end(first, 0.0, 3.0)
    again, ready = function.start(603.0) or pytest.fail()
    assert (again, ready) == (first, 603.0)
    function.end(again, 603.0, 604.0)
    assert (function.start(1300.0) or pytest.fail())[1] == 1302.0
    assert (function.runs, function.cold_starts, function.peak, function.busy_seconds) == (4, 3, 2, 4.0)


def test_a_pass_of_the_schedule_by_hand() -> None:
    """100,000: 10,000 pages at 20 a second, then 0.12 s each, 32 at a time."""
    tour = pass_of(100_000, Stack(), Times())
    assert (tour.listing_seconds, tour.asking_seconds, tour.period_seconds) == (500.0, 375.0, 875.0)
    assert tour.next_visit(0.0, 0) == 500.0
    assert tour.next_visit(501.0, 0) == 1375.0
    assert pass_of(10, Stack(), Times()).period_seconds == 300.0


# --- The bill and the document ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def played() -> Result:
    """Return ten pushes to ten repositories."""
    return Simulation([Push(100.0 * number, number, 1) for number in range(10)], [100] * 10, Stack(), ROUND).run()


def test_the_bill_by_hand(played: Result) -> None:
    """220 requests a month; 22 days of ten runs; three trees of 100 files and a mirror, ten times; the sum."""
    items = bill(played, [100] * 10, Stack())
    assert items["API Gateway"] == pytest.approx(220 * 1.00e-6)
    seconds = 22 * played.webhook.busy_seconds
    assert items["Lambda, webhook"] == pytest.approx(220 * 0.20e-6 + seconds * 1.33334e-5), "1,024 MB"
    assert items["Lambda, publisher"] > 220 * 1.2 * 0.20e-6 + seconds * 1769 / 1024 * 1.33334e-5, "and the schedule"
    assert items["EFS, stored"] == pytest.approx(10 * (3 * 100 * 10 + 4096) / 1024**2 * 0.30)
    assert items["Parameter Store"] == items["SQS"] == items["SnapStart"] == 0
    assert items["all"] == pytest.approx(sum(items.values()) - items["all"])
    assert not [name for name in items if "NAT" in name]
    assert items["Metrics"] == pytest.approx(4 * 0.30)
    assert items["Alarms"] == pytest.approx(7 * 0.10)
    rest = sum(each for name, each in items.items() if name.startswith(("EFS", "API", "EventBridge events")))
    assert within_free_tiers(items) == pytest.approx(rest), "metrics and alarms are free"


def test_what_is_monitored_is_on_the_bill_as_the_template_has_it() -> None:
    """Four metrics; an alarm on an expression is paid for each of its metrics."""
    sizes = Sizes()
    assert sizes.metrics == len(FEW_METRICS)

    def alarms(mode: str, monitoring: str) -> int:
        stack = read_stack().under({**MODES[mode], "Monitoring": monitoring})
        return sum(len(metrics_of(alarm)) for alarm in stack.of_type("AWS::CloudWatch::Alarm").values())

    assert alarms("direct", "alarms") == sizes.alarms
    assert alarms("queued", "alarms") == sizes.alarms + sizes.queue_alarms
    assert alarms("direct", "full") == sizes.full_alarms
    # Ten outcomes and reasons; the queue has two metrics of its own.
    assert sizes.full_metrics == len([each for each in METRICS.values() if each == ("service",)]) - 2 + 10
    assert full_monitoring_dollars() == pytest.approx(20 * 0.30 + 4 * 0.10 + 3.00)
    page = (PROJECT / "docs" / "deploy.md").read_text(encoding="utf-8")
    assert f"a stack costs {full_monitoring_dollars():.2f} more" in page


def test_a_small_stack_costs_what_was_promised() -> None:
    """Ten repositories with 57 pushes a working day: five dollars at list prices, half of one beyond the free tiers."""
    profile = PROFILES[0]
    trace, trees = tuple(make_trace(profile, SEED)), tuple(make_trees(profile, SEED))
    direct, queued = (Day(profile, name, trace, trees).dollars for name in ("direct", "queued"))
    assert (profile.repositories, len(trace)) == (10, 57)
    assert max(direct["all"], queued["all"]) <= 5.00
    assert within_free_tiers(direct) <= 0.50
    assert within_free_tiers(queued) - queued["SnapStart"] <= 0.50, "the picture has no free tier"
    page = (PROJECT / "docs" / "deploy.md").read_text(encoding="utf-8")
    assert f"{direct['all']:.2f} a month direct and {queued['all']:.2f} queued" in page
    assert f"{within_free_tiers(direct):.2f} and {within_free_tiers(queued):.2f} of it" in page


def test_readers_and_others_by_hand() -> None:
    """86,400 rounds of 1,000 files a month, each a stat and an open of 4 KiB; a quarter of a processor all the time."""
    assert readers_dollars(1000, 30.0) == pytest.approx(86_400 * 2 * 1000 * 4 / 1024**2 * 0.03)
    assert max(others().values()) == 36.50
    assert 730 * (0.25 * 0.04048 + 0.5 * 0.004445) in others().values()


def test_more_than_the_standard_parameters_are_paid_for(played: Result) -> None:
    """Each one more, and every read."""
    items = bill(played, [1] * 10_100, Stack())
    assert items["Parameter Store"] > 100 * 0.05
    assert items["Parameter Store"] < 100 * 0.05 + 100


def test_a_table_takes_the_place_of_the_old_one() -> None:
    """What stands around it stays; a table without a place is an error."""
    document = "before\n<!-- lag -->\nold\n<!-- /lag -->\nafter\n"
    assert with_tables(document, {"lag": "| new |\n"}) == "before\n<!-- lag -->\n\n| new |\n\n<!-- /lag -->\nafter\n"
    with pytest.raises(KeyError):
        with_tables(document, {"other": ""})


def test_every_figure_has_its_source() -> None:
    """Measured, published or assumed, and where."""
    for values in (Times(), Sizes(), Limits(), Prices(), Free(), Others()):
        for figure in figures_of(values):
            assert figure.source
            assert figure.about
            assert figure.kind in ("measured", "published", "assumed")


def test_the_document_shows_the_figures_that_are_used() -> None:
    """docs/scale.md was written after the last change of them."""
    text = DOCUMENT.read_text()
    for table in (figures_table("limit", Limits()), figures_table("USD", Prices()), schedule_table()):
        assert table in text
    assert figures_table("seconds", Times()) in text
    assert figures_table("each", Sizes()) in text
