"""Stops runs, lets another run take their lock and publish, and wakes them: `python -m tests.crash.fencing`."""

import json
import os
import signal
from contextlib import suppress

from tests.crash.invariants import after_any_run
from tests.crash.operations import Stop
from tests.crash.trials import TARGET, Report, Run, Trial
from tests.crash.worker import Worker, _heard, serve

ENDS = {(503, "failed", "lock_lost"), (200, "published", "pushed"), (200, "unchanged", "already_published")}
"""What a run that was overtaken may answer: that it lost the lock, or what was true before or after that."""


class FencingWorker(Worker):
    """Its trials: the scene's push is stopped, the newer one published under another lock, the first one woken.

    Where a trial has a second stop, the run of the newer push is killed there.
    """

    def attempt(self, trial: Trial) -> Report:
        """Carry out one trial from the scene's start."""
        scene = self.scene
        assert scene
        self.begin()
        report, before = Report(trial), self.turned(self.look())
        if not trial.stops:
            report.runs.append(self.run(scene.push, Stop()))
            return report
        read_end, write_end = os.pipe()
        child = os.fork()
        if child == 0:
            self._be_the_handler([scene.push], trial.stops[0], write_end)
        os.close(write_end)
        _, status = os.waitpid(child, os.WUNTRACED)
        if not os.WIFSTOPPED(status):
            os.close(read_end)
            if not trial.stops[0].may_miss:
                report.problems.append("the run never came to where it was to be stopped")
            return report
        with suppress(FileNotFoundError):
            os.unlink(self.mount / "octo/site/.lock")
        newer = self.run(scene.newer, Stop() if len(trial.stops) == 1 else trial.stops[1])
        shown = [] if newer.answer is None else self._problems(before, newer)
        os.kill(child, signal.SIGCONT)
        (woken,) = _heard(read_end, child)
        os.close(read_end)
        os.waitpid(child, 0)
        report.runs += [woken, newer]
        if newer.answer is None:
            return self._healed_after_kill(report, before)
        report.problems += [f"before it woke: {each}" for each in shown]
        if woken.trouble or woken.answer not in ENDS:
            report.problems.append(f"it woke and answered {woken.answer} {woken.trouble or ''}")
        report.problems += [f"after it woke: {each}" for each in self._problems(before, newer)]
        again = self.run(scene.newer, Stop())
        report.problems += [f"in the end: {each}" for each in self._problems(before, again)]
        return report

    def _healed_after_kill(self, report: Report, before: object) -> Report:
        """Add what is wrong after the run that took the lock was killed, the first one woke, and a third one ran."""
        scene = self.scene
        assert scene
        woken = report.runs[0]
        if woken.trouble or woken.answer is None:
            report.problems.append(f"it woke and answered {woken.answer} {woken.trouble or ''}")
        shown = {scene.old, scene.push.commit, scene.newer.commit}
        problems = after_any_run(self.mount, scene, before, shown)  # type: ignore[arg-type]
        report.problems += [f"after it woke: {each}" for each in problems]
        again = self.run(scene.newer, Stop())
        report.problems += [f"in the end: {each}" for each in self._problems(before, again)]
        return report

    def _problems(self, before: object, run: Run) -> list[str]:
        """Return what is wrong while the newer push is published: it is `current`, whole, and on record."""
        scene = self.scene
        assert scene
        problems = after_any_run(self.mount, scene, before, {scene.newer.commit})  # type: ignore[arg-type]
        record = json.loads((self.mount / TARGET / "published.json").read_bytes())
        if record["commit"] != scene.newer.commit:
            problems.append(f"published.json names {record['commit']}")
        if run.trouble or run.answer is None or run.answer[0] != 200:
            problems.append(f"the newer push: {run.trouble or run.answer}")
        return problems


if __name__ == "__main__":
    serve(FencingWorker)
