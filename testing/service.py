"""The system under test in this process: the handler, a mount, its settings and its parameters.

service.put_repository("octo/site")
answer = service.push(upstream)
assert service.tree("octo/site/main") == archive(upstream, answer.content["commit"])
"""

import importlib
import json
import os
import sys
import time
import uuid
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from handler.network.operations.command import ACTIONS
from handler.settings import variable_of
from testing import fake_lambda
from testing.answers import Answer, read_answer
from testing.deliveries import (
    EVENT_SHAPES,
    JSON,
    NULL_OID,
    SECRET,
    Event,
    LambdaContext,
    WebhookRequest,
    ping_payload,
    push_payload,
    webhook_request,
)
from testing.origin import GitOrigin
from testing.output import CapturedOutput
from testing.parameters import ParameterStore
from testing.process import ServiceProcess
from testing.publisher import PublisherProcess, is_isolated
from testing.queue import MessageQueue
from testing.repositories import Tree, Upstream, snapshot

ENTRY = "handler.webhook"
WORKER = "handler.worker"
SCHEDULE = "handler.schedule"
OPERATE = "handler.operate"
PUBLISHER = "handler.publisher"

IMPATIENT: Mapping[str, object] = {
    "connect_timeout_seconds": 2.0,
    "read_timeout_seconds": 5.0,
    "lag_seconds": 0.5,
    "allowed_hosts": "github.com,127.0.0.1",
    "lock_seconds": 5.0,
    "spare_files": 0,
}
"""Settings that differ from the product's: so that a test of a failure does not wait for long, for its origin, and so
that what a push itself writes and removes can be counted. Tests of spares allow them."""


