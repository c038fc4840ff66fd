"""Carries out trials: `python -m tests.crash.worker`; asked and answering in pickles on standard input and output.

The handler is imported once and has read its parameters; each run of it is a fork of this process, and so starts
within a millisecond, as a fresh process would: no mirror open, no connection made. Only one thread runs here, so
forking is safe.
"""

import errno
import gc
import json
import os
import pickle
import select
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

from handler import webhook
from testing import fake_lambda
from testing.deliveries import LambdaContext
from testing.guards import forbid_network
from tests.crash.forks import tell
from tests.crash.invariants import after_any_run, after_peace, shelter
from tests.crash.modules import patch
from tests.crash.operations import Manner, Operations, Stop
from tests.crash.trials import Push, Report, Run, Scene, Trial

HANG_SECONDS = 20.0
ERROR_REASONS = {
    "ENOSPC": "mount_full",
    "EDQUOT": "mount_full",
    "EACCES": "mount_full",
    "EIO": "mount_unavailable",
    "ESTALE": "mount_unavailable",
}
"""What the mount's errors are called in an answer, by docs/operations.md's table."""
ERROR_STATUS = {"mount_full": 500, "mount_unavailable": 503}


@dataclass
class Worker:
    """One mount, one place at the origin, one scene at a time. Here the target has releases."""

    mount: Path
    origin: Path
    scene: Scene | None = None
    unpatched: dict[str, object] = field(default_factory=dict)

    @property
    def log(self) -> Path:
        """Where the last run's log is."""
        return self.mount.with_name("log")

    def load(self, scene: Scene, environment: Mapping[str, str]) -> None:
        """Take up a scene: forget the one before, read the parameters, set the modules' values."""
        os.environ.update(environment)
        fake_lambda.install()
        webhook.reset()
        self.unpatched = patch(self.unpatched | dict(scene.patches)) | self.unpatched
        # Reads secret and parameter, and neither the mount nor the remote: the push of a deleted branch.
        answer: Any = webhook.handler(scene.warm_up, LambdaContext())
        assert answer["statusCode"] == 200, answer
        self.scene = scene
        # What is there by now stays: no fork shall copy pages because the collector looked at them.
        gc.collect()
        gc.freeze()

    def begin(self) -> None:
        """Put the scene's mount in place."""
        assert self.scene
        shutil.rmtree(self.mount, ignore_errors=True)
        shutil.copytree(self.scene.mount, self.mount, symlinks=True)

    def run(self, push: Push, stop: Stop) -> Run:
        """Let the handler answer `push` in a process of its own."""
        return self._run([push], stop)[0]

    def _run(self, pushes: Sequence[Push], stop: Stop) -> list[Run]:
        """Let the handler answer the pushes one after the other in one process; the first is stopped."""
        read_end, write_end = os.pipe()
        child = os.fork()
        if child == 0:
            self._be_the_handler(pushes, stop, write_end)
        os.close(write_end)
        runs = _heard(read_end, child)
        os.close(read_end)
        os.waitpid(child, 0)
        return runs

    def _be_the_handler(self, pushes: Sequence[Push], stop: Stop, write_end: int) -> NoReturn:
        status = 1
        try:
            os.chdir("/")
            os.dup2(os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 1)
            operations = Operations(os.fspath(self.mount), stop, say=lambda where: tell(write_end, ["stop", where]))
            operations.install()
            for push in pushes:
                self._point(push)
                response: Any = webhook.handler(push.event, LambdaContext())
                content = json.loads(response["body"])
                answer = (response["statusCode"], content["outcome"], content["reason"])
                tell(write_end, ["answer", (answer, operations.modifying, operations.reading)])
                operations.stop = Stop()
            status = 0
        except BaseException:
            tell(write_end, ["trouble", traceback.format_exc()])
        finally:
            os._exit(status)

    def _point(self, push: Push) -> None:
        """Let the origin have what was pushed."""
        link = self.origin.with_suffix(".new")
        link.symlink_to(push.origin)
        link.replace(self.origin)

    # -- what the mount is held to; another kind of target has other rules ------------------------------------------

    def look(self) -> Any:
        """Return what of the mount matters for what comes."""
        assert self.scene
        return shelter(self.mount, self.scene)

    def after_stop(self, before: Any, run: Run) -> list[str]:
        """Return what is wrong after a run that was stopped anywhere; `before` is what `look` found before it."""
        assert self.scene
        return after_any_run(self.mount, self.scene, before, {self.scene.old, self.scene.push.commit})

    def after_peace(self, before: Any, last: Push) -> list[str]:
        """Return what is wrong after a run that nothing stopped."""
        assert self.scene
        return after_peace(self.mount, self.scene, before, last.commit)

    # -- trials ------------------------------------------------------------------------------------------------------

    def attempt(self, trial: Trial) -> Report:
        """Carry out one trial from the scene's start."""
        scene = self.scene
        assert scene
        self.begin()
        report = Report(trial)
        before = self.look()
        last = scene.newer if trial.is_newer_next else scene.push
        if trial.is_warm_next:
            report.runs = self._run([scene.push, last], trial.stops[0])
            report.problems += run_problems(report.runs[0], trial.stops[0])
            report.problems += self._healed(report.runs[-1], self.turned(before), last)
            return report
        for stop in trial.stops:
            run = self.run(scene.push, stop)
            report.runs.append(run)
            report.problems += run_problems(run, stop)
            report.problems += [f"after {stop}: {problem}" for problem in self.after_stop(before, run)]
            before = self.look()
        run = self.run(last, Stop())
        report.runs.append(run)
        report.problems += self._healed(run, before, last)
        return report

    def turned(self, before: Any) -> Any:
        """Return what `look` found, for a run that publishes the scene's push and another one after it."""
        assert self.scene
        return replace(before, turned=self.scene.push.commit)

    def _healed(self, run: Run, before: Any, last: Push) -> list[str]:
        """Return what is wrong after a run in peace."""
        problems = []
        if run.trouble or run.answer is None or run.answer[0] != 200:
            problems.append(f"the run in peace: {run.trouble or run.answer}")
        return problems + [f"in the end: {problem}" for problem in self.after_peace(before, last)]


