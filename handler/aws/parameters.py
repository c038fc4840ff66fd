"""The webhook secret, the repositories and their tokens, from Parameter Store; cached, so no redeploy.

Rotation of the secret needs no downtime: the parameter's history says when a value was replaced, and for
`secret_overlap_seconds` from then on the old one still verifies. Deleting the parameter ends that, as its
history goes with it.

While Parameter Store does not answer, what is known goes on for up to an hour (STALE_SECONDS): a push that is
refused is lost, for GitHub does not send it again.
"""

import threading
import time
from collections.abc import Callable, Sequence
from itertools import pairwise

from handler.aws.cache import Cache, Lifetimes
from handler.aws.ssm import (
    ParameterNotThere,
    SSMClient,
    StoredVersion,
    make_ssm_client,
    read_history,
    read_version,
)
from handler.configuration import parse_repository
from handler.errors import ConfigurationInvalid, ParametersUnavailable, RepositoryUnknown, SecretUnusable
from handler.model import Repository
from handler.names import is_full_name
from handler.settings import Settings

__all__ = ["Parameters", "SSMClient", "make_ssm_client", "usable_values"]

STALE_SECONDS = 3600
RETRY_SECONDS = 15
SECRET_FAILURE_SECONDS = 5
"""How long a missing or closed secret is believed missing: short, since somebody is just putting it there."""

MAX_REPOSITORIES = 500
MAX_TOKENS = 100