class Service(CapturedOutput):
    """One stack: its own prefix in the parameter store, its own mount, the handler as a cold start finds it.

    `log_lines`, `metrics`, `metric_values` and `text` tell what the handler wrote, `answers` what
    it answered.
    """

    def __init__(
        self, mount: Path, store: ParameterStore, origin: GitOrigin | None = None, *, entry: str = ENTRY
    ) -> None:
        """`origin` is where `put_repository` leads; `entry` the module whose `handler` is called."""
        super().__init__()
        self.mount = mount
        self.store = store
        self.origin = origin
        self.entry = entry
        self.secret = SECRET
        self.prefix = f"/git2efs/test-{uuid.uuid4().hex[:12]}"
        self.answers: list[Answer] = []
        self.settings: dict[str, object] = dict(IMPATIENT)
        self.queue: MessageQueue | None = None
        self._environment_before: dict[str, str] = {}
        self._pushed: dict[tuple[str, str], str] = {}
        self._pushed_at = int(time.time()) - 100
        self._threads: ThreadPoolExecutor | None = None
        self._publisher = PublisherProcess() if is_isolated() else None

    # -- life -----------------------------------------------------------------------------------------------

    def start(self) -> "Service":
        """Put the secret, set the environment, and make the handler forget what it knew."""
        self.mount.mkdir(parents=True, exist_ok=True)
        self.put_secret(self.secret)
        self._environment_before = dict(os.environ)
        fake_lambda.install()
        os.environ.update(self.environment)
        self.reset()
        return self

    def stop(self) -> None:
        """Give the environment back."""
        if self._threads:
            self._threads.shutdown()
        for name in self.environment:
            os.environ.pop(name, None)
        os.environ.update(self._environment_before)
        self.reset()
        fake_lambda.remove()
        if self._publisher:
            self._publisher.stop()
        self.store.reset()

    @property
    def environment(self) -> dict[str, str]:
        """The variables that the stack gives its function."""
        variables = {"parameter_prefix": self.prefix, "mount": os.fspath(self.mount), **self.settings}
        queue = self.queue.environment() if self.queue else {}
        return (
            self.store.environment()
            | queue
            | fake_lambda.environment()
            | (self._publisher.variables if self._publisher else {})
            | {variable_of(name): str(value) for name, value in variables.items() if value is not None}
        )

    def configure(self, **settings: object) -> None:
        """Change settings by their field's name (None: the product's default), as a new deployment does."""
        before = self.environment
        self.settings |= settings
        # Made before anything is taken away: which transport the tests use stands in the environment too.
        after = self.environment
        for name in before:
            os.environ.pop(name, None)
        os.environ.update(after)
        self.reset()

    def use_queue(self, queue: MessageQueue) -> None:
        """Queue what comes, from now on: the handler is then the front door alone."""
        self.queue = queue
        self.configure(queue_url=queue.url, dead_letter_url=queue.dead_letter_url)

    def work(self, event: Any, **context: Any) -> Any:
        """Call the worker with an event; return what it returns."""
        worker = importlib.import_module(WORKER)
        with self.capturing():
            return worker.handler(event, LambdaContext(**({"remaining_ms": 900_000} | context)))

    def run_schedule(self, task: str = "reconcile", **context: Any) -> Any:
        """Call the schedule as its timer does; return what it returns. Repositories are listed afresh each time."""
        schedule = importlib.import_module(SCHEDULE)
        schedule.reset()
        with self.capturing():
            return schedule.handler({"task": task}, LambdaContext(**({"remaining_ms": 900_000} | context)))

    def operate(self, action: str, subject: str | None = None, **fields: Any) -> dict[str, Any]:
        """Call the operator's function for an action about a repository or a path; return what it returns."""
        operate = importlib.import_module(OPERATE)
        operate.reset()  # parameters are remembered for half a minute
        field = {} if subject is None else {ACTIONS[action].subject: subject}
        with self.capturing():
            content = operate.handler({"action": action, **field, **fields}, LambdaContext(remaining_ms=900_000))
        assert isinstance(content, dict)
        return content

    def reset(self) -> None:
        """Make the handler forget everything it holds in memory: the next delivery is a cold start's."""
        importlib.import_module(self.entry).reset()
        for entry in (SCHEDULE, OPERATE, PUBLISHER):
            if entry in sys.modules:
                sys.modules[entry].reset()
        if self.queue:
            importlib.import_module(WORKER).reset()
        if self._publisher:
            self._publisher.redeploy(os.environ | self.environment)

    def process(self, **options: Any) -> ServiceProcess:
        """Start the same stack in a child process; use it as a context manager."""
        if self._publisher:
            self._publisher.redeploy(os.environ | self.environment)
        return ServiceProcess(self, **options)

    # -- parameters -----------------------------------------------------------------------------------------

    def put_secret(self, value: str) -> None:
        """Write the webhook secret as it is, and sign with it from now on."""
        self.secret = value
        self.store.put(f"{self.prefix}/webhook-secret", value, is_secure=True)

    def rotate_secret(self, new: str, *, ago_seconds: float = 0.0) -> str:
        """Replace the webhook secret; as if that had been a while ago. Return the old one."""
        old = self.secret
        self.put_secret(new)
        self.age_secret(ago_seconds)
        return old

    def age_secret(self, seconds: float) -> None:
        """Make every version of the webhook secret that many seconds older."""
        self.store.age(f"{self.prefix}/webhook-secret", seconds)

    def put_own_secret(self, full_name: str, value: str) -> None:
        """Write the webhook secret that a repository has of its own, for `/github/<owner>/<name>`."""
        self.store.put(f"{self.prefix}/webhook-secrets/{full_name}", value, is_secure=True)

    def put_repository(self, full_name: str = "octo/site", **fields: object) -> None:
        """Write a repository's parameter: `url` at the origin, and `fields`."""
        origin = {"url": self.origin.url(full_name)} if self.origin else {}
        self.put_repository_text(full_name, json.dumps(origin | fields))

    def put_repository_text(self, full_name: str, text: str) -> None:
        """Write a repository's parameter as any text."""
        self.store.put(f"{self.prefix}/repositories/{full_name}", text)

    def delete_repository(self, full_name: str) -> None:
        """Delete a repository's parameter."""
        self.store.delete(f"{self.prefix}/repositories/{full_name}")

    def put_token(self, token: str, name: str = "token") -> str:
        """Write a SecureString; return its full name, for `credentials`."""
        full_name = f"{self.prefix}/credentials/{name}"
        self.store.put(full_name, token, is_secure=True)
        return full_name

    # -- deliveries -----------------------------------------------------------------------------------------

    def deliver(self, event: Any, context: LambdaContext | None = None) -> Answer:
        """Call the handler with an event, and return what it answers."""
        entry = importlib.import_module(self.entry)
        with self.capturing():
            answer = read_answer(entry.handler(event, context or LambdaContext()))
        self.answers.append(answer)
        return answer

    def send(self, request: WebhookRequest, shape: str = "http-api", *, path: str | None = None) -> Answer:
        """Deliver a request in the shape of one of EVENT_SHAPES, to its usual path or this one."""
        to_event: Callable[..., Event] = EVENT_SHAPES[shape]
        return self.deliver(to_event(request) if path is None else to_event(request, path=path))

    def send_later(self, request: WebhookRequest) -> Future[Answer]:
        """Deliver a request in a thread of its own."""
        self._threads = self._threads or ThreadPoolExecutor(16)
        return self._threads.submit(self.send, request)

    def push(self, upstream: Upstream, ref: str | None = None, **options: Any) -> Answer:
        """Deliver what GitHub sends for a ref as it stands upstream; options as `push_request`."""
        return self.send(self.push_request(upstream, ref, **options))

    def push_request(
        self,
        upstream: Upstream,
        ref: str | None = None,
        *,
        before: str | None = None,
        after: str | None = None,
        pushed_at: int | None = None,
        delivery_id: str | None = None,
        media_type: str = JSON,
        secret: str | bytes | None = None,
        **fields: Any,
    ) -> WebhookRequest:
        """Return the request for a push; sent twice, it is a redelivery.

        `ref` is a branch or a full name, by default the default branch. `after` is by default what the ref
        names upstream, `before` what it was at the last push of this service. Pushes are a second apart, the
        first 100 s ago, so that their order shows in `pushed_at` however fast the test is.
        """
        name = upstream.ref_name(ref)
        after = after or upstream.tip(name) or NULL_OID
        before = before or self._pushed.get((upstream.full_name, name), NULL_OID)
        self._pushed[upstream.full_name, name] = after
        self._pushed_at += 1
        payload = push_payload(
            upstream.full_name,
            name,
            before,
            after,
            pushed_at=self._pushed_at if pushed_at is None else pushed_at,
            default_branch=upstream.default_branch,
            head=upstream.peel(after),
            **fields,
        )
        return webhook_request("push", payload, secret or self.secret, media_type=media_type, delivery_id=delivery_id)

    def ping(self, full_name: str = "octo/site") -> Answer:
        """Deliver what GitHub sends when the webhook is made."""
        return self.send(webhook_request("ping", ping_payload(full_name), self.secret))

    # -- what is on the mount -------------------------------------------------------------------------------

    def current(self, path: str = "octo/site/main") -> Path:
        """Return where a target's `current` link is."""
        return self.mount / path / "current"

    def current_commit(self, path: str = "octo/site/main") -> str | None:
        """Return the commit that `current` names, None where there is no link."""
        link = self.current(path)
        return os.path.basename(os.readlink(link)) if link.is_symlink() else None

    def tree(self, path: str = "octo/site/main") -> Tree:
        """Return the published tree, read through `current`."""
        return snapshot(self.current(path).resolve(strict=True))

    def releases(self, path: str = "octo/site/main") -> list[str]:
        """Return the names of a target's releases, sorted."""
        directory = self.mount / path / "releases"
        return sorted(os.listdir(directory)) if directory.is_dir() else []

    def record(self, path: str = "octo/site/main") -> dict[str, Any]:
        """Return what `published.json` says."""
        content = json.loads((self.mount / path / "published.json").read_text())
        assert isinstance(content, dict)
        return content

    def places_of(self, needle: str) -> list[str]:
        """Return where a text that must be nowhere is: output, answers, names and contents on the mount."""
        raw = needle.encode()
        places = ["output"] if needle in self.text else []
        places += [f"answer {at}" for at, answer in enumerate(self.answers) if needle in repr(answer)]
        for directory, _, files in os.walk(os.fsencode(self.mount)):
            for path in (os.path.join(directory, name) for name in files):
                content = os.readlink(path) if os.path.islink(path) else Path(os.fsdecode(path)).read_bytes()
                if raw in path or raw in content:
                    places.append(os.fsdecode(path))
        return places
