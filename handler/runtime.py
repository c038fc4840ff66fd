"""What one process keeps between its invocations, made at the first one: settings, telemetry, the part that works."""

import os
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

from handler.network.aws.telemetry import Telemetry
from handler.settings import Settings, read_settings

if TYPE_CHECKING:
    from handler.network.deliver import Deliverer
    from handler.publisher import LocalPublisher


class Closable(Protocol):
    """What a process keeps, as far as this module knows it."""

    def close(self) -> None:
        """Close what is kept open."""
        ...


App = TypeVar("App", bound=Closable)


class Runtime(Generic[App]):
    """Makes the part at the first request, so that a wrong environment is an answer and not a failed start.

    Safe for threads.
    """

    def __init__(self, make: Callable[[Settings, Telemetry], App]) -> None:
        """Nothing is made yet."""
        self._make = make
        self._lock = threading.Lock()
        self._part: App | None = None
        self._telemetry: Telemetry | None = None
        self._said: set[str] = set()

    def telemetry(self) -> Telemetry:
        """Return what tells CloudWatch."""
        with self._lock:
            self._telemetry = self._telemetry or Telemetry()
            return self._telemetry

    def app(self, environment: Mapping[str, str]) -> App:
        """Return the part, made once with the settings in `environment`. Raises ConfigurationInvalid."""
        telemetry = self.telemetry()
        with self._lock:
            if self._part is None:
                self._part = self._make(read_settings(environment), telemetry)
                # Readers run as other users: modes are the tree's own, whatever this process inherited.
                os.umask(0o022)
            return self._part

    def warn_once(self, sentences: Sequence[str]) -> None:
        """Say each sentence in a log line of its own, once in the life of the process."""
        for sentence in sentences:
            if sentence not in self._said:
                self._said.add(sentence)
                self.telemetry().warn(sentence)

    def close(self) -> None:
        """Close the part, and forget everything."""
        with self._lock:
            if self._part is not None:
                self._part.close()
            self._part = self._telemetry = None
            self._said.clear()


def make_sides(
    settings: Settings,
    *,
    progress: Callable[[str, int, int], None],
    warn: Callable[[str], None],
    say: Callable[[str], None] = lambda sentence: None,
) -> "tuple[LocalPublisher, Deliverer]":
    """Return the mount side, and the network side's deliverer that hands it what to publish. Connects to nothing yet.

    `progress` is told about long check-outs (see `LocalPublisher`), `warn` what an operator should mend,
    `say` what a long operator's command is at.
    """
    # Half of a cold start's imports: the webhook of a stack with a queue is spared them.
    from handler.network.aws.eventbridge import make_emit
    from handler.network.deliver import Deliverer
    from handler.publisher import LocalPublisher

    emit = make_emit(settings.event_bus, warn)
    publisher = LocalPublisher(settings, emit=emit, progress=progress, say=say)
    return publisher, Deliverer(settings, publisher, emit=emit, warn=warn)
