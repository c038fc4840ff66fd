"""Does the chores and is stopped at an operation: `python -m tests.crash.mender`, asked in lines of JSON.

Each run is a fork of this process, which has one thread and has imported everything: a fresh start within milliseconds.
Asked with a `Stop` as an object, it answers {"stopped_at", "modifying", "outcomes", "trouble"}.
"""

import json
import os
import sys
import traceback
from typing import Any, NoReturn

from handler.chores import Caretaker
from handler.git.open_mirrors import OpenMirrors
from handler.model import Repository
from handler.settings import read_settings
from tests.crash.operations import Manner, Operations, Stop

_write = os.write


def _tell(descriptor: int, message: dict[str, object]) -> None:
    content = json.dumps(message).encode() + b"\n"
    while content:
        content = content[_write(descriptor, content) :]


def _be_the_caretaker(stop: Stop, told: int) -> NoReturn:
    try:
        os.chdir("/")
        settings = read_settings(os.environ)
        caretaker = Caretaker(settings, OpenMirrors())
        repository = Repository("octo/site", "https://unused.example")
        operations = Operations(settings.mount, stop, say=lambda where: _tell(told, {"stopped_at": where}))
        operations.install()
        tended = caretaker.tend(repository)
        outcomes = [[str(outcome.kind), outcome.reason] for outcome in tended.outcomes]
        _tell(told, {"modifying": operations.modifying, "outcomes": outcomes})
    except BaseException:
        _tell(told, {"trouble": traceback.format_exc()})
    finally:
        os._exit(0)


def run(stop: Stop) -> dict[str, Any]:
    """Do the chores in a process of its own; return what it told until it ended."""
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        _be_the_caretaker(stop, write_end)
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
        print(json.dumps(run(Stop(**(asked | {"manner": Manner(asked["manner"])})))), flush=True)


if __name__ == "__main__":
    main()
