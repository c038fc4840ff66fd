"""The contenders: each brings a directory to the remote's tip, and is timed, traced and weighed in the same way."""

import json
import os
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol

from benchmarks.figures import Timing
from benchmarks.tracing import read_trace, traced_command, tracing
from testing.deliveries import http_api_event, ping_payload, webhook_request
from testing.process import PROJECT
from testing.repositories import Upstream, git_environment
from testing.service import Service

_QUIET = ("-c", "gc.auto=0", "-c", "maintenance.auto=false")
"""Each repository's own configuration: no housekeeping, which git does in the background, at the next contender's
cost."""

_WEIGH = "import resource, subprocess, sys; subprocess.run(sys.argv[1:], check=True); "
_WEIGH += "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"

Pause = Literal["seconds", "minutes"]
"""How long nobody pushes. In seconds ours makes its spares; in minutes the grace of what it replaced ends, too."""


class Contender(Protocol):
    """Publishes the remote's tip."""

    def publish(self) -> Timing:
        """Publish the tip, and return how long it took."""
        ...

    def trace(self, output: Path) -> Counter[str]:
        """Publish the tip under strace; return the file calls on the mount, by kind."""
        ...

    def weigh(self) -> float:
        """Publish the tip; return the peak of resident memory in MiB."""
        ...

    def settle(self, pause: Pause) -> None:
        """Let so much time pass since the last publish."""
        ...

    def stop(self) -> None:
        """End its process, if there is one."""
        ...


class Command:
    """A command line that runs once for each publish, in `directory`."""

    def __init__(self, arguments: Sequence[str | Path], directory: Path, mount: Path) -> None:
        """Run nothing before `publish`."""
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
        """Run it below a small process: a child's peak is at least the size of its parent at the fork."""
        return int(self._run([sys.executable, "-S", "-c", _WEIGH, *self._arguments]).split()[-1]) / 1024

    def settle(self, pause: Pause) -> None:
        """Do nothing: nobody works on it between pulls."""

    def stop(self) -> None:
        """Do nothing: no process is left."""

    def _run(self, command: Sequence[str]) -> str:
        result = subprocess.run(
            command, cwd=self._directory, env=git_environment(), capture_output=True, text=True, check=False
        )
        if result.returncode:
            raise RuntimeError(f"{' '.join(command)} ended with {result.returncode}: {result.stderr}")
        return result.stdout


class Warm:
    """A process that stays (see `benchmarks.warm`) and publishes on request."""

    is_inside = False
    """Whether it starts processes whose working directory is on the mount."""

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
        """Return the request; making it beforehand keeps it out of the measured time."""
        return {"publish": True}

    def publish(self) -> Timing:
        """Ask, and wait for the answer."""
        request = self.request()
        started = time.monotonic()
        answer = self.ask(request)
        told = {name: int(answer[name]) for name in ("files_written", "bytes_fetched") if name in answer}
        return Timing(answer["visible_at"] - started, answer["done_at"] - started, **told)

    def trace(self, output: Path) -> Counter[str]:
        """Publish with strace attached."""
        request = self.request()
        with tracing(self._process.pid, output):
            self.ask(request)
        return read_trace(output, self._mount, is_inside=self.is_inside)

    def weigh(self) -> float:
        """Publish, after resetting the peak."""
        peak: float = self.ask({"is_peak_reset": True, **self.request()})["peak_mib"]
        return peak

    def weigh_anonymous(self) -> tuple[float, float]:
        """Publish; return the peaks in MiB of all resident memory, and of memory that maps no file (sampled).

        Mapped pages count as resident, but the kernel reclaims them when it needs room.
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
        """Return the resident memory of the idle process."""
        resident: float = self.ask({"is_peak_reset": True})["peak_mib"]
        return resident

    def ask(self, request: Mapping[str, object]) -> dict[str, Any]:
        """Send a request and return its answer. Raises RuntimeError if the process ended."""
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

    def settle(self, pause: Pause) -> None:
        """Do nothing: nobody works on it between pulls."""

    def stop(self) -> None:
        """Close its input, and wait for its end."""
        assert self._process.stdin
        self._process.stdin.close()
        self._process.wait()
        self._answers.close()


class Ours(Warm):
    """The handler in a warm Lambda environment: it has read the secret and made its connections."""

    def __init__(self, service: Service, upstream: Upstream, **fields: object) -> None:
        """`fields` go into the repository's parameter."""
        service.mount.mkdir(parents=True, exist_ok=True)
        service.put_secret(service.secret)
        service.put_repository(upstream.full_name, **fields)
        self._service = service
        self._upstream = upstream
        self.branch: str | None = None
        """Which branch is pushed next, where it is not the default one."""
        super().__init__(service.mount, service.environment, "ours")

    def warm_up(self) -> None:
        """Send a ping, so that it reads the secret."""
        payload = ping_payload(self._upstream.full_name)
        self.ask({"event": http_api_event(webhook_request("ping", payload, self._service.secret))})

    def settle(self, pause: Pause) -> None:
        """Let it do what it does after its answer, and end the grace of what it replaced, if that would be over."""
        self.ask({"pause": pause})

    def request(self) -> dict[str, Any]:
        """Return the event of the signed POST for the branch's tip."""
        return {"event": http_api_event(self._service.push_request(self._upstream, self.branch))}


def _status_mib(process_id: int, field: str) -> float:
    lines = Path(f"/proc/{process_id}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{field}:")) / 1024


def git_clone(
    url: str, directory: Path, *, workers: int = 1, depth: int | None = 1, branch: str | None = None
) -> Command:
    """Return the first check-out into `directory`, which does not exist yet; of the default branch, or of this one."""
    depths = [] if depth is None else ["--depth", str(depth)]
    depths += [] if branch is None else ["--branch", branch]
    directory.parent.mkdir(parents=True, exist_ok=True)
    workers_option = f"checkout.workers={workers}"
    command: list[str | Path] = ["git", "-c", workers_option, "clone", *_QUIET, "--quiet", *depths, url, directory]
    return Command(command, directory.parent, directory)


def git_pull(directory: Path) -> Command:
    """Return a pull into an existing check-out."""
    return Command(["git", "pull", "--quiet", "--rebase"], directory, directory)


def git_sync(program: Path, url: str, directory: Path) -> Command:
    """Return kubernetes/git-sync's one-time run: it fetches at depth 1, checks a worktree out, and flips a link.

    In a pod it stays, and does the same at each period.
    """
    directory.mkdir(parents=True, exist_ok=True)
    where = [f"--repo={url}", "--ref=main", "--depth=1", f"--root={directory}", "--link=current"]
    return Command([program, *where, "--one-time"], directory, directory)


class GitPython(Warm):
    """A service that pulls with GitPython, which runs git as a child process."""

    is_inside = True

    def __init__(self, directory: Path) -> None:
        """`directory` is a check-out by git."""
        super().__init__(directory, {}, "gitpython", directory)


class Pygit2(Warm):
    """A service that fetches and checks out with libgit2."""

    def __init__(self, directory: Path) -> None:
        """`directory` is a check-out by git."""
        super().__init__(directory, {}, "pygit2", directory)
