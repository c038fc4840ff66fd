"""The FIFO queue and its workers, as handler/worker.py and Lambda's event source have it. Pure.

A group is one repository's messages: they come in order, and only to one worker at a time. A worker takes up to ten
messages, of one group or several, and looks at their repositories side by side; a group's messages cost one look.
"""

from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from benchmarks.scale.engine import Environment, Function, Loop, Meter
from benchmarks.scale.model import Sizes, Stack, Times
from benchmarks.scale.mount import FAILURES, End, Mount
from benchmarks.scale.parameters import Parameters

_LONG_BATCH_SECONDS = 10.0
_LATE_SECONDS = 0.5
_BACK_OFF_SECONDS, _MAX_BACK_OFF_SECONDS = 5.0, 900.0


@dataclass(eq=False, slots=True)
class Message:
    """A push, by its number in the trace, and when its delivery came."""

    push: int
    repository: int
    received_at: float
    receives: int = 0


@dataclass(eq=False, slots=True)
class _Group:
    messages: deque[Message] = field(default_factory=deque)
    is_held: bool = False


class Queue:
    """Takes messages, and has them worked off."""

    def __init__(
        self, loop: Loop, mount: Mount, parameters: Parameters, worker: Function, stack: Stack, times: Times
    ) -> None:
        """Empty at midnight."""
        self._loop, self._mount, self._parameters, self._worker = loop, mount, parameters, worker
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
        """A message is in the queue."""
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
            self._loop.at(self._loop.now + self._times.poll, self._receive)

    def _receive(self) -> None:
        self._polls -= 1
        started = self._worker.start(self._loop.now) if self._ready else None
        if started is None:
            return
        batch: dict[int, list[Message]] = {}
        room = self._stack.batch
        while self._ready and room:
            name, _ = self._ready.popitem(last=False)
            group = self._groups[name]
            group.is_held = True
            batch[name] = [group.messages.popleft() for _ in range(min(room, len(group.messages)))]
            room -= len(batch[name])
        self.receives.add(self._loop.now, 1)
        self.batches += 1
        environment, ready = started
        now = self._loop.now
        self._loop.at(ready, lambda: self._work(batch, environment, now))
        self._poll()

    def _work(self, batch: dict[int, list[Message]], environment: Environment, started: float) -> None:
        """The batch's repositories side by side; each group is let go when all is done, or after ten seconds."""
        begun, left, done = self._loop.now, set(batch), set[int]()

        def let_go() -> None:
            for name in sorted(done):
                self._let_go(name)
            done.clear()

        def end(name: int, how: End) -> None:
            left.discard(name)
            if how in FAILURES:
                self._see_again(name, batch[name])
            else:
                self._waiting -= len(batch[name])
                done.add(name)
            if not left:
                self._worker.end(environment, started, self._loop.now)
                let_go()
                self._poll()
            elif self._loop.now - begun >= _LONG_BATCH_SECONDS:
                let_go()

        self._loop.at(begun + _LONG_BATCH_SECONDS, let_go)
        for name, messages in batch.items():
            look = partial(self._look, messages, environment, partial(end, name))
            self._parameters.read(environment, (name,), look)

    def _look(
        self, messages: list[Message], environment: Environment, end: Callable[[End], None], is_known: bool
    ) -> None:
        if not is_known:
            end(End.PARAMETERS)
            return
        waited = self._loop.now - min(message.received_at for message in messages)
        self._mount.look(
            messages[0].repository,
            max(message.received_at for message in messages),
            max(message.push for message in messages),
            environment,
            end,
            is_late=len(messages) > 1 or waited > _LATE_SECONDS,
        )

    def _see_again(self, name: int, messages: list[Message]) -> None:
        """The messages stay in the queue; their group is closed until they are seen again."""
        for message in reversed(messages):
            message.receives += 1
            self._groups[name].messages.appendleft(message)
        wait = min(_MAX_BACK_OFF_SECONDS, _BACK_OFF_SECONDS * 2 ** (messages[0].receives - 1))
        self._loop.at(self._loop.now + wait, lambda: self._let_go(name))

    def _let_go(self, name: int) -> None:
        group = self._groups[name]
        group.is_held = False
        if group.messages:
            self._ready.setdefault(name)
            self._poll()
