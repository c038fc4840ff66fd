"""GitHub's API: statuses and webhooks as requests. Pure: no I/O, no clock.

https://docs.github.com/rest/commits/statuses, https://docs.github.com/rest/repos/webhooks.
"""

from collections.abc import Mapping
from types import MappingProxyType
from urllib.parse import urlsplit

from handler.model import Repository
from handler.network.forges.api_request import ApiRequest

NEEDED = "a fine-grained token needs «Webhooks: read and write» for the repository, a classic one `admin:repo_hook`"
API_HEADERS: Mapping[str, str] = MappingProxyType(
    {"Accept": "application/vnd.github+json", "X-GitHub-Api-Version": "2022-11-28"}
)


def status_request(repository: Repository, token: str, commit: str, status: Mapping[str, str]) -> ApiRequest:
    """Return the request that sets a commit's status; `status` has `state`, `context` and `description`."""
    return _request(repository, token, "POST", f"/statuses/{commit}", status)


def hooks_request(repository: Repository, token: str, page: int, size: int) -> ApiRequest:
    """Return the request for one page of the repository's webhooks, the first being 1."""
    return _request(repository, token, "GET", f"/hooks?per_page={size}&page={page}", None)


def listed(answer: object) -> object:
    """Return the list of webhooks in the answer."""
    return answer


def leads_to(hook: Mapping[str, object], webhook_url: str) -> object:
    """Return the id of a webhook that leads to `webhook_url`, None for any other."""
    config = hook.get("config")
    return hook.get("id") if isinstance(config, dict) and config.get("url") == webhook_url else None


def put_request(repository: Repository, token: str, found: object, webhook_url: str, secret: str) -> ApiRequest:
    """Return the request that makes the webhook, or gives the one with the id `found` this secret."""
    config = {"url": webhook_url, "content_type": "json", "secret": secret, "insecure_ssl": "0"}
    if found is None:
        fields = {"name": "web", "active": True, "events": ["push"], "config": config}
        return _request(repository, token, "POST", "/hooks", fields)
    # `add_events`: what somebody lets it send beside pushes stays.
    return _request(
        repository, token, "PATCH", f"/hooks/{found}", {"active": True, "add_events": ["push"], "config": config}
    )


def _request(
    repository: Repository, token: str, method: str, path: str, fields: Mapping[str, object] | None
) -> ApiRequest:
    return ApiRequest(
        method=method,
        url=f"{api_url(repository.url)}/repos/{repository.full_name}{path}",
        headers={**API_HEADERS, "Authorization": f"Bearer {token}"},
        fields=fields,
    )


def api_url(url: str) -> str:
    """Return the API's URL for a repository's host: GitHub's own, or an Enterprise Server's.

    So the token goes only to the host that it was stored for.
    """
    parts = urlsplit(url)
    host = (parts.hostname or "").lower()
    if host in ("github.com", "www.github.com"):
        return "https://api.github.com"
    if host.endswith(".ghe.com"):  # GitHub Enterprise Cloud with data residency
        return f"https://api.{host}"
    return f"{parts.scheme}://{parts.netloc}/api/v3"