def run_problems(run: Run, stop: Stop) -> list[str]:
    """Return what is wrong with how a stopped run ended."""
    if run.trouble:
        return [run.trouble]
    if stop.manner in (Manner.KILL, Manner.TORN):
        return ["the run ended before it was stopped"] if run.answer and not stop.may_miss else []
    if run.answer is None:
        return ["the run died"]
    if run.stopped_at is None and not stop.may_miss:
        return ["the run never came to where it was to be stopped"]
    status, outcome, reason = run.answer
    if outcome in ("published", "unchanged") and status == 200:
        return []
    if stop.manner is Manner.ERROR:
        expected = ERROR_REASONS[_name(stop)]
        if (status, outcome, reason) == (ERROR_STATUS[expected], "failed", expected):
            return []
    return [f"answered {run.answer} to {stop} ({run.stopped_at})"]


def _name(stop: Stop) -> str:
    return errno.errorcode[stop.error]


def _heard(read_end: int, child: int) -> list[Run]:
    """Return the runs that the child told of until its end; a child that hangs is ended."""
    deadline, content, runs = time.monotonic() + HANG_SECONDS, b"", [Run()]
    while True:
        if not select.select([read_end], [], [], max(0.0, deadline - time.monotonic()))[0]:
            os.kill(child, signal.SIGKILL)
            runs[-1].trouble = "the run hangs"
            break
        part = os.read(read_end, 1 << 16)
        if not part:
            break
        content += part
    for line in content.splitlines():
        kind, value = json.loads(line)
        if runs[-1].answer:
            runs.append(Run())
        run = runs[-1]
        if kind == "stop":
            run.stopped_at = run.stopped_at or value
        elif kind == "answer":
            run.answer, run.modifying, run.reading = tuple(value[0]), value[1], value[2]
        else:
            run.trouble = value
    if runs[-1] == Run():
        runs[-1].trouble = "the run died"
    return runs


def serve(kind: type[Worker]) -> None:
    """Answer until standard input ends."""
    forbid_network()
    asked, told = sys.stdin.buffer, _own_output()
    worker = kind(Path(os.environ["GIT2EFS_MOUNT"]), Path(sys.argv[1]))
    while True:
        try:
            request = pickle.load(asked)
        except EOFError:
            return
        try:
            answer = getattr(worker, request[0])(*request[1:])
        except BaseException:
            answer = RuntimeError(traceback.format_exc())
        pickle.dump(answer, told)
        told.flush()


def _own_output() -> BinaryIO:
    """Keep standard output for the answers; what the handler logs goes nowhere."""
    own = os.fdopen(os.dup(1), "wb")
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.close(nowhere)
    return own


if __name__ == "__main__":
    serve(Worker)
