"""Webhook requests as GitHub sends them, and the events that API Gateway and function URLs make of them.

Field by field after https://docs.github.com/webhooks/webhook-events-and-payloads#push; the people in
it are invented.
"""

import base64
import hashlib
import hmac
import json
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any
from urllib.parse import urlencode

NULL_OID = "0" * 40
SECRET = "It's a Secret to Everybody"
JSON = "application/json"
FORM = "application/x-www-form-urlencoded"

Payload = dict[str, Any]
Event = dict[str, Any]


@dataclass(frozen=True, slots=True)
class WebhookRequest:
    """One HTTP request of GitHub's: headers in GitHub's own case, and the bytes that are signed."""

    headers: Mapping[str, str]
    body: bytes
    method: str = "POST"

    def with_header(self, name: str, value: str | None) -> "WebhookRequest":
        """Return the request with a header set, or taken out (None), whatever the case it had."""
        headers = {key: text for key, text in self.headers.items() if key.lower() != name.lower()}
        return replace(self, headers=headers if value is None else headers | {name: value})

    def with_body(self, body: bytes) -> "WebhookRequest":
        """Return the request with another body under the old signature: a forgery."""
        return replace(self, body=body)


@dataclass(slots=True)
class LambdaContext:
    """The context that Lambda passes to a handler."""

    function_name: str = "git2efs-webhook"
    function_version: str = "$LATEST"
    memory_limit_in_mb: int = 512
    invoked_function_arn: str = "arn:aws:lambda:us-east-1:123456789012:function:git2efs-webhook"
    log_group_name: str = "/aws/lambda/git2efs-webhook"
    log_stream_name: str = "2025/06/15/[$LATEST]0123456789abcdef0123456789abcdef"
    aws_request_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    remaining_ms: int = 29_000

    def get_remaining_time_in_millis(self) -> int:
        """How long the function may still run, in milliseconds."""
        return self.remaining_ms


# -- payloads ---------------------------------------------------------------------------------------------


def push_payload(
    repository: str,
    ref: str,
    before: str,
    after: str,
    *,
    pushed_at: int = 1_750_000_000,
    forced: bool = False,
    default_branch: str = "main",
    is_private: bool = False,
    base_ref: str | None = None,
    clone_url: str | None = None,
    message: str = "Change",
    head: str | None = None,
    committed_at: int | None = None,
    added: Sequence[str] = (),
    removed: Sequence[str] = (),
    modified: Sequence[str] = (),
) -> Payload:
    """Return a push event's payload.

    `before` NO_COMMIT makes it a created ref, `after` NO_COMMIT a deleted one; times are in seconds (epoch).
    `head` is the head commit's id where `after` is an annotated tag.
    """
    commit = _commit(repository, head or after, message, committed_at or pushed_at, added, removed, modified)
    is_deleted = after == NULL_OID
    about = repository_fields(repository, default_branch=default_branch, is_private=is_private, clone_url=clone_url)
    return {
        "ref": ref,
        "before": before,
        "after": after,
        "repository": about | {"pushed_at": pushed_at, "created_at": 1_700_000_000, "stargazers": 3},
        "pusher": {"name": "ada", "email": "ada@example.com"},
        "sender": _account("ada", 1001, "User"),
        "created": before == NULL_OID,
        "deleted": is_deleted,
        "forced": forced,
        "base_ref": base_ref,
        "compare": f"https://github.com/{repository}/compare/{before[:12]}...{after[:12]}",
        "commits": [] if is_deleted else [commit],
        "head_commit": None if is_deleted else commit,
    }


def ping_payload(repository: str) -> Payload:
    """Return what GitHub sends when a webhook is made."""
    return {
        "zen": "Keep it logically awesome.",
        "hook_id": 123456789,
        "hook": {
            "type": "Repository",
            "id": 123456789,
            "name": "web",
            "active": True,
            "events": ["push"],
            "config": {
                "content_type": "form",
                "insecure_ssl": "0",
                "secret": "********",
                "url": "https://example.com/github",
            },
            "updated_at": "2025-06-15T15:06:40Z",
            "created_at": "2025-06-15T15:06:40Z",
            "last_response": {"code": None, "status": "unused", "message": None},
        },
        "repository": repository_fields(repository) | {"pushed_at": _iso(1_750_000_000)},
        "sender": _account("ada", 1001, "User"),
    }


