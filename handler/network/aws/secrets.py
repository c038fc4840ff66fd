"""Webhook secrets: the common one, other forges', and those that repositories have of their own. Cached, and
rotated without downtime.

The parameter's history says when a value was replaced, and the old value still verifies for `secret_overlap_seconds`
after that. To end this at once, delete the parameter: that deletes its history too.

A request's URL names the repository whose secret we read, before anything is verified. So a token bucket bounds how
many secrets unverified requests can make us read, and we cache that a secret does not exist. A request whose signature
verifies returns its tokens: only unverified requests use them up, and cached secrets verify without any.
"""

import threading
from collections.abc import Callable, Sequence
from itertools import pairwise

from handler.config.names import is_full_name
from handler.errors import ConfigurationInvalid, ParametersUnavailable, SecretUnusable, SignatureInvalid
from handler.model import Forge
from handler.network.aws.cache import BoundedMapping, Cache, Lifetimes
from handler.network.aws.rate_limit import TokenBucket
from handler.network.aws.ssm import ParameterNotFound, SSMClient, StoredVersion, read_history, read_version
from handler.settings import Settings

STALE_SECONDS = 3600
RETRY_SECONDS = 15
SECRET_FAILURE_SECONDS = 5
"""How long we cache that a secret is missing or may not be read: short, since somebody is probably storing it now."""
NO_SECRET_SECONDS = 30
"""The same for a repository's own secret: longer, since unverified requests may name any repository."""

UNVERIFIED_PER_SECOND = 5.0
UNVERIFIED_AT_ONCE = 20
MAX_OWN_SECRETS = 10_000
MAX_REMEMBERED = 1000
_FORGES = frozenset(Forge)

NoteProblems = Callable[[str, Sequence[str]], None]
"""Called with a parameter's name and what looks wrong with it."""


