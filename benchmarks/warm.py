"""A contender that stays warm, in a process of its own: `python -m benchmarks.warm <fd> <contender> [<directory>]`.

It reads requests from standard input, one JSON object per line, and answers each on the file descriptor.
"""

import atexit
import importlib
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from benchmarks.minutes import do_background, hold_background, let_minutes_pass

Publish = Callable[[dict[str, Any]], dict[str, float]]
"""Brings the published tree to the remote's tip. The answer's `visible_at` is the monotonic time when it was visible;
ours also has `files_written` and `bytes_fetched`."""


def main() -> None:
    """Answer until standard input ends."""
    contenders: dict[str, Callable[..., Publish]] = {"ours": _ours, "gitpython": _gitpython, "pygit2": _pygit2}
    publish = contenders[sys.argv[2]](*sys.argv[3:])
    with os.fdopen(int(sys.argv[1]), "w", encoding="utf-8") as answers:
        print("{}", file=answers, flush=True)
        for line in sys.stdin:
            asked = json.loads(line)
            if asked.pop("is_peak_reset", False):
                # As proc(5) has it: 5 sets the peak to what is resident now.
                Path("/proc/self/clear_refs").write_text("5")
            match asked.pop("pause", None):
                case "seconds":
                    do_background()
                case "minutes":
                    let_minutes_pass(Path(os.environ["GIT2EFS_MOUNT"]))
            answer = publish(asked) if asked else {}
            answer |= {"done_at": time.monotonic(), "peak_mib": _peak_mib()}
            print(json.dumps(answer), file=answers, flush=True)


def _ours() -> Publish:
    from handler import webhook
    from handler.mount.releases import publish as publish_module
    from handler.mount.releases.inventory import flip
    from handler.mount.target.layout import TargetPaths

    atexit.register(webhook.reset)
    flipped: list[float] = []

    def flip_and_tell(paths: TargetPaths, link: str) -> None:
        flip(paths, link)
        flipped.append(time.monotonic())

    hold_background()
    setattr(publish_module, "flip", flip_and_tell)  # noqa: B010 - to a type checker an assignment is an error

    def publish(asked: dict[str, Any]) -> dict[str, float]:
        response = webhook.handler(asked["event"], SimpleNamespace(aws_request_id="benchmark"))
        visible_at = flipped.pop() if flipped else time.monotonic()
        if response["statusCode"] != 200:
            raise RuntimeError(f"answered {response['statusCode']}: {response['body']}")
        content = json.loads(str(response["body"]))
        return {"visible_at": visible_at} | {name: content.get(name, 0) for name in ("files_written", "bytes_fetched")}

    return publish


def _gitpython(directory: str) -> Publish:
    """Do what the Flask service of the tutorial does at each request."""
    # By name: whoever lints need not have what only the benchmarks compare with.
    git: Any = importlib.import_module("git")

    def publish(asked: dict[str, Any]) -> dict[str, float]:
        git.Repo(directory).remotes.origin.pull(rebase=True)
        return {"visible_at": time.monotonic()}

    return publish


def _pygit2(directory: str) -> Publish:
    pygit2: Any = importlib.import_module("pygit2")

    def publish(asked: dict[str, Any]) -> dict[str, float]:
        repository = pygit2.Repository(directory)
        repository.remotes["origin"].fetch()
        tip = repository.references["refs/remotes/origin/main"].peel(pygit2.Commit)
        repository.checkout_tree(tip.tree)
        repository.references["refs/heads/main"].set_target(tip.id)
        return {"visible_at": time.monotonic()}

    return publish


def _peak_mib() -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) / 1024


if __name__ == "__main__":
    main()