def repository_fields(
    full_name: str,
    *,
    default_branch: str = "main",
    is_private: bool = False,
    clone_url: str | None = None,
) -> Payload:
    """Return a payload's `repository` without its times, whose form differs between events."""
    owner, _, name = full_name.partition("/")
    api = f"https://api.github.com/repos/{full_name}"
    return {
        "id": 186853002,
        "node_id": "MDEwOlJlcG9zaXRvcnkxODY4NTMwMDI=",
        "name": name,
        "full_name": full_name,
        "private": is_private,
        "owner": _account(owner, 2002, "Organization"),
        "html_url": f"https://github.com/{full_name}",
        "description": None,
        "fork": False,
        "url": api,
        "commits_url": f"{api}/commits{{/sha}}",
        "archive_url": f"{api}/{{archive_format}}{{/ref}}",
        "hooks_url": f"{api}/hooks",
        "updated_at": _iso(1_749_999_000),
        "git_url": f"git://github.com/{full_name}.git",
        "ssh_url": f"git@github.com:{full_name}.git",
        "clone_url": clone_url or f"https://github.com/{full_name}.git",
        "svn_url": f"https://github.com/{full_name}",
        "homepage": None,
        "size": 120,
        "stargazers_count": 3,
        "watchers_count": 3,
        "language": "HTML",
        "has_issues": True,
        "has_pages": False,
        "forks_count": 0,
        "archived": False,
        "disabled": False,
        "open_issues_count": 0,
        "license": None,
        "is_template": False,
        "topics": [],
        "visibility": "private" if is_private else "public",
        "default_branch": default_branch,
        "master_branch": default_branch,
    }


def _account(login: str, number: int, kind: str) -> Payload:
    return {
        "login": login,
        "name": login,
        "email": f"{login}@example.com",
        "id": number,
        "node_id": f"MDQ6VXNlcnt{number}",
        "avatar_url": f"https://avatars.githubusercontent.com/u/{number}?v=4",
        "url": f"https://api.github.com/users/{login}",
        "html_url": f"https://github.com/{login}",
        "type": kind,
        "site_admin": False,
    }


def _commit(
    repository: str,
    commit: str,
    message: str,
    committed_at: int,
    added: Sequence[str],
    removed: Sequence[str],
    modified: Sequence[str],
) -> Payload:
    person = {"name": "Ada Pusher", "email": "ada@example.com", "username": "ada"}
    return {
        "id": commit,
        "tree_id": hashlib.sha1(commit.encode()).hexdigest(),
        "distinct": True,
        "message": message,
        # In the committer's own time zone, as GitHub writes it.
        "timestamp": datetime.fromtimestamp(committed_at, UTC).strftime("%Y-%m-%dT%H:%M:%S+00:00"),
        "url": f"https://github.com/{repository}/commit/{commit}",
        "author": person,
        "committer": person,
        "added": list(added),
        "removed": list(removed),
        "modified": list(modified),
    }


