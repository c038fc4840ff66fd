"""A GitHub App's tokens: each for one repository, with the rights that it needs, valid for an hour, kept in memory.

Sources: GitHub's docs ("Generating an installation access token for a GitHub App", and of its REST API "Get a
repository installation for the authenticated app", "Create an installation access token for an app", "Rate limits").
"""

import json
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from urllib.parse import urlsplit

import urllib3

from handler.config.credential import AppKey
from handler.config.names import is_full_name
from handler.errors import (
    ConfigurationInvalid,
    Git2EfsError,
    RemoteRefused,
    RemoteUnavailable,
    RemoteUnsupported,
    SecretUnusable,
)
from handler.model import Forge, Repository
from handler.network.app_jwt import make_jwt
from handler.network.aws.cache import BoundedMapping
from handler.network.forges import statuses
from handler.network.forges.github_api import API_HEADERS, api_url
from handler.network.remote import refusals
from handler.network.remote.client import RemotePool
from handler.settings import Settings

RENEW_SECONDS = 960
"""A token is renewed so long before it expires: one that a run of 15 minutes begins with serves to its end."""
RETRY_SECONDS = 15
"""While GitHub does not answer, a token that is still valid is used, and GitHub is asked again so often."""
REQUEST_SECONDS = 5
ATTEMPTS = 2
"""A connection that died while Lambda had frozen the process fails at its first use."""
MAX_TOKENS = 1000
MAX_INSTALLATIONS = 1000
_MAX_ANSWER_BYTES = 262_144

_JWT_USE_SECONDS = 240
"""How long a JWT is used for further requests: a signature costs 10 to 20 ms, and a schedule asks for many tokens."""


@dataclass(frozen=True, slots=True)
class InstallationToken:
    """A token, valid in an HTTP header; its times are in seconds since the epoch."""

    value: str = field(repr=False)
    made_at: float
    expires_at: float


@dataclass(frozen=True, slots=True)
class _Place:
    """A repository for which a token is made: its API, its path there, and whether commit statuses are posted."""

    api: str
    path: str
    has_statuses: bool
    ca: str | None


