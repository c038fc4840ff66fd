"""`python -m local demo`: the main job once, from push to published tree, each step shown and checked."""

import json
import os
import secrets
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

from handler.mount.target.layout import spare_name
from local import github, sample
from local.origin import FileContent, SampleOrigin
from local.service import Service, ServiceFailed
from local.tree import differences, listing, published_files

REPOSITORY = "octocat/weather"
REF = "refs/heads/main"
_SPARE_SECONDS = 20.0
"""How long making a spare of a few files may take at most."""


class DemoFailed(Exception):
    """A step did not end as expected."""


class Screen:
    """Numbered steps and aligned lines; colour on a terminal only, and not where NO_COLOR is set."""

    def __init__(self) -> None:
        self._has_colour = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
        self._encoding = sys.stdout.encoding or "ascii"
        self._step = 0

    def step(self, text: str) -> None:
        """Begin the next step."""
        self._step += 1
        print(f"\n{self._paint('1', f'{self._step}  {text}')}")

    def line(self, label: str, text: str) -> None:
        """Print one labelled line; put the lines of a longer text below each other."""
        for index, part in enumerate(text.splitlines() or [""]):
            shown = part.encode(self._encoding, "backslashreplace").decode(self._encoding)
            label = label if index == 0 else ""
            print(f"   {self._paint('2', label.ljust(10))}{shown}", flush=True)

    def good(self, text: str) -> None:
        """Print the last line."""
        print(f"\n{self._paint('32', text)}", flush=True)

    def _paint(self, code: str, text: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self._has_colour else text


class Demo:
    """The steps, over a running origin and service."""

    def __init__(self, screen: Screen, origin: SampleOrigin, service: Service, root: str, secret: str) -> None:
        self._screen = screen
        self._origin = origin
        self._service = service
        self._secret = secret
        self._target = os.path.join(root, *REPOSITORY.split("/"), "main")

    def first_push(self) -> dict[str, Any]:
        """Push the whole tree; return the payload."""
        self._screen.step(f"The first push to {REF}: JSON, signed as GitHub signs")
        files = sample.first_push()
        commit = self._commit(files, "Begin")
        added = sorted(map(os.fsdecode, files))
        change = github.Change("Begin", added=added)
        payload = github.push_payload(REPOSITORY, REF, github.NO_COMMIT, commit, change=change)
        self._deliver(payload, "published", commit)
        self._show_tree()
        self._show_records(in_full=True)
        return payload

    def second_push(self, before: str) -> tuple[dict[str, Any], str]:
        """Change one file and remove one; return the payload and its delivery id."""
        files, changed, removed = sample.second_push()
        self._screen.step("The second push: one file changed, one removed; this time as a form, GitHub's default")
        commit = self._commit(files, "Rain")
        change = github.Change(
            "Rain", modified=list(map(os.fsdecode, changed)), removed=list(map(os.fsdecode, removed))
        )
        payload = github.push_payload(REPOSITORY, REF, before, commit, change=change)
        delivery = str(uuid.uuid4())
        self._deliver(payload, "published", commit, media_type=github.FORM, delivery=delivery)
        self._show_tree()
        self._show_records()
        return payload, delivery

    def third_push(self, before: str) -> None:
        """Change one file again."""
        self._screen.step("The third push: as every push, it writes only what it changes")
        commit = self._commit(sample.third_push(), "Snow")
        change = github.Change("Snow", modified=["site/index.html"])
        payload = github.push_payload(REPOSITORY, REF, before, commit, change=change)
        self._deliver(payload, "published", commit)
        self._show_records()

    def redelivery(self, payload: Mapping[str, Any], delivery: str) -> None:
        """Deliver the same again."""
        self._screen.step("The same delivery again: `Redeliver` in GitHub's settings")
        self._deliver(payload, "unchanged", payload["after"], media_type=github.FORM, delivery=delivery)
        self._show_records()

    def forgery(self, payload: Mapping[str, Any]) -> None:
        """Deliver with a signature made with another secret."""
        self._screen.step("A forged delivery: signed with another secret")
        before = os.readlink(os.path.join(self._target, "current"))
        answer = github.send(self._service.url, payload, secrets.token_hex(16))
        self._show_answer(answer)
        if answer.status != 401 or os.readlink(os.path.join(self._target, "current")) != before:
            raise DemoFailed("a forged delivery must be answered with 401 and change nothing")
        self._screen.line("current", f"-> {before} (as before)")
        self._show_records()

    def _commit(self, files: Mapping[bytes, FileContent], text: str) -> str:
        commit = self._origin.commit(REF, files, text)
        self._screen.line("commit", f"{commit} ({text}, {len(files)} paths)")
        return commit

    def _deliver(
        self,
        payload: Mapping[str, Any],
        outcome: str,
        commit: str,
        media_type: str = github.JSON,
        delivery: str | None = None,
    ) -> None:
        """Send, show the answer, and hold `current` to `commit`: its name, every path, mode and content."""
        started = time.monotonic()
        answer = github.send(self._service.url, payload, self._secret, media_type=media_type, delivery=delivery)
        self._show_answer(answer, f" after {(time.monotonic() - started) * 1000:.0f} ms")
        if answer.status != 200 or outcome not in _outcomes(answer.fields):
            raise DemoFailed(f"the answer should say {outcome}\n{self._service.errors()}")
        current = os.path.join(self._target, "current")
        link = os.readlink(current)
        self._screen.line("current", f"-> {link}")
        if os.path.basename(link) != commit:
            raise DemoFailed(f"current should lead to {commit}")
        wanted = self._origin.files(commit)
        if lines := differences(wanted, published_files(current)):
            raise DemoFailed("the published tree is not the commit's:\n" + "\n".join(lines))
        self._screen.line("compared", f"{len(wanted)} paths: modes, links and contents equal the commit's")
        if outcome == "published":
            self._wait_for_spare(commit)

    def _wait_for_spare(self, commit: str) -> None:
        """Wait for what is done after the answer: a tree for the next push to be written into."""
        spare = os.path.join(self._target, "staging", spare_name(commit, 1))
        deadline = time.monotonic() + _SPARE_SECONDS
        while not os.path.exists(spare):
            if time.monotonic() > deadline:
                raise DemoFailed("no spare was made for the next push")
            time.sleep(0.01)
        if lines := differences(self._origin.files(commit), published_files(spare)):
            raise DemoFailed("the spare is not the commit's tree:\n" + "\n".join(lines))
        self._screen.line("spare", "made after the answer: the next push is written into it")

    def _show_answer(self, answer: github.Answer, suffix: str = "") -> None:
        self._screen.line("answer", f"{answer.status}{suffix}\n{answer.body.decode('utf-8', 'replace')}")

    def _show_tree(self) -> None:
        self._screen.line("tree", "\n".join(listing(os.path.join(self._target, "current"))))

    def _show_records(self, in_full: bool = False) -> None:
        """Show what CloudWatch would get: everything the first time, then only what changes."""
        logs, metrics = self._service.records()
        if not (logs and metrics):
            raise DemoFailed("the handler wrote no log line or no metrics")
        if in_full:
            for label, records in (("log", logs), ("metrics", metrics)):
                for record in records:
                    self._screen.line(label, json.dumps(record, ensure_ascii=False))
            return
        for record in logs:
            self._screen.line("log", ", ".join(_short_log(record)))
        self._screen.line("metrics", ", ".join(part for record in metrics for part in _short_metrics(record)))


def _outcomes(fields: Mapping[str, Any]) -> set[str]:
    """Return the outcomes in an answer: its own, and one for each target that it lists."""
    found = {str(fields.get("outcome"))}
    for value in fields.values():
        if isinstance(value, list):
            found |= {str(entry.get("outcome")) for entry in value if isinstance(entry, dict)}
    return found


def _short_log(record: Mapping[str, Any]) -> list[str]:
    """Return the level and the outcome that a log line states; the answer above it shows the rest."""
    names = ("outcome", "reason", "detail", "repository", "event", "correlation_id")
    return [str(record.get("level"))] + [f"{name} {record[name]}" for name in names if record.get(name)]


def _short_metrics(record: Mapping[str, Any]) -> list[str]:
    """Return the metrics of one line as `Name value`, without those that are 0."""
    definitions = record["_aws"].get("CloudWatchMetrics", [])
    names = [metric["Name"] for definition in definitions for metric in definition.get("Metrics", [])]
    values = {name: record.get(name) for name in names}
    sums = {name: sum(value) if isinstance(value, list) else value for name, value in values.items()}
    return [f"{name} {value:.3g}" for name, value in sums.items() if value]


@contextmanager
def _directory(keep: bool) -> Iterator[str]:
    """Yield a new directory; remove it at the end unless `keep`."""
    if keep:
        yield tempfile.mkdtemp(prefix="git2efs-")
        return
    with tempfile.TemporaryDirectory(prefix="git2efs-", ignore_cleanup_errors=True) as path:
        yield path


def demo(keep: bool = False) -> int:
    """Run all steps; return 0, or 1 with the reason on standard error if a step does not end as expected."""
    started = time.monotonic()
    screen = Screen()
    print("git2efs: from a push to a published tree. Nothing leaves this machine; no AWS, git or Docker.")
    try:
        root = _run(screen, keep)
    except KeyboardInterrupt:
        return 130
    except (DemoFailed, ServiceFailed, OSError) as error:
        text = str(error).strip() or type(error).__name__
        print(f"\nFAILED: {text}", file=sys.stderr, flush=True)
        return 1
    kept = f" The tree is still there: {root}" if keep else ""
    seconds = time.monotonic() - started
    screen.good(f"Done in {seconds:.1f} s: 3 pushes published, 1 redelivery unchanged, 1 forgery refused.{kept}")
    return 0


def _run(screen: Screen, keep: bool) -> str:
    secret = secrets.token_hex(20)
    with ExitStack() as stack:
        root = stack.enter_context(_directory(keep))
        screen.step("A sample origin in memory, served over smart HTTP")
        origin = stack.enter_context(SampleOrigin(REPOSITORY))
        screen.line("origin", origin.url)
        screen.step("The service: the handler that runs in Lambda, behind a loopback endpoint, as two processes")
        service = stack.enter_context(Service(root, secret, {REPOSITORY: origin.url}, ("--isolated",)))
        screen.line("service", service.ready_line)
        screen.line("isolated", service.processes_line)
        steps = Demo(screen, origin, service, root, secret)
        first = steps.first_push()
        second, delivery = steps.second_push(first["after"])
        steps.redelivery(second, delivery)
        steps.third_push(second["after"])
        steps.forgery(second)
        screen.step("The end: SIGTERM")
        status = service.stop()
        screen.line("status", str(status))
        if status != 0:
            raise DemoFailed(f"the service ended with {status}")
    return root
