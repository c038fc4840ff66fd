"""Carries out an operator's command and is stopped at an operation: `python -m tests.crash.turner`, asked in JSON.

Each run is a fork of this process, which has one thread and has imported everything: a fresh start within milliseconds.
Asked with {"stop", "event"}, it answers {"stopped_at", "modifying", "content", "trouble"}.
"""

import json
import os
import sys
import traceback
from typing import Any, NoReturn

from handler import operate
from tests.crash.operations import Manner, Operations, Stop

_write = os.write


def _tell(descriptor: int, message: dict[str, object]) -> None:
    content = json.dumps(message).encode() + b"\n"
    while content:
        content = content[_write(descriptor, content) :]


def _be_the_operator(event: object, stop: Stop, told: int) -> NoReturn:
    try:
        os.chdir("/")
        # What the handler logs goes nowhere: standard output is for answers.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        mount = os.environ["GIT2EFS_MOUNT"]
        operations = Operations(mount, stop, say=lambda where: _tell(told, {"stopped_at": where}))
        operations.install()
        content = operate.handler(event, None)
        _tell(told, {"modifying": operations.modifying, "content": content})
    except BaseException:
        _tell(told, {"trouble": traceback.format_exc()})
    finally:
        os._exit(0)


def run(event: object, stop: Stop) -> dict[str, Any]:
    """Carry out the command in a process of its own; return what it told until it ended."""
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        _be_the_operator(event, stop, write_end)
    os.close(write_end)
    found: dict[str, Any] = {}
    with os.fdopen(read_end) as lines:
        for line in lines:
            found |= json.loads(line)
    os.waitpid(child, 0)
    return found


def main() -> None:
    """Answer until standard input ends."""
    for line in sys.stdin:
        asked = json.loads(line)
        stop = Stop(**(asked["stop"] | {"manner": Manner(asked["stop"]["manner"])}))
        print(json.dumps(run(asked["event"], stop)), flush=True)


if __name__ == "__main__":
    main()
