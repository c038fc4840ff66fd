"""The tables of docs/scale.md, each between its markers. Pure."""

import re
from collections.abc import Iterable, Mapping, Sequence

from benchmarks.scale.bill import (
    bill,
    full_monitoring_dollars,
    others,
    pass_dollars,
    readers_dollars,
    within_free_tiers,
)
from benchmarks.scale.healing import IsLost, at_random, between, heal, make_pushes, of_repositories
from benchmarks.scale.model import Free, Limits, Others, Prices, Sizes, Times, figures_of
from benchmarks.scale.scenarios import DIRECT, LARGE, PROFILES, QUEUED, SEED, Day
from benchmarks.scale.schedule import pass_of
from benchmarks.scale.simulate import Result, Simulation
from benchmarks.scale.trace import DAY_SECONDS, Push, peak_rate, storm
from handler.settings import Settings

_BUSY_FILES = (1_000, 10_000, 50_000)
_REFUSED = ("answered with an error", "left to the schedule")


def table(head: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table; all columns but the first are right-aligned."""
    rows = [list(head), ["---"] + ["---:"] * (len(head) - 1), *map(list, lines)]
    return "".join("| " + " | ".join(row) + " |\n" for row in rows)


def with_tables(document: str, tables: Mapping[str, str]) -> str:
    """Return the document with each table between its `<!-- NAME -->` and `<!-- /NAME -->`.

    Raises KeyError for a table without that place.
    """
    for name, text in tables.items():
        document, count = re.subn(
            rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)",
            lambda found, text=text: f"{found[1]}\n{text}\n{found[2]}",  # type: ignore[misc]
            document,
            flags=re.DOTALL,
        )
        if count != 1:
            raise KeyError(f"docs/scale.md has no one place for {name}")
    return document


def all_tables(days: Sequence[Day]) -> dict[str, str]:
    """Simulate, and return every table except that of `check`."""
    return {
        "lag": lag_table(days),
        "storms": storm_table(),
        "workers": worker_table(),
        "busy": busy_table(),
        "grace": grace_table(days),
        "limits": limits_table([day for day in days if _is_advised(day)]),
        "schedule": schedule_table(),
        "healing": healing_table(),
        "dollars": dollars_table(days),
        "beside": beside_table(),
        "onboarding": onboarding_table(days),
        "inputs": figures_table("seconds", Times()) + "\n" + figures_table("each", Sizes()),
        "published": figures_table("limit", Limits()),
        "prices": "\n".join(
            (figures_table("USD", Prices()), figures_table("free", Free()), figures_table("others", Others()))
        ),
    }


def _is_advised(day: Day) -> bool:
    return day.stack is {10: DIRECT, 100_000: LARGE}.get(day.profile.repositories, QUEUED)


def lag_table(days: Sequence[Day]) -> str:
    """The lag from push to visible, and the deliveries lost on the way."""
    lines = [
        [
            f"{day.profile.repositories:,}",
            day.stack_name,
            f"{day.result.pushes:,}",
            *_lags(day.result),
            *_refused(day.result),
            f"{day.result.late_answers:,}",
            f"{day.result.webhook.peak + day.result.worker.peak}",
            f"{day.result.mount.fetches / day.result.pushes:.2f}",
        ]
        for day in days
    ]
    head = ["repositories", "stack", "pushes a day", "p50, s", "p99, s", "most, s", *_REFUSED]
    return table([*head, "answered after 10 s", "runs at a time", "fetches a push"], lines)


def storm_table() -> str:
    """A bot that pushes to many repositories within a minute, and nobody else."""
    lines = []
    for repositories in (50, 500, 2_000, 10_000):
        pushes = storm(repositories, 60.0, SEED, start=60.0)
        for name, stack in {"direct": DIRECT, "queued": QUEUED, "queued, tuned": LARGE}.items():
            result = Simulation(pushes, [300] * repositories, stack, seed=SEED).run()
            peak = f"{result.webhook.peak + result.worker.peak}"
            lines.append([f"{repositories:,}", name, *_lags(result), *_refused(result), peak])
    return table(["repositories", "stack", "p50, s", "p99, s", "most, s", *_REFUSED, "runs at a time"], lines)


def worker_table() -> str:
    """The effect of WorkerConcurrency in a storm of 10,000 within a minute that the throttle admits."""
    pushes = storm(10_000, 60.0, SEED, start=60.0)
    lines = []
    stack = LARGE.with_(throttle_rate=1_000.0)
    for workers in (2, 5, 10, 20, 50, 100):
        result = Simulation(pushes, [300] * 10_000, stack.with_(worker_concurrency=workers), seed=SEED).run()
        writes = f"{result.mount.writes.peak:,.0f}"
        lines.append(
            [f"{workers}", *_lags(result), f"{result.queue.messages_peak:,}", f"{result.queue.batches:,}", writes]
        )
    return table(
        ["WorkerConcurrency", "p50, s", "p99, s", "most, s", "messages waiting", "batches", "EFS writes/s"], lines
    )


def busy_table() -> str:
    """One repository with a push each second for two minutes: within the grace each publish writes a whole tree."""
    pushes = [Push(60.0 + number, 0, 1) for number in range(120)]
    lines = []
    for files in _BUSY_FILES:
        for name, stack in {"direct": DIRECT, "queued": QUEUED}.items():
            result = Simulation(pushes, [files], stack, seed=SEED).run()
            published = f"{result.mount.whole_trees:,}"
            late = f"{result.late_answers}, {result.gateway_timeouts}"
            lines.append([f"{files:,}", name, *_lags(result), *_refused(result), late, published])
    head = ["files in the tree", "stack", "p50, s", "p99, s", "most, s", *_REFUSED, "answered after 10, 30 s"]
    return table([*head, "whole trees written"], lines)


def grace_table(days: Sequence[Day]) -> str:
    """The cost of the grace: a push within it writes its tree whole."""
    day = next(day for day in days if day.profile.repositories == 10_000)
    lines = []
    for grace in (600.0, 300.0, 60.0):
        stack = QUEUED.with_(grace_seconds=grace)
        result = Simulation(day.trace, day.trees, stack, seed=SEED).run()
        dollars = bill(result, day.trees, stack)["EFS, written"]
        share = f"{result.mount.whole_trees / result.mount.fetches:.0%}"
        lines.append([f"{grace:.0f}", share, *_lags(result), f"{result.mount.writes.peak:,.0f}", _dollars(dollars)])
    head = ["grace_seconds", "trees written whole", "p50, s", "p99, s", "most, s", "EFS writes/s"]
    return table([*head, "EFS written, USD a month"], lines)


def _lags(result: Result) -> list[str]:
    return [f"{result.lag(part):.1f}" for part in (0.5, 0.99, 1.0)]


def _refused(result: Result) -> list[str]:
    """The deliveries that were answered with an error, why, and the pushes that only the schedule found."""
    reasons = sorted(result.refused.items(), key=lambda each: -each[1])
    return [", ".join(f"{count:,} {end}" for end, count in reasons) or "0", f"{result.healed:,}"]


def limits_table(days: Sequence[Day]) -> str:
    """How near each limit the busiest moment comes, the nearest first."""
    rows: dict[str, list[float]] = {}
    for day in days:
        for name, load, limit in _loads(day):
            rows.setdefault(f"{name} ({limit:,.0f})", []).append(load)
    limits = {name: float(name.rsplit("(", 1)[1].rstrip(")").replace(",", "")) for name in rows}
    ordered = sorted(rows, key=lambda name: -rows[name][-1] / limits[name])
    lines = [[name, *(_share(load, limits[name]) for load in rows[name])] for name in ordered]
    head = [f"{day.profile.repositories:,} {day.stack_name}" for day in days]
    return table(["default limit", *head], lines)


def _share(load: float, limit: float) -> str:
    amount = f"{load:,.0f}" if load >= 10 or load == 0 else f"{load:.2g}"
    part = load / limit
    text = f"{amount}: {part:.0%}" if part >= 0.01 else f"{amount}"
    return f"**{text}**" if part > 1 else text


def _loads(day: Day) -> list[tuple[str, float, float]]:
    """Each limit's name, the busiest moment's load, and the default limit."""
    result, limits, mount = day.result, Limits(), day.result.mount
    tour = pass_of(day.profile.repositories, QUEUED, Times())
    arriving = peak_rate(day.trace, 10.0)
    hottest = max(peak_rate(pushes, 60.0) * 60 for pushes in _by_repository(day.trace))
    return [
        ("ThrottleRate, requests/s over 10 s", arriving, QUEUED.throttle_rate),
        ("API Gateway, requests/s", arriving, limits.api_rate),
        ("Lambda, runs at a time", result.webhook.peak + result.worker.peak + 1, limits.lambda_concurrency),
        ("Parameter Store, reads/s, without the listing", result.parameter_calls.peak, limits.ssm_rate),
        ("Parameter Store, standard parameters", day.profile.repositories, limits.ssm_standard),
        ("SQS, calls/s", max(result.sends.peak, result.queue.receives.peak), limits.sqs_rate),
        ("SQS, messages waiting", result.queue.messages_peak, limits.sqs_in_flight),
        ("EFS, writes/s", mount.writes.peak, limits.efs_writes),
        ("EFS, writes/s, were it bursting", mount.writes.peak, limits.efs_bursting_writes),
        ("EFS, reads/s", mount.reads.peak, limits.efs_reads),
        ("schedule: seconds of a pass, of 5 minutes", tour.seconds, QUEUED.reconcile_seconds),
        ("schedule: seconds of the listing, of its cache's", tour.listing_seconds, QUEUED.listing_cache_seconds),
        ("GitHub, pushes a minute to one repository", hottest, limits.github_pushes),
        ("GitHub, statuses an hour, a token", 2 * 3_600 * peak_rate(day.trace, 3_600.0), limits.github_api),
    ]


def _by_repository(trace: Sequence[Push]) -> list[list[Push]]:
    found: dict[int, list[Push]] = {}
    for push in trace:
        found.setdefault(push.repository, []).append(push)
    return list(found.values())


def schedule_table() -> str:
    """A pass of the schedule."""
    lines = []
    for repositories in (10, 1_000, 10_000, 100_000):
        for name, stack in {"default": QUEUED, "tuned": LARGE}.items():
            tour = pass_of(repositories, stack, Times())
            lines.append(
                [
                    f"{repositories:,}",
                    name,
                    f"{stack.reconcile_seconds / 60:.0f} min",
                    f"{tour.listing_seconds:,.0f}",
                    f"{tour.asking_seconds:,.1f}",
                    f"{tour.period_seconds / 60:.1f} min",
                    f"{tour.asks_per_second:,.1f}",
                    f"{pass_dollars(repositories, stack):,.2f}",
                ]
            )
    head = ["repositories", "", "ReconcileRate", "to list, s", "to ask, s", "a run every", "asks/s at GitHub"]
    return table([*head, "USD a month"], lines)


def healing_table() -> str:
    """How often the remote is asked by turns, and how long lost webhooks then stay unnoticed."""
    longest = float(Settings(parameter_prefix="/x", mount="/x").longest_pause_seconds)
    third_day = 3 * DAY_SECONDS
    lines = []
    for profile in PROFILES[1:3]:
        pushes, count = make_pushes(profile, SEED), profile.repositories
        scenes: list[tuple[str, IsLost, float]] = [
            ("one in 33 deliveries lost, all asked in every run", at_random(0.03, SEED), 0.0),
            ("one in 33 deliveries lost", at_random(0.03, SEED), longest),
            ("one repository in 100 has no webhook that works", of_repositories(0.01, count, SEED), longest),
            ("nothing arrives from 10 to 11 h", between(third_day + 36_000, third_day + 39_600), longest),
        ]
        for name, is_lost, pause in scenes:
            found = heal(profile, pushes, is_lost, pause)
            waits = [found.mean, found.wait(0.5), found.wait(0.95), found.wait(1.0)]
            line = [f"{count:,}", name, f"{found.asks_per_second:,.1f}", f"{found.share:.3f}", f"{len(found.waits):,}"]
            lines.append([*line, *(f"{each / 60:.1f}" for each in waits)])
    head = ["repositories", "", "asks/s at GitHub", "part of all", "pushes lost", "mean, min", "p50", "p95", "most"]
    return table(head, lines)


def dollars_table(days: Sequence[Day]) -> str:
    """A month's bill."""
    lines = [[item, *(_dollars(day.dollars[item]) for day in days)] for item in days[0].dollars if item != "all"]
    lines.append(["**all**", *(f"**{_dollars(day.dollars['all'])}**" for day in days)])
    left = (_dollars(within_free_tiers(day.dollars)) for day in days)
    lines.append(["within the free tiers that do not end", *left])
    per = [_dollars(1000 * day.dollars["all"] / (22 * day.result.pushes)) for day in days]
    lines.append(["for 1,000 pushes", *per])
    return table(["USD a month", *(f"{day.profile.repositories:,} {day.stack_name}" for day in days)], lines)


def beside_table() -> str:
    """What readers and full monitoring cost, and what people run instead."""
    costs = {
        "a reader that stats and opens 1,000 files every 30 s (elastic EFS)": readers_dollars(1000, 30.0),
        "the same every 5 minutes": readers_dollars(1000, 300.0),
        "`Monitoring=full`: 25 metrics, 11 alarms and a dashboard instead of 4 and 7": full_monitoring_dollars(),
        **others(),
    }
    return table(["what", "USD a month"], [[name, _dollars(cost)] for name, cost in costs.items()])


def _dollars(amount: float) -> str:
    return f"{amount:,.0f}" if amount >= 100 else f"{amount:,.2f}"


def onboarding_table(days: Sequence[Day]) -> str:
    """The first publish of everything at once."""
    times, sizes, limits, prices = Times(), Sizes(), Limits(), Prices()
    lines = []
    for trees in {day.profile.repositories: day.trees for day in days}.values():
        files = sum(trees)
        written = files * (sizes.content_kib + sizes.metadata_kib * (sizes.file_writes - 1)) / 1024**2
        for workers in (QUEUED.worker_concurrency, LARGE.worker_concurrency):
            writes = min(workers / times.file * sizes.file_writes, limits.efs_writes)
            seconds = files * sizes.file_writes / writes
            cost = written * prices.efs_written
            line = [f"{len(trees):,}", f"{files:,}", f"{workers}", f"{writes:,.0f}", f"{seconds / 60:,.1f} min"]
            lines.append([*line, _dollars(cost)])
    return table(["repositories", "files", "WorkerConcurrency", "EFS writes/s", "takes", "USD once"], lines)


def figures_table(unit: str, values: Times | Sizes | Limits | Prices | Free | Others) -> str:
    """The figures of one kind, with their sources."""
    lines = [[each.about, _number(each.value), each.kind, each.source] for each in figures_of(values)]
    return table([unit, "", "", "source"], lines)


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.6g}" if value >= 1e-3 else f"{value:.6e}"
