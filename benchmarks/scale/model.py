"""The capacity model's inputs: measured, published or assumed, each with its source. Pure.

Every figure stands here once; the tables of docs/scale.md are made from these fields.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, fields, replace
from typing import Any, Self

MEASURED = "measured"
PUBLISHED = "published"
ASSUMED = "assumed"


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure for a table."""

    name: str
    value: float
    about: str
    kind: str
    source: str


def _is(value: float, about: str, kind: str, source: str) -> Any:
    return field(default=value, metadata={"about": about, "kind": kind, "source": source})


def figures_of(values: "Times | Sizes | Limits | Prices | Free | Others") -> Iterator[Figure]:
    """Yield each field with its description and source."""
    for each in fields(values):
        about = each.metadata
        yield Figure(each.name, getattr(values, each.name), about["about"], about["kind"], about["source"])


_RESULTS = "benchmarks/results.md"
_NFS = "docs/nfs.md"
_HERE = "this machine, 2026-11"


@dataclass(frozen=True, slots=True)
class Times:
    """Seconds of service."""

    webhook: float = _is(1.0, "from a push until GitHub's webhook arrives", ASSUMED, "GitHub publishes no figure")
    door: float = _is(0.005, "verify, read and route, warm", MEASURED, f"{_HERE}: 1.8 ms; ×2.5 for Lambda")
    send: float = _is(0.015, "SQS takes a message", ASSUMED, "10 to 20 ms in a region")
    poll: float = _is(0.05, "Lambda's poller hands a message over", ASSUMED, "long polling")
    parameter: float = _is(0.015, "one read from Parameter Store", ASSUMED, "10 to 20 ms in a region")
    parameter_pause: float = _is(0.5, "until a throttled read is tried again, once", ASSUMED, "network/aws/ssm.py")
    cold: float = _is(1.6, "cold start: 0.9 environment, VPC, mount; 0.35 imports and clients ×2", ASSUMED, _HERE)
    cold_door: float = _is(0.5, "cold start of the queued webhook: SnapStart, no VPC", ASSUMED, "restore and clients")
    connect: float = _is(0.1, "TCP and TLS to github.com in a new process", ASSUMED, "three round trips")
    github: float = _is(0.12, "github.com answers ls-refs and fetch, side by side", ASSUMED, "from us-east-1")
    read_share: float = _is(
        0.5, "how far into that time the remote reads the ref", ASSUMED, "half of it is the way there"
    )
    lock: float = _is(0.012, "lock, and what is published: 9 round trips", MEASURED, f"{_NFS}, benchmarks/calls.py")
    publish: float = _is(0.095, "one file, from fetched to visible, warm", MEASURED, f"{_RESULTS}, EFS-like: 90 to 110")
    strange: float = _is(0.05, "more, where another process published last", MEASURED, f"{_NFS}: 49 more round trips")
    tidy: float = _is(0.02, "after the flip: prune, maintain the mirror", MEASURED, f"{_RESULTS}, until answered")
    confirm: float = _is(0.012, "unchanged: the record's date", MEASURED, f"{_NFS}: 4 round trips")
    file: float = _is(0.0004, "processor for each further file written", MEASURED, f"{_RESULTS}: 10,000 in 4.4 s")
    processor: float = _is(0.02, "processor for a push of one file", MEASURED, f"{_HERE}: 13 ms; ×1.5 for Lambda")
    ask_processor: float = _is(0.0015, "processor for one ls-refs", MEASURED, f"{_HERE}: 0.8 ms, and TLS")


