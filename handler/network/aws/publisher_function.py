"""The mount side as a Lambda function, invoked synchronously: `Publisher` and `Operations` over `exchange.messages`.

Being invoked needs no route: Lambda's own API reaches a function that has no way out of its VPC.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, cast

from handler.deadline import NO_DEADLINE, Deadline
from handler.errors import Malformed, PublisherRefused, PublisherUnavailable
from handler.exchange.checks import Check
from handler.exchange.drift import TargetDrift
from handler.exchange.events import PendingEvent
from handler.exchange.messages import decode_answer, encode_call
from handler.exchange.operations import MountedTarget, OperatorAnswer, RepositoryStatus, TargetStatus
from handler.exchange.publisher import (
    MAX_MESSAGE_BYTES,
    MaintenanceResult,
    PublishAnswer,
    PublishRequest,
    SurveyFinding,
    SurveyItem,
)
from handler.exchange.schedule_state import ScheduleState
from handler.model import Counts, Outcome, Repository, Target
from handler.network.aws.client import AwsError, ClientOptions, LazyClient, call, make_client

OPTIONS = ClientOptions(
    # Longer than the function may run, and no second attempt of botocore's: it would invoke the function again while
    # the first invocation still runs.
    read_timeout_seconds=930,
    attempts=1,
    max_pool_connections=40,
    tcp_keepalive=True,
)
_AWAKE_SECONDS = 240.0
"""Lambda keeps an idle function ready for some minutes."""
_STALE_SECONDS = 1.0
"""A kept connection that died while this process was frozen fails within this time."""
_UNSENT = frozenset({"ConnectionClosedError", "ConnectTimeoutError", "EndpointConnectionError"})


class LambdaClient(Protocol):
    """The part of boto3's Lambda client that we use."""

    def invoke(self, *, FunctionName: str, InvocationType: str, Payload: bytes) -> Mapping[str, Any]: ...


def make_lambda_client() -> LambdaClient:
    """Return boto3's client. Raises AwsError."""
    return cast(LambdaClient, make_client("lambda", OPTIONS))


