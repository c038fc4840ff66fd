"""Webhook secrets, repositories and tokens, read from Parameter Store and cached; to change them needs no redeploy.

A repository's own parameter is read first; where there is none, the one of its owner, a rule for all the others.

While Parameter Store does not answer, cached values are used for up to an hour (STALE_SECONDS): a push that is refused
is lost, since GitHub does not send it again.
"""

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from handler.config.names import is_full_name, is_owner
from handler.errors import ConfigurationInvalid, Git2EfsError, RepositoryUnknown
from handler.model import Repository
from handler.network.aws.cache import Cache, Lifetimes
from handler.network.aws.client import LazyClient
from handler.network.aws.listing import described, parse, parse_rule
from handler.network.aws.rate_limit import RateLimiter
from handler.network.aws.secrets import (
    RETRY_SECONDS,
    SECRET_FAILURE_SECONDS,
    STALE_SECONDS,
    WebhookSecrets,
    problems_of,
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

if TYPE_CHECKING:
    from handler.config.owners import OwnerRule
    from handler.network.aws.credentials import Credentials, Token

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
"""How many repositories are cached, and again how many names that do not exist; beyond that the oldest are dropped."""

_RULED = ""
"""Cached as the text of a repository without a parameter that its owner's rule includes. No parameter is empty."""


class Parameters:
    """What Parameter Store holds for the stack. Safe for threads; clients are made at their first use."""

    def __init__(
        self,
        settings: Settings,
        client: Callable[[], SSMClient] = make_ssm_client,
        clock: Callable[[], float] = time.time,
        listing_client: Callable[[], SSMClient] = make_listing_client,
        make_limiter: Callable[[], RateLimiter] = RateLimiter,
    ) -> None:
        """`clock` gives seconds since the epoch, to compare with Parameter Store's own dates."""
        self._settings = settings
        self._client = LazyClient(client)
        # A client of its own, since its retries take too long for a delivery. The cache lets one thread list at a time.
        self._listing_client = LazyClient(listing_client)
        self._make_limiter = make_limiter
        self._clock = clock
        self._lock = threading.Lock()
        self._problems: dict[str, tuple[str, ...]] = {}
        self._repositories = f"{settings.parameter_prefix}/repositories"
        seconds = settings.repository_cache_seconds
        for_repositories = Lifetimes(seconds, seconds, STALE_SECONDS, RETRY_SECONDS)
        for_listing = Lifetimes(settings.listing_cache_seconds, RETRY_SECONDS, STALE_SECONDS, RETRY_SECONDS)
        self._secrets = WebhookSecrets(settings, self._client.get, clock, self._note_problems)
        self._credentials: Credentials | None = None
        # Cache the text, not the repository: an invalid parameter then costs no more calls than a valid one.
        self._texts: Cache[str] = Cache(for_repositories, max_entries=MAX_REPOSITORIES, clock=clock)
        self._listing: Cache[tuple[tuple[str, Text], ...]] = Cache(for_listing, max_entries=1, clock=clock)

    def close(self) -> None:
        """Close the connections by which GitHub Apps' tokens were made."""
        if self._credentials is not None:
            self._credentials.close()

    def prepare(self) -> None:
        """Make the client now; connect to nothing. Raises ConfigurationInvalid."""
        self._client.get()

    def webhook_secrets(self, url_repository: str | None = None) -> tuple[bytes, ...]:
        """Return the secrets that verify now; None is the common URL. See `WebhookSecrets.get`."""
        return self._secrets.get(url_repository)

    def refresh_webhook_secrets(self, url_repository: str | None = None) -> tuple[bytes, ...] | None:
        """Read the secrets again, since a signature did not match. See `WebhookSecrets.refresh`."""
        return self._secrets.refresh(url_repository)

    def note_verified(self, url_repository: str | None) -> None:
        """Note that a signature verified. See `WebhookSecrets.note_verified`."""
        self._secrets.note_verified(url_repository)

    def secret_problems(self) -> tuple[str, ...]:
        """Return what looks wrong with the secrets that were read so far, as sentences that never show a value."""
        with self._lock:
            return tuple(sentence for sentences in self._problems.values() for sentence in sentences)

    def repository(self, full_name: str) -> Repository:
        """Return the repository that `<prefix>/repositories/<full_name>` describes, or else the rule of its owner.

        Raises RepositoryUnknown (no such parameter and no rule that includes it, or no such name possible),
        ConfigurationInvalid, ParametersUnavailable.
        """
        # Before the name becomes part of a parameter's name: `..` or `:3` would name another parameter or version.
        if not is_full_name(full_name):
            raise RepositoryUnknown("this cannot be a repository's name")
        text = self._text_of(full_name)
        if text != _RULED:
            return parse(full_name, text)
        rule = self._rule_of(full_name)
        # The rule may have changed since the repository was found to have no parameter of its own.
        if not rule.includes(full_name):
            raise RepositoryUnknown(f"the rule {self._repositories}/{rule.owner} does not include {full_name}")
        return rule.repository(full_name)

    def has_parameter(self, full_name: str) -> bool:
        """Whether the repository has a parameter of its own, valid or not. Raises as `repository`, but not for none."""
        try:
            return self._text_of(full_name) != _RULED
        except RepositoryUnknown:
            return False

    def _text_of(self, full_name: str) -> str:
        return self._texts.get(full_name, lambda: self._read_repository(full_name))

    def repositories(
        self, published: Callable[[], Iterable[str]] = tuple
    ) -> Iterator[tuple[str, Repository | ConfigurationInvalid]]:
        """Return every repository that has a parameter, as (name, repository or what is wrong with its parameter).

        Also those of `published()` that have none, and that their owner's rule includes; it is called only where there
        is a rule. A rule that is wrong comes once, by its owner's name.

        Lists ten parameters a page, at `rate_limit.PAGES_PER_SECOND`, and caches the list for `listing_cache_seconds`,
        and each text for `repository`. The call itself, not the iterator, raises ParametersUnavailable, and
        ConfigurationInvalid where nothing can be listed.
        """
        return described(self._listing.get("", self._list), published)

    def owners(self) -> tuple[str, ...]:
        """Return the owners that have a rule, valid or not. Raises as `repositories` does."""
        return tuple(name for name, _ in self._listing.get("", self._list) if is_owner(name))

    def token_of(self, repository: Repository) -> "Token | None":
        """Return what opens the repository's remote; None where it has neither credentials nor authorities.

        A newline at its end, which many ways of storing a value add, is removed and noted in `secret_problems`. Raises
        SecretUnusable (missing, blank, not printable ASCII), ParametersUnavailable, and ConfigurationInvalid, also
        where the token is not for this repository, or its url's host; for a GitHub App also what `AppTokens.get`
        raises.
        """
        if not (repository.credentials or repository.ca or self._settings.ca):
            return None
        return self._made_credentials().token_of(repository)

    def _made_credentials(self) -> "Credentials":
        # Imported when it is used: who has public repositories alone does not pay for it.
        from handler.network.aws.credentials import Credentials

        with self._lock:
            if self._credentials is None:
                self._credentials = Credentials(self._settings, self._client.get, self._clock, self._note_problems)
            return self._credentials

    def diagnose(self, name: str) -> tuple[str, ...]:
        """Read a secret now, past the cache; return what looks wrong with it, as sentences that never show the value.

        Raises SecretUnusable (missing, blank), ParametersUnavailable, ConfigurationInvalid.
        """
        return tuple(problems_of(name, self._made_credentials().read_stored(name)))

    def _read_repository(self, full_name: str) -> str:
        name = f"{self._repositories}/{full_name}"
        try:
            return read_version(self._client.get(), name).value
        except ParameterNotFound:
            if self._is_included(full_name):
                return _RULED
            hint = self._hint_at_case(full_name)
            raise RepositoryUnknown(f"there is no parameter {name}{hint}") from None

    def _rule_of(self, full_name: str) -> "OwnerRule":
        """Return the rule of the repository's owner. Raises RepositoryUnknown (there is none), and as `repository`."""
        # Under its owner's name, which no repository has: one call serves all of an owner's repositories.
        owner = full_name.partition("/")[0]
        return parse_rule(owner, self._texts.get(owner, lambda: self._read_rule(owner)))

    def _read_rule(self, owner: str) -> str:
        name = f"{self._repositories}/{owner}"
        try:
            return read_version(self._client.get(), name).value
        except ParameterNotFound:
            raise RepositoryUnknown(f"there is no parameter {name}") from None

    def _is_included(self, full_name: str) -> bool:
        try:
            return self._rule_of(full_name).includes(full_name)
        except RepositoryUnknown:
            return False

    def _hint_at_case(self, full_name: str) -> str:
        """Return the end of a sentence where a configured repository's name is the same but for its letter case."""
        # GitHub tells names as their owners spell them, and people type them in lower case. To look for any other
        # spelling would take a list of all names, which the webhook's role may not read.
        spelling = full_name.lower()
        if spelling == full_name:
            return ""
        try:
            read_version(self._client.get(), f"{self._repositories}/{spelling}")
        except (Git2EfsError, ParameterNotFound):
            return ""
        return f", but there is one of {spelling}: letter case counts, name it as GitHub does"

    def _list(self) -> tuple[tuple[str, Text], ...]:
        found = list_texts(self._listing_client.get(), self._repositories, self._make_limiter(), self._clock)
        texts = []
        for full_name, text, read_at in found:
            texts.append((full_name, text))
            if isinstance(text, str) and (is_full_name(full_name) or is_owner(full_name)):
                self._texts.put(full_name, text, read_at)
        return tuple(texts)

    def _note_problems(self, name: str, problems: Sequence[str]) -> None:
        with self._lock:
            if problems:
                self._problems[name] = tuple(problems)
            else:
                self._problems.pop(name, None)