@dataclass(frozen=True, slots=True)
class Sizes:
    """Operations and bytes of one thing."""

    warm_reads: float = _is(22, "EFS reads of a push of one file, warm", MEASURED, _NFS)
    warm_writes: float = _is(24, "EFS writes of it", MEASURED, _NFS)
    strange_reads: float = _is(49, "EFS reads more, where another process published last", MEASURED, _NFS)
    look_reads: float = _is(12, "EFS reads of a run that finds nothing new", MEASURED, _NFS)
    look_writes: float = _is(5, "EFS writes of it", MEASURED, _NFS)
    file_writes: float = _is(3.1, "EFS writes a file of a tree written whole", MEASURED, _NFS)
    patch_operations: float = _is(9, "EFS operations a further changed file", MEASURED, _NFS)
    metadata_kib: float = _is(4, "KiB metered for a metadata operation", ASSUMED, "EFS user guide, metering; check")
    content_kib: float = _is(32, "KiB metered at least for writing content", ASSUMED, "EFS user guide, metering; check")
    push_contents: float = _is(5, "writes of content in a push of one file", MEASURED, _NFS)
    file_kib: float = _is(10, "KiB stored a file: 8 and 2 for the inode", ASSUMED, "EFS user guide, metering")
    mirror_kib: float = _is(4096, "KiB stored a mirror", ASSUMED, "depth 1")
    releases: float = _is(3, "trees stored a target", PUBLISHED, "keep_releases")
    fetch_kib: float = _is(3, "KiB sent to the remote for a push", ASSUMED, "two requests, TLS; what comes is free")
    ask_kib: float = _is(0.8, "KiB sent to the remote for an ls-refs", ASSUMED, "a request on a kept connection")
    publish_calls: float = _is(1.2, "invocations of the publisher a push", MEASURED, "tests: 1 for most, 2 for a first")
    log_kib: float = _is(
        2.1, "KiB of logs an outcome, Lambda's own lines among them", MEASURED, f"{_HERE}: 1.6, and 0.5"
    )
    access_kib: float = _is(0.5, "KiB of the API's access log a request", ASSUMED, "template.yaml")
    metrics: float = _is(4, "metrics in use, by default", MEASURED, "handler/network/aws/telemetry.py")
    alarms: float = _is(7, "alarms by default, direct; an expression counts each metric", MEASURED, "template.yaml")
    queue_alarms: float = _is(3, "alarms more by default with a queue", MEASURED, "template.yaml")
    full_metrics: float = _is(24, "metrics in use, Monitoring=full", ASSUMED, "telemetry.py, ten reasons, no queue")
    full_alarms: float = _is(11, "alarms, Monitoring=full, direct", MEASURED, "template.yaml")
    pollers: float = _is(5, "Lambda's pollers at an idle queue, a call each 20 s", PUBLISHED, "Lambda: SQS scaling")


@dataclass(frozen=True, slots=True)
class Limits:
    """The services' default limits in us-east-1."""

    api_rate: float = _is(10_000, "HTTP API requests a second, an account", PUBLISHED, "API Gateway quotas")
    api_seconds: float = _is(30, "an integration may take", PUBLISHED, "HTTP API quotas; cannot be raised")
    github_seconds: float = _is(10, "GitHub waits for an answer", PUBLISHED, "GitHub: webhooks, best practices")
    lambda_concurrency: float = _is(1_000, "runs at a time, an account; a new one has 10", PUBLISHED, "Lambda quotas")
    keep_alive: float = _is(600, "seconds an idle environment stays", ASSUMED, "not published; 5 to 15 minutes")
    ssm_rate: float = _is(40, "reads a second, an account, listing among them", PUBLISHED, "Systems Manager quotas")
    ssm_high_rate: float = _is(10_000, "GetParameter a second with higher throughput", PUBLISHED, "same")
    ssm_high_pages: float = _is(100, "GetParametersByPath a second with it", PUBLISHED, "same")
    ssm_standard: float = _is(10_000, "standard parameters, an account and region", PUBLISHED, "Parameter tiers")
    ssm_advanced: float = _is(100_000, "advanced parameters, the same", PUBLISHED, "Parameter tiers")
    sqs_group_rate: float = _is(300, "calls a second and action, a FIFO partition", PUBLISHED, "SQS message quotas")
    sqs_rate: float = _is(70_000, "calls a second and action, FIFO, high throughput", PUBLISHED, "SQS message quotas")
    sqs_in_flight: float = _is(120_000, "messages in flight, and searched for groups", PUBLISHED, "SQS: FIFO")
    efs_reads: float = _is(90_000, "reads a second, elastic, not read before", PUBLISHED, "EFS quotas")
    efs_writes: float = _is(50_000, "writes a second, elastic", PUBLISHED, "EFS quotas")
    efs_bursting_writes: float = _is(7_000, "writes a second, bursting or provisioned", PUBLISHED, "EFS quotas")
    efs_gib: float = _is(5, "GiB/s metered writes, elastic", PUBLISHED, "EFS quotas")
    efs_client_mib: float = _is(500, "MiB/s a client, without amazon-efs-utils", PUBLISHED, "EFS quotas")
    efs_clients: float = _is(25_000, "connections to a file system", PUBLISHED, "EFS quotas")
    github_reads: float = _is(
        15, "git reads a second, a repository, recommended", PUBLISHED, "GitHub: Repository limits"
    )
    github_pushes: float = _is(6, "pushes a minute, a repository, recommended", PUBLISHED, "GitHub: Repository limits")
    github_api: float = _is(
        5_000, "REST requests an hour, a token (commit statuses)", PUBLISHED, "GitHub: REST rate limits"
    )