class PublisherFunction:
    """The function of that name or ARN. Safe for threads. The client is made with the first call.

    Every method raises PublisherUnavailable where the function was throttled, failed, or did not answer in its time,
    and PublisherRefused where it may not be invoked, is not there, or refuses what it is sent.
    """

    def __init__(
        self,
        name: str,
        make: Callable[[], LambdaClient] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._name = name
        self._client = LazyClient(make or make_lambda_client)
        self._clock = clock
        self._answered_at = float("-inf")

    @property
    def operations(self) -> "PublisherFunction":
        """See `Publisher.operations`."""
        return self

    def close(self) -> None:
        """Keep nothing open that has to be closed."""

    @property
    def is_remote(self) -> bool:
        """See `Publisher.is_remote`."""
        return True

    def is_warm(self) -> bool:
        """See `Publisher.is_warm`."""
        return self._clock() - self._answered_at < _AWAKE_SECONDS

    # -- Publisher ---------------------------------------------------------------------------------------------------

    def publish(self, request: PublishRequest) -> PublishAnswer:
        """See `Publisher.publish`."""
        return cast(PublishAnswer, self._call("publish", request=request))

    def receive(self, repository: str, *, transfer: str, offset: int, content: bytes) -> int:
        """See `Publisher.receive`."""
        return cast(
            int, self._call("receive", repository=repository, transfer=transfer, offset=offset, content=content)
        )

    def announced(self, event: PendingEvent) -> Outcome | None:
        """See `Publisher.announced`."""
        return cast(Outcome | None, self._call("announced", event=event))

    def look(self, repository: str, target: Target) -> Outcome:
        """See `Publisher.look`."""
        return cast(Outcome, self._call("look", repository=repository, target=target))

    def make_spares(self, repository: Repository, target: Target, *, deadline: Deadline) -> Counts:
        """See `Publisher.make_spares`. Lambda queues the call; the function's own deadline ends it."""
        arguments = {"repository": repository, "target": target, "deadline": NO_DEADLINE}
        self._invoke(encode_call("make_spares", arguments), kind="Event")
        return Counts()

    def survey(self, items: Sequence[SurveyItem]) -> tuple[SurveyFinding, ...]:
        """See `Publisher.survey`."""
        return cast(tuple[SurveyFinding, ...], self._call("survey", items=items))

    def published_refs(self, repository: str) -> tuple[str, ...]:
        """See `Publisher.published_refs`."""
        return cast(tuple[str, ...], self._call("published_refs", repository=repository))

    def maintain(
        self, repository: Repository, *, deadline: Deadline, resume_at: str | None = None
    ) -> MaintenanceResult:
        """See `Publisher.maintain`."""
        arguments: dict[str, object] = {"repository": repository, "deadline": deadline, "resume_at": resume_at}
        return cast(MaintenanceResult, self._call("maintain", **arguments))

    def take_lease(self, task: str, *, run: str, until: float) -> ScheduleState:
        """See `Publisher.take_lease`."""
        return cast(ScheduleState, self._call("take_lease", task=task, run=run, until=until))

    def end_lease(self, task: str, *, run: str, state: ScheduleState | None) -> None:
        """See `Publisher.end_lease`."""
        self._call("end_lease", task=task, run=run, state=state)

    # -- Operations --------------------------------------------------------------------------------------------------

    def repositories(self) -> tuple[str, ...]:
        """See `Operations.repositories`."""
        return cast(tuple[str, ...], self._call("repositories"))

    def read_schedule_state(self, task: str) -> ScheduleState:
        """See `Operations.read_schedule_state`."""
        return cast(ScheduleState, self._call("read_schedule_state", task=task))

    def find_targets(self, name: str | None) -> tuple[MountedTarget, ...]:
        """See `Operations.find_targets`."""
        return cast(tuple[MountedTarget, ...], self._call("find_targets", name=name))

    def target_statuses(self, repository: str, drift: Sequence[TargetDrift] | None) -> tuple[TargetStatus, ...]:
        """See `Operations.target_statuses`."""
        return cast(tuple[TargetStatus, ...], self._call("target_statuses", repository=repository, drift=drift))

    def count_disk(self, statuses: Sequence[RepositoryStatus], *, deadline: Deadline) -> tuple[RepositoryStatus, ...]:
        """See `Operations.count_disk`."""
        return cast(tuple[RepositoryStatus, ...], self._call("count_disk", statuses=statuses, deadline=deadline))

    def roll_back(
        self, target: MountedTarget, *, to: str | None, by: str, why: str, deadline: Deadline
    ) -> OperatorAnswer:
        """See `Operations.roll_back`."""
        return cast(OperatorAnswer, self._call("roll_back", target=target, to=to, by=by, why=why, deadline=deadline))

    def hold(self, target: MountedTarget, *, by: str, why: str, deadline: Deadline) -> OperatorAnswer:
        """See `Operations.hold`."""
        return cast(OperatorAnswer, self._call("hold", target=target, by=by, why=why, deadline=deadline))

    def end_hold(self, target: MountedTarget, *, deadline: Deadline) -> str:
        """See `Operations.end_hold`."""
        return cast(str, self._call("end_hold", target=target, deadline=deadline))

    def take_over(self, previous: str, *, repository: str, path: str | None, deadline: Deadline) -> tuple[Outcome, ...]:
        """See `Operations.take_over`."""
        arguments: dict[str, object] = {"previous": previous, "repository": repository, "path": path}
        return cast(tuple[Outcome, ...], self._call("take_over", **arguments, deadline=deadline))

    def verify(self, target: MountedTarget, *, is_repairing: bool, deadline: Deadline) -> Outcome:
        """See `Operations.verify`."""
        return cast(Outcome, self._call("verify", target=target, is_repairing=is_repairing, deadline=deadline))

    def mount_checks(self) -> tuple[Check, ...]:
        """See `Operations.mount_checks`."""
        return cast(tuple[Check, ...], self._call("mount_checks"))

    # -- the invocation ----------------------------------------------------------------------------------------------

    def _call(self, action: str, **arguments: object) -> Any:
        message = encode_call(action, arguments)
        if len(message) > MAX_MESSAGE_BYTES:
            raise PublisherRefused(f"{action} would be a message of {len(message)} bytes: over Lambda's bound")
        answer = self._invoke(message)
        payload = _read(answer, action)
        if "FunctionError" in answer:
            # Its text is not shown: it may quote anything. The publisher's own log has it.
            raise PublisherUnavailable(f"the publisher function failed at {action}: its log says why")
        self._answered_at = self._clock()
        try:
            return decode_answer(action, payload)
        except Malformed as error:
            # Of another version, while a deployment is under way; the next try meets the new one.
            raise PublisherUnavailable(f"the publisher's answer to {action} cannot be read: {error}") from None

    def _invoke(self, message: bytes, kind: str = "RequestResponse") -> Mapping[str, Any]:
        started = self._clock()
        try:
            return self._invoke_once(message, kind)
        except AwsError as error:
            if error.code not in _UNSENT or self._clock() - started >= _STALE_SECONDS:
                raise _failure(error) from error
        # A connection that died while Lambda had frozen this process: nothing was sent on it, or nothing was done that
        # a second call would not find done.
        try:
            return self._invoke_once(message, kind)
        except AwsError as error:
            raise _failure(error) from error

    def _invoke_once(self, message: bytes, kind: str) -> Mapping[str, Any]:
        try:
            client = self._client.get()
        except AwsError as error:
            raise PublisherRefused(f"no client for Lambda: {error.code}") from error
        return call(client.invoke, FunctionName=self._name, InvocationType=kind, Payload=message)


def _read(answer: Mapping[str, Any], action: str) -> bytes:
    """Return the answer's payload. Raises PublisherUnavailable where it breaks off."""
    try:
        return call(cast(Callable[[], bytes], answer["Payload"].read))
    except AwsError as error:
        # The head of the answer came, so the function was invoked: what it did, the next try finds done.
        raise PublisherUnavailable(f"the publisher's answer to {action} broke off: {error.code}") from error


def _failure(error: AwsError) -> PublisherUnavailable | PublisherRefused:
    if error.is_transient:
        return PublisherUnavailable(f"the publisher function cannot be invoked now: {error.code}")
    return PublisherRefused(f"the publisher function cannot be invoked: {error.code}")
