"""The deployed stack as its users have it: signed pushes to the webhook, operators' commands, log lines."""

import json
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from local.github import NO_COMMIT, Answer, delivery_headers, encode, post, push_payload
from tools.accept.account import Account
from tools.accept.report import StepFailed
from tools.accept.stacks import PARAMETER_ROOT

TRIES = 5
PAUSE_SECONDS = 3.0
LOG_SECONDS = 60.0
"""CloudWatch shows a line some seconds after it was written."""
ANSWER_SECONDS = 35.0
"""API Gateway answers within 30 s in any case."""


@dataclass(frozen=True)
class Pushed:
    """A signed push, and what came of it. `seconds` are from sending the request to its answer."""

    delivery: str
    status: int
    fields: Mapping[str, Any]
    seconds: float
    tries: int

    @property
    def outcome(self) -> str:
        """The outcome and its reason, or the status where there is none."""
        return f"{self.status} {self.fields.get('outcome', '')} {self.fields.get('reason', '')}".strip()


class Service:
    """The stack `name`, with its outputs; `secret` signs."""

    def __init__(self, account: Account, name: str, outputs: Mapping[str, str], secret: str) -> None:
        self.account = account
        self.name = name
        self.outputs = outputs
        self._secret = secret

    # -- parameters --------------------------------------------------------------------------------------------------

    def put_secret(self) -> None:
        """Put the webhook's secret."""
        self._put("webhook-secret", self._secret, "SecureString")

    def put_repository(self, full_name: str, fields: Mapping[str, object]) -> None:
        """Put a repository's parameter."""
        self._put(f"repositories/{full_name}", json.dumps(fields), "String")

    def _put(self, leaf: str, value: str, kind: str) -> None:
        name = f"{PARAMETER_ROOT}/{self.name}/{leaf}"
        self.account.client("ssm").put_parameter(Name=name, Value=value, Type=kind, Overwrite=True)

    # -- pushes ------------------------------------------------------------------------------------------------------

    def push(self, full_name: str, ref: str, commit: str, *, secret: str | None = None, tries: int = 1) -> Pushed:
        """Send what GitHub sends of a push, once; again where nothing of the service answered, up to `tries`.

        Only a fresh API needs more than one. Raises OSError.
        """
        body = encode(push_payload(full_name, ref, NO_COMMIT, commit))
        delivery = str(uuid.uuid4())
        headers = delivery_headers(body, secret or self._secret, delivery=delivery)
        for tried in range(1, tries + 1):
            started = time.monotonic()
            answer = self._post(body, headers, is_last=tried == tries)
            seconds = time.monotonic() - started
            if answer is not None and ("outcome" in answer.fields or tried == tries):
                break
            time.sleep(PAUSE_SECONDS)
        assert answer is not None
        return Pushed(delivery, answer.status, answer.fields, seconds, tried)

    def _post(self, body: bytes, headers: Mapping[str, str], *, is_last: bool) -> Answer | None:
        try:
            return post(self.account.reach(self.outputs["WebhookUrl"]), body, headers, ANSWER_SECONDS)
        except OSError:
            if is_last:
                raise
            return None

    # -- operators' commands -----------------------------------------------------------------------------------------

    def operate(self, action: str, **fields: object) -> dict[str, Any]:
        """Carry out an operator's command; return its content. Raises StepFailed where it is refused or fails."""
        event = {"action": action, **fields}
        content = self.invoke("OperateFunctionName", event)
        if content.get("exit_code") not in (0, 1):
            raise StepFailed(f"{action}: {content.get('reason')}: {content.get('detail')}")
        return content

    def invoke(self, output: str, event: Mapping[str, object]) -> dict[str, Any]:
        """Invoke the function that an output names; return its answer. Raises StepFailed where it ends in an error."""
        answer = self.account.client("lambda").invoke(
            FunctionName=self.outputs[output], Payload=json.dumps(event).encode()
        )
        text = answer["Payload"].read().decode()
        if "FunctionError" in answer:
            raise StepFailed(f"{output} ended with {answer['FunctionError']}")
        content = json.loads(text)
        return content if isinstance(content, dict) else {}

    def target(self, full_name: str) -> Mapping[str, Any]:
        """Return what `status` says of a repository's only target; empty where there is none yet."""
        content = self.operate("status", repository=full_name, no_disk=True)
        targets = [target for each in content["repositories"] for target in each["targets"] if target["commit"]]
        return targets[0] if targets else {}

    # -- log lines ---------------------------------------------------------------------------------------------------

    def line_of(self, delivery: str) -> Mapping[str, Any]:
        """Return the log line of a delivery. Raises StepFailed where there is none within LOG_SECONDS."""
        message = self.await_message(
            self.outputs["LogGroupName"],
            lambda text: delivery in text and '"outcome"' in text,
            f"what became of the delivery {delivery}",
        )
        lines = [json.loads(text) for text in message.splitlines() if delivery in text and '"outcome"' in text]
        return dict(lines[0])

    def await_message(self, group: str, is_it: Callable[[str], bool], what: str) -> str:
        """Return the first message of a log group that `is_it`. Raises StepFailed where none comes in LOG_SECONDS."""
        deadline = time.monotonic() + (5 if self.account.is_emulator else LOG_SECONDS)
        while True:
            if found := [message for message in self.log_messages(group) if is_it(message)]:
                return found[0]
            if time.monotonic() > deadline:
                raise StepFailed(f"{group} does not say: {what}")
            time.sleep(0.3 if self.account.is_emulator else PAUSE_SECONDS)

    def log_messages(self, group: str) -> list[str]:
        """Return all that a log group has."""
        pages = self.account.client("logs").get_paginator("filter_log_events").paginate(logGroupName=group)
        return [event["message"] for page in pages for event in page["events"]]
