"""What opens a repository's remote: its credential, read and checked, and the authorities that sign its certificate.

Where the credential is a GitHub App's key, the token is made from it (`network.app_tokens`).
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from handler.config.credential import Credential, parse_credential
from handler.errors import ConfigurationInvalid, SecretUnusable
from handler.model import Repository
from handler.network.aws.cache import BoundedMapping, Cache, Lifetimes
from handler.network.aws.secrets import (
    RETRY_SECONDS,
    SECRET_FAILURE_SECONDS,
    STALE_SECONDS,
    NoteProblems,
    problems_of,
    read_secure,
)
from handler.network.aws.ssm import ParameterNotFound, SSMClient, StoredVersion, read_version
from handler.settings import Settings

if TYPE_CHECKING:
    from handler.network.app_tokens import AppTokens
    from handler.network.aws.secrets_manager import SecretsManagerClient

MAX_TOKENS = 100


@dataclass(frozen=True, slots=True)
class Token:
    """What opens a repository's remote: a token, valid in an HTTP header, or None; and `ca` as in HttpRemote.

    `renew()` reads the token past the cache, where a remote refuses it. It returns None where it is the same, and
    raises what `Parameters.token_of` raises.
    """

    value: str | None = field(repr=False)
    renew: Callable[[], str | None] = field(repr=False, compare=False)
    ca: str | None = field(default=None, repr=False)


class Credentials:
    """Reads and caches what repositories name in `credentials` and `ca`. Safe for threads."""

    def __init__(
        self, settings: Settings, ssm: Callable[[], SSMClient], clock: Callable[[], float], note: NoteProblems
    ) -> None:
        """As `WebhookSecrets`."""
        self._settings = settings
        self._ssm = ssm
        self._clock = clock
        self._note_problems = note
        self._lock = threading.Lock()
        self._renewed_at: BoundedMapping[str, float] = BoundedMapping(MAX_TOKENS)
        lifetimes = Lifetimes(settings.secret_cache_seconds, SECRET_FAILURE_SECONDS, STALE_SECONDS, RETRY_SECONDS)
        self._credentials: Cache[Credential] = Cache(lifetimes, max_entries=MAX_TOKENS, clock=clock)
        self._authorities: Cache[str] = Cache(lifetimes, max_entries=MAX_TOKENS, clock=clock)
        self._app_tokens: AppTokens | None = None
        self._secrets: SecretsManagerClient | None = None

    def close(self) -> None:
        """Close the connections by which GitHub Apps' tokens were made."""
        if self._app_tokens is not None:
            self._app_tokens.close()

    def token_of(self, repository: Repository) -> Token | None:
        """See `Parameters.token_of`."""
        name = repository.credentials
        if not name:
            ca = self._authorities_of(repository, None)
            return Token(None, lambda: None, ca) if ca is not None else None
        # Before it is read. The role's rights say the same, but those of an operator's own shell do not.
        below = f"{self._settings.parameter_prefix}/credentials/"
        # Of a secret's ARN the last part is its name. Another account's is read with no right of this stack's.
        if not _is_below(below, name.rpartition(":")[2] if is_secret(name) else name):
            raise ConfigurationInvalid(
                f"{repository.full_name}: credentials is not the name of a parameter below {below}: put the token "
                f"there (--type SecureString --name {below}NAME), and name that; or a secret's ARN whose name begins so"
            )
        credential = self._credentials.get(name, lambda: self._read_credential(name))
        credential.refuse_others(name, repository)
        ca = self._authorities_of(repository, credential)
        if credential.app is not None:
            value = self._tokens_of_apps().get(name, credential.app, repository, ca=ca).value
        else:
            value = credential.token
        return Token(value, partial(self._renew_token, name, repository, value), ca)

    def read_stored(self, name: str) -> StoredVersion:
        """Return what the parameter, or the secret with the ARN `name`, holds now, past the cache.

        Raises SecretUnusable (missing, blank), ParametersUnavailable, ConfigurationInvalid.
        """
        if is_secret(name):
            # Imported when it is used: most stacks have their credentials in Parameter Store alone.
            from handler.network.aws import secrets_manager

            with self._lock:
                client = self._secrets = self._secrets or secrets_manager.make_secrets_client()
            return secrets_manager.read_secret(client, name)
        try:
            return read_secure(self._ssm(), name)
        except ParameterNotFound:
            raise SecretUnusable(f"parameter {name} is not there") from None

    def _authorities_of(self, repository: Repository, credential: Credential | None) -> str | None:
        """Return the certificates (PEM) that the repository, else its credential, else the stack names; or None."""
        name = repository.ca or (credential.ca if credential is not None else None) or self._settings.ca
        if not name:
            return None
        below = f"{self._settings.parameter_prefix}/ca/"
        if not _is_below(below, name):
            raise ConfigurationInvalid(f"{repository.full_name}: ca is not the name of a parameter below {below}")
        return self._authorities.get(name, lambda: self._read_authorities(name))

    def _read_authorities(self, name: str) -> str:
        try:
            return read_version(self._ssm(), name).value
        except ParameterNotFound:
            raise ConfigurationInvalid(f"parameter {name}, which ca names, is not there") from None

    def _renew_token(self, name: str, repository: Repository, refused: str) -> str | None:
        # A token that many repositories share, and that has expired, must not use up Parameter Store's quota.
        now = self._clock()
        with self._lock:
            last = self._renewed_at.get(name)
            is_recent = last is not None and now - last < self._settings.secret_refresh_seconds
            if not is_recent:
                self._renewed_at.put(name, now)
        read = self._credentials.get if is_recent else self._credentials.read
        credential = read(name, lambda: self._read_credential(name))
        credential.refuse_others(name, repository)
        if credential.app is not None:
            ca = self._authorities_of(repository, credential)
            token = self._tokens_of_apps().get(name, credential.app, repository, ca=ca, refused=refused).value
        else:
            token = credential.token
        return token if token != refused else None

    def _tokens_of_apps(self) -> "AppTokens":
        # Imported when it is used: most stacks have no App.
        from handler.network.app_tokens import AppTokens

        with self._lock:
            if self._app_tokens is None:
                self._app_tokens = AppTokens(self._settings, self._clock)
            return self._app_tokens

    def _read_credential(self, name: str) -> Credential:
        stored = self.read_stored(name)
        credential = parse_credential(name, stored.value, self._settings.allowed_hosts.split(","))
        self._note_problems(name, problems_of(name, stored))
        return credential


def is_secret(name: str) -> bool:
    """Whether it is a secret's ARN, and not a parameter's name. A parameter's starts with a slash."""
    return name.startswith("arn:")


def _is_below(below: str, name: str) -> bool:
    return name.startswith(below) and not {".", ".."} & set(name.split("/"))
