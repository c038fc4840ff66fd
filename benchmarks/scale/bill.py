"""The cost of a month, item by item, in USD. Pure.

A month has 22 working days like the simulated one, and 30 days of the costs that do not depend on pushes. The functions
that fetch are outside of any VPC, the publisher is inside one without a way out. It is charged for as long as the
function that invokes it, though it only works after the fetch: the bill is rather too high than too low.
"""

from collections.abc import Sequence

from benchmarks.scale.model import Free, Limits, Others, Prices, Sizes, Stack, Times
from benchmarks.scale.schedule import Pass, pass_of
from benchmarks.scale.simulate import Result

WORKING_DAYS, DAYS = 22, 30
_MONTH_SECONDS = DAYS * 86_400
_GIB_KIB = 1024 * 1024
_SURVEY_SECONDS = 0.1
IN_FLIGHT = 32
"""Repositories that the schedule asks about in one call of the publisher, at least."""


def bill(result: Result, trees: Sequence[int], stack: Stack) -> dict[str, float]:
    """Return the items of a month's bill, in the order in which a push meets the services."""
    prices, sizes = Prices(), Sizes()
    tour = pass_of(len(trees), stack, Times())
    asks = tour.passes_a_day * DAYS * len(trees)
    deliveries = result.pushes * WORKING_DAYS
    looks = result.mount.asks * WORKING_DAYS
    outcomes = deliveries + (looks if stack.is_queued else 0)
    calls = result.parameter_calls.total * WORKING_DAYS + _pages(tour)
    sent_kib = result.mount.fetches * WORKING_DAYS * sizes.fetch_kib + asks * sizes.ask_kib
    publishing = result.worker if stack.is_queued else result.webhook
    stored_kib = sum(trees) * sizes.file_kib * sizes.releases + len(trees) * sizes.mirror_kib
    log_kib = outcomes * sizes.log_kib + deliveries * sizes.access_kib
    items = {
        "API Gateway": deliveries * prices.api,
        "Lambda, webhook": _lambda(
            result.webhook.runs,
            result.webhook.busy_seconds,
            stack.door_memory_mb if stack.is_queued else stack.driver_memory_mb,
        ),
        "Lambda, worker": _lambda(result.worker.runs, result.worker.busy_seconds, stack.driver_memory_mb),
        "Lambda, publisher": _lambda(result.mount.asks * sizes.publish_calls, publishing.busy_seconds, stack.memory_mb)
        + _surveys(tour, stack),
        "Lambda, schedule": _schedule(tour, stack),
        "SnapStart": _snap_start(result, stack),
        "SQS": _queue(result, stack),
        "EventBridge Scheduler": tour.passes_a_day * DAYS * prices.schedule,
        "EventBridge events (with EventBus)": result.mount.fetches * WORKING_DAYS * prices.event,
        "Parameter Store": _parameters(len(trees), calls, stack),
        "EFS, stored": stored_kib / _GIB_KIB * prices.efs_stored,
        "EFS, written": result.mount.written_kib * WORKING_DAYS / _GIB_KIB * prices.efs_written,
        "EFS, read": result.mount.reads.total * WORKING_DAYS * sizes.metadata_kib / _GIB_KIB * prices.efs_read,
        "KMS": result.parameter_calls.total * WORKING_DAYS * prices.kms_call,
        "sent to the internet": sent_kib / _GIB_KIB * prices.egress_gb,
        "Logs": log_kib / _GIB_KIB * prices.log_gb,
        "Metrics": sizes.metrics * prices.metric,
        "Alarms": (sizes.alarms + (sizes.queue_alarms if stack.is_queued else 0)) * prices.alarm,
    }
    return {**items, "all": sum(items.values())}


def within_free_tiers(items: dict[str, float]) -> float:
    """Return what is left of a bill in an account that runs nothing else, by what AWS gives for ever."""
    free, prices = Free(), Prices()
    tiers = {
        "Lambda": free.runs * prices.run + free.gb_seconds * prices.gb_second,
        "SQS": free.sqs * prices.sqs,
        "EventBridge Scheduler": free.schedule * prices.schedule,
        "KMS": free.kms_calls * prices.kms_call,
        "sent to": free.egress_gb * prices.egress_gb,
        "Logs": free.log_gb * prices.log_gb,
        "Metrics": free.metrics * prices.metric,
        "Alarms": free.alarms * prices.alarm,
    }
    left = items["all"]
    for beginning, given in tiers.items():
        left -= min(given, sum(each for name, each in items.items() if name.startswith(beginning)))
    return left


def full_monitoring_dollars() -> float:
    """Return what a month of Monitoring=full costs a direct stack beyond the default, at list prices."""
    prices, sizes = Prices(), Sizes()
    metrics, alarms = sizes.full_metrics - sizes.metrics, sizes.full_alarms - sizes.alarms
    return metrics * prices.metric + alarms * prices.alarm + prices.dashboard


def readers_dollars(files: int, seconds: float) -> float:
    """Return a month's cost of a process that stats and opens so many files every so many seconds, on elastic EFS."""
    calls = 2 * files * _MONTH_SECONDS / seconds
    return calls * Sizes().metadata_kib / _GIB_KIB * Prices().efs_read


def others() -> dict[str, float]:
    """Return a month's cost of what people run instead, or have to run beside it."""
    prices = Others()
    instance = prices.hours * (prices.instance_hour + prices.address_hour) + prices.disk_month
    task = prices.hours * (0.25 * prices.fargate_processor + 0.5 * prices.fargate_gb)
    return {
        "a NAT gateway, as functions in a VPC need it to fetch": prices.nat_month,
        "a NAT instance (t4g.nano) instead, which you maintain": instance,
        "an EC2 instance (t4g.nano) with webhook and `git pull`, which you maintain": instance,
        "git-sync on Fargate, one repository (a quarter processor, 0.5 GB)": task,
    }


def _surveys(tour: Pass, stack: Stack) -> float:
    """The schedule's calls of the publisher: which targets are behind, and its own state."""
    calls = DAYS * tour.passes_a_day * (2 + tour.repositories / IN_FLIGHT)
    return calls * (Prices().run + _SURVEY_SECONDS * stack.memory_mb / 1024 * Prices().gb_second)


def _lambda(runs: float, busy_seconds: float, memory_mb: int) -> float:
    prices = Prices()
    return WORKING_DAYS * (runs * prices.run + busy_seconds * memory_mb / 1024 * prices.gb_second)


def _schedule(tour: Pass, stack: Stack) -> float:
    seconds = DAYS * (tour.passes_a_day * max(1.0, tour.asking_seconds) + tour.listings_a_day * tour.listing_seconds)
    return seconds * stack.driver_memory_mb / 1024 * Prices().gb_second + tour.passes_a_day * DAYS * Prices().run


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
    """Return the monthly cost of the schedule's passes: Lambda, what is sent, and paid reads of parameters."""
    tour, sizes, prices = pass_of(repositories, stack, Times()), Sizes(), Prices()
    asks = tour.passes_a_day * DAYS * repositories
    sent_gb = asks * sizes.ask_kib / _GIB_KIB
    is_paid = repositories > Limits().ssm_standard
    lambdas = _schedule(tour, stack) + _surveys(tour, stack)
    return lambdas + sent_gb * prices.egress_gb + (_pages(tour) * prices.ssm_call if is_paid else 0.0)
