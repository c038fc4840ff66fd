"""Forges (GitHub, GitLab, Gitea and Forgejo, Bitbucket): deliveries and payloads, which are pure; statuses; webhooks.

A forge's module is imported when its route is asked, or a repository of it needs the forge's API.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Protocol

from handler.model import Delivery, Forge, PushEvent, Repository
from handler.network.remote.authorization import HeaderOf, basic

if TYPE_CHECKING:
    from handler.network.forges.api_request import ApiRequest


class Receives(Protocol):
    """What a forge's module knows of its deliveries."""

    PING_EVENTS: frozenset[str]
    PUSH_EVENTS: frozenset[str]
    UNKNOWN_STATUS: int

    def verify_signature(self, body: bytes, headers: Mapping[str, str], secrets: Sequence[bytes]) -> None:
        """Return if one of `secrets` vouches for `body`; `headers` have lower-case names.

        Raises SecretUnusable (no secret, or a blank one), SignatureInvalid (missing, malformed), SignatureMismatch.
        """
        ...

    def read_delivery(self, headers: Mapping[str, str], body: bytes) -> Delivery:
        """Return the delivery; `body` is verified and not decoded yet. Raises Malformed."""
        ...

    def read_pushed(self, delivery: Delivery) -> tuple[str | None, tuple[PushEvent, ...]]:
        """Return what was pushed: what the forge calls the repository, the end of its url; and an event for each ref.

        None where the url may lead elsewhere. Raises MediaTypeUnsupported, Malformed.
        """
        ...

    def read_pinged(self, delivery: Delivery) -> str | None:
        """Return the repository that a ping is about; None where it names none. Raises as `read_pushed`."""
        ...


def receiver_of(forge: Forge) -> Receives:
    """Return the module of the forge."""
    if forge is Forge.GITLAB:
        from handler.network.forges import gitlab

        return gitlab
    if forge is Forge.GITEA:
        from handler.network.forges import gitea

        return gitea
    if forge is Forge.BITBUCKET:
        from handler.network.forges import bitbucket

        return bitbucket
    from handler.network.forges import github

    return github


class Api(Protocol):
    """What a forge's module knows of its API. The token goes to the url's own host, or to that host's API, alone."""

    NEEDED: str
    """What a token needs to make webhooks, as the end of a sentence."""

    def status_request(
        self, repository: Repository, token: str, commit: str, status: Mapping[str, str]
    ) -> "ApiRequest":
        """Return the request that sets a commit's status; `status` has `state`, `context` and `description`.

        `state` is pending, success, failure or error.
        """
        ...

    def hooks_request(self, repository: Repository, token: str, page: int, size: int) -> "ApiRequest":
        """Return the request for one page of the repository's webhooks, the first being 1."""
        ...

    def listed(self, answer: object) -> object:
        """Return the list of webhooks in the answer; anything but a list where it has none."""
        ...

    def leads_to(self, hook: Mapping[str, object], webhook_url: str) -> object:
        """Return the id of a webhook that leads to `webhook_url`, None for any other."""
        ...

    def put_request(
        self, repository: Repository, token: str, found: object, webhook_url: str, secret: str
    ) -> "ApiRequest":
        """Return the request that makes the webhook (`found` None), or gives the one with that id this secret."""
        ...


def api_of(forge: Forge) -> Api:
    """Return the forge's module for its API."""
    if forge is Forge.GITLAB:
        from handler.network.forges import gitlab_api

        return gitlab_api
    if forge is Forge.GITEA:
        from handler.network.forges import gitea_api

        return gitea_api
    if forge is Forge.BITBUCKET:
        from handler.network.forges import bitbucket_api

        return bitbucket_api
    from handler.network.forges import github_api

    return github_api


def git_header_of(repository: Repository) -> HeaderOf:
    """Return what makes the header with which git at the repository's url takes a token."""
    if repository.forge is Forge.BITBUCKET:
        from handler.network.forges import bitbucket_api

        return partial(bitbucket_api.git_header, repository.url)
    return basic
