"""Parameter Store's calls, with its failures turned into ours.

boto3 and botocore are imported inside the functions: they are most of what a cold start loads, and whoever
only wants the types, or brings a fake, does not need them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, cast

from handler.errors import ConfigurationInvalid, Git2EfsError, ParametersUnavailable

if TYPE_CHECKING:
    from botocore.exceptions import ClientError

CONNECT_TIMEOUT_SECONDS = 2
READ_TIMEOUT_SECONDS = 3
ATTEMPTS = 2
"""So few because GitHub hears nothing after 10 seconds; what is cached goes on meanwhile."""

LISTING_ATTEMPTS = 6
"""A listing runs on a schedule, and nobody waits for it: better late than not."""

MAX_HISTORY_PAGES = 10
"""Parameter Store keeps 100 versions, 50 a page; the rest is room for pages that are not full."""

_TRANSIENT_CODES = frozenset(
    {
        "InternalServerError",
        "RequestLimitExceeded",
        "RequestTimeout",
        "RequestTimeoutException",
        "ServiceUnavailable",
        "Throttling",
        "ThrottlingException",
        "TooManyRequestsException",
        "TooManyUpdates",
    }
)


class SSMClient(Protocol):
    """What is used of boto3's SSM client; tests bring their own."""

    def get_parameter(self, *, Name: str, WithDecryption: bool) -> Mapping[str, Any]: ...

    def get_parameter_history(
        self, *, Name: str, WithDecryption: bool, MaxResults: int, NextToken: str = ...
    ) -> Mapping[str, Any]: ...

    def get_parameters_by_path(
        self, *, Path: str, Recursive: bool, WithDecryption: bool, MaxResults: int, NextToken: str = ...
    ) -> Mapping[str, Any]: ...


class ParameterNotFound(Exception):
    """Parameter Store knows no parameter of that name; what that means is for the caller to say."""


@dataclass(frozen=True, slots=True)
class StoredVersion:
    """One version of a parameter; it replaced the one before at `modified_at` (seconds since the epoch)."""

    number: int
    value: str = field(repr=False)
    modified_at: float
    is_secure: bool


@dataclass(frozen=True, slots=True)
class StoredParameter:
    """A parameter as a listing shows it; the value of one that `is_secure` is not decrypted."""

    name: str
    value: str = field(repr=False)
    is_secure: bool


def make_ssm_client() -> SSMClient:
    """Return boto3's client, with short timeouts: GitHub waits 10 s for the whole answer.

    Raises ConfigurationInvalid when the environment names no region, or otherwise makes no client.
    """
    return _make_client(ATTEMPTS, "standard")


def make_listing_client() -> SSMClient:
    """Return a client that slows down and tries again when it is throttled. Raises as `make_ssm_client`."""
    return _make_client(LISTING_ATTEMPTS, "adaptive")


def _make_client(attempts: int, mode: str) -> SSMClient:
    import boto3
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError

    config = Config(
        connect_timeout=CONNECT_TIMEOUT_SECONDS,
        read_timeout=READ_TIMEOUT_SECONDS,
        retries={"total_max_attempts": attempts, "mode": mode},
    )
    try:
        return cast(SSMClient, boto3.client("ssm", config=config))
    except BotoCoreError as error:
        raise ConfigurationInvalid(f"no client for Parameter Store: {type(error).__name__}") from error


def read_version(client: SSMClient, name: str) -> StoredVersion:
    """Return the parameter's current version, decrypted.

    Raises ParameterNotFound, ParametersUnavailable, ConfigurationInvalid (access denied, and all else).
    """
    return _version(_call(client.get_parameter, name, Name=name, WithDecryption=True)["Parameter"])


def read_history(client: SSMClient, name: str) -> tuple[StoredVersion, ...]:
    """Return all versions that are kept, the current one among them, decrypted. Raises as `read_version`."""
    versions: list[StoredVersion] = []
    more: dict[str, str] = {}
    for _ in range(MAX_HISTORY_PAGES):
        page = _call(client.get_parameter_history, name, Name=name, WithDecryption=True, MaxResults=50, **more)
        versions.extend(_version(entry) for entry in page["Parameters"])
        if not page.get("NextToken"):
            break
        more = {"NextToken": page["NextToken"]}
    return tuple(versions)


def read_page(client: SSMClient, path: str, token: str | None) -> tuple[list[StoredParameter], str | None]:
    """Return one page of the parameters below `path`, and what asks for the next one; None after the last.

    Ten a page is Parameter Store's maximum, and a page may hold fewer, or none, and not be the last. Nothing is
    decrypted: one parameter under a key that is closed would fail the whole page. Raises ParametersUnavailable,
    ConfigurationInvalid.
    """
    more = {} if token is None else {"NextToken": token}
    page = _call(
        client.get_parameters_by_path, path, Path=path, Recursive=True, WithDecryption=False, MaxResults=10, **more
    )
    found = [
        StoredParameter(str(entry["Name"]), str(entry["Value"]), entry.get("Type") == "SecureString")
        for entry in page["Parameters"]
    ]
    return found, page.get("NextToken") or None


def _version(entry: Mapping[str, Any]) -> StoredVersion:
    return StoredVersion(
        number=int(entry["Version"]),
        value=str(entry["Value"]),
        modified_at=entry["LastModifiedDate"].timestamp(),
        is_secure=entry.get("Type") == "SecureString",
    )


def _call(method: Any, name: str, **arguments: Any) -> Mapping[str, Any]:
    from botocore.exceptions import BotoCoreError, ClientError, ConnectionError, HTTPClientError

    try:
        return cast(Mapping[str, Any], method(**arguments))
    except ClientError as error:
        raise _failure(error, name) from error
    except (ConnectionError, HTTPClientError) as error:
        raise ParametersUnavailable(f"parameter {name}: {type(error).__name__}") from error
    except BotoCoreError as error:  # no credentials, no region, ...
        raise ConfigurationInvalid(f"parameter {name}: {type(error).__name__}") from error


def _failure(error: "ClientError", name: str) -> Git2EfsError | ParameterNotFound:
    """Return what the service's answer means to us; its text stays out, since it quotes the request."""
    code = str(error.response.get("Error", {}).get("Code", ""))
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    if code in ("ParameterNotFound", "ParameterVersionNotFound"):
        return ParameterNotFound(name)
    if code in _TRANSIENT_CODES or status >= 500 or status == 429:
        return ParametersUnavailable(f"parameter {name}: {code}")
    return ConfigurationInvalid(f"parameter {name}: {code}")
