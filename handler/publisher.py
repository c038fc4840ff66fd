"""Entry point of the mount side as a function: one call of the network side, by `exchange.messages`, and its answer."""

import os
import threading
from dataclasses import replace

from handler.deadline import Deadline
from handler.exchange.messages import PUBLISHER_ACTIONS, decode_call, encode_failure, encode_result
from handler.exchange.publisher import PublishRequest
from handler.mount.fs.errno_map import as_failure
from handler.mount.log import ProgressLog, log
from handler.mount.publisher import LocalPublisher
from handler.settings import read_settings


class _Function:
    """What the function keeps between invocations, made at the first: a wrong environment is then an answer."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._publisher: LocalPublisher | None = None

    def publisher(self) -> LocalPublisher:
        """Return the mount side, with the settings of the environment. Raises ConfigurationInvalid."""
        with self._lock:
            if self._publisher is None:
                self._publisher = LocalPublisher(read_settings(os.environ), progress=ProgressLog(_service()))
                # Readers run as other users: modes are the tree's own, whatever this process inherited.
                os.umask(0o022)
            return self._publisher

    def close(self) -> None:
        """Close and forget it."""
        with self._lock:
            if self._publisher is not None:
                self._publisher.close()
            self._publisher = None


_function = _Function()


def handler(event: object, context: object) -> dict[str, object]:
    """Carry out one call of the network side; `event` is a message of `exchange.messages`.

    Never raises: a failure is an answer.
    """
    try:
        found = decode_call(event)
        publisher = _function.publisher()
        owner = publisher if found.action in PUBLISHER_ACTIONS else publisher.operations
        deadline = Deadline.of_context(context)
        arguments = {name: _earlier(value, deadline) for name, value in found.arguments.items()}
        return encode_result(getattr(owner, found.action)(**arguments))
    except Exception as error:  # also a defect: it must not become Lambda's own answer, which quotes its text
        failure = as_failure(error)
        log(_service(), level="ERROR", reason=failure.reason, message=str(failure), request_id=_request_id(context))
        return encode_failure(failure)


def _earlier(value: object, deadline: Deadline) -> object:
    """Return the argument, with this function's own deadline where that comes first."""
    if isinstance(value, Deadline):
        return value.or_earlier(deadline)
    return replace(value, deadline=value.deadline.or_earlier(deadline)) if isinstance(value, PublishRequest) else value


def _service() -> str:
    return os.environ.get("POWERTOOLS_SERVICE_NAME", "git2efs")


def _request_id(context: object) -> str:
    return str(getattr(context, "aws_request_id", ""))


def reset() -> None:
    """Forget everything that the process keeps: settings, packs. For tests and tools."""
    _function.close()
