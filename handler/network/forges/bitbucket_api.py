"""Bitbucket's API, of Cloud and of Data Center: statuses and webhooks as requests. Pure: no I/O, no clock.

https://developer.atlassian.com/cloud/bitbucket/rest/ (commit statuses, webhooks) and
https://developer.atlassian.com/server/bitbucket/rest/ (builds, repository webhooks). bitbucket.org is Cloud, and any
other host Data Center. A token is an access token of a repository, a project or a workspace, or Data Center's HTTP
access token, which the API takes as a bearer. Cloud's API takes no API token of a person so; git does.
"""

import hashlib
from collections.abc import Mapping
from types import MappingProxyType
from urllib.parse import urlsplit

from handler.model import Repository
from handler.network.forges.api_request import ApiRequest
from handler.network.remote.authorization import basic

NEEDED = "an access token needs the scopes to read and write webhooks, and on Data Center to administer the repository"
CLOUD_HOSTS = frozenset({"bitbucket.org", "www.bitbucket.org"})
_OF_A_PERSON = "ATATT"
"""How a person's API token of Atlassian's begins; an access token begins with ATCTT."""
_STATES = MappingProxyType(
    {"pending": "INPROGRESS", "success": "SUCCESSFUL", "failure": "FAILED", "error": "FAILED"},
)


def git_header(url: str, token: str) -> str:
    """Return the header with which git takes the token: Data Center takes a repository's own as a bearer alone."""
    if not _is_cloud(url):
        return f"Bearer {token}"
    return basic(token, "x-bitbucket-api-token-auth" if token.startswith(_OF_A_PERSON) else "x-token-auth")


def status_request(repository: Repository, token: str, commit: str, status: Mapping[str, str]) -> ApiRequest:
    """Return the request that sets a commit's status; `status` has `state`, `context` and `description`."""
    fields = {
        # Cloud takes keys of at most 40 characters.
        "key": f"git2efs-{hashlib.sha256(status['context'].encode()).hexdigest()[:32]}",
        "name": status["context"],
        "state": _STATES[status["state"]],
        "description": status["description"],
        # Both demand one.
        "url": repository.url.removesuffix(".git"),
    }
    path = f"/commit/{commit}/statuses/build" if _is_cloud(repository.url) else f"/commits/{commit}/builds"
    return _request(repository, token, "POST", path, fields)


def hooks_request(repository: Repository, token: str, page: int, size: int) -> ApiRequest:
    """Return the request for one page of the repository's webhooks, the first being 1."""
    if _is_cloud(repository.url):
        return _request(repository, token, "GET", f"/hooks?pagelen={size}&page={page}", None)
    return _request(repository, token, "GET", f"/webhooks?limit={size}&start={(page - 1) * size}", None)


def listed(answer: object) -> object:
    """Return the list of webhooks in the answer."""
    return answer.get("values") if isinstance(answer, dict) else None


def leads_to(hook: Mapping[str, object], webhook_url: str) -> object:
    """Return the id of a webhook that leads to `webhook_url`, None for any other."""
    return (hook.get("uuid") or hook.get("id")) if hook.get("url") == webhook_url else None


def put_request(repository: Repository, token: str, found: object, webhook_url: str, secret: str) -> ApiRequest:
    """Return the request that makes the webhook, or gives the one with the id `found` this secret."""
    fields: dict[str, object] = {"url": webhook_url, "active": True}
    if _is_cloud(repository.url):
        path = "/hooks"
        fields |= {"description": "git2efs", "secret": secret, "events": ["repo:push"]}
    else:
        path = "/webhooks"
        fields |= {"name": "git2efs", "configuration": {"secret": secret}, "events": ["repo:refs_changed"]}
    if found is None:
        return _request(repository, token, "POST", path, fields)
    return _request(repository, token, "PUT", f"{path}/{found}", fields)


def _is_cloud(url: str) -> bool:
    return (urlsplit(url).hostname or "").lower() in CLOUD_HOSTS


def _request(
    repository: Repository, token: str, method: str, path: str, fields: Mapping[str, object] | None
) -> ApiRequest:
    parts = urlsplit(repository.url)
    # On Data Center `/scm/<project>/<repository>.git`, perhaps below a path of the instance's own.
    before, owner, name = f"/{parts.path.strip('/').removesuffix('.git')}".rsplit("/", 2)
    if _is_cloud(repository.url):
        url = f"https://api.bitbucket.org/2.0/repositories/{owner}/{name}{path}"
    else:
        base = f"{parts.scheme}://{parts.netloc}{before.removesuffix('/scm')}/rest/api/latest"
        url = f"{base}/projects/{owner}/repos/{name}{path}"
    return ApiRequest(method=method, url=url, headers={"Authorization": f"Bearer {token}"}, fields=fields)
