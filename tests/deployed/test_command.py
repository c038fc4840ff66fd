"""The operator's command against the deployed stack, which it finds by its name."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from testing.github_hooks import TOKEN, HooksApi
from testing.origin import GitOrigin
from testing.repositories import archive
from testing.stack import ROOT
from tests.deployed.deployment import Deployment
from tests.deployed.pushes import Pusher

OLD, NEW = "octo/command", "acme/command"


@pytest.fixture
def hooks() -> Iterator[HooksApi]:
    """Return GitHub's API, with the repository."""
    api = HooksApi()
    api.hooks[OLD] = []
    yield api
    api.stop()


def run(deployment: Deployment, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command as a person does, with the account's owner's credentials."""
    return subprocess.run(
        [sys.executable, "-m", "handler.cli", *arguments, "--stack", deployment.name],
        cwd=ROOT,
        env={**os.environ, **deployment.emulator.credentials, "GH_ENTERPRISE_TOKEN": TOKEN},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


def test_one_command_from_the_stack_to_a_published_push(direct: Deployment, remote: GitOrigin, hooks: HooksApi) -> None:
    """The webhook leads to the stack's URL, and what is signed with its secret is published."""
    done = run(direct, "add", OLD, "--parameter", json.dumps({"url": hooks.url(OLD)}))
    assert done.returncode == 0, done.stdout + done.stderr
    (hook,) = hooks.hooks[OLD]
    assert hook["config"]["url"] == direct.outputs["WebhookUrl"]
    pusher = Pusher(remote, OLD).configure(direct)
    commit = pusher.commit()
    status, answer = direct.send(pusher.request(secret=hook["config"]["secret"]))
    assert (status, answer["outcome"]) == (200, "published")
    shown = run(direct, "status", OLD)
    assert (shown.returncode, commit[:12] in shown.stdout) == (0, True), shown.stdout
    renamed = {"url": pusher.url, "publish": [{"ref": "refs/heads/main", "path": f"{OLD}/main"}]}
    assert run(direct, "add", NEW, "--no-webhook", "--parameter", json.dumps(renamed)).returncode == 0
    taken = run(direct, "take-over", NEW, "--from", OLD)
    assert (taken.returncode, "taken_over" in taken.stdout) == (0, True), taken.stdout
    commit = pusher.commit("two")
    assert run(direct, "publish", NEW).returncode == 0
    assert pusher.published(direct) == archive(pusher.upstream, commit)
