"""The webhook secrets, the repositories and their tokens, from Parameter Store; cached, so no redeploy.

While Parameter Store does not answer, what is known goes on for up to an hour (STALE_SECONDS): a push that is
refused is lost, for GitHub does not send it again.
"""

import threading
import time
from collections.abc import Callable, Iterator, Sequence

from handler.config.names import is_full_name
from handler.config.repository import parse_repository
from handler.errors import ConfigurationInvalid, RepositoryUnknown, SecretUnusable
from handler.model import Repository
from handler.network.aws.cache import Cache, Lifetimes
from handler.network.aws.client import LazyClient
from handler.network.aws.rate_limit import RateLimiter
from handler.network.aws.secrets import (
    RETRY_SECONDS,
    SECRET_FAILURE_SECONDS,
    STALE_SECONDS,
    WebhookSecrets,
    problems_of,
    read_secure,
    usable_values,
)
from handler.network.aws.ssm import (
    ParameterNotFound,
    SSMClient,
    Text,
    list_texts,
    make_listing_client,
    make_ssm_client,
    read_version,
)
from handler.settings import Settings

__all__ = [
    "RETRY_SECONDS",
    "SECRET_FAILURE_SECONDS",
    "STALE_SECONDS",
    "Parameters",
    "SSMClient",
    "make_ssm_client",
    "usable_values",
]

MAX_REPOSITORIES = 10_000
"""Of those that are known, and again of those that are not there; past that, the oldest are read again."""
MAX_TOKENS = 100


class Parameters:
    """What Parameter Store holds for the stack. Safe between threads; clients are made at their first use."""

    def __init__(
        self,
        settings: Settings,
        client: Callable[[], SSMClient] = make_ssm_client,
        clock: Callable[[], float] = time.time,
        listing_client: Callable[[], SSMClient] = make_listing_client,
        pace: Callable[[], RateLimiter] = RateLimiter,
    ) -> None:
        """`clock` gives seconds since the epoch, to compare with Parameter Store's own dates."""
        self._settings = settings
        self._client = LazyClient(client)
        # A client and a pace of its own: its retries are too patient for a delivery, and the cache lets one in.
        self._listing_client = LazyClient(listing_client)
        self._make_pace = pace
        self._clock = clock
        self._lock = threading.Lock()
        self._problems: dict[str, tuple[str, ...]] = {}
        self._repositories = f"{settings.parameter_prefix}/repositories"
        for_tokens = Lifetimes(settings.secret_cache_seconds, SECRET_FAILURE_SECONDS, STALE_SECONDS, RETRY_SECONDS)
        seconds = settings.repository_cache_seconds
        for_repositories = Lifetimes(seconds, seconds, STALE_SECONDS, RETRY_SECONDS)
        for_listing = Lifetimes(settings.listing_cache_seconds, RETRY_SECONDS, STALE_SECONDS, RETRY_SECONDS)
        self._secrets = WebhookSecrets(settings, self._client.get, clock, self._note)
        self._tokens: Cache[str] = Cache(for_tokens, max_entries=MAX_TOKENS, clock=clock)
        # The text, not the repository: a wrong parameter then costs one call in the cache's time, as a good
        # one does.
        self._texts: Cache[str] = Cache(for_repositories, max_entries=MAX_REPOSITORIES, clock=clock)
        self._listing: Cache[tuple[tuple[str, Text], ...]] = Cache(for_listing, max_entries=1, clock=clock)

    def prepare(self) -> None:
        """Make the client now, and connect to nothing. Raises ConfigurationInvalid."""
        self._client.get()

    def webhook_secrets(self, url_repository: str | None = None) -> tuple[bytes, ...]:
        """Return the secrets that verify now: the current one, then those replaced lately, newest first.

        Of the repository that the URL names, None the common one; raises as `WebhookSecrets.get`.
        """
        return self._secrets.get(url_repository)

    def refresh_webhook_secrets(self, url_repository: str | None = None) -> tuple[bytes, ...] | None:
        """Read the secret afresh, since a signature did not match; None where there is nothing newer to try.

        Raises as `WebhookSecrets.refresh`.
        """
        return self._secrets.refresh(url_repository)

    def verified(self, url_repository: str | None) -> None:
        """Take note that a signature fits: what was read for this request counts as no stranger's."""
        self._secrets.verified(url_repository)

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

    def repositories(self) -> Iterator[tuple[str, Repository | ConfigurationInvalid]]:
        """Return every repository there is a parameter for, by its name: read, or what is wrong with it.

        Read at a pace of `rate_limit.PAGES_PER_SECOND`, ten a page, and remembered for `listing_cache_seconds`; what is
        seen also serves `repository`. Raises, at the call, ParametersUnavailable and ConfigurationInvalid where there
        is no listing at all.
        """
        texts = self._listing.get("", self._list)
        return ((full_name, _parsed(full_name, text)) for full_name, text in texts)

    def token(self, name: str) -> str:
        """Return the token in the SecureString `name`, fit for an HTTP header.

        A newline at its end, which most ways to store one add, is taken off and noted in `secret_problems`.
        Raises SecretUnusable (missing, blank, not printable ASCII), ParametersUnavailable,
        ConfigurationInvalid.
        """
        return self._tokens.get(name, lambda: self._read_token(name))

    def token_of(self, repository: Repository) -> str | None:
        """Return the repository's token, None where it needs none. Raises as `token`."""
        return self.token(repository.credentials) if repository.credentials else None

    def diagnose(self, name: str) -> tuple[str, ...]:
        """Read a secret now, for a person; return what looks wrong with it, as sentences that never show the value.

        Raises SecretUnusable (missing, blank), ParametersUnavailable, ConfigurationInvalid.
        """
        try:
            return tuple(problems_of(name, read_secure(self._client.get(), name)))
        except ParameterNotFound:
            raise SecretUnusable(f"parameter {name} is not there") from None

    def _read_token(self, name: str) -> str:
        try:
            stored = read_secure(self._client.get(), name)
        except ParameterNotFound:
            raise SecretUnusable(f"parameter {name} is not there") from None
        token = stored.value.rstrip("\r\n")
        if not token.isascii() or not token.isprintable() or " " in token:
            raise SecretUnusable(f"parameter {name} holds what cannot stand in an HTTP header")
        self._note(name, problems_of(name, stored))
        return token

    def _read_repository(self, full_name: str) -> str:
        name = f"{self._repositories}/{full_name}"
        try:
            return read_version(self._client.get(), name).value
        except ParameterNotFound:
            raise RepositoryUnknown(f"there is no parameter {name}") from None

    def _list(self) -> tuple[tuple[str, Text], ...]:
        found = list_texts(self._listing_client.get(), self._repositories, self._make_pace(), self._clock)
        texts = []
        for full_name, text, read_at in found:
            texts.append((full_name, text))
            if isinstance(text, str) and is_full_name(full_name):
                self._texts.learn(full_name, text, read_at)
        return tuple(texts)

    def _note(self, name: str, problems: Sequence[str]) -> None:
        with self._lock:
            if problems:
                self._problems[name] = tuple(problems)
            else:
                self._problems.pop(name, None)


def _parsed(full_name: str, text: Text) -> Repository | ConfigurationInvalid:
    if isinstance(text, ConfigurationInvalid):
        return text
    try:
        return parse_repository(full_name, text)
    except ConfigurationInvalid as error:
        return error
