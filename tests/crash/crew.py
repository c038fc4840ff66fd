"""Two workers side by side, and how trials are shared out among them."""

import json
import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from testing.parameters import ParameterStore
from testing.process import PROJECT
from testing.service import Service
from tests.crash.modules import SETTINGS
from tests.crash.replay import ReplayingOrigin
from tests.crash.trials import Report, Run, Scene, Trial

WORKERS = 2


class Colleague:
    """A worker's process, its mount and its parameters."""

    def __init__(
        self, number: int, directory: Path, store: ParameterStore, origin: ReplayingOrigin, module: str
    ) -> None:
        """Start it (about as long as a cold start)."""
        self._key = f"worker-{number}"
        self._origin = origin
        self.mount = directory / self._key / "mount"
        self.mount.parent.mkdir(parents=True)
        self._service = Service(self.mount, store)
        self._service.settings |= {
            **SETTINGS,
            # Read once, so that a run asks the mount and the remote alone.
            "secret_cache_seconds": 3600,
            "repository_cache_seconds": 3600,
            "lock_seconds": 2.0,
            "checkout_workers": 4,
        }
        self._service.put_secret(self._service.secret)
        self._process = subprocess.Popen(
            [sys.executable, "-m", module, os.fspath(origin.root / self._key)],
            cwd=PROJECT,
            env=os.environ | self._service.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self._scene: Scene | None = None

    def ask(self, scene: Scene, *request: Any) -> Any:
        """Call a method of the worker's, with `scene` loaded. Raises what it raised, as RuntimeError."""
        if self._scene is not scene:
            url = {"url": self._origin.url(self._key)}
            self._service.put_repository_text("octo/site", json.dumps(url | dict(scene.parameter)))
            self._call("load", scene, self._service.environment)
            self._scene = scene
        return self._call(*request)

    def stop(self) -> None:
        """End it."""
        self._process.communicate()

    def _call(self, *request: Any) -> Any:
        assert self._process.stdin and self._process.stdout
        pickle.dump(request, self._process.stdin)
        self._process.stdin.flush()
        answer = pickle.load(self._process.stdout)
        if isinstance(answer, BaseException):
            raise answer
        return answer


class Crew:
    """The workers; a context manager. `module` is what they run."""

    def __init__(
        self, directory: Path, store: ParameterStore, origin: ReplayingOrigin, module: str = "tests.crash.worker"
    ) -> None:
        """Start them."""
        self.colleagues = [Colleague(number, directory, store, origin, module) for number in range(WORKERS)]
        self._counted: dict[Path, Run] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for colleague in self.colleagues:
            colleague.stop()

    def count(self, scene: Scene) -> Run:
        """Return the scene's run in peace, with all its operations; the trial must have no problems. Done once."""
        if scene.mount not in self._counted:
            report: Report = self.colleagues[0].ask(scene, "attempt", Trial())
            assert not report.problems, report
            self._counted[scene.mount] = report.runs[0]
        return self._counted[scene.mount]

    def attempt(self, scene: Scene, trials: Iterable[Trial]) -> list[Report]:
        """Carry out trials, as many at a time as there are workers."""
        reports: list[Report] = []
        failures: list[BaseException] = []
        pending = _Shared(trials)

        def work(colleague: Colleague) -> None:
            try:
                for trial in pending:
                    reports.append(colleague.ask(scene, "attempt", trial))
            except BaseException as error:
                failures.append(error)

        threads = [threading.Thread(target=work, args=(colleague,)) for colleague in self.colleagues]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if failures:
            raise failures[0]
        return reports


class _Shared(Iterator[Trial]):
    """An iterator for several threads."""

    def __init__(self, trials: Iterable[Trial]) -> None:
        self._trials = iter(trials)
        self._lock = threading.Lock()

    def __next__(self) -> Trial:
        with self._lock:
            return next(self._trials)
