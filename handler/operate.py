"""Entry point for operators: the function that carries out a command, for `aws lambda invoke` and for `git2efs`.

`python -m handler.operate` is the `git2efs` command (`handler.cli`).
"""

import os
import sys
import time

from handler.deadline import Deadline
from handler.network.aws.telemetry import Telemetry
from handler.network.operations.command import Command, read_command
from handler.network.operations.operator import Operator, content_of_failure
from handler.runtime import Runtime, make_sides, request_id_of
from handler.settings import Settings


def _make(settings: Settings, telemetry: Telemetry) -> Operator:
    publisher, deliverer = make_sides(settings, progress=telemetry.progress, warn=telemetry.warn)
    return Operator(settings, publisher.operations, deliverer, say=lambda sentence: None)


_runtime = Runtime(_make)


def handler(event: object, context: object) -> dict[str, object]:
    """Carry out the command in `event`, `{"action": "status"}` say (see `command.ACTIONS`). Never raises.

    Returns the command's content, with `exit_code`; of a failure its `reason` and `detail`.
    """
    started = time.perf_counter()
    request_id, deadline = request_id_of(context), Deadline.of_context(context)
    command: Command | None = None
    try:
        command = read_command(event)
        operator = _runtime.app(os.environ)
        content = operator.run(command, deadline)
    except Exception as error:  # a defect too is an answer
        return content_of_failure(command, error)
    duration_ms = (time.perf_counter() - started) * 1000
    for outcome in operator.outcomes:
        _runtime.telemetry().record(
            outcome,
            delivery="",
            event=f"operator {command.action}",
            request_id=request_id,
            duration_ms=duration_ms,
        )
    _runtime.warn_once(operator.secret_problems())
    return content


def reset() -> None:
    """Forget everything that the process keeps. For tests and tools."""
    _runtime.close()


if __name__ == "__main__":
    # Here, and not above: the function in Lambda parses no command line.
    from handler.cli import main

    sys.exit(main(prog="python -m handler.operate"))
