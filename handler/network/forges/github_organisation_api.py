"""GitHub's API for an organisation's webhooks, as requests. Pure: no I/O, no clock.

https://docs.github.com/rest/orgs/webhooks. A repository stands for its owner, the organisation.
"""

from collections.abc import Mapping

from handler.model import Repository
from handler.network.forges.api_request import ApiRequest
from handler.network.forges.github_api import API_HEADERS, api_url, leads_to, listed, status_request

__all__ = ["NEEDED", "hooks_request", "leads_to", "listed", "put_request", "status_request"]

NEEDED = (
    "only an organisation has a webhook for all its repositories, and a fine-grained token needs its «Webhooks: read "
    "and write», a classic one `admin:org_hook`"
)


def hooks_request(repository: Repository, token: str, page: int, size: int) -> ApiRequest:
    """Return the request for one page of the organisation's webhooks, the first being 1."""
    return _request(repository, token, "GET", f"?per_page={size}&page={page}", None)


def put_request(repository: Repository, token: str, found: object, webhook_url: str, secret: str) -> ApiRequest:
    """Return the request that makes the webhook, or gives the one with the id `found` this secret."""
    config = {"url": webhook_url, "content_type": "json", "secret": secret, "insecure_ssl": "0"}
    if found is None:
        fields = {"name": "web", "active": True, "events": ["push"], "config": config}
        return _request(repository, token, "POST", "", fields)
    # The configuration alone: an organisation's webhook knows no `add_events`, and what it sends beside pushes stays.
    return _request(repository, token, "PATCH", f"/{found}/config", config)


def _request(
    repository: Repository, token: str, method: str, path: str, fields: Mapping[str, object] | None
) -> ApiRequest:
    owner = repository.full_name.partition("/")[0]
    return ApiRequest(
        method=method,
        url=f"{api_url(repository.url)}/orgs/{owner}/hooks{path}",
        headers={**API_HEADERS, "Authorization": f"Bearer {token}"},
        fields=fields,
    )