class Parameters:
    """What Parameter Store holds for the stack. Safe between threads; the client is made at the first use."""

    def __init__(
        self,
        settings: Settings,
        client: Callable[[], SSMClient] = make_ssm_client,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`clock` gives seconds since the epoch, to compare with Parameter Store's own dates."""
        self._settings = settings
        self._make_client = client
        self._clock = clock
        self._lock = threading.Lock()
        self._client: SSMClient | None = None
        self._refreshed_at: float | None = None
        self._history: tuple[StoredVersion, ...] = ()
        self._problems: dict[str, tuple[str, ...]] = {}
        self._secret_name = f"{settings.parameter_prefix}/webhook-secret"
        for_secrets = Lifetimes(settings.secret_cache_seconds, SECRET_FAILURE_SECONDS, STALE_SECONDS, RETRY_SECONDS)
        for_repositories = Lifetimes(
            settings.repository_cache_seconds, settings.repository_cache_seconds, STALE_SECONDS, RETRY_SECONDS
        )
        self._secret: Cache[tuple[StoredVersion, ...]] = Cache(for_secrets, max_entries=1, clock=clock)
        self._tokens: Cache[str] = Cache(for_secrets, max_entries=MAX_TOKENS, clock=clock)
        # The text, not the repository: a wrong parameter then costs one call in the cache's time, as a good
        # one does.
        self._texts: Cache[str] = Cache(for_repositories, max_entries=MAX_REPOSITORIES, clock=clock)

    def prepare(self) -> None:
        """Make the client now, and connect to nothing. Raises ConfigurationInvalid."""
        self._ssm()

    def webhook_secrets(self) -> tuple[bytes, ...]:
        """Return the secrets that verify now: the current one, then those replaced lately, newest first.

        Raises SecretUnusable (missing, blank), ParametersUnavailable, ConfigurationInvalid.
        """
        return self._usable(self._secret.get(self._secret_name, self._read_secret))

    def refresh_webhook_secrets(self) -> tuple[bytes, ...] | None:
        """Read the secret afresh, since a signature did not match; return as `webhook_secrets`.

        None when the last such read is less than `secret_refresh_seconds` ago, or Parameter Store does not
        answer: there is nothing newer to try, and forged signatures shall neither wear out its quota nor turn
        their 401 into a 503. Raises SecretUnusable, ConfigurationInvalid.
        """
        now = self._clock()
        with self._lock:
            last = self._refreshed_at
            if last is not None and now - last < self._settings.secret_refresh_seconds:
                return None
            self._refreshed_at = now
        try:
            return self._usable(self._secret.read(self._secret_name, self._read_secret))
        except ParametersUnavailable:
            return None

    def secret_problems(self) -> tuple[str, ...]:
        """Return what looks wrong with the secrets read so far, as sentences that never show a value."""
        with self._lock:
            return tuple(sentence for sentences in self._problems.values() for sentence in sentences)

    def repository(self, full_name: str) -> Repository:
        """Return the repository that `<prefix>/repositories/<full_name>` describes.

        Raises RepositoryUnknown (no such parameter, or no such name possible), ConfigurationInvalid,
        ParametersUnavailable.
        """
        # Before the name becomes part of a parameter's: `..` or `:3` would ask for something else.
        if not is_full_name(full_name):
            raise RepositoryUnknown("this cannot be a repository's name")
        text = self._texts.get(full_name, lambda: self._read_repository(full_name))
        return parse_repository(full_name, text)

    def token(self, name: str) -> str:
        """Return the token in the SecureString `name`, fit for an HTTP header.

        A newline at its end, which most ways to store one add, is taken off and noted in `secret_problems`.
        Raises SecretUnusable (missing, blank, not printable ASCII), ParametersUnavailable,
        ConfigurationInvalid.
        """
        return self._tokens.get(name, lambda: self._read_token(name))

    def _usable(self, versions: Sequence[StoredVersion]) -> tuple[bytes, ...]:
        # Anew at each call: an overlap that ends within the cache's time ends then, not with the cache.
        values = usable_values(versions, self._clock(), self._settings.secret_overlap_seconds)
        return tuple(value.encode() for value in values)

    def _read_secret(self) -> tuple[StoredVersion, ...]:
        current = self._read_secure(self._secret_name)
        problems = _problems_of(self._secret_name, current)
        if self._settings.secret_overlap_seconds > 0:
            try:
                self._history = read_history(self._ssm(), self._secret_name)
            except (ConfigurationInvalid, ParameterNotThere):
                # Not worth refusing every delivery: only those signed with a replaced secret do not verify.
                self._history = ()
                problems.append(f"The history of {self._secret_name} cannot be read: a replaced secret ends at once.")
            except ParametersUnavailable:
                pass  # what was known of it is as good; versions do not change
        self._note(self._secret_name, problems)
        return (current, *(version for version in self._history if version.number < current.number))

    def _read_token(self, name: str) -> str:
        stored = self._read_secure(name)
        token = stored.value.rstrip("\r\n")
        if not token.isascii() or not token.isprintable() or " " in token:
            raise SecretUnusable(f"parameter {name} holds what cannot stand in an HTTP header")
        self._note(name, _problems_of(name, stored))
        return token

    def _read_secure(self, name: str) -> StoredVersion:
        try:
            stored = read_version(self._ssm(), name)
        except ParameterNotThere:
            raise SecretUnusable(f"parameter {name} is not there") from None
        if not stored.value.strip():
            raise SecretUnusable(f"parameter {name} is blank")
        return stored

    def _read_repository(self, full_name: str) -> str:
        name = f"{self._settings.parameter_prefix}/repositories/{full_name}"
        try:
            return read_version(self._ssm(), name).value
        except ParameterNotThere:
            raise RepositoryUnknown(f"there is no parameter {name}") from None

    def _note(self, name: str, problems: Sequence[str]) -> None:
        with self._lock:
            self._problems[name] = tuple(problems)

    def _ssm(self) -> SSMClient:
        with self._lock:  # making a client is not safe between threads in boto3; using one is
            if self._client is None:
                self._client = self._make_client()
            return self._client


def usable_values(versions: Sequence[StoredVersion], now: float, overlap_seconds: float) -> tuple[str, ...]:
    """Return the values that verify at `now`, the current one first, then the replaced ones, newest first.

    A version is replaced when the next one is written. Pure.
    """
    newest_first = sorted(versions, key=lambda version: version.number, reverse=True)
    values = [newest_first[0].value]
    for newer, older in pairwise(newest_first):
        if now < newer.modified_at + overlap_seconds and older.value.strip() and older.value not in values:
            values.append(older.value)
    return tuple(values)


def _problems_of(name: str, stored: StoredVersion) -> list[str]:
    """Return what looks like a slip in storing the value, which is used as it stands all the same."""
    value, problems = stored.value, []
    if not stored.is_secure:
        problems.append(f"{name} is not a SecureString: it can be read without its key.")
    if value.endswith(("\n", "\r")):
        problems.append(f"{name} ends with a newline.")
    elif value != value.strip():
        problems.append(f"{name} starts or ends with white space.")
    trimmed = value.strip()
    if len(trimmed) >= 2 and trimmed[0] == trimmed[-1] and trimmed[0] in "\"'":
        problems.append(f"{name} has quotes around it.")
    return problems