@dataclass(slots=True)
class _Slot:
    """The token of one repository, made by one thread at a time."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    token: InstallationToken | None = None
    retry_at: float = 0.0


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    is_limited: bool
    content: Mapping[str, object]


class AppTokens:
    """Makes tokens and keeps them. Safe for threads: those that need one token at the same time share it."""

    def __init__(self, settings: Settings, clock: Callable[[], float]) -> None:
        """`clock` gives seconds since the epoch. Connects to nothing."""
        self._clock = clock
        self._refresh_seconds = settings.secret_refresh_seconds
        self._remotes = RemotePool(settings)
        self._lock = threading.Lock()
        self._slots: BoundedMapping[tuple[AppKey, _Place], _Slot] = BoundedMapping(MAX_TOKENS)
        self._installations: BoundedMapping[tuple[AppKey, str, str], int] = BoundedMapping(MAX_INSTALLATIONS)
        self._jwts: BoundedMapping[AppKey, tuple[str, float]] = BoundedMapping(MAX_INSTALLATIONS)

    def close(self) -> None:
        """Close the idle connections, and end the watchdog."""
        self._remotes.close()

    def get(
        self, name: str, app: AppKey, repository: Repository, *, ca: str | None = None, refused: str | None = None
    ) -> InstallationToken:
        """Return the App's token for the repository: the one that is kept, unless it expires soon or was `refused`.

        `name` is the parameter that holds the key, `ca` as in HttpRemote. A refused token that is younger than
        `secret_refresh_seconds` is returned again: another one would not be taken either. Raises RemoteUnavailable,
        RemoteRefused (not installed, suspended, without the repository or the rights), SecretUnusable (the key),
        ConfigurationInvalid (the url, the `ca`), RemoteUnsupported, RemoteUntrusted.
        """
        place = _place_of(repository, ca)
        with self._lock:
            slot = self._slots.get((app, place))
            if slot is None:
                slot = _Slot()
                self._slots.put((app, place), slot)
        with slot.lock:
            now, held = self._clock(), slot.token
            if held is not None and held.value == refused and now - held.made_at >= self._refresh_seconds:
                held = slot.token = None
            if held is not None and (now < held.expires_at - RENEW_SECONDS or now < slot.retry_at < held.expires_at):
                return held
            try:
                slot.token = self._make(name, app, place)
            except RemoteUnavailable:
                if held is None or now >= held.expires_at - RETRY_SECONDS:
                    raise
                slot.retry_at = now + RETRY_SECONDS
                return held
            return slot.token

    def _make(self, name: str, app: AppKey, place: _Place) -> InstallationToken:
        installation, is_remembered = self._installation(name, app, place)
        answer = self._make_at(name, app, place, installation)
        if answer.status == 404 and is_remembered:
            # An App that was removed and installed again has another number.
            with self._lock:
                self._installations.pop(_of_owner(app, place))
            installation, _ = self._installation(name, app, place)
            answer = self._make_at(name, app, place, installation)
        if answer.status != 201:
            raise _refusal(answer, app, place, installation)
        return _read_token(answer.content, self._clock())

    def _make_at(self, name: str, app: AppKey, place: _Place, installation: int) -> _Answer:
        # For this repository and these rights alone: what the App may do beyond that, a leaked token may not.
        rights = {"contents": "read"} | ({"statuses": "write"} if place.has_statuses else {})
        wanted = {"repositories": [place.path.partition("/")[2]], "permissions": rights}
        path = f"{place.api}/app/installations/{installation}/access_tokens"
        return self._ask(name, app, place, path, json.dumps(wanted).encode())

    def _installation(self, name: str, app: AppKey, place: _Place) -> tuple[int, bool]:
        """Return the number of the App's installation at the repository's owner, and whether it was remembered."""
        if app.installation_id is not None:
            return app.installation_id, False
        with self._lock:
            known = self._installations.get(_of_owner(app, place))
        if known is not None:
            return known, True
        answer = self._ask(name, app, place, f"{place.api}/repos/{place.path}/installation", None)
        if answer.status != 200:
            raise _refusal(answer, app, place, None)
        number = answer.content.get("id")
        if not isinstance(number, int):
            raise RemoteUnsupported("GitHub's API answered no installation's number")
        with self._lock:
            self._installations.put(_of_owner(app, place), number)
        return number, False

    def _ask(self, name: str, app: AppKey, place: _Place, url: str, body: bytes | None) -> _Answer:
        """Make one request, twice where it fails in a way that passes.

        Raises RemoteUnavailable, RemoteUntrusted, and SecretUnusable where GitHub does not take the key.
        """
        for number in range(1, ATTEMPTS + 1):
            try:
                answer = self._exchange(url, body, self._jwt(name, app), place.ca)
            except RemoteUnavailable:
                if number == ATTEMPTS:
                    raise
                continue
            if answer.status == 401:
                raise SecretUnusable(
                    f"GitHub does not take the key of the App {app.app_id} in {name}: it was deleted, or is another "
                    "App's, or the clock here is wrong. Make a private key in the App's settings, and put it there"
                )
            if not answer.is_limited and answer.status < 500:
                return answer
        raise RemoteUnavailable(f"GitHub's API answered {answer.status} to a request for the App's token")

    def _exchange(self, url: str, body: bytes | None, jwt: str, ca: str | None) -> _Answer:
        method = "GET" if body is None else "POST"
        headers = {**statuses.API_HEADERS, **API_HEADERS, "Authorization": f"Bearer {jwt}"}
        with self._remotes.watchdog.watching(time.monotonic() + REQUEST_SECONDS):
            try:
                response = self._remotes.pool_at(url, ca, self._remotes.pool).request(
                    method, url, body=body, headers=headers, preload_content=False, redirect=False
                )
                content = response.read(_MAX_ANSWER_BYTES)
            except urllib3.exceptions.HTTPError as error:
                raise refusals.failure_to_connect(error) from None
            if len(content) < _MAX_ANSWER_BYTES:
                response.release_conn()
            else:
                response.close()
        told = response.headers
        is_limited = "Retry-After" in told or told.get("X-RateLimit-Remaining") == "0"
        is_limited = response.status in (408, 429) or (response.status == 403 and is_limited)
        return _Answer(response.status, is_limited, _object_of(content))

    def _jwt(self, name: str, app: AppKey) -> str:
        now = self._clock()
        with self._lock:
            jwt, until = self._jwts.get(app) or ("", 0.0)
        if not now < until <= now + _JWT_USE_SECONDS:
            jwt = make_jwt(name, app, int(now))
            with self._lock:
                self._jwts.put(app, (jwt, now + _JWT_USE_SECONDS))
        return jwt


def _place_of(repository: Repository, ca: str | None) -> _Place:
    path = urlsplit(repository.url).path.strip("/").removesuffix(".git")
    if repository.forge is not Forge.GITHUB or not is_full_name(path):
        raise ConfigurationInvalid(
            f"{repository.full_name}: a GitHub App's key is for GitHub alone, and a url https://HOST/OWNER/NAME.git"
        )
    return _Place(api_url(repository.url), path, repository.commit_status, ca)


def _of_owner(app: AppKey, place: _Place) -> tuple[AppKey, str, str]:
    # An App is installed once for each account.
    return app, place.api, place.path.partition("/")[0].lower()


def _object_of(content: bytes) -> Mapping[str, object]:
    try:
        found = json.loads(content)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _read_token(content: Mapping[str, object], now: float) -> InstallationToken:
    value, until = content.get("token"), content.get("expires_at")
    try:
        expires_at = datetime.fromisoformat(str(until)).timestamp()
    except ValueError:
        expires_at = 0.0
    if not isinstance(value, str) or not (value.isascii() and value.isprintable() and " " not in value and value):
        raise RemoteUnsupported("GitHub's API answered no token that can stand in a header")
    return InstallationToken(value, now, expires_at)


def _refusal(answer: _Answer, app: AppKey, place: _Place, installation: int | None) -> Git2EfsError:
    """Return the failure that an answer other than success means; of its words none, since GitHub may quote ours."""
    about = f"{place.path}: GitHub answered {answer.status}: "
    if answer.status == 404 and installation is None:
        return RemoteRefused(
            f"{about}the App {app.app_id} is not installed where it may read the repository. Install it for the "
            "owner, and add the repository to the installation"
        )
    if answer.status == 404:
        return RemoteRefused(
            f"{about}the App {app.app_id} has no installation {installation}: it was removed, or the credential's "
            "installation_id is another App's. Install it, and leave installation_id out"
        )
    if answer.status == 403:
        return RemoteRefused(
            f"{about}the App's installation {installation or ''} is suspended, or the owner's list of allowed IP "
            "addresses keeps us out. Unsuspend it in the owner's settings, under installed GitHub Apps"
        )
    if answer.status == 422:
        wanted = "Contents: read" + (" and Commit statuses: write" if place.has_statuses else "")
        return RemoteRefused(
            f"{about}the App's installation {installation} has not this repository, or not the rights {wanted}. Add "
            "both: the repository in the owner's settings, the rights in the App's, which the owner then accepts"
        )
    if 300 <= answer.status < 400:
        return RemoteRefused(f"{about}the repository has moved: publish it under its new name, or let its `url` follow")
    return RemoteUnsupported(f"{about}this is not how GitHub's API answers a request for a token")
