"""The one caller of boto3: clients with short timeouts, made at their first use; every failure is an AwsError.

The functions import boto3 and botocore themselves: these are most of what a cold start loads, and neither the types nor
a fake need them.
"""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, cast

Client = TypeVar("Client")
Answer = TypeVar("Answer")

MAX_CODE_CHARACTERS = 60

_TRANSIENT_CODES = frozenset(
    {
        "InternalServerError",
        "KmsThrottled",
        "OverLimit",
        "RequestLimitExceeded",
        "RequestThrottled",
        "RequestTimeout",
        "RequestTimeoutException",
        "ServiceUnavailable",
        "TooManyUpdates",
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientOptions:
    """How long a client waits, and how often it tries.

    `attempts` counts the first one. Two are the least for a client that is kept: a connection that died while Lambda
    had frozen the process fails at its first use, and the second attempt opens a new one.
    """

    connect_timeout_seconds: float = 2
    read_timeout_seconds: float = 3
    attempts: int = 2
    retry_mode: str = "standard"
    max_pool_connections: int = 10
    tcp_keepalive: bool = False
    """Probe a connection on which an answer is long in coming."""


class AwsError(Exception):
    """A call failed, or no client could be made.

    `code` is the service's error code where it answered (`is_answer`), else the name of botocore's exception. The text
    of either stays out, since it quotes the request.
    """

    def __init__(self, code: str, *, is_transient: bool, is_answer: bool) -> None:
        """`is_transient` says that the service was throttled, broken or unreachable, which passes by itself."""
        super().__init__(code)
        self.code = code
        self.is_transient = is_transient
        self.is_answer = is_answer


def make_client(service: str, options: ClientOptions) -> Any:
    """Return boto3's client of a service, and connect to nothing. Raises AwsError without a region, for one."""
    import boto3
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError

    config = Config(
        connect_timeout=options.connect_timeout_seconds,
        read_timeout=options.read_timeout_seconds,
        retries={"total_max_attempts": options.attempts, "mode": options.retry_mode},
        max_pool_connections=options.max_pool_connections,
        tcp_keepalive=options.tcp_keepalive,
    )
    try:
        return boto3.client(service, config=config)
    except BotoCoreError as error:
        raise AwsError(type(error).__name__, is_transient=False, is_answer=False) from error


class LazyClient(Generic[Client]):
    """A client that is made at its first use. Safe for threads."""

    def __init__(self, make: Callable[[], Client]) -> None:
        """`make` returns the client; what it raises, `get` raises, and the next `get` tries again."""
        self._make = make
        self._lock = threading.Lock()
        self._client: Client | None = None

    def get(self) -> Client:
        """Return the client."""
        with self._lock:  # making a client is not safe between threads in boto3; using one is
            if self._client is None:
                self._client = self._make()
            return self._client


def call(method: Callable[..., Answer], **arguments: object) -> Answer:
    """Call a client's method, or read an answer's stream; return the answer. Raises AwsError."""
    from botocore.exceptions import BotoCoreError, ClientError, ConnectionError, HTTPClientError

    try:
        return method(**arguments)
    except ClientError as error:
        raise _answered(cast(Mapping[str, Any], error.response)) from error
    except (ConnectionError, HTTPClientError) as error:
        raise AwsError(type(error).__name__, is_transient=True, is_answer=False) from error
    except BotoCoreError as error:  # no credentials, no region, ...
        raise AwsError(type(error).__name__, is_transient=False, is_answer=False) from error


def shown_code(code: object) -> str:
    """Return a service's error code as printable ASCII, cut: it comes over the network and goes into a log line."""
    return ascii(str(code)[:MAX_CODE_CHARACTERS])[1:-1]


def _answered(response: Mapping[str, Any]) -> AwsError:
    code = shown_code(response.get("Error", {}).get("Code", ""))
    status = response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    is_throttled = "Throttl" in code or "TooManyRequests" in code
    # SQS puts a namespace before some of its codes: `AWS.SimpleQueueService.OverLimit`.
    is_transient = is_throttled or code.rpartition(".")[2] in _TRANSIENT_CODES or status >= 500 or status == 429
    return AwsError(code, is_transient=is_transient, is_answer=True)
