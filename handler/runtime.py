"""What the entry points share: one app a process, made at the first invocation; warnings, and records of failures."""

import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

from handler.model import Outcome
from handler.network.aws.telemetry import Telemetry
from handler.outcome import as_failure, outcome_of
from handler.settings import Settings, read_settings

if TYPE_CHECKING:
    from handler.exchange.publisher import Publisher
    from handler.network.deliver import Deliverer


class RuntimeApp(Protocol):
    """What an entry point keeps between invocations, as far as this module knows it."""

    def close(self) -> None:
        """Close what is kept open."""
        ...

    def secret_problems(self) -> tuple[str, ...]:
        """Return what looks wrong with the stored secrets read so far, without showing them."""
        ...


App = TypeVar("App", bound=RuntimeApp)


def request_id_of(context: object) -> str:
    """Return the request id of Lambda's `context`, for log lines; '' outside Lambda."""
    return str(getattr(context, "aws_request_id", ""))


class Runtime(Generic[App]):
    """Makes the app at the first invocation, so that a wrong environment is an answer and not a failed start.

    Safe for threads.
    """

    def __init__(self, make: Callable[[Settings, Telemetry], App]) -> None:
        """`make` returns the app. It may raise ConfigurationInvalid; the next invocation then calls it again."""
        self._make = make
        self._lock = threading.Lock()
        self._app: App | None = None
        self._telemetry: Telemetry | None = None
        self._warned: set[str] = set()

    @classmethod
    def initialised(
        cls,
        make: Callable[[Settings, Telemetry], App],
        environment: Mapping[str, str],
        *,
        before_snapshot: Callable[[App], None] = lambda app: None,
    ) -> "Runtime[App]":
        """Return a runtime; in Lambda, with the app made already, and all that it imports loaded.

        Lambda initialises with a whole processor, whatever the memory. With SnapStart it takes a snapshot of the
        process afterwards, and restores any number of processes from that one, days later; `before_snapshot` is called
        for that. So nothing may go into it that must not be the same in all of them, or grows old: open no connection,
        read no parameter (the secret in it may have been replaced by then), draw no id, note no time. Clients may be
        made: botocore resolves credentials again when they are about to expire, by the clock of the restored process.

        What fails here fails again at the first request, whose answer says so.
        """
        runtime = cls(make)
        kind = environment.get("AWS_LAMBDA_INITIALIZATION_TYPE")
        if kind is not None:
            with suppress(Exception):
                app = runtime.app(environment)
                if kind == "snap-start":
                    before_snapshot(app)
        return runtime

    def telemetry(self) -> Telemetry:
        """Return what writes log lines and metrics."""
        with self._lock:
            self._telemetry = self._telemetry or Telemetry()
            return self._telemetry

    def app(self, environment: Mapping[str, str]) -> App:
        """Return the app, made once with the settings in `environment`. Raises ConfigurationInvalid."""
        telemetry = self.telemetry()
        with self._lock:
            if self._app is None:
                settings = read_settings(environment)
                if not settings.all_metrics:
                    telemetry.limit_metrics()
                self._app = self._make(settings, telemetry)
                # Readers run as other users: modes are the tree's own, whatever this process inherited.
                os.umask(0o022)
            return self._app

    @contextmanager
    def serving(self, environment: Mapping[str, str]) -> Iterator[App]:
        """Return the app as `app` does; at the end of the block warn of secrets that look wrong, each once."""
        app = self.app(environment)
        try:
            yield app
        finally:
            self.warn_once(app.secret_problems())

    def warn_once(self, sentences: Sequence[str]) -> None:
        """Write each sentence in a log line of its own, once in the life of the process."""
        for sentence in sentences:
            if sentence not in self._warned:
                self._warned.add(sentence)
                self.telemetry().warn(sentence)

    def record_failure(self, error: Exception, request_id: str, *, event: str = "") -> Outcome:
        """Write the log line and the metrics of an invocation that failed as a whole; return its outcome."""
        outcome = outcome_of(as_failure(error))
        self.telemetry().record(outcome, delivery="", event=event, request_id=request_id, duration_ms=0.0)
        return outcome

    def close(self) -> None:
        """Close the app and forget it, the telemetry and the warnings."""
        with self._lock:
            if self._app is not None:
                self._app.close()
            self._app = self._telemetry = None
            self._warned.clear()


def make_sides(
    settings: Settings,
    *,
    progress: Callable[[str, int, int], None],
    warn: Callable[[str], None],
    say: Callable[[str], None] = lambda sentence: None,
) -> "tuple[Publisher, Deliverer]":
    """Return the mount side, and the network side's deliverer that publishes through it. Connect to nothing.

    The mount side is the function that `settings.publisher` names; without a name, it is in this process.

    `progress` is called during long check-outs (see `LocalPublisher`), `warn` with what an operator should mend, `say`
    with what a long operator's command is doing.
    """
    # Half of a cold start's imports: the webhook of a stack with a queue is spared them.
    from handler.network.aws.eventbridge import make_put
    from handler.network.deliver import Deliverer

    publisher = _make_publisher(settings, progress=progress, say=say)
    return publisher, Deliverer(settings, publisher, put=make_put(settings.event_bus, warn), warn=warn)


def _make_publisher(
    settings: Settings, *, progress: Callable[[str, int, int], None], say: Callable[[str], None]
) -> "Publisher":
    # A function that only invokes the publisher loads nothing of git and of the mount, and the other way round.
    if settings.publisher:
        from handler.network.aws.publisher_function import PublisherFunction

        return PublisherFunction(settings.publisher)
    from handler.mount.publisher import LocalPublisher

    return LocalPublisher(settings, progress=progress, say=say)
