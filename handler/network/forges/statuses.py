"""Commit statuses on the forge: pending while a commit's tree is being published, then success or what went wrong.

A thread posts them during the publish. They never fail it, and are dropped where the forge takes too long.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from functools import partial
from types import MappingProxyType

import urllib3

from handler.errors import Transient
from handler.model import Forge, Outcome, OutcomeKind, PushEvent, Repository
from handler.network.forges import api_of

CONNECT_TIMEOUT_SECONDS = 2
READ_TIMEOUT_SECONDS = 3
CLOSE_SECONDS = 3
"""How long the end of a delivery waits for statuses in progress: Lambda freezes a process that has answered."""
MAX_DESCRIPTION = 140
MAX_CONTEXT = 255
_MAX_ANSWER_BYTES = 65_536
_TAKEN = frozenset({200, 201, 204})
API_HEADERS: Mapping[str, str] = MappingProxyType(
    {
        "User-Agent": "git2efs",
        "Accept": "application/json",
        "Content-Type": "application/json",
    }
)

Post = Callable[[str, Mapping[str, str]], None]
"""Post one status, given the commit and the request's fields. Raises no Exception."""
PoolAt = Callable[[str, str | None, urllib3.PoolManager], urllib3.PoolManager]
"""Called with a URL, with certificates (PEM) of one's own authorities or None, and with the public pool."""


class Statuses:
    """The connections to forges' APIs of one process. Safe for threads."""

    def __init__(self, warn: Callable[[str], None], pool_at: PoolAt | None = None) -> None:
        """`warn` is called with a sentence for each status that a forge did not take.

        `pool_at` returns the pool for a URL that is reached in another way than by `public`; by default there is none.
        """
        self._warn = warn
        self._pool_at = pool_at
        timeout = urllib3.Timeout(connect=CONNECT_TIMEOUT_SECONDS, read=READ_TIMEOUT_SECONDS)
        self._pool = urllib3.PoolManager(num_pools=4, maxsize=4, timeout=timeout, retries=False)

    def of(
        self, repository: Repository, token: str | None, push: PushEvent | None, ca: str | None = None
    ) -> "DeliveryStatuses":
        """Return the statuses of one delivery; they post nothing unless the repository has `commit_status`.

        `ca` as in HttpRemote.
        """
        post: Post | None = None
        if repository.commit_status and token is not None:
            post = _Poster(partial(self._pool_for, ca=ca), self._warn, repository, token).post
        return DeliveryStatuses(repository.full_name, post, push, self._warn, repository.forge)

    def _pool_for(self, url: str, ca: str | None) -> urllib3.PoolManager:
        return self._pool if self._pool_at is None else self._pool_at(url, ca, self._pool)

    def close(self) -> None:
        """Close the idle connections."""
        self._pool.clear()


