"""What sends deliveries as each forge does: its headers, its signature, its payload."""

import base64
import copy
import hmac
import json
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from handler.model import Forge
from testing.deliveries import JSON, NULL_OID, WebhookRequest, ping_payload, push_payload, webhook_request

Payload = dict[str, Any]
SIGNING_TOKEN = "whsec_" + base64.b64encode(b"a signing token of thirty-two by").decode()
Headers = Callable[[bytes, str], dict[str, str]]


class Change(NamedTuple):
    """One ref of a push."""

    ref: str
    before: str
    after: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Sender:
    """One forge. `payloads` makes a push's (event, payload) pairs; `headers` vouch for a body with a secret."""

    forge: Forge
    payloads: Callable[[str, Sequence[Change]], list[tuple[str, Payload]]]
    headers: Headers
    event_header: str
    delivery_header: str
    ping: tuple[str, Payload] | None = None
    secret: str = "the forge's own secret"
    full_name: str = "octo/site"
    unknown_status: int = 404

    def push(self, *changes: Change, full_name: str | None = None, secret: str | None = None) -> list[WebhookRequest]:
        """Return the deliveries of one push: one for each ref, or one for all."""
        pairs = self.payloads(full_name or self.full_name, changes)
        return [self.request(event, payload, secret) for event, payload in pairs]

    def request(self, event: str, payload: Payload, secret: str | None = None) -> WebhookRequest:
        """Return one delivery."""
        body = json.dumps(payload, separators=(",", ":"), ensure_ascii=False).encode()
        headers = {"Content-Type": JSON, self.event_header: event, self.delivery_header: str(uuid.uuid4())}
        return WebhookRequest(headers | self.headers(body, secret or self.secret), body)


@cache
def _text(name: str) -> str:
    return (Path(__file__).parent / "payloads" / f"{name}.json").read_text()


def fixture(name: str) -> Payload:
    """Return a documented payload, to be changed."""
    payload: Payload = json.loads(_text(name))
    return payload


# -- GitHub ------------------------------------------------------------------------------------------------------------


def _github(full_name: str, changes: Sequence[Change]) -> list[tuple[str, Payload]]:
    return [("push", push_payload(full_name, *change)) for change in changes]


def _github_headers(body: bytes, secret: str) -> dict[str, str]:
    names = ("X-Hub-Signature", "X-Hub-Signature-256")
    return {name: text for name, text in webhook_request("push", body, secret).headers.items() if name in names}


# -- GitLab ------------------------------------------------------------------------------------------------------------


def _gitlab(full_name: str, changes: Sequence[Change]) -> list[tuple[str, Payload]]:
    pairs = []
    for ref, before, after in changes:
        payload, is_tag = fixture("gitlab-push"), ref.startswith("refs/tags/")
        payload["project"]["path_with_namespace"] = full_name
        payload |= {"ref": ref, "before": before, "after": after, "checkout_sha": after if after != NULL_OID else None}
        payload["commits"][0]["id"] = after
        if is_tag:
            payload |= {"object_kind": "tag_push", "event_name": "tag_push", "commits": [], "total_commits_count": 0}
        pairs.append(("Tag Push Hook" if is_tag else "Push Hook", payload))
    return pairs


def _gitlab_token(body: bytes, secret: str) -> dict[str, str]:
    return {"X-Gitlab-Token": secret}


def _gitlab_signature(body: bytes, secret: str) -> dict[str, str]:
    stamps = {"webhook-id": str(uuid.uuid4()), "webhook-timestamp": "1750000000"}
    key = base64.b64decode(secret.removeprefix("whsec_"))
    signed = b".".join([*(text.encode() for text in stamps.values()), body])
    return stamps | {"webhook-signature": f"v1,{base64.b64encode(hmac.digest(key, signed, 'sha256')).decode()}"}


# -- Gitea and Forgejo -------------------------------------------------------------------------------------------------


def _gitea(full_name: str, changes: Sequence[Change]) -> list[tuple[str, Payload]]:
    pairs = []
    for ref, before, after in changes:
        if after == NULL_OID and ref.startswith("refs/heads/"):
            payload = fixture("gitea-delete") | {"ref": ref.removeprefix("refs/heads/")}
            event = "delete"
        else:
            payload = fixture("gitea-push") | {"ref": ref, "before": before, "after": after}
            payload["head_commit"] = None if after == NULL_OID else payload["head_commit"] | {"id": after}
            event = "push"
        payload["repository"]["full_name"] = full_name
        pairs.append((event, payload))
    return pairs


