"""A repository's webhook, or an organisation's, made by GitHub's API: what a person does under Settings → Webhooks.

The token goes into a header of requests to the repository's own host alone, and no redirection is followed.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import urllib3

from handler.errors import ConfigurationInvalid, RemoteRefused, RemoteUnavailable
from handler.network.forges.statuses import API_HEADERS, api_url

TIMEOUT_SECONDS = 10
_MAX_ANSWER_BYTES = 1024 * 1024
_MAX_PAGES = 10
_PER_PAGE = 100
_NEEDED = "a fine-grained token needs «Webhooks: read and write» for the repository, a classic one `admin:repo_hook`"
_NEEDED_OF_ORGANISATION = (
    "only an organisation has a webhook for all its repositories: a fine-grained token needs the organisation's "
    "«Webhooks: read and write», a classic one `admin:org_hook`"
)


@dataclass(frozen=True, slots=True)
class Hooks:
    """The webhooks of one repository, or of an organisation (`full_name` is its name alone).

    `url` is the repository's own, as its parameter has it, or one of the organisation's repositories'.
    """

    full_name: str
    url: str
    token: str = field(repr=False)

    def ensure(self, webhook_url: str, secret: str) -> bool:
        """Make the webhook to `webhook_url`, or give the one that is there this secret; return whether it is new.

        Raises RemoteRefused, RemoteUnavailable, and ConfigurationInvalid where GitHub does not take the webhook.
        """
        config = {"url": webhook_url, "content_type": "json", "secret": secret, "insecure_ssl": "0"}
        found = self._find(webhook_url)
        if found is not None:
            # What somebody lets it send beside pushes stays. An organisation's webhook knows no `add_events`.
            kept = [each for each in found.get("events") or () if each != "push"]
            events = {"add_events": ["push"]} if self._is_repository else {"events": [*kept, "push"]}
            self._ask("PATCH", f"/{found['id']}", {"active": True, **events, "config": config})
            return False
        self._ask("POST", "", {"name": "web", "active": True, "events": ["push"], "config": config})
        return True

    @property
    def _is_repository(self) -> bool:
        return "/" in self.full_name

    def _find(self, webhook_url: str) -> Mapping[str, Any] | None:
        for page in range(1, _MAX_PAGES + 1):
            hooks = self._ask("GET", f"?per_page={_PER_PAGE}&page={page}", None)
            if not isinstance(hooks, list):
                raise RemoteUnavailable("GitHub's answer is no list of webhooks")
            if (found := _leading_to(hooks, webhook_url)) is not None:
                return found
            if len(hooks) < _PER_PAGE:
                break
        return None

    def _ask(self, method: str, path: str, fields: Mapping[str, object] | None) -> Any:
        """Make one request; return its answer. Its text and the token are in no message."""
        kind = "repos" if self._is_repository else "orgs"
        url = f"{api_url(self.url)}/{kind}/{self.full_name}/hooks{path}"
        try:
            with urllib3.PoolManager(timeout=TIMEOUT_SECONDS, retries=False) as pool:
                response = pool.request(
                    method,
                    url,
                    body=None if fields is None else json.dumps(fields).encode(),
                    headers={**API_HEADERS, "Authorization": f"Bearer {self.token}"},
                    redirect=False,
                    preload_content=False,
                )
                content = response.read(_MAX_ANSWER_BYTES)
                response.close()
        except urllib3.exceptions.HTTPError as error:
            raise RemoteUnavailable(f"GitHub's API cannot be reached ({type(error).__name__})") from None
        self._check(response.status, response.headers)
        try:
            return json.loads(content)
        except (ValueError, RecursionError):
            raise RemoteUnavailable("GitHub's API answered what is no JSON") from None

    def _check(self, status: int, headers: Mapping[str, str]) -> None:
        name = self.full_name
        if status in (200, 201):
            return
        if status == 401:
            raise RemoteRefused("GitHub answered 401: the token is wrong, or it expired")
        if status == 429 or status >= 500 or (status == 403 and headers.get("X-RateLimit-Remaining") == "0"):
            raise RemoteUnavailable(f"GitHub answered {status}: try again in a while")
        if status == 403 and "X-GitHub-SSO" in headers:
            raise RemoteRefused("GitHub answered 403: authorise the token for the organisation's SAML single sign-on")
        if status in (403, 404):
            needed = _NEEDED if self._is_repository else _NEEDED_OF_ORGANISATION
            raise RemoteRefused(f"GitHub answered {status}: there is no {name}, or the token may not see it; {needed}")
        if 300 <= status < 400:
            raise RemoteRefused(f"GitHub answered {status}: {name} was renamed; use its new name")
        raise ConfigurationInvalid(
            f"GitHub answered {status}: it does not take the webhook; has {name} twenty already?"
        )


def _leading_to(hooks: Sequence[Any], webhook_url: str) -> Mapping[str, Any] | None:
    """Return the webhook that leads to `webhook_url`, which has an id."""
    for each in hooks:
        config = each.get("config") if isinstance(each, dict) else None
        if isinstance(config, dict) and config.get("url") == webhook_url and isinstance(each.get("id"), int):
            return dict(each)
    return None
