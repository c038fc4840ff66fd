"""A process of which every run is a fork, asked and answering in lines of JSON; and who asks it.

It has one thread and has imported everything: a fork is a fresh start within milliseconds. Asked with {"stop", "event"}
it answers what the run told until its end or its stop, as one object; with its `trouble` where it raised something.
"""

import gc
import json
import os
import shutil
import subprocess
import sys
import traceback
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, NoReturn

from testing import fake_lambda
from testing.process import PROJECT
from testing.service import Service
from tests.crash.operations import Manner, Operations, Stop

Work = Callable[[Any], dict[str, object]]
"""Does what an event asks for, in a fork; returns what to tell of it."""

_write = os.write
"""As it is before a run's operations are counted and stopped."""


class Forks:
    """The process of a module that calls `answer`, on the mount and parameters of `service`."""

    def __init__(self, module: str, service: Service) -> None:
        """Start it."""
        self._process = subprocess.Popen(
            [sys.executable, "-m", module],
            cwd=PROJECT,
            env=os.environ | service.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(self, stop: Stop, event: object = None) -> dict[str, Any]:
        """Have it run once, stopped or not: {"stopped_at", "modifying", and what its work told}."""
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write(json.dumps({"stop": asdict(stop), "event": event}) + "\n")
        self._process.stdin.flush()
        found = json.loads(self._process.stdout.readline())
        assert "trouble" not in found, found["trouble"]
        assert isinstance(found, dict)
        return found

    def stop(self) -> None:
        """End it."""
        self._process.communicate()


class KeptMount:
    """A service's mount that is put back before each trial, and the process whose forks work on it."""

    def __init__(self, module: str, service: Service, kept: Path) -> None:
        """Copy the mount as it is now to `kept`, and start the process of `module`."""
        self.service, self.kept = service, kept
        shutil.copytree(service.mount, kept, symlinks=True)
        self.forks = Forks(module, service)

    def stop(self) -> None:
        """End the process."""
        self.forks.stop()

    def begin(self) -> None:
        """Put the mount back, and forget in this process what was there."""
        shutil.rmtree(self.service.mount)
        shutil.copytree(self.kept, self.service.mount, symlinks=True)
        self.service.reset()


def answer(work: Work) -> None:
    """Answer until standard input ends, each line in a process of its own."""
    fake_lambda.install()
    # What is there by now stays: no fork shall copy pages because the collector looked at them.
    gc.collect()
    gc.freeze()
    for line in sys.stdin:
        asked = json.loads(line)
        stop = Stop(**(asked["stop"] | {"manner": Manner(asked["stop"]["manner"])}))
        print(json.dumps(_forked(work, stop, asked["event"])), flush=True)


def tell(descriptor: int, message: object) -> None:
    """Write a line of JSON, by the real `write`."""
    content = json.dumps(message).encode() + b"\n"
    while content:
        content = content[_write(descriptor, content) :]


def _forked(work: Work, stop: Stop, event: object) -> dict[str, Any]:
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        _be_the_run(work, stop, event, write_end)
    os.close(write_end)
    found: dict[str, Any] = {}
    with os.fdopen(read_end) as lines:
        for line in lines:
            found |= json.loads(line)
    os.waitpid(child, 0)
    return found


def _be_the_run(work: Work, stop: Stop, event: object, told: int) -> NoReturn:
    try:
        os.chdir("/")
        # What the run logs goes nowhere: standard output is for answers.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        mount = os.environ["GIT2EFS_MOUNT"]
        operations = Operations(mount, stop, say=lambda where: tell(told, {"stopped_at": where}))
        operations.install()
        content = work(event)
        tell(told, {"modifying": operations.modifying, **content})
    except BaseException:
        tell(told, {"trouble": traceback.format_exc()})
    finally:
        os._exit(0)
