"""Cold starts: from a signed request in a fresh process until readers see the push. `python -m benchmarks.cold`.

Each round pushes one file, and starts every process anew, as Lambda does where no environment is idle. `isolated` has
the two functions of a stack: the second process is started by the first one's first invocation, while that goes on.
`inline` has one process for both sides. What Lambda does before it runs Python (environment, VPC, mount) is not here.
"""

import argparse
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from benchmarks.histories import History
from benchmarks.minutes import let_minutes_pass
from benchmarks.places import Place, make_place
from benchmarks.tracing import has_strace, read_trace, traced_command
from local.lambda_api import PUBLISHER_NAME, lambda_server
from local.mount_process import MountProcess, mount_environment
from testing.deliveries import http_api_event
from testing.process import PROJECT
from testing.service import Service

TITLE = "Cold starts"
ROUNDS = 9
FILES = 1000

_WEBHOOK = """
import json, sys, time
from types import SimpleNamespace
from handler import webhook
answer = webhook.handler(json.loads(sys.stdin.readline()), SimpleNamespace(aws_request_id="benchmark"))
print(json.dumps([answer["statusCode"], answer["body"], time.process_time()]))
webhook.reset()
"""


@dataclass(slots=True)
class Starts:
    """Seconds of each round: until visible, until answered, and of processor time, by side; file calls of one more."""

    visible: list[float] = field(default_factory=list)
    answered: list[float] = field(default_factory=list)
    network_cpu: list[float] = field(default_factory=list)
    mount_cpu: list[float] = field(default_factory=list)
    calls: int | None = None


def measure(place: Place, rounds: int = ROUNDS) -> dict[str, Starts]:
    """Start both kinds in turn. Raises RuntimeError for a push that is not published."""
    results = {"isolated": Starts(), "inline": Starts()}
    history = History(place.origin.root, FILES)
    mounts = {name: place.service(place.trees / name) for name in results}
    for service in mounts.values():
        service.mount.mkdir(parents=True)
        service.put_secret(service.secret)
        service.put_repository(history.upstream.full_name)
    for number in range(rounds + 1):
        history.push(1)
        for service in mounts.values():
            let_minutes_pass(service.mount)
        for name in list(results)[:: 1 if number % 2 else -1]:
            # The first push writes a whole tree, and fills the file system's cache.
            _push(mounts[name], history, results[name] if number else Starts(), is_isolated=name == "isolated")
    if has_strace():
        history.push(1)
        let_minutes_pass(mounts["inline"].mount)
        results["inline"].calls = _traced(mounts["inline"], history, place.local / "trace")
    return results


def section(results: dict[str, Starts]) -> str:
    """Return the figures as Markdown."""
    lines = [
        f"Medians of {len(results['inline'].visible)} pushes of one file to {FILES:,}, minutes apart, each in fresh "
        f"processes on this machine, Python {sys.version.split()[0]}, with bytecode; file calls by strace. `isolated` "
        "has the two functions of a stack: the webhook wakes the publisher while it reads parameters and asks the "
        "remote. What Lambda does before Python runs is not in it.",
        "",
        "| | ms until visible | until answered | processor ms, network side | mount side | file calls on the mount |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for name, starts in results.items():
        times = (starts.visible, starts.answered, starts.network_cpu, starts.mount_cpu)
        cells = [f"{median(each) * 1000:.0f}" if each else "–" for each in times]
        lines.append(f"| {name} | {' | '.join(cells)} | {starts.calls or '–'} |")
    return "\n".join(lines) + "\n"


def main(arguments: Sequence[str]) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cold", description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="(%(default)s)")
    options = parser.parse_args(arguments)
    with make_place(None, None) as place:
        print(section(measure(place, options.rounds)))


def _push(service: Service, history: History, starts: Starts, *, is_isolated: bool) -> None:
    event = http_api_event(service.push_request(history.upstream))
    link = service.current(f"{history.upstream.full_name}/main")
    with _publisher(service, is_isolated=is_isolated) as (variables, publisher):
        started = time.monotonic()
        visible_at: list[float] = []
        watcher = threading.Thread(target=_watch, args=(link, history.tip, visible_at), daemon=True)
        watcher.start()
        cpu = _run(service, event, variables, [])
        starts.answered.append(time.monotonic() - started)
        watcher.join(5)
        starts.visible.append(visible_at[0] - started)
        if publisher is None:
            starts.mount_cpu.append(cpu)
        else:
            starts.network_cpu.append(cpu)
            starts.mount_cpu.append(_processor_seconds(publisher.pid))


def _traced(service: Service, history: History, output: Path) -> int:
    event = http_api_event(service.push_request(history.upstream))
    _run(service, event, {}, traced_command(output))
    calls = read_trace(output, service.mount, is_inside=False)
    return calls.total() - calls["other"]


def _run(service: Service, event: object, variables: dict[str, str], prefix: list[str]) -> float:
    """Run the webhook once in a process of its own; return its seconds of processor time."""
    done = subprocess.run(
        [*prefix, sys.executable, "-c", _WEBHOOK],
        input=json.dumps(event) + "\n",
        cwd=PROJECT,
        env=os.environ | service.environment | variables,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    status, body, cpu = json.loads(done.stdout.splitlines()[-1])
    if status != 200:
        raise RuntimeError(f"answered {status}: {body}")
    return float(cpu)


@contextmanager
def _publisher(service: Service, *, is_isolated: bool) -> Iterator[tuple[dict[str, str], MountProcess | None]]:
    """Yield what leads a webhook to a publisher that is not started yet, and that publisher."""
    if not is_isolated:
        yield {"GIT2EFS_BACKGROUND": "false"}, None
        return
    with MountProcess(mount_environment(os.environ | service.environment)) as process:
        server = lambda_server(process.invoke)
        server.start()
        try:
            yield {"GIT2EFS_PUBLISHER": PUBLISHER_NAME, "AWS_ENDPOINT_URL_LAMBDA": server.url}, process
        finally:
            server.stop(5.0)


def _watch(link: Path, commit: str, visible_at: list[float]) -> None:
    wanted = f"releases/{commit}"
    while not link.is_symlink() or os.readlink(link) != wanted:
        time.sleep(0.001)
    visible_at.append(time.monotonic())


def _processor_seconds(process_id: int) -> float:
    fields = Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    main(sys.argv[1:])
