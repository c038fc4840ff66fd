"""A repository's or an organisation's webhook, made by the forge's API: what a person does under Settings → Webhooks.

The token goes into a header of requests to the host of the repository's url, or that host's API, alone, and no
redirection is followed.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import urllib3

from handler.errors import ConfigurationInvalid, RemoteRefused, RemoteUnavailable
from handler.model import Forge, Repository
from handler.network.forges import Api, api_of
from handler.network.forges.api_request import ApiRequest
from handler.network.forges.statuses import API_HEADERS

TIMEOUT_SECONDS = 10
_MAX_ANSWER_BYTES = 1024 * 1024
_MAX_PAGES = 10
_PER_PAGE = 50
"""As many as Gitea lists at most, by default."""
_IDENTIFIER = re.compile(r"[{}A-Za-z0-9-]{1,64}")


@dataclass(frozen=True, slots=True)
class Hooks:
    """The webhooks of one repository, as its parameter describes it; or of its owner, an organisation on GitHub."""

    repository: Repository
    token: str = field(repr=False)
    is_of_owner: bool = False

    def ensure(self, webhook_url: str, secret: str) -> bool:
        """Make the webhook to `webhook_url`, or give the one that is there this secret; return whether it is new.

        Raises RemoteRefused, RemoteUnavailable, and ConfigurationInvalid where the forge does not take the webhook.
        """
        found = self._find(webhook_url)
        self._ask(self._api.put_request(self.repository, self.token, found, webhook_url, secret))
        return found is None

    @property
    def _api(self) -> Api:
        if not self.is_of_owner:
            return api_of(self.repository.forge)
        from handler.network.forges import github_organisation_api

        return github_organisation_api

    @property
    def _forge(self) -> str:
        return self.repository.forge.label

    def _find(self, webhook_url: str) -> str | None:
        for page in range(1, _MAX_PAGES + 1):
            hooks = self._api.listed(self._ask(self._api.hooks_request(self.repository, self.token, page, _PER_PAGE)))
            if not isinstance(hooks, list):
                raise RemoteUnavailable(f"{self._forge}'s answer is no list of webhooks")
            if (found := self._id_of(hooks, webhook_url)) is not None:
                return found
            if len(hooks) < _PER_PAGE:
                break
        return None

    def _id_of(self, hooks: Sequence[Any], webhook_url: str) -> str | None:
        """Return the id of the webhook that leads to `webhook_url`."""
        for each in hooks:
            found = self._api.leads_to(each, webhook_url) if isinstance(each, dict) else None
            # It becomes part of an address.
            if found is not None and _IDENTIFIER.fullmatch(str(found)):
                return str(found)
        return None

    def _ask(self, request: ApiRequest) -> Any:
        """Make one request; return its answer. Its text and the token are in no message."""
        try:
            with urllib3.PoolManager(timeout=TIMEOUT_SECONDS, retries=False) as pool:
                response = pool.request(
                    request.method,
                    request.url,
                    body=None if request.fields is None else json.dumps(request.fields).encode(),
                    headers={**API_HEADERS, **request.headers},
                    redirect=False,
                    preload_content=False,
                )
                content = response.read(_MAX_ANSWER_BYTES)
                response.close()
        except urllib3.exceptions.HTTPError as error:
            raise RemoteUnavailable(f"{self._forge}'s API cannot be reached ({type(error).__name__})") from None
        self._check(response.status, response.headers)
        try:
            return json.loads(content)
        except (ValueError, RecursionError):
            raise RemoteUnavailable(f"{self._forge}'s API answered what is no JSON") from None

    def _check(self, status: int, headers: Mapping[str, str]) -> None:
        name, forge = self.repository.full_name, self._forge
        if self.is_of_owner:
            name = name.partition("/")[0]
        if status in (200, 201):
            return
        if status == 401:
            raise RemoteRefused(f"{forge} answered 401: the token is wrong, or it expired")
        if status == 429 or status >= 500 or (status == 403 and headers.get("X-RateLimit-Remaining") == "0"):
            raise RemoteUnavailable(f"{forge} answered {status}: try again in a while")
        if status == 403 and "X-GitHub-SSO" in headers:
            raise RemoteRefused(f"{forge} answered 403: authorise the token for the organisation's SAML single sign-on")
        if status in (403, 404):
            raise RemoteRefused(
                f"{forge} answered {status}: there is no {name}, or the token may not see it; {self._api.NEEDED}"
            )
        if 300 <= status < 400:
            raise RemoteRefused(f"{forge} answered {status}: {name} was renamed; use its new name")
        limit = "twenty" if self.repository.forge is Forge.GITHUB else "too many"
        raise ConfigurationInvalid(
            f"{forge} answered {status}: it does not take the webhook; has {name} {limit} already?"
        )
