"""A day of pushes played through the stack, direct or queued: what became of each, and what it took. Pure.

Direct: API Gateway's throttle → an environment of the webhook's → its parameters → the look, while GitHub waits.
Queued: the same up to the parameters, then a message; workers take batches, one at a time of each repository's group.
What is lost (no delivery is sent twice) stays behind until the schedule comes by.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

from benchmarks.scale.engine import Bucket, Environment, Function, Loop, Meter
from benchmarks.scale.model import Limits, Stack, Times
from benchmarks.scale.mount import FAILURES, End, Mount
from benchmarks.scale.parameters import SECRET, Parameters
from benchmarks.scale.queue import Message, Queue
from benchmarks.scale.schedule import Pass, pass_of
from benchmarks.scale.trace import Push


@dataclass(slots=True)
class Result:
    """What a simulated day came to. `lags` are seconds from push to visible, sorted."""

    pushes: int
    mount: Mount
    webhook: Function
    worker: Function
    queue: Queue
    parameter_calls: Meter
    lags: list[float] = field(default_factory=list)
    sends: Meter = field(default_factory=Meter)
    refused: dict[End, int] = field(default_factory=dict)
    late_answers: int = 0
    gateway_timeouts: int = 0
    never_visible: int = 0
    healed: int = 0
    """Pushes that only the schedule found."""

    @property
    def refusals(self) -> int:
        """Deliveries that were answered with an error: nobody sends them again, but what they said may be found."""
        return sum(self.refused.values())

    def lag(self, part: float) -> float:
        """Return the lag that so much of all pushes kept within; 1 for the longest."""
        return self.lags[min(len(self.lags) - 1, int(part * len(self.lags)))] if self.lags else 0.0


class Simulation:
    """One run, see the module; the same arguments give the same result."""

    def __init__(
        self,
        trace: Sequence[Push],
        trees: Sequence[int],
        stack: Stack,
        times: Times | None = None,
        seed: int = 1,
        *,
        is_local: bool = False,
    ) -> None:
        """`is_local`: one process with threads and nothing of AWS's, as the local service, to compare with it."""
        self._trace, self._stack, self._times = list(trace), stack, times or Times()
        limits = Limits()
        self._loop = Loop()
        self.mount = Mount(self._loop, list(trees), self._trace, stack, self._times, seed)
        self._throttle = Bucket(stack.throttle_rate, stack.throttle_burst)
        self._pass: Pass = pass_of(len(trees), stack, self._times)
        self._parameters = Parameters(self._loop, stack, self._times, self._pass.listing_share)
        self._is_local = is_local
        keep, times = limits.keep_alive, self._times
        cold = times.cold_door if stack.is_queued else times.cold
        account = int(limits.lambda_concurrency)
        self._webhook = Function(cold, min(stack.webhook_concurrency, account), keep, is_shared=is_local)
        self._worker = Function(times.cold, min(stack.worker_concurrency, account), keep)
        self._healer = Function(0.0, sys.maxsize, keep)  # the schedule's threads
        self._queue = Queue(self._loop, self.mount, self._parameters, self._worker, stack, self._times)
        self.result = Result(
            len(self._trace), self.mount, self._webhook, self._worker, self._queue, self._parameters.calls
        )

    def run(self) -> Result:
        """Play it to its end."""
        for number, push in enumerate(self._trace):
            self._loop.at(push.at, partial(self.mount.push, number))
            self._loop.at(push.at + self._times.webhook, partial(self._deliver, number))
        self._loop.run()
        visible = self.mount.visible_at
        lags = [at - push.at for at, push in zip(visible, self._trace, strict=True) if at is not None]
        self.result.lags = sorted(lags)
        self.result.never_visible = len(visible) - len(lags)
        return self.result

    # --- The webhook -------------------------------------------------------------------------------------------

    def _deliver(self, number: int) -> None:
        now = self._loop.now
        if not self._is_local and not self._throttle.take(now):
            self._lose(number, End.THROTTLED)
            return
        started = self._webhook.start(now)
        if started is None:
            self._lose(number, End.NO_CONCURRENCY)
            return
        environment, ready = started
        at = ready + self._times.door

        def go_on(is_known: bool) -> None:
            if not is_known:
                self._answer(number, now, environment, End.PARAMETERS)
            elif self._stack.is_queued:
                self.result.sends.add(self._loop.now, 1)
                self._loop.at(self._loop.now + self._times.send, lambda: self._sent(number, now, environment))
            else:
                push = self._trace[number]
                end = partial(self._answer, number, now, environment)
                self.mount.look(push.repository, now, number, environment, end)

        names = (SECRET, self._trace[number].repository)
        if self._is_local:
            self._loop.at(at, lambda: go_on(True))
        else:
            self._loop.at(at, lambda: self._parameters.read(environment, names, go_on))

    def _sent(self, number: int, started: float, environment: Environment) -> None:
        self._answer(number, started, environment, End.UNCHANGED)
        self._queue.put(Message(number, self._trace[number].repository, started))

    def _answer(self, number: int, started: float, environment: Environment, end: End) -> None:
        now = self._loop.now
        self._webhook.end(environment, started, now)
        self.result.late_answers += now - started > 10
        self.result.gateway_timeouts += now - started > 30
        if end in FAILURES:
            self._lose(number, end)

    def _lose(self, number: int, end: End) -> None:
        self.result.refused[end] = self.result.refused.get(end, 0) + 1
        repository = self._trace[number].repository
        self._loop.at(self._pass.next_visit(self._loop.now, repository), partial(self._heal, number))

    def _heal(self, number: int) -> None:
        """The schedule comes by: in queued mode a message, else a look of its own."""
        if self.mount.visible_at[number] is not None:
            return
        self.result.healed += 1
        if self._stack.is_queued:
            self._queue.put(Message(number, self._trace[number].repository, self._loop.now))
            return
        started, now = self._healer.start(self._loop.now), self._loop.now
        assert started is not None
        environment, _ = started

        def done(end: End) -> None:
            self._healer.end(environment, now, self._loop.now)
            if end in FAILURES:
                self.result.healed -= 1
                visit = self._pass.next_visit(self._loop.now + 1, self._trace[number].repository)
                self._loop.at(visit, partial(self._heal, number))

        self.mount.look(self._trace[number].repository, now, None, environment, done)
