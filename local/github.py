"""GitHub's webhook side: push payloads, signatures, and deliveries as GitHub sends them.

https://docs.github.com/en/webhooks/webhook-events-and-payloads#push
"""

import hashlib
import hmac
import http.client
import json
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode, urlsplit

NO_COMMIT = "0" * 40
JSON = "application/json"
FORM = "application/x-www-form-urlencoded"


@dataclass(frozen=True, slots=True)
class Answer:
    """The endpoint's answer; header names are lower-cased."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def fields(self) -> dict[str, Any]:
        """The body as a JSON object; empty if it is not one."""
        try:
            value = json.loads(self.body)
        except ValueError:
            return {}
        return value if isinstance(value, dict) else {}


@dataclass(frozen=True, slots=True)
class Change:
    """The details of a pushed commit. `committed_at` is in ISO 8601; None is the time of the push."""

    text: str = "A change"
    added: Sequence[str] = ()
    removed: Sequence[str] = ()
    modified: Sequence[str] = ()
    committed_at: str | None = None


NO_DETAILS = Change()


def push_payload(
    full_name: str, ref: str, before: str, after: str, *, change: Change = NO_DETAILS, pushed_at: int | None = None
) -> dict[str, Any]:
    """Return the payload of a push that moved `ref` from `before` to `after` (40 hex; NO_COMMIT for none).

    `pushed_at` is in seconds since the epoch; None is now.
    """
    owner, _, name = full_name.partition("/")
    now = int(time.time()) if pushed_at is None else pushed_at
    url = f"https://github.com/{full_name}"
    person = {"name": owner, "email": f"{owner}@users.noreply.github.com", "username": owner}
    commit = {
        "id": after,
        "message": change.text,
        "timestamp": change.committed_at or time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now)),
        "url": f"{url}/commit/{after}",
        "author": person,
        "committer": person,
        "added": list(change.added),
        "removed": list(change.removed),
        "modified": list(change.modified),
    }
    deleted = after == NO_COMMIT
    return {
        "ref": ref,
        "before": before,
        "after": after,
        "created": before == NO_COMMIT,
        "deleted": deleted,
        "forced": False,
        "base_ref": None,
        "compare": f"{url}/compare/{before[:12]}...{after[:12]}",
        "commits": [] if deleted else [commit],
        "head_commit": None if deleted else commit,
        "repository": {
            "id": 1296269,
            "name": name,
            "full_name": full_name,
            "private": False,
            "owner": {"name": owner, "login": owner},
            "html_url": url,
            "clone_url": f"{url}.git",
            "default_branch": "main",
            "pushed_at": now,
        },
        "pusher": {"name": owner, "email": person["email"]},
        "sender": {"login": owner, "type": "User"},
    }


def sign(body: bytes, secret: str, algorithm: str = "sha256") -> str:
    """Return the signature header's value, `sha256=<hex>`, over the exact bytes."""
    return f"{algorithm}={hmac.new(secret.encode(), body, algorithm).hexdigest()}"


def encode(payload: Mapping[str, Any], media_type: str = JSON) -> bytes:
    """Return the body as GitHub writes it: JSON, or a form with the JSON in `payload`."""
    text = json.dumps(payload, separators=(",", ":"), ensure_ascii=False)
    return urlencode({"payload": text}).encode() if media_type == FORM else text.encode()


def delivery_headers(
    body: bytes,
    secret: str | None,
    *,
    event: str = "push",
    delivery: str | None = None,
    media_type: str = JSON,
) -> dict[str, str]:
    """Return the headers of a delivery. GitHub signs with sha1 and sha256; without a secret, not at all."""
    headers = {
        "Accept": "*/*",
        "Content-Type": media_type,
        "User-Agent": f"GitHub-Hookshot/{hashlib.sha1(body, usedforsecurity=False).hexdigest()[:7]}",
        "X-GitHub-Delivery": delivery or str(uuid.uuid4()),
        "X-GitHub-Event": event,
        "X-GitHub-Hook-ID": "292430182",
        "X-GitHub-Hook-Installation-Target-Type": "repository",
    }
    if secret is not None:
        headers["X-Hub-Signature"] = sign(body, secret, "sha1")
        headers["X-Hub-Signature-256"] = sign(body, secret)
    return headers


def post(url: str, body: bytes, headers: Mapping[str, str], timeout_seconds: float = 60.0) -> Answer:
    """Post `body` unchanged and return the answer; ignore the environment's proxies. Raises OSError."""
    parts = urlsplit(url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.hostname or "", parts.port, timeout=timeout_seconds)
    try:
        connection.request("POST", parts.path or "/", body, dict(headers))
        response = connection.getresponse()
        answer_headers = {name.lower(): value for name, value in response.getheaders()}
        return Answer(response.status, response.read(), answer_headers)
    except http.client.HTTPException as error:
        raise ConnectionError(f"no HTTP answer: {type(error).__name__}") from error
    finally:
        connection.close()


def send(
    url: str,
    payload: Mapping[str, Any],
    secret: str | None,
    *,
    event: str = "push",
    delivery: str | None = None,
    media_type: str = JSON,
) -> Answer:
    """Deliver `payload` to `url` like GitHub, signed with `secret`; return the answer. Raises OSError."""
    body = encode(payload, media_type)
    return post(url, body, delivery_headers(body, secret, event=event, delivery=delivery, media_type=media_type))
