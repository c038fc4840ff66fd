"""Count the file calls of a process on a mount with strace, if the machine has it."""

import contextlib
import shutil
import signal
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from benchmarks.calls import count_calls

_STRACE = ("strace", "-f", "-y", "-s", "0", "-e", "trace=file,desc", "-e", "signal=none")


def has_strace() -> bool:
    """Return whether the machine has strace."""
    return shutil.which("strace") is not None


def traced_command(output: Path) -> list[str]:
    """Return the prefix of a command that writes its calls to `output`."""
    return [*_STRACE, "-o", str(output)]


def read_trace(output: Path, mount: Path, *, is_inside: bool) -> Counter[str]:
    """Return the number of calls on `mount` in a trace, by kind."""
    with open(output, errors="replace") as lines:
        return count_calls(lines, str(mount), is_inside=is_inside)


@contextlib.contextmanager
def tracing(process_id: int, output: Path) -> Iterator[None]:
    """Write the calls that a running process makes within the `with` block to `output`."""
    command = [*_STRACE, "-o", str(output), "-p", str(process_id)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as strace:
        assert strace.stderr
        said = strace.stderr.readline()
        if "attached" not in said:
            raise RuntimeError(f"strace cannot attach: {said.strip()}")
        try:
            yield
        finally:
            strace.send_signal(signal.SIGINT)
            strace.communicate()