class DeliveryStatuses:
    """The statuses of one delivery's targets, posted in order by a thread of its own."""

    def __init__(
        self,
        about: str,
        post: Post | None,
        push: PushEvent | None,
        warn: Callable[[str], None],
        forge: Forge = Forge.GITHUB,
    ) -> None:
        """`about` names the repository. Without `post`, post nothing. The thread starts with the first status."""
        self._about = about
        self._forge = forge
        self._post = post
        self._push = push
        self._warn = warn
        self._pool: ThreadPoolExecutor | None = None
        self._futures: list[Future[None]] = []
        self._begun: dict[str, tuple[str, Future[None] | None]] = {}

    def begin(self, path: str, commit: str) -> None:
        """Post that the commit is about to be published at `path` (relative to the mount)."""
        begun, _ = self._begun.get(path, (None, None))
        if begun != commit:  # the same commit begins again where a damaged mirror was fetched anew
            self._begun[path] = commit, self._submit(commit, path, "pending", "Publishing")

    def conclude(self, path: str, outcome: Outcome) -> None:
        """Post how the target ended: on the commit that was published, or else on the one that was begun or pushed."""
        begun, pending = self._begun.get(path, (None, None))
        if pending is not None and pending is not self._futures[0]:
            pending.cancel()  # not posted yet: the final status makes it superfluous
        if outcome.kind is OutcomeKind.PUBLISHED and outcome.commit is not None:
            self._submit(outcome.commit, path, "success", f"Published to {path}")
        elif begun is not None and outcome.kind is OutcomeKind.UNCHANGED and outcome.commit == begun:
            # Another run was first. It may not have told.
            self._submit(begun, path, "success", f"Published to {path}")
        elif begun is not None and outcome.kind is OutcomeKind.IGNORED:
            self._submit(begun, path, "error", f"Not published: {outcome.reason}")
        elif outcome.kind is OutcomeKind.FAILED:
            commit = begun or self._pushed_commit()
            if commit is not None:
                state = "error" if outcome.status == Transient.status else "failure"
                self._submit(commit, path, state, f"Not published: {outcome.reason}")

    def _pushed_commit(self) -> str | None:
        """Return the pushed commit; None where there is none, or the pushed id may be an annotated tag's."""
        push = self._push
        return push.after if push is not None and not push.is_deleted and push.ref.startswith("refs/heads/") else None

    def _submit(self, commit: str, path: str, state: str, description: str) -> Future[None] | None:
        if self._post is None:
            return None
        status = {"state": state, "context": context_of(path), "description": _cut(description, MAX_DESCRIPTION)}
        self._pool = self._pool or ThreadPoolExecutor(1, thread_name_prefix="statuses")
        self._futures.append(self._pool.submit(self._post, commit, status))
        return self._futures[-1]

    def close(self) -> None:
        """Wait up to CLOSE_SECONDS until all is posted, then drop the statuses that are not in progress."""
        if self._pool is None:
            return
        late = [each for each in wait(self._futures, timeout=CLOSE_SECONDS).not_done if not each.cancelled()]
        self._pool.shutdown(wait=False, cancel_futures=True)
        if late:
            self._warn(f"{self._forge.label} took too long: {len(late)} statuses of {self._about} are not there.")


class _Poster:
    """Posts statuses to one repository's commits. The token only goes into a header."""

    def __init__(
        self,
        pool_for: Callable[[str], urllib3.PoolManager],
        warn: Callable[[str], None],
        repository: Repository,
        token: str,
    ) -> None:
        self._pool_for = pool_for
        self._warn = warn
        self._repository = repository
        self._request = partial(api_of(repository.forge).status_request, repository, token)

    def post(self, commit: str, status: Mapping[str, str]) -> None:
        problem = self._post(commit, status)
        if problem is not None:
            forge, about = self._repository.forge.label, self._repository.full_name
            self._warn(f"{forge} did not take the status {status['state']} of {about} at {commit}: {problem}")

    def _post(self, commit: str, status: Mapping[str, str]) -> str | None:
        """Return what went wrong: a status code or an exception's type. An exception's text may quote a header."""
        try:
            request = self._request(commit, status)
            response = self._pool_for(request.url).request(
                request.method,
                request.url,
                body=json.dumps(request.fields).encode(),
                headers={**API_HEADERS, **request.headers},
                redirect=False,
                preload_content=False,
            )
            try:
                # Read to the end, so that the connection serves the next status. GitHub answers some kilobytes.
                is_whole = len(response.read(_MAX_ANSWER_BYTES)) < _MAX_ANSWER_BYTES
            except BaseException:
                response.close()
                raise
            if not is_whole:
                response.close()
            return None if response.status in _TAKEN else str(response.status)
        except Exception as error:  # whatever it is, the release is published
            return type(error).__name__


def context_of(path: str) -> str:
    """Return the name under which a target's statuses replace each other."""
    context = f"git2efs/{path}"
    if len(context) <= MAX_CONTEXT:
        return context
    # With a hash, so that two long paths do not replace each other's statuses.
    return f"{context[: MAX_CONTEXT - 17]}~{hashlib.sha256(path.encode()).hexdigest()[:16]}"


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 3] + "..."
