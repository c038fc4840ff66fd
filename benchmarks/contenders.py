"""Who takes part: each brings a directory to what the remote has, and is timed, traced and weighed in the same way."""

import json
import os
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from benchmarks.figures import Timing
from benchmarks.tracing import read_trace, traced_command, tracing
from testing.deliveries import http_api_event, ping_payload, webhook_request
from testing.process import PROJECT
from testing.repositories import Upstream, git_environment
from testing.service import Service

_QUIET = ("-c", "gc.auto=0", "-c", "maintenance.auto=false")
"""Each repository's own configuration: without git's housekeeping, which goes on in the background and would fall on
whoever comes next."""

_WEIGH = "import resource, subprocess, sys; subprocess.run(sys.argv[1:], check=True); "
_WEIGH += "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"


class Contender(Protocol):
    """Publishes what the remote has."""

    def publish(self) -> Timing:
        """Publish the tip, and return how long it took."""
        ...

    def trace(self, output: Path) -> Counter[str]:
        """Publish the tip under strace; return the file calls on the mount, by kind."""
        ...

    def weigh(self) -> float:
        """Publish the tip; return the peak of resident memory in MiB."""
        ...

    def stop(self) -> None:
        """End what runs."""
        ...


class Command:
    """A command line, run anew for each publish, in `directory`."""

    def __init__(self, arguments: Sequence[str | Path], directory: Path, mount: Path) -> None:
        """Nothing runs before `publish`."""
        self._arguments = [str(each) for each in arguments]
        self._directory = directory
        self._mount = mount

    def publish(self) -> Timing:
        """Run it."""
        started = time.monotonic()
        self._run(self._arguments)
        seconds = time.monotonic() - started
        return Timing(seconds, seconds)

    def trace(self, output: Path) -> Counter[str]:
        """Run it under strace."""
        self._run([*traced_command(output), *self._arguments])
        return read_trace(output, self._mount, is_inside=self._directory.is_relative_to(self._mount))

    def weigh(self) -> float:
        """Run it below a small process: a child's figure is never less than what its parent had when it forked."""
        return int(self._run([sys.executable, "-S", "-c", _WEIGH, *self._arguments]).split()[-1]) / 1024

    def stop(self) -> None:
        """Nothing runs."""

    def _run(self, command: Sequence[str]) -> str:
        result = subprocess.run(
            command, cwd=self._directory, env=git_environment(), capture_output=True, text=True, check=False
        )
        if result.returncode:
            raise RuntimeError(f"{' '.join(command)} ended with {result.returncode}: {result.stderr}")
        return result.stdout


class Warm:
    """A process that stays (see `benchmarks.warm`), and is asked to publish."""

    is_inside = False
    """Whether it starts others that work in a directory of the mount."""

    def __init__(self, mount: Path, environment: Mapping[str, str], *arguments: str | Path) -> None:
        """Start it, and wait until it is ready."""
        read_end, write_end = os.pipe()
        self._mount = mount
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.warm", str(write_end), *map(str, arguments)],
            cwd=PROJECT,
            env=os.environ | dict(environment),
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            text=True,
            pass_fds=[write_end],
        )
        os.close(write_end)
        self._answers = os.fdopen(read_end, encoding="utf-8")
        self._read()

    def request(self) -> dict[str, Any]:
        """Return what is sent to publish; made beforehand, it is not part of the time."""
        return {"publish": True}

    def publish(self) -> Timing:
        """Ask, and wait for the answer."""
        request = self.request()
        started = time.monotonic()
        answer = self.ask(request)
        return Timing(answer["visible_at"] - started, answer["done_at"] - started)

    def trace(self, output: Path) -> Counter[str]:
        """Publish with strace attached."""
        request = self.request()
        with tracing(self._process.pid, output):
            self.ask(request)
        return read_trace(output, self._mount, is_inside=self.is_inside)

    def weigh(self) -> float:
        """Publish, with the peak set back before."""
        peak: float = self.ask({"is_peak_reset": True, **self.request()})["peak_mib"]
        return peak

    def weigh_anonymous(self) -> tuple[float, float]:
        """Publish; return the peaks of all resident memory and, as often as one can look, of what maps no file, MiB.

        Mapped pages count as resident, and go when somebody else needs the room.
        """
        anonymous = [0.0]
        is_over = threading.Event()

        def look() -> None:
            while not is_over.wait(0.005):
                anonymous.append(_status_mib(self._process.pid, "RssAnon"))

        watcher = threading.Thread(target=look)
        watcher.start()
        try:
            return self.weigh(), max(anonymous)
        finally:
            is_over.set()
            watcher.join()

    def idle_mib(self) -> float:
        """Return what is resident while nothing is done."""
        resident: float = self.ask({"is_peak_reset": True})["peak_mib"]
        return resident

    def ask(self, request: Mapping[str, object]) -> dict[str, Any]:
        """Send a request and return its answer. Raises RuntimeError where the process ended."""
        assert self._process.stdin
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return self._read()

    def _read(self) -> dict[str, Any]:
        line = self._answers.readline()
        if not line:
            raise RuntimeError("a contender died; what it said stands above")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def stop(self) -> None:
        """Let it end."""
        assert self._process.stdin
        self._process.stdin.close()
        self._process.wait()
        self._answers.close()


class Ours(Warm):
    """The handler, as a Lambda that was invoked before: the secret is read, the connections are made."""

    def __init__(self, service: Service, upstream: Upstream, **fields: object) -> None:
        """`fields` are the repository's parameter's."""
        service.mount.mkdir(parents=True, exist_ok=True)
        service.put_secret(service.secret)
        service.put_repository(upstream.full_name, **fields)
        self._service = service
        self._upstream = upstream
        super().__init__(service.mount, service.environment, "ours")

    def warm_up(self) -> None:
        """Let it read the secret, with a ping."""
        payload = ping_payload(self._upstream.full_name)
        self.ask({"event": http_api_event(webhook_request("ping", payload, self._service.secret))})

    def request(self) -> dict[str, Any]:
        """Return the event of the signed POST for the upstream's tip."""
        return {"event": http_api_event(self._service.push_request(self._upstream))}


def _status_mib(process_id: int, field: str) -> float:
    lines = Path(f"/proc/{process_id}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{field}:")) / 1024


def git_clone(url: str, directory: Path, *, workers: int = 1, depth: int | None = 1) -> Command:
    """Return the first check-out into `directory`, which is not there yet."""
    depths = [] if depth is None else ["--depth", str(depth)]
    directory.parent.mkdir(parents=True, exist_ok=True)
    workers_option = f"checkout.workers={workers}"
    command: list[str | Path] = ["git", "-c", workers_option, "clone", *_QUIET, "--quiet", *depths, url, directory]
    return Command(command, directory.parent, directory)


def git_pull(directory: Path) -> Command:
    """Return the pull of a repository that was checked out."""
    return Command(["git", "pull", "--quiet", "--rebase"], directory, directory)


class GitPython(Warm):
    """A service that pulls with GitPython, which runs git."""

    is_inside = True

    def __init__(self, directory: Path) -> None:
        """`directory` was checked out by git."""
        super().__init__(directory, {}, "gitpython", directory)


class Pygit2(Warm):
    """A service that fetches and checks out with libgit2."""

    def __init__(self, directory: Path) -> None:
        """`directory` was checked out by git."""
        super().__init__(directory, {}, "pygit2", directory)
