"""Play a day of pushes through the stack, direct or queued; return the outcome and the cost of each. Pure.

Direct: API Gateway's throttle → an environment of the webhook's → its parameters → the look, while GitHub waits.
Queued: the same up to the parameters, then a message; workers take batches, one at a time of each repository's group.
GitHub sends no delivery twice: a lost one stays behind until the schedule comes by.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field

import simpy

from benchmarks.scale.engine import Bucket, Environment, Function, Meter, Steps, until
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
    """The number of pushes that only the schedule found."""

    @property
    def refusals(self) -> int:
        """The number of deliveries answered with an error; the schedule may still find their pushes."""
        return sum(self.refused.values())

    def lag(self, part: float) -> float:
        """Return the lag that `part` of all pushes did not exceed; 1 gives the longest."""
        return self.lags[min(len(self.lags) - 1, int(part * len(self.lags)))] if self.lags else 0.0


class Simulation:
    """One run of the simulation; the same arguments give the same result."""

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
        """`is_local`: one process with threads and no AWS, to compare with the local service."""
        self._trace, self._stack, self._times = list(trace), stack, times or Times()
        limits = Limits()
        self._clock = simpy.Environment()
        self.mount = Mount(self._clock, list(trees), self._trace, stack, self._times, seed)
        self._throttle = Bucket(stack.throttle_rate, stack.throttle_burst)
        self._pass: Pass = pass_of(len(trees), stack, self._times)
        self._parameters = Parameters(self._clock, stack, self._times, self._pass.listing_share)
        self._is_local = is_local
        keep, times = limits.keep_alive, self._times
        cold = times.cold_door if stack.is_queued else times.cold
        account = int(limits.lambda_concurrency)
        self._webhook = Function(cold, min(stack.webhook_concurrency, account), keep, is_shared=is_local)
        self._worker = Function(times.cold, min(stack.worker_concurrency, account), keep)
        self._healer = Function(0.0, sys.maxsize, keep)  # the schedule's threads
        self._queue = Queue(self._clock, self.mount, self._parameters, self._worker, stack, self._times)
        self.result = Result(
            len(self._trace), self.mount, self._webhook, self._worker, self._queue, self._parameters.calls
        )

    def run(self) -> Result:
        """Run the simulation to its end."""
        for number in range(len(self._trace)):
            self._clock.process(self._push(number))
        self._clock.run()
        visible = self.mount.visible_at
        lags = [at - push.at for at, push in zip(visible, self._trace, strict=True) if at is not None]
        self.result.lags = sorted(lags)
        self.result.never_visible = len(visible) - len(lags)
        return self.result

    def _push(self, number: int) -> Steps[None]:
        """Accept a push as GitHub does, and deliver it; leave a refused one to the schedule."""
        yield until(self._clock, self._trace[number].at)
        self.mount.push(number)
        yield self._clock.timeout(self._times.webhook)
        end = yield from self._deliver(number)
        if end in FAILURES:
            self.result.refused[end] = self.result.refused.get(end, 0) + 1
            yield from self._heal(number)

    def _deliver(self, number: int) -> Steps[End]:
        """Answer a delivery; return its outcome, UNCHANGED if it sent a message."""
        received_at = self._clock.now
        if not self._is_local and not self._throttle.take(received_at):
            return End.THROTTLED
        started = self._webhook.start(received_at)
        if started is None:
            return End.NO_CONCURRENCY
        environment, ready = started
        yield until(self._clock, ready + self._times.door)
        end = yield from self._handle(number, received_at, environment)
        now = self._clock.now
        self._webhook.end(environment, received_at, now)
        self.result.late_answers += now - received_at > 10
        self.result.gateway_timeouts += now - received_at > 30
        if self._stack.is_queued and end not in FAILURES:
            self._queue.put(Message(number, self._trace[number].repository, received_at))
        return end

    def _handle(self, number: int, received_at: float, environment: Environment) -> Steps[End]:
        repository = self._trace[number].repository
        if not (self._is_local or (yield from self._parameters.read(environment, (SECRET, repository)))):
            return End.PARAMETERS
        if self._stack.is_queued:
            self.result.sends.add(self._clock.now, 1)
            yield self._clock.timeout(self._times.send)
            return End.UNCHANGED
        return (yield from self.mount.look(repository, received_at, number, environment))

    def _heal(self, number: int) -> Steps[None]:
        """Let the schedule come by until the push is visible. In queued mode it sends a message; otherwise it looks."""
        repository = self._trace[number].repository
        yield until(self._clock, self._pass.next_visit(self._clock.now, repository))
        while self.mount.visible_at[number] is None:
            self.result.healed += 1
            now = self._clock.now
            if self._stack.is_queued:
                self._queue.put(Message(number, repository, now))
                return
            started = self._healer.start(now)
            assert started is not None
            environment, _ = started
            end = yield from self.mount.look(repository, now, None, environment)
            self._healer.end(environment, now, self._clock.now)
            if end not in FAILURES:
                return
            self.result.healed -= 1
            yield until(self._clock, self._pass.next_visit(self._clock.now + 1, repository))