@dataclass(frozen=True, slots=True)
class Prices:
    """List prices in USD, us-east-1, as known in 2026-11."""

    api: float = _is(1.00e-6, "HTTP API, a request", PUBLISHED, "Amazon API Gateway pricing")
    run: float = _is(0.20e-6, "Lambda, a run", PUBLISHED, "AWS Lambda pricing")
    gb_second: float = _is(1.33334e-5, "Lambda, a GB-second, arm64", PUBLISHED, "AWS Lambda pricing")
    snapshot: float = _is(1.5046e-6, "SnapStart, a GB-second kept", PUBLISHED, "AWS Lambda pricing")
    restore: float = _is(1.397998e-4, "SnapStart, a GB restored", PUBLISHED, "AWS Lambda pricing")
    schedule: float = _is(1.00e-6, "EventBridge Scheduler, a call", PUBLISHED, "Amazon EventBridge pricing")
    event: float = _is(1.00e-6, "EventBridge, an event", PUBLISHED, "Amazon EventBridge pricing")
    sqs: float = _is(0.50e-6, "SQS FIFO, a request", PUBLISHED, "Amazon SQS pricing")
    ssm_call: float = _is(
        5.0e-6, "Parameter Store, a call: advanced or higher throughput", PUBLISHED, "Systems Manager pricing"
    )
    ssm_advanced: float = _is(
        0.05, "Parameter Store, an advanced parameter a month", PUBLISHED, "Systems Manager pricing"
    )
    efs_stored: float = _is(0.30, "EFS Standard, a GB a month", PUBLISHED, "Amazon EFS pricing")
    efs_written: float = _is(0.06, "EFS elastic, a GB written", PUBLISHED, "Amazon EFS pricing")
    efs_read: float = _is(0.03, "EFS elastic, a GB read", PUBLISHED, "Amazon EFS pricing")
    egress_gb: float = _is(0.09, "sent to the internet, a GB", PUBLISHED, "Amazon EC2 pricing, data transfer")
    kms_call: float = _is(3.0e-6, "KMS, a decryption", PUBLISHED, "AWS KMS pricing")
    log_gb: float = _is(0.50, "CloudWatch Logs, a GB taken in", PUBLISHED, "Amazon CloudWatch pricing")
    metric: float = _is(0.30, "CloudWatch, a metric a month", PUBLISHED, "Amazon CloudWatch pricing")
    alarm: float = _is(0.10, "CloudWatch, an alarm a month", PUBLISHED, "Amazon CloudWatch pricing")
    dashboard: float = _is(3.00, "CloudWatch, a dashboard a month", PUBLISHED, "Amazon CloudWatch pricing")


