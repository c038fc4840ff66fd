"""The cost of a month, item by item, in USD. Pure.

A month has 22 working days like the simulated one, and 30 days of the costs that do not depend on pushes. No free tier.
"""

from collections.abc import Sequence

from benchmarks.scale.model import Limits, Prices, Sizes, Stack, Times
from benchmarks.scale.schedule import Pass, pass_of
from benchmarks.scale.simulate import Result

WORKING_DAYS, DAYS = 22, 30
_MONTH_SECONDS = DAYS * 86_400
_GIB_KIB = 1024 * 1024


def bill(result: Result, trees: Sequence[int], stack: Stack) -> dict[str, float]:
    """Return the items of a month's bill, in the order in which a push meets the services."""
    prices, sizes = Prices(), Sizes()
    tour = pass_of(len(trees), stack, Times())
    asks = tour.passes_a_day * DAYS * len(trees)
    deliveries = result.pushes * WORKING_DAYS
    looks = result.mount.asks * WORKING_DAYS
    outcomes = deliveries + (looks if stack.is_queued else 0)
    calls = result.parameter_calls.total * WORKING_DAYS + _pages(tour)
    nat_kib = result.mount.fetches * WORKING_DAYS * sizes.fetch_kib + asks * sizes.ask_kib + calls * sizes.parameter_kib
    stored_kib = sum(trees) * sizes.file_kib * sizes.releases + len(trees) * sizes.mirror_kib
    log_kib = outcomes * sizes.log_kib + deliveries * sizes.access_kib
    items = {
        "API Gateway": deliveries * prices.api,
        "Lambda, webhook": _lambda(
            result.webhook.runs,
            result.webhook.busy_seconds,
            stack.door_memory_mb if stack.is_queued else stack.memory_mb,
        ),
        "Lambda, worker": _lambda(result.worker.runs, result.worker.busy_seconds, stack.memory_mb),
        "Lambda, schedule": _schedule(tour, stack),
        "SnapStart": _snap_start(result, stack),
        "SQS": _queue(result, stack),
        "EventBridge Scheduler": tour.passes_a_day * DAYS * prices.schedule,
        "EventBridge events (with EventBus)": result.mount.fetches * WORKING_DAYS * prices.event,
        "Parameter Store": _parameters(len(trees), calls, stack),
        "EFS, stored": stored_kib / _GIB_KIB * prices.efs_stored,
        "EFS, written": result.mount.written_kib * WORKING_DAYS / _GIB_KIB * prices.efs_written,
        "EFS, read": result.mount.reads.total * WORKING_DAYS * sizes.metadata_kib / _GIB_KIB * prices.efs_read,
        "NAT gateway (not with your own VPC)": prices.nat_month,
        "NAT, bytes": nat_kib / _GIB_KIB * prices.nat_gb,
        "Logs": log_kib / _GIB_KIB * prices.log_gb,
        "Metrics and alarms": sizes.metrics * prices.metric + sizes.alarms * prices.alarm,
    }
    return {**items, "all": sum(items.values())}


def _lambda(runs: int, busy_seconds: float, memory_mb: int) -> float:
    prices = Prices()
    return WORKING_DAYS * (runs * prices.run + busy_seconds * memory_mb / 1024 * prices.gb_second)


def _schedule(tour: Pass, stack: Stack) -> float:
    seconds = DAYS * (tour.passes_a_day * max(1.0, tour.asking_seconds) + tour.listings_a_day * tour.listing_seconds)
    return seconds * stack.memory_mb / 1024 * Prices().gb_second + tour.passes_a_day * DAYS * Prices().run


def _snap_start(result: Result, stack: Stack) -> float:
    if not stack.is_queued:
        return 0.0
    gb, prices = stack.door_memory_mb / 1024, Prices()
    return gb * (_MONTH_SECONDS * prices.snapshot + result.webhook.cold_starts * WORKING_DAYS * prices.restore)


def _queue(result: Result, stack: Stack) -> float:
    if not stack.is_queued:
        return 0.0
    idle = Sizes().pollers * _MONTH_SECONDS / 20
    # One call receives a batch, another deletes it.
    return (WORKING_DAYS * (result.sends.total + 2 * result.queue.batches) + idle) * Prices().sqs


def _pages(tour: Pass) -> float:
    return tour.listings_a_day * DAYS * -(-tour.repositories // 10)


def _parameters(repositories: int, calls: float, stack: Stack) -> float:
    limits, prices = Limits(), Prices()
    advanced = max(0.0, repositories - limits.ssm_standard)
    is_paid = advanced or stack.ssm_rate > limits.ssm_rate
    return advanced * prices.ssm_advanced + (calls * prices.ssm_call if is_paid else 0.0)


def pass_dollars(repositories: int, stack: Stack) -> float:
    """Return the monthly cost of the schedule's passes: Lambda, the NAT's bytes, and paid reads of parameters."""
    tour, sizes, prices = pass_of(repositories, stack, Times()), Sizes(), Prices()
    asks = tour.passes_a_day * DAYS * repositories
    nat_gb = (asks * sizes.ask_kib + _pages(tour) * sizes.parameter_kib) / _GIB_KIB
    is_paid = repositories > Limits().ssm_standard
    return _schedule(tour, stack) + nat_gb * prices.nat_gb + (_pages(tour) * prices.ssm_call if is_paid else 0.0)
