"""Repositories of the remote, configured in the stack, and what GitHub sends when somebody pushes to them."""

import time
from pathlib import Path
from typing import Any

from testing.deliveries import JSON, NULL_OID, SECRET, WebhookRequest, push_payload, webhook_request
from testing.origin import GitOrigin
from testing.repositories import Tree, Upstream, snapshot
from tests.deployed.deployment import Deployment

FIRST_COMMIT_SECONDS_AGO = 300


class Pusher:
    """Makes commits in a repository of its own and the requests that tell of them.

    Commits are a second apart, the first some minutes ago, and each is pushed as soon as it is made: so their order
    shows in the payloads, as it does with people.
    """

    def __init__(self, remote: GitOrigin, full_name: str) -> None:
        """Make the empty repository."""
        self.upstream = Upstream(remote.root, full_name)
        self.full_name = full_name
        self.url = remote.url(full_name)
        self._told: dict[str, str] = {}
        self._made_at: dict[str, int] = {}

    def configure(self, deployment: Deployment, **fields: Any) -> "Pusher":
        """Put the repository's parameter."""
        deployment.put_repository(self.full_name, url=self.url, **fields)
        return self

    def commit(self, text: str = "one", branch: str | None = None) -> str:
        """Commit one file's content; return the commit."""
        made_at = int(time.time()) - FIRST_COMMIT_SECONDS_AGO
        made_at = max(made_at, max(self._made_at.values(), default=0) + 1)
        files = {"index.html": text.encode(), f"{self.full_name}.txt": b"x"}
        commit = self.upstream.commit(files, branch, when=made_at)
        self._made_at[commit] = made_at
        return commit

    def request(
        self, branch: str | None = None, *, secret: str = SECRET, media_type: str = JSON, after: str | None = None
    ) -> WebhookRequest:
        """Return what GitHub sends for a branch as it is now, or was when it named `after`."""
        ref = self.upstream.ref_name(branch)
        after = after or self.upstream.tip(ref) or NULL_OID
        before = self._told.get(ref, NULL_OID)
        self._told[ref] = after
        payload = push_payload(self.full_name, ref, before, after, pushed_at=self._made_at[after])
        return webhook_request("push", payload, secret, media_type=media_type)

    def published(self, deployment: Deployment, branch: str = "main") -> Tree:
        """Return the published tree of a branch, read through `current`."""
        return snapshot(Path(deployment.mount, self.full_name, branch, "current").resolve(strict=True))

    def is_published(self, deployment: Deployment, commit: str, branch: str = "main") -> bool:
        """Tell whether `current` of a branch names the commit."""
        return deployment.current_commit(f"{self.full_name}/{branch}") == commit