@dataclass(frozen=True, slots=True)
class Free:
    """What AWS gives every account each month for nothing, for ever, in units of `Prices`."""

    runs: float = _is(1_000_000, "Lambda, runs", PUBLISHED, "AWS Lambda pricing")
    gb_seconds: float = _is(400_000, "Lambda, GB-seconds", PUBLISHED, "AWS Lambda pricing")
    sqs: float = _is(1_000_000, "SQS, requests", PUBLISHED, "Amazon SQS pricing")
    schedule: float = _is(14_000_000, "EventBridge Scheduler, calls", PUBLISHED, "Amazon EventBridge pricing")
    kms_calls: float = _is(20_000, "KMS, requests", PUBLISHED, "AWS KMS pricing")
    egress_gb: float = _is(100, "sent to the internet, GB", PUBLISHED, "Amazon EC2 pricing, data transfer")
    log_gb: float = _is(5, "CloudWatch Logs, GB", PUBLISHED, "Amazon CloudWatch pricing")
    metrics: float = _is(10, "CloudWatch, metrics", PUBLISHED, "Amazon CloudWatch pricing")
    alarms: float = _is(10, "CloudWatch, alarms", PUBLISHED, "Amazon CloudWatch pricing")


@dataclass(frozen=True, slots=True)
class Others:
    """Prices of what people run instead, or beside it, in USD."""

    hours: float = _is(730, "hours in a month", PUBLISHED, "AWS Pricing Calculator")
    nat_month: float = _is(36.50, "NAT gateway with its address, a month", PUBLISHED, "Amazon VPC pricing")
    instance_hour: float = _is(0.0042, "EC2 t4g.nano, an hour", PUBLISHED, "Amazon EC2 pricing")
    address_hour: float = _is(0.005, "a public IPv4 address, an hour", PUBLISHED, "Amazon VPC pricing")
    disk_month: float = _is(0.64, "8 GB of gp3, a month", PUBLISHED, "Amazon EBS pricing")
    fargate_processor: float = _is(0.04048, "Fargate, a processor's hour", PUBLISHED, "AWS Fargate pricing")
    fargate_gb: float = _is(0.004445, "Fargate, a GB's hour", PUBLISHED, "AWS Fargate pricing")


@dataclass(frozen=True, slots=True)
class Stack:
    """An operator's settings; the comments name the parameter in template.yaml, or the functions' variable."""

    is_queued: bool = False  # Delivery
    throttle_rate: float = 20.0  # ThrottleRate
    throttle_burst: int = 40  # ThrottleBurst
    webhook_concurrency: int = 1000  # ReservedConcurrency; 0 is the account's
    worker_concurrency: int = 5  # WorkerConcurrency
    reconcile_seconds: float = 300.0  # ReconcileRate
    memory_mb: int = 1769  # MemorySize, the publisher's
    driver_memory_mb: int = 1024  # what the functions that fetch have
    door_memory_mb: int = 512  # what the queued webhook has
    lock_seconds: float = 20.0  # GIT2EFS_LOCK_SECONDS
    secret_cache_seconds: float = 300.0  # GIT2EFS_SECRET_CACHE_SECONDS
    repository_cache_seconds: float = 30.0  # GIT2EFS_REPOSITORY_CACHE_SECONDS
    listing_cache_seconds: float = 60.0  # GIT2EFS_LISTING_CACHE_SECONDS
    burst_files: int = 1_000_000  # GIT2EFS_BURST_FILES
    ssm_rate: float = 40.0  # Parameter Store's throughput, of the account
    listing_rate: float = 20.0  # pages a second; handler/network/aws/rate_limit.py
    in_flight: int = 32  # the schedule's requests at a time
    grace_seconds: float = 300.0  # a repository's grace_seconds
    keep_releases: int = 3  # a repository's keep_releases
    batch: int = 10  # messages a worker takes

    def with_(self, **changes: Any) -> Self:
        """Return a copy with some fields changed."""
        return replace(self, **changes)