class WebhookSecrets:
    """Reads and caches webhook secrets. Safe for threads."""

    def __init__(
        self, settings: Settings, ssm: Callable[[], SSMClient], clock: Callable[[], float], note: NoteProblems
    ) -> None:
        """`clock` gives seconds since the epoch, to compare with Parameter Store's own dates."""
        self._settings = settings
        self._ssm = ssm
        self._clock = clock
        self._note_problems = note
        self._lock = threading.Lock()
        self._refreshed_at: BoundedMapping[str, float] = BoundedMapping(MAX_REMEMBERED)
        self._histories: BoundedMapping[str, tuple[StoredVersion, ...]] = BoundedMapping(MAX_REMEMBERED)
        self._charged: BoundedMapping[str, int] = BoundedMapping(MAX_REMEMBERED)
        self._bucket = TokenBucket(UNVERIFIED_PER_SECOND, UNVERIFIED_AT_ONCE, clock)
        fresh, stale = settings.secret_cache_seconds, STALE_SECONDS
        self._common: Cache[tuple[StoredVersion, ...]] = Cache(
            Lifetimes(fresh, SECRET_FAILURE_SECONDS, stale, RETRY_SECONDS), max_entries=1, clock=clock
        )
        self._own: Cache[tuple[StoredVersion, ...]] = Cache(
            Lifetimes(fresh, NO_SECRET_SECONDS, stale, RETRY_SECONDS), max_entries=MAX_OWN_SECRETS, clock=clock
        )

    def get(self, full_name: str | None) -> tuple[bytes, ...]:
        """Return the values that verify now: the current one, then the recently replaced ones, newest first.

        They are those of the repository `full_name`, which an unverified request named, or of a forge, by its name;
        None is the common secret. Raises SecretUnusable (missing, blank), ParametersUnavailable and
        ConfigurationInvalid. Where the repository or the forge has no secret of its own, raises SignatureInvalid: the
        sender learns no more than from a wrong signature.
        """
        if full_name is None:
            return self._usable(self._common.get("", self._read_common))
        if full_name not in _FORGES and not is_full_name(full_name):
            raise SignatureInvalid("the URL does not name a repository")
        return self._usable(self._own.get(full_name, lambda: self._read_own(full_name)))

    def refresh(self, full_name: str | None) -> tuple[bytes, ...] | None:
        """Read the secret again, since a signature did not match; return the values as `get` does.

        Return None when the last such read is less than `secret_refresh_seconds` ago, Parameter Store does not answer,
        or unverified requests used up the tokens: then there is nothing newer to try. Forged signatures must neither
        use up Parameter Store's quota nor turn their 401 into a 503. Raises as `get` does.
        """
        now, name = self._clock(), full_name or ""
        with self._lock:
            last = self._refreshed_at.get(name)
            if last is not None and now - last < self._settings.secret_refresh_seconds:
                return None
            self._refreshed_at.put(name, now)
        try:
            if full_name is None:
                return self._usable(self._common.read(name, self._read_common))
            return self._usable(self._own.read(name, lambda: self._read_own(full_name)))
        except ParametersUnavailable:
            return None

    def note_verified(self, full_name: str | None) -> None:
        """Return the tokens that reading the secret took: a signature verified with it."""
        if full_name is not None:
            with self._lock:
                count = self._charged.pop(full_name) or 0
            self._bucket.give_back(count)

    def _usable(self, versions: Sequence[StoredVersion]) -> tuple[bytes, ...]:
        # Computed at each call, so that an overlap ends on time, and not when the cached value expires.
        values = usable_values(versions, self._clock(), self._settings.secret_overlap_seconds)
        return tuple(value.encode() for value in values)

    def _read_common(self) -> tuple[StoredVersion, ...]:
        name = f"{self._settings.parameter_prefix}/webhook-secret"
        try:
            return self._read(name)
        except ParameterNotFound:
            raise SecretUnusable(f"parameter {name} is not there") from None

    def _read_own(self, full_name: str) -> tuple[StoredVersion, ...]:
        # A forge has one secret, which forged requests for other names must not keep from being read.
        if full_name not in _FORGES and not self._bucket.take():
            raise ParametersUnavailable("unverified requests name more repositories than are looked up for them")
        name = f"{self._settings.parameter_prefix}/webhook-secrets/{full_name}"
        try:
            found = self._read(name)
        except ParameterNotFound:
            raise SignatureInvalid(f"there is no parameter {name}") from None
        if full_name not in _FORGES:
            with self._lock:
                self._charged.put(full_name, (self._charged.get(full_name) or 0) + 1)
        return found

    def _read(self, name: str) -> tuple[StoredVersion, ...]:
        """Return the versions, the current one first. Raises as `read_secure` does."""
        current = read_secure(self._ssm(), name)
        problems = problems_of(name, current)
        older = self._read_history(name, current, problems)
        self._note_problems(name, problems)
        return (current, *(version for version in older if version.number < current.number))

    def _read_history(self, name: str, current: StoredVersion, problems: list[str]) -> tuple[StoredVersion, ...]:
        replaced_at = current.modified_at
        if current.number == 1 or self._clock() >= replaced_at + self._settings.secret_overlap_seconds:
            return ()  # nothing was replaced, or too long ago to verify: save the second call
        try:
            history = read_history(self._ssm(), name)
        except (ConfigurationInvalid, ParameterNotFound):
            # Do not refuse every delivery for that: only those signed with a replaced secret do not verify.
            history = ()
            problems.append(f"The history of {name} cannot be read: a replaced secret ends at once.")
        except ParametersUnavailable:
            with self._lock:
                return self._histories.get(name) or ()  # versions never change: what we read before is as good
        with self._lock:
            self._histories.put(name, history)
        return history


def read_secure(client: SSMClient, name: str) -> StoredVersion:
    """Return the current version of a secret, decrypted.

    Raises ParameterNotFound, SecretUnusable (blank), ParametersUnavailable, ConfigurationInvalid.
    """
    stored = read_version(client, name)
    if not stored.value.strip():
        raise SecretUnusable(f"parameter {name} is blank")
    return stored


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


def problems_of(name: str, stored: StoredVersion) -> list[str]:
    """Return what looks like a mistake in storing the value, as sentences. The value is used as it is all the same."""
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
