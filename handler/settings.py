"""The process's settings: from a mapping of environment variables to one frozen value, all problems reported at once.

A field `lock_seconds` is read from `GIT2EFS_LOCK_SECONDS`; template.yaml sets the same names, and a test compares
the two. docs/configuration.md takes its table from the fields' docstrings.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from types import MappingProxyType

from handler.errors import ConfigurationInvalid

ENVIRONMENT_PREFIX = "GIT2EFS_"

MIB = 1024 * 1024
MIN_OBJECT_BYTES = 100 * MIB
_LAMBDA_MEMORY = "AWS_LAMBDA_FUNCTION_MEMORY_SIZE"
"""Lambda sets it: the function's memory in MiB."""

_HOST_NAME = r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,251}[A-Za-z0-9_])?"
_FUNCTION = re.compile(
    r"(?:arn:[a-z-]+:lambda:[a-z0-9-]+:[0-9]{12}:function:)?[A-Za-z0-9_-]{1,64}(?::[A-Za-z0-9$_-]{1,128})?"
)
"""A Lambda function's name or ARN, with or without a version or alias."""
_HOST = re.compile(rf"(?:{_HOST_NAME}|\[[0-9A-Fa-f:.]{{2,45}}\])(?::[1-9][0-9]{{0,4}})?")
_PROXY = re.compile(rf"https?://(?:[\x21-\x3f\x41-\x7e]+@)?{_HOST.pattern}/?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The settings of a stack; a repository's own are in its parameter."""

    parameter_prefix: str
    """Parameters live under it: `<prefix>/webhook-secret`, `<prefix>/repositories/<owner>/<name>`."""
    mount: str
    """Where the file system is mounted, absolute."""
    allowed_hosts: str = "github.com"
    """The hosts that a token may be sent to which names none of its own, with commas between them."""
    allow_sha1: bool = False
    """Accept X-Hub-Signature (sha1) where no sha256 header is there."""
    event_bus: str = ""
    """The name of the EventBridge bus that gets an event for each outcome; empty: no events."""
    max_body_bytes: int = 6 * MIB
    """A larger body is refused before it is verified. Lambda's own limit is 6 MiB."""
    secret_cache_seconds: int = 300
    """How long a secret is cached."""
    secret_overlap_seconds: int = 86_400
    """How long a replaced secret still verifies signatures."""
    secret_refresh_seconds: int = 15
    """The secret is read afresh at most once in this time, however many signatures do not match."""
    repository_cache_seconds: int = 30
    """How long a repository's parameter is cached."""
    listing_cache_seconds: int = 60
    """How long the list of all repositories is cached; it costs a request for each ten of them."""
    longest_pause_seconds: int = 5400
    """How long the schedule asks no remote of a repository in which nothing happens, at most; 0: ask all in every run.

    The 200 repositories whose turn comes soonest are asked in every run.
    """
    max_targets: int = 100
    """How many targets one repository may have; without this bound a pattern could make any number."""
    connect_timeout_seconds: float = 3.0
    """How long connecting to the remote may take."""
    read_timeout_seconds: float = 20.0
    """How long the remote may be silent in the middle of an answer."""
    request_seconds: float = 300.0
    """How long one request to the remote may take, its tries, its answer and the pack included."""
    fetch_attempts: int = 3
    """Tries of one request to the remote, where the failure is transient."""
    lag_seconds: float = 4.0
    """How long to ask again for a ref that lags behind its webhook; then the push fails with `ref_lags`."""
    lock_seconds: float = 20.0
    """How long a run waits for the repository's lock."""
    max_pack_bytes: int = 4096 * MIB
    """A fetch that brings more is aborted."""
    max_object_bytes: int = MIN_OBJECT_BYTES
    """A larger object (file, tree, commit) is refused before it is inflated.

    By default a quarter of the Lambda function's memory, and at least 100 MiB. An object and what it is made from are
    in memory together.
    """
    max_tree_bytes: int = 20 * 1024 * MIB
    """A tree whose files have more bytes together is refused before its first file is written.

    A repository's `max_tree_bytes` comes first.
    """
    burst_files: int = 1_000_000
    """Files that all releases of one target may hold together, before a push waits for the oldest one's grace to end.

    Eight releases are always allowed.
    """
    spare_files: int = 200_000
    """Files that all spares of one target may hold together, and so a tree too; 0: no spares.

    Spares are complete trees that the next pushes are written into, so that each push costs its own change alone.
    """
    background: bool = False
    """Make spares in a thread of this process, where no publisher is named. Not in Lambda, which stops threads."""
    checkout_workers: int = 32
    """File operations in flight while a tree is checked out."""
    max_open_files: int = 640
    """File descriptors that check-outs and comparisons may hold open, all repositories together; at most five eighths
    of what the system allows the process. Lambda allows 1,024. A check-out waits for them.
    """
    queue_url: str = ""
    """The FIFO queue for verified pushes; empty: a push is reconciled at once, while GitHub waits."""
    all_metrics: bool = True
    """Give CloudWatch every metric; false: only those that the alarms of `Monitoring=alarms` read."""
    dead_letter_url: str = ""
    """The FIFO queue for messages that need a person; only the worker sends to it."""
    ca: str = ""
    """The name of the parameter below `<prefix>/ca/` with the certificates (PEM) of authorities of one's own, who may
    sign every remote's; empty: only the public ones.
    """
    https_proxy: str = ""
    """The URL of the proxy through which https remotes are reached, and AWS; also `https_proxy`; empty: none."""
    no_proxy: str = ""
    """Hosts that are reached without the proxy, with commas between them: a name is meant with all below it, with a
    port or without; also `no_proxy`.
    """
    publisher: str = ""
    """The name or ARN of the function that publishes; empty: publish in this process."""


_BOUNDS: Mapping[str, tuple[float, float]] = MappingProxyType(
    {
        "max_body_bytes": (1024, 25 * MIB),
        "secret_cache_seconds": (1, 3600),
        "secret_overlap_seconds": (0, 30 * 86_400),
        "secret_refresh_seconds": (1, 3600),
        "repository_cache_seconds": (0, 3600),
        "listing_cache_seconds": (0, 3600),
        "longest_pause_seconds": (0, 21_600),
        "max_targets": (1, 10_000),
        "connect_timeout_seconds": (0.1, 60),
        "read_timeout_seconds": (0.1, 300),
        "request_seconds": (1, 900),
        "fetch_attempts": (1, 10),
        "lag_seconds": (0, 60),
        "lock_seconds": (0, 800),
        "max_pack_bytes": (1024, 1024 * 1024 * MIB),
        "max_object_bytes": (1024, 1024 * 1024 * MIB),
        "max_tree_bytes": (1024, 1024 * 1024 * 1024 * MIB),
        "burst_files": (1, 1_000_000_000),
        "spare_files": (0, 1_000_000_000),
        "checkout_workers": (1, 256),
        "max_open_files": (12, 1_000_000),
    }
)


_CONVENTIONAL = frozenset({"https_proxy", "no_proxy"})
"""Settings whose variables everybody reads: they have no prefix, and may be in lower case."""


def variable_of(field: str) -> str:
    """Return the name of the environment variable that a field is read from."""
    return field.upper() if field in _CONVENTIONAL else ENVIRONMENT_PREFIX + field.upper()


def read_settings(environment: Mapping[str, str]) -> Settings:
    """Return the settings that `environment` holds.

    Raises ConfigurationInvalid, naming every variable that is missing or wrong.
    """
    problems: list[str] = []
    values: dict[str, str | int | float | bool] = {}
    if (memory := environment.get(_LAMBDA_MEMORY, "")).isdecimal():
        values["max_object_bytes"] = max(MIN_OBJECT_BYTES, int(memory) * MIB // 4)
    for field in fields(Settings):
        name = variable_of(field.name)
        text = environment.get(name, "").strip()
        if field.name in _CONVENTIONAL:
            text = environment.get(field.name, "").strip() or text
        if not text:
            if field.name in ("parameter_prefix", "mount"):
                problems.append(f"{name} is not set")
            continue
        try:
            values[field.name] = _parse(field.name, text)
        except ValueError as error:
            problems.append(f"{name} {error}")
    if problems:
        raise ConfigurationInvalid("; ".join(problems))
    return Settings(**values)  # type: ignore[arg-type]


def is_host(entry: str) -> bool:
    """Whether `entry` is a host's name or address (IPv6 in brackets), with or without a port."""
    return _HOST.fullmatch(entry) is not None


def _parse_hosts(text: str) -> str:
    hosts = [host.strip() for host in text.lower().split(",")]
    if not all(map(is_host, hosts)):
        raise ValueError("must be hosts, each with or without a port, with commas between them")
    return ",".join(hosts)


def _parse_function(text: str) -> str:
    if not _FUNCTION.fullmatch(text):
        raise ValueError("must be a Lambda function's name or ARN")
    return text


def _parse_proxy(text: str) -> str:
    url = text if "://" in text else f"http://{text}"
    if not _PROXY.fullmatch(url):
        raise ValueError("must be a proxy's URL: http://HOST:PORT, with or without USER:PASSWORD@")
    return url.rstrip("/")


_TEXTS: Mapping[str, Callable[[str], str]] = MappingProxyType(
    {
        "event_bus": str,
        "allowed_hosts": _parse_hosts,
        "publisher": _parse_function,
        "ca": str,
        "https_proxy": _parse_proxy,
        "no_proxy": str,
    }
)


def _parse(name: str, text: str) -> str | int | float | bool:
    """Return the field's value; ValueError says what is wrong, without the value of a text field."""
    if name in ("parameter_prefix", "mount"):
        if not text.startswith("/") or text.endswith("/"):
            raise ValueError("must start with a slash and not end with one")
        return text
    if name in ("queue_url", "dead_letter_url"):
        if not text.startswith(("https://", "http://")):
            raise ValueError("must be a queue's URL")
        return text
    if name in ("allow_sha1", "all_metrics", "background"):
        if text.lower() not in ("true", "false"):
            raise ValueError("must be true or false")
        return text.lower() == "true"
    if name in _TEXTS:
        return _TEXTS[name](text)
    number: int | float
    try:
        number = float(text) if Settings.__annotations__[name] is float else int(text)
    except ValueError:
        raise ValueError(f"must be a number, not {text[:20]!r}") from None
    low, high = _BOUNDS[name]
    if not low <= number <= high:
        raise ValueError(f"must be from {low:g} to {high:g}, not {number:g}")
    return number