def _hex(name: str) -> Headers:
    return lambda body, secret: {name: hmac.new(secret.encode(), body, "sha256").hexdigest()}


# -- Bitbucket ---------------------------------------------------------------------------------------------------------


def _cloud(full_name: str, changes: Sequence[Change]) -> list[tuple[str, Payload]]:
    payload = fixture("bitbucket-cloud-push")
    payload["repository"]["full_name"] = full_name
    (sample,) = payload["push"]["changes"]
    payload["push"]["changes"] = [_cloud_change(copy.deepcopy(sample), change) for change in changes]
    return [("repo:push", payload)]


def _cloud_change(change: Payload, wanted: Change) -> Payload:
    kind = "tag" if wanted.ref.startswith("refs/tags/") else "branch"
    for end, commit in (("old", wanted.before), ("new", wanted.after)):
        change[end] |= {"name": wanted.ref.split("/", 2)[2], "type": kind}
        change[end]["target"]["hash"] = commit
        if commit == NULL_OID:
            change[end] = None
    return change | {"created": change["old"] is None, "closed": change["new"] is None}


def _data_center(full_name: str, changes: Sequence[Change]) -> list[tuple[str, Payload]]:
    payload = fixture("bitbucket-data-center-push")
    payload["repository"]["project"]["key"], payload["repository"]["slug"] = full_name.split("/")
    payload["changes"] = [
        {
            "ref": {"id": ref, "displayId": ref.split("/", 2)[2], "type": "TAG" if "/tags/" in ref else "BRANCH"},
            "refId": ref,
            "fromHash": before,
            "toHash": after,
            "type": "ADD" if before == NULL_OID else "DELETE" if after == NULL_OID else "UPDATE",
        }
        for ref, before, after in changes
    ]
    return [("repo:refs_changed", payload)]


def _prefixed(body: bytes, secret: str) -> dict[str, str]:
    return {"X-Hub-Signature": f"sha256={hmac.new(secret.encode(), body, 'sha256').hexdigest()}"}


_GITLAB = Sender(
    forge=Forge.GITLAB,
    payloads=_gitlab,
    headers=_gitlab_token,
    event_header="X-Gitlab-Event",
    delivery_header="Idempotency-Key",
    unknown_status=200,
)

SENDERS: Mapping[str, Sender] = {
    "github": Sender(
        forge=Forge.GITHUB,
        payloads=_github,
        headers=_github_headers,
        event_header="X-GitHub-Event",
        delivery_header="X-GitHub-Delivery",
        ping=("ping", ping_payload("octo/site")),
    ),
    "gitlab": _GITLAB,
    "gitlab, signing": Sender(
        forge=Forge.GITLAB,
        payloads=_gitlab,
        headers=_gitlab_signature,
        event_header="X-Gitlab-Event",
        delivery_header="X-Gitlab-Event-UUID",
        secret=SIGNING_TOKEN,
        unknown_status=200,
    ),
    "gitea": Sender(
        forge=Forge.GITEA,
        payloads=_gitea,
        headers=_hex("X-Gitea-Signature"),
        event_header="X-Gitea-Event",
        delivery_header="X-Gitea-Delivery",
    ),
    "forgejo": Sender(
        forge=Forge.GITEA,
        payloads=_gitea,
        headers=_hex("X-Forgejo-Signature"),
        event_header="X-Forgejo-Event",
        delivery_header="X-Forgejo-Delivery",
    ),
    "bitbucket cloud": Sender(
        forge=Forge.BITBUCKET,
        payloads=_cloud,
        headers=_prefixed,
        event_header="X-Event-Key",
        delivery_header="X-Request-UUID",
        unknown_status=200,
    ),
    "bitbucket data center": Sender(
        forge=Forge.BITBUCKET,
        payloads=_data_center,
        headers=_prefixed,
        event_header="X-Event-Key",
        delivery_header="X-Request-Id",
        ping=("diagnostics:ping", fixture("bitbucket-data-center-ping")),
        full_name="OCTO/site",
        unknown_status=200,
    ),
}