def _iso(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


# -- requests ---------------------------------------------------------------------------------------------


def signature(secret: str | bytes, body: bytes, algorithm: str = "sha256") -> str:
    """Return the signature header's value over `body`: `sha256=<hex>`, or `sha1=<hex>`."""
    key = secret.encode() if isinstance(secret, str) else secret
    return f"{algorithm}={hmac.new(key, body, algorithm).hexdigest()}"


def encode_payload(payload: Payload, media_type: str = JSON) -> bytes:
    """Return the body that carries `payload`, in GitHub's compact JSON or as a form."""
    text = json.dumps(payload, separators=(",", ":"), ensure_ascii=False)
    return urlencode({"payload": text}).encode() if media_type == FORM else text.encode()


def webhook_request(
    event: str,
    payload: Payload | bytes,
    secret: str | bytes | None = SECRET,
    *,
    media_type: str = JSON,
    delivery_id: str | None = None,
    signed_with: Sequence[str] = ("sha1", "sha256"),
) -> WebhookRequest:
    """Return the signed request; `payload` as bytes is the body as it is, `secret` None signs nothing.

    GitHub always sends both signatures; `signed_with` says otherwise.
    """
    body = payload if isinstance(payload, bytes) else encode_payload(payload, media_type)
    headers = {
        "Host": "hooks.example.com",
        "User-Agent": "GitHub-Hookshot/044aadd",
        "Content-Length": str(len(body)),
        "Accept": "*/*",
        "Content-Type": media_type,
        "X-GitHub-Delivery": delivery_id or str(uuid.uuid4()),
        "X-GitHub-Event": event,
        "X-GitHub-Hook-ID": "123456789",
        "X-GitHub-Hook-Installation-Target-ID": "186853002",
        "X-GitHub-Hook-Installation-Target-Type": "repository",
    }
    if secret is not None:
        names = {"sha1": "X-Hub-Signature", "sha256": "X-Hub-Signature-256"}
        headers |= {names[algorithm]: signature(secret, body, algorithm) for algorithm in signed_with}
    return WebhookRequest(headers, body)


# -- events -----------------------------------------------------------------------------------------------


def http_api_event(request: WebhookRequest, *, is_base64: bool | None = None, path: str = "/github") -> Event:
    """Return an HTTP API's event (payload format 2.0): header names in lower case.

    `is_base64` None does as API Gateway: JSON and text as they are, a form in base64.
    """
    media_type = next((value for name, value in request.headers.items() if name.lower() == "content-type"), "")
    is_text = media_type.startswith(("text/", JSON))
    context = _request_context_2("hooks.example.com", "api0000000", request.method, path)
    return {
        "version": "2.0",
        "routeKey": f"{request.method} {path}",
        "rawPath": path,
        "rawQueryString": "",
        "headers": {name.lower(): value for name, value in request.headers.items()}
        | {"x-forwarded-for": "140.82.115.54", "x-forwarded-port": "443", "x-forwarded-proto": "https"},
        "requestContext": context,
        **_event_body(request, not is_text if is_base64 is None else is_base64),
    }


def function_url_event(request: WebhookRequest, *, is_base64: bool | None = None, path: str = "/") -> Event:
    """Return a function URL's event: payload format 2.0, with the route `$default` whatever the path."""
    event = http_api_event(request, is_base64=is_base64, path=path)
    domain = "abcdefghijklmnopqrstuvwxyz012345.lambda-url.us-east-1.on.aws"
    context = _request_context_2(domain, domain.partition(".")[0], request.method, path)
    context |= {"accountId": "anonymous", "routeKey": "$default"}
    return event | {"routeKey": "$default", "requestContext": context}


def rest_api_event(request: WebhookRequest, *, is_base64: bool = False, path: str = "/github") -> Event:
    """Return a REST API's event (1.0): names as sent, every value in `multiValueHeaders` too."""
    headers = dict(request.headers) | {"X-Forwarded-For": "140.82.115.54", "X-Forwarded-Proto": "https"}
    return {
        "resource": path,
        "path": path,
        "httpMethod": request.method,
        "headers": headers,
        "multiValueHeaders": {name: [value] for name, value in headers.items()},
        "queryStringParameters": None,
        "multiValueQueryStringParameters": None,
        "pathParameters": None,
        "stageVariables": None,
        "requestContext": {
            "resourceId": "abc123",
            "resourcePath": path,
            "httpMethod": request.method,
            "path": f"/prod{path}",
            "accountId": "123456789012",
            "protocol": "HTTP/1.1",
            "stage": "prod",
            "requestTime": "15/Jun/2025:15:06:40 +0000",
            "requestTimeEpoch": 1_750_000_000_000,
            "requestId": str(uuid.uuid4()),
            "identity": {"sourceIp": "140.82.115.54", "userAgent": request.headers.get("User-Agent")},
            "apiId": "api0000000",
        },
        **_event_body(request, is_base64),
    }


EVENT_SHAPES: Mapping[str, Callable[[WebhookRequest], Event]] = MappingProxyType(
    {"http-api": http_api_event, "rest-api": rest_api_event, "function-url": function_url_event}
)
"""Every shape that the handler takes, by a name for test ids."""


def _request_context_2(domain: str, api: str, method: str, path: str) -> dict[str, Any]:
    return {
        "accountId": "123456789012",
        "apiId": api,
        "domainName": domain,
        "domainPrefix": domain.partition(".")[0],
        "http": {
            "method": method,
            "path": path,
            "protocol": "HTTP/1.1",
            "sourceIp": "140.82.115.54",
            "userAgent": "GitHub-Hookshot/044aadd",
        },
        "requestId": str(uuid.uuid4()),
        "routeKey": f"{method} {path}",
        "stage": "$default",
        "time": "15/Jun/2025:15:06:40 +0000",
        "timeEpoch": 1_750_000_000_000,
    }


def _event_body(request: WebhookRequest, is_base64: bool) -> dict[str, Any]:
    if is_base64:
        return {"body": base64.b64encode(request.body).decode(), "isBase64Encoded": True}
    return {"body": request.body.decode(), "isBase64Encoded": False}
