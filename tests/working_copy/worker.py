"""Carries out trials of working copies: `python -m tests.working_copy.worker`; see `tests.crash.worker`."""

from typing import Any

# The handler does it when the first working copy is pulled: that would be in each fork.
import handler.mount.working_copy.pull  # noqa: F401
from tests.crash.operations import Manner, Stop
from tests.crash.trials import Push, Report, Run, Trial
from tests.crash.worker import Worker, run_problems, serve
from tests.working_copy import meddling
from tests.working_copy.invariants import after_any_run, after_peace
from tests.working_copy.person import PATH, Person
from tests.working_copy.scenes import CopyScene

DEEP_EVERY = 6
"""Git is asked after every so many stops; after each run in peace it always is."""


class CopyWorker(Worker):
    """One mount with a working copy."""

    stop = Stop()
    """The first of the trial."""

    @property
    def copy_scene(self) -> CopyScene:
        """The scene that is loaded."""
        assert isinstance(self.scene, CopyScene)
        return self.scene

    def begin(self) -> None:
        """Put the scene's mount in place, as if it had always been there, with this worker's remote."""
        super().begin()
        root = self.mount / PATH
        if root.exists():
            config = root / ".git/config"
            config.write_text(config.read_text().replace(f"/{self.copy_scene.key}/", f"/{self.origin.name}/"))
            # The files' inodes and clocks are others than those the index remembers.
            Person(root).git("update-index", "-q", "--refresh", check=False)

    def look(self) -> Any:
        """Return nothing: what is compared with is in the scene."""
        return None

    def turned(self, before: Any) -> Any:
        """Return nothing, as `look`."""
        return None

    def after_stop(self, before: Any, run: Run) -> list[str]:
        """Return what is wrong after a run that was stopped anywhere."""
        looks_deep = (len(run.modifying) + sum(map(ord, str(run.stopped_at)))) % DEEP_EVERY == 0
        scene, is_lasting = self.copy_scene, self.stop.is_lasting
        return after_any_run(self.mount, scene, run, looks_deep=looks_deep, is_lasting=is_lasting)

    def after_peace(self, before: Any, last: Push) -> list[str]:
        """Return what is wrong after a run that nothing stopped."""
        # What was pulled in between, or undone and done again, is in the logs too.
        is_straight = last is self.copy_scene.push and self.stop.manner is not Manner.ERROR
        return after_peace(
            self.mount,
            self.copy_scene,
            last.commit,
            [] if is_straight else ["messages", "origin"],
            is_torn=self.stop.manner in (Manner.TORN, Manner.SHORT),
            is_straight=is_straight,
            may_litter=self.stop.is_lasting,
        )

    def attempt(self, trial: Trial) -> Report:
        """Carry out one trial; in a meddled one somebody does something between the kill and the next run."""
        self.stop = trial.stops[0] if trial.stops else Stop()
        if not isinstance(trial, meddling.Meddled):
            return super().attempt(trial)
        self.begin()
        report = Report(trial)
        try:
            self._meddle(trial, report)
        except (RuntimeError, OSError) as error:
            report.problems.append(f"somebody is kept from it: {error}")
        return report

    def _meddle(self, trial: meddling.Meddled, report: Report) -> None:
        scene, person = self.copy_scene, Person(self.mount / PATH)
        for stop in trial.stops:
            report.runs.append(run := self.run(scene.push, stop))
            report.problems += run_problems(run, stop)
        deed = meddling.do(trial.deed, person, scene)
        report.runs.append(run := self.run(scene.push, Stop(Manner.NOT)))
        report.problems += meddling.after_next(deed, person, run, self.log.read_text())
        if run.answer and run.answer[0] != 200:
            meddling.give_way(deed, person, run.answer[2])
        report.runs.append(run := self.run(scene.push, Stop(Manner.NOT)))
        report.problems += meddling.in_the_end(deed, person, run, scene, self.mount)


if __name__ == "__main__":
    serve(CopyWorker)
