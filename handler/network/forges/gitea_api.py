"""Gitea's and Forgejo's API: statuses and webhooks as requests. Pure: no I/O, no clock.

https://docs.gitea.com/api/ (createStatus, repoListHooks, repoCreateHook, repoEditHook).
"""

from collections.abc import Mapping
from urllib.parse import urlsplit

from handler.model import Repository
from handler.network.forges.api_request import ApiRequest

NEEDED = "the token needs the scope `write:repository`, and its user the administration of the repository"
_EVENTS = ("push", "delete")


def status_request(repository: Repository, token: str, commit: str, status: Mapping[str, str]) -> ApiRequest:
    """Return the request that sets a commit's status; `status` has `state`, `context` and `description`."""
    return _request(repository, token, "POST", f"/statuses/{commit}", status)


def hooks_request(repository: Repository, token: str, page: int, size: int) -> ApiRequest:
    """Return the request for one page of the repository's webhooks, the first being 1."""
    return _request(repository, token, "GET", f"/hooks?limit={size}&page={page}", None)


def listed(answer: object) -> object:
    """Return the list of webhooks in the answer."""
    return answer


def leads_to(hook: Mapping[str, object], webhook_url: str) -> object:
    """Return the id of a webhook that leads to `webhook_url`, None for any other."""
    config = hook.get("config")
    return hook.get("id") if isinstance(config, dict) and config.get("url") == webhook_url else None


def put_request(repository: Repository, token: str, found: object, webhook_url: str, secret: str) -> ApiRequest:
    """Return the request that makes the webhook, or gives the one with the id `found` this secret."""
    config = {"url": webhook_url, "content_type": "json", "secret": secret}
    fields: dict[str, object] = {"active": True, "events": list(_EVENTS), "config": config}
    if found is None:
        return _request(repository, token, "POST", "/hooks", {"type": "gitea", **fields})
    return _request(repository, token, "PATCH", f"/hooks/{found}", fields)


def _request(
    repository: Repository, token: str, method: str, path: str, fields: Mapping[str, object] | None
) -> ApiRequest:
    parts = urlsplit(repository.url)
    # Before owner and name an instance may have a path of its own.
    before, owner, name = f"/{parts.path.strip('/').removesuffix('.git')}".rsplit("/", 2)
    return ApiRequest(
        method=method,
        url=f"{parts.scheme}://{parts.netloc}{before}/api/v1/repos/{owner}/{name}{path}",
        headers={"Authorization": f"token {token}"},
        fields=fields,
    )
