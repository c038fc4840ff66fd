"""Parameter Store's calls, its failures translated into ours."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, cast

from handler.errors import ConfigurationInvalid, ParametersUnavailable
from handler.network.aws.client import AwsError, ClientOptions, call, make_client
from handler.network.aws.rate_limit import RateLimiter

OPTIONS = ClientOptions(attempts=2)
"""Few and short, because GitHub waits 10 s for the whole answer; meanwhile cached values are used."""
LISTING_OPTIONS = ClientOptions(attempts=6, retry_mode="adaptive")
"""A listing runs on a schedule, and nobody waits for it: better late than not."""

MAX_HISTORY_PAGES = 10
"""Parameter Store keeps 100 versions and returns 50 a page; more pages come only where some are not full."""


Text = str | ConfigurationInvalid
"""A parameter's text, or why it cannot be read."""


class SSMClient(Protocol):
    """The part of boto3's SSM client that we use."""

    def get_parameter(self, *, Name: str, WithDecryption: bool) -> Mapping[str, Any]: ...

    def get_parameter_history(
        self, *, Name: str, WithDecryption: bool, MaxResults: int, NextToken: str = ...
    ) -> Mapping[str, Any]: ...

    def get_parameters_by_path(
        self, *, Path: str, Recursive: bool, WithDecryption: bool, MaxResults: int, NextToken: str = ...
    ) -> Mapping[str, Any]: ...


class SSMWriter(Protocol):
    """The part that an operator's own command uses. No function writes a parameter."""

    def put_parameter(
        self, *, Name: str, Value: str, Type: str, Overwrite: bool, KeyId: str = ...
    ) -> Mapping[str, Any]: ...


class ParameterNotFound(Exception):
    """There is no parameter of that name; the caller decides what that means."""


@dataclass(frozen=True, slots=True)
class StoredVersion:
    """One version of a parameter; it replaced the previous one at `modified_at` (seconds since the epoch)."""

    number: int
    value: str = field(repr=False)
    modified_at: float
    is_secure: bool


@dataclass(frozen=True, slots=True)
class StoredParameter:
    """A parameter in a listing; where `is_secure`, the value is not decrypted."""

    name: str
    value: str = field(repr=False)
    is_secure: bool


def make_ssm_client() -> SSMClient:
    """Return the client for deliveries, with short timeouts.

    Raises ConfigurationInvalid when the environment names no region, or otherwise makes no client.
    """
    return _make_client(OPTIONS)


def make_listing_client() -> SSMClient:
    """Return a client that slows down and tries again when it is throttled. Raises as `make_ssm_client` does."""
    return _make_client(LISTING_OPTIONS)


def make_writer() -> SSMWriter:
    """Return a client that writes. Raises as `make_ssm_client` does."""
    return cast(SSMWriter, _make_client(OPTIONS))


def _make_client(options: ClientOptions) -> SSMClient:
    try:
        return cast(SSMClient, make_client("ssm", options))
    except AwsError as error:
        raise ConfigurationInvalid(f"no client for Parameter Store: {error.code}") from error


def read_version(client: SSMClient, name: str) -> StoredVersion:
    """Return the parameter's current version, decrypted.

    Raises ParameterNotFound, ParametersUnavailable (throttled, unreachable), ConfigurationInvalid (all else, such as
    access denied).
    """
    return _version(_call(client.get_parameter, name, Name=name, WithDecryption=True)["Parameter"])


def read_history(client: SSMClient, name: str) -> tuple[StoredVersion, ...]:
    """Return all versions that are kept, the current one too, decrypted. Raises as `read_version` does."""
    versions: list[StoredVersion] = []
    more: dict[str, str] = {}
    for _ in range(MAX_HISTORY_PAGES):
        page = _call(client.get_parameter_history, name, Name=name, WithDecryption=True, MaxResults=50, **more)
        versions.extend(_version(entry) for entry in page["Parameters"])
        if not page.get("NextToken"):
            break
        more = {"NextToken": page["NextToken"]}
    return tuple(versions)


def write_parameter(client: SSMWriter, name: str, value: str, *, kms_key: str | None) -> None:
    """Write a parameter, or its next version: a SecureString under `kms_key` ('': the account's own), None a String.

    Raises ParametersUnavailable, ConfigurationInvalid.
    """
    kind = "String" if kms_key is None else "SecureString"
    key = {"KeyId": kms_key} if kms_key else {}
    _call(client.put_parameter, name, Name=name, Value=value, Type=kind, Overwrite=True, **key)


def read_page(client: SSMClient, path: str, token: str | None) -> tuple[list[StoredParameter], str | None]:
    """Return one page of the parameters below `path`, and the token of the next page; None after the last.

    A page holds at most ten parameters, Parameter Store's maximum. It may hold fewer, or none, without being the last.
    Raises ParametersUnavailable, ConfigurationInvalid.
    """
    more = {} if token is None else {"NextToken": token}
    # Nothing is decrypted: one parameter under a key that we may not use would fail the whole page.
    page = _call(
        client.get_parameters_by_path, path, Path=path, Recursive=True, WithDecryption=False, MaxResults=10, **more
    )
    found = [
        StoredParameter(str(entry["Name"]), str(entry["Value"]), entry.get("Type") == "SecureString")
        for entry in page["Parameters"]
    ]
    return found, page.get("NextToken") or None


def list_texts(
    client: SSMClient, path: str, limiter: RateLimiter, read_at: Callable[[], float]
) -> Iterator[tuple[str, Text, float]]:
    """Yield every parameter below `path`: its name without the path, its text, and when it was read, by `read_at`.

    A SecureString is read by itself: where we may not use its key, only its own text is a failure. One that was deleted
    meanwhile is left out. Raises ParametersUnavailable, and ConfigurationInvalid where nothing can be listed.
    """
    token: str | None = None
    while True:
        limiter.wait()
        asked_at = read_at()
        page, token = read_page(client, path, token)
        for found in page:
            name = found.name.removeprefix(f"{path}/")
            if not found.is_secure:
                yield name, found.value, asked_at
                continue
            limiter.wait()
            try:
                yield name, read_version(client, found.name).value, read_at()
            except ParameterNotFound:
                continue
            except ConfigurationInvalid as error:
                yield name, error, read_at()
        if token is None:
            return


def _version(entry: Mapping[str, Any]) -> StoredVersion:
    return StoredVersion(
        number=int(entry["Version"]),
        value=str(entry["Value"]),
        modified_at=entry["LastModifiedDate"].timestamp(),
        is_secure=entry.get("Type") == "SecureString",
    )


def _call(method: Any, name: str, **arguments: object) -> Mapping[str, Any]:
    try:
        return call(method, **arguments)
    except AwsError as error:
        if error.code in ("ParameterNotFound", "ParameterVersionNotFound"):
            raise ParameterNotFound(name) from error
        kind = ParametersUnavailable if error.is_transient else ConfigurationInvalid
        raise kind(f"parameter {name}: {error.code}") from error
