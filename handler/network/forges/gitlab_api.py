"""GitLab's API, version 4: statuses and webhooks as requests. Pure: no I/O, no clock.

https://docs.gitlab.com/api/commits/#set-the-pipeline-status-of-a-commit, https://docs.gitlab.com/api/project_webhooks/.
The API is looked for at the root of the url's host: what comes before a project's groups cannot be told from them.
"""

from collections.abc import Mapping
from types import MappingProxyType
from urllib.parse import quote, urlsplit

from handler.model import Repository
from handler.network.forges.api_request import ApiRequest
from handler.network.forges.gitlab import SIGNING

NEEDED = "a project access token needs the role Maintainer and the scope `api`"
_STATES = MappingProxyType({"pending": "pending", "success": "success", "failure": "failed", "error": "failed"})


def status_request(repository: Repository, token: str, commit: str, status: Mapping[str, str]) -> ApiRequest:
    """Return the request that sets a commit's status; `status` has `state`, `context` and `description`."""
    fields = {"state": _STATES[status["state"]], "name": status["context"], "description": status["description"]}
    return _request(repository, token, "POST", f"/statuses/{commit}", fields)


def hooks_request(repository: Repository, token: str, page: int, size: int) -> ApiRequest:
    """Return the request for one page of the project's webhooks, the first being 1."""
    return _request(repository, token, "GET", f"/hooks?per_page={size}&page={page}", None)


def listed(answer: object) -> object:
    """Return the list of webhooks in the answer."""
    return answer


def leads_to(hook: Mapping[str, object], webhook_url: str) -> object:
    """Return the id of a webhook that leads to `webhook_url`, None for any other."""
    return hook.get("id") if hook.get("url") == webhook_url else None


def put_request(repository: Repository, token: str, found: object, webhook_url: str, secret: str) -> ApiRequest:
    """Return the request that makes the webhook, or gives the one with the id `found` this secret.

    What somebody lets it send beside pushes stays.
    """
    key = "signing_token" if secret.encode().startswith(SIGNING) else "token"
    fields = {
        "url": webhook_url,
        key: secret,
        "push_events": True,
        "tag_push_events": True,
        "enable_ssl_verification": True,
    }
    if found is None:
        return _request(repository, token, "POST", "/hooks", fields)
    return _request(repository, token, "PUT", f"/hooks/{found}", fields)


def _request(
    repository: Repository, token: str, method: str, path: str, fields: Mapping[str, object] | None
) -> ApiRequest:
    parts = urlsplit(repository.url)
    project = quote(parts.path.strip("/").removesuffix(".git"), safe="")
    return ApiRequest(
        method=method,
        url=f"{parts.scheme}://{parts.netloc}/api/v4/projects/{project}{path}",
        # Of every kind of access token, and of OAuth.
        headers={"Authorization": f"Bearer {token}"},
        fields=fields,
    )
