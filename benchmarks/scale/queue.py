"""The FIFO queue and its workers, as handler/network/queue/worker.py and Lambda's event source have it. Pure.

A group is one repository's messages, which go to one worker at a time, in order. A worker takes up to ten messages of
one or several groups, and looks at their repositories side by side; all messages of a group cost one look.
"""

from collections import OrderedDict, deque
from dataclasses import dataclass, field

import simpy

from benchmarks.scale.engine import Environment, Function, Meter, Steps, until
from benchmarks.scale.model import Sizes, Stack, Times
from benchmarks.scale.mount import FAILURES, End, Mount
from benchmarks.scale.parameters import Parameters

_LONG_BATCH_SECONDS = 10.0
_LATE_SECONDS = 0.5
_BACK_OFF_SECONDS, _MAX_BACK_OFF_SECONDS = 5.0, 900.0


@dataclass(eq=False, slots=True)
class Message:
    """A push, by its number in the trace, and the time of its delivery."""

    push: int
    repository: int
    received_at: float
    receives: int = 0


@dataclass(eq=False, slots=True)
class _Group:
    messages: deque[Message] = field(default_factory=deque)
    is_held: bool = False


class Queue:
    """Accepts messages, and delivers them to workers."""

    def __init__(
        self,
        clock: simpy.Environment,
        mount: Mount,
        parameters: Parameters,
        worker: Function,
        stack: Stack,
        times: Times,
    ) -> None:
        """Begin with an empty queue."""
        self._clock, self._mount, self._parameters, self._worker = clock, mount, parameters, worker
        self._stack, self._times = stack, times
        self._groups: dict[int, _Group] = {}
        self._ready: OrderedDict[int, None] = OrderedDict()
        self._polls = 0
        self._pollers = int(Sizes().pollers)
        self._waiting = 0
        self.receives = Meter()
        self.messages_peak = 0
        self.batches = 0

    def put(self, message: Message) -> None:
        """Send a message."""
        name = message.repository
        group = self._groups.setdefault(name, _Group())
        group.messages.append(message)
        self._waiting += 1
        self.messages_peak = max(self.messages_peak, self._waiting)
        if not group.is_held:
            self._ready.setdefault(name)
            self._poll()

    def _poll(self) -> None:
        while self._polls < min(self._pollers, len(self._ready), self._stack.worker_concurrency - self._worker.running):
            self._polls += 1
            self._clock.process(self._receive())

    def _receive(self) -> Steps[None]:
        """Wait for a batch, and for the worker that takes it."""
        yield self._clock.timeout(self._times.poll)
        self._polls -= 1
        started = self._worker.start(self._clock.now) if self._ready else None
        if started is None:
            return
        batch = self._take_batch()
        self.receives.add(self._clock.now, 1)
        self.batches += 1
        environment, ready = started
        received_at = self._clock.now
        self._poll()
        yield until(self._clock, ready)
        yield from self._work(batch, environment, received_at)

    def _take_batch(self) -> dict[int, list[Message]]:
        batch: dict[int, list[Message]] = {}
        room = self._stack.batch
        while self._ready and room:
            name, _ = self._ready.popitem(last=False)
            group = self._groups[name]
            group.is_held = True
            batch[name] = [group.messages.popleft() for _ in range(min(room, len(group.messages)))]
            room -= len(batch[name])
        return batch

    def _work(self, batch: dict[int, list[Message]], environment: Environment, received_at: float) -> Steps[None]:
        """Look at the batch's repositories side by side.

        Release all groups when all looks are done; after ten seconds, each group when its own look is done.
        """
        looks = {self._clock.process(self._look(each, environment)): name for name, each in batch.items()}
        yield self._clock.all_of(looks) | self._clock.timeout(_LONG_BATCH_SECONDS)
        while looks:
            ended = [look for look in looks if look.triggered]
            published = sorted(looks[look] for look in ended if look.value not in FAILURES)
            for look in ended:
                del looks[look]
            if not looks:
                self._worker.end(environment, received_at, self._clock.now)
            for name in published:
                self._release(name)
            if looks:
                yield self._clock.any_of(looks)
        self._poll()

    def _look(self, messages: list[Message], environment: Environment) -> Steps[End]:
        name = messages[0].repository
        end = End.PARAMETERS
        if (yield from self._parameters.read(environment, (name,))):
            waited = self._clock.now - min(message.received_at for message in messages)
            end = yield from self._mount.look(
                name,
                max(message.received_at for message in messages),
                max(message.push for message in messages),
                environment,
                is_late=len(messages) > 1 or waited > _LATE_SECONDS,
            )
        if end in FAILURES:
            self._clock.process(self._see_again(name, messages))
        else:
            self._waiting -= len(messages)
        return end

    def _see_again(self, name: int, messages: list[Message]) -> Steps[None]:
        """Keep the messages in the queue, and their group closed until they are seen again."""
        for message in reversed(messages):
            message.receives += 1
            self._groups[name].messages.appendleft(message)
        yield self._clock.timeout(min(_MAX_BACK_OFF_SECONDS, _BACK_OFF_SECONDS * 2 ** (messages[0].receives - 1)))
        self._release(name)

    def _release(self, name: int) -> None:
        group = self._groups[name]
        group.is_held = False
        if group.messages:
            self._ready.setdefault(name)
            self._poll()
