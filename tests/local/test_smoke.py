"""The smoke test after a deployment, against the service behind its loopback endpoint."""

import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError

from handler import webhook
from local import github
from local.gateway import Handler
from testing.parameters import ParameterStore
from tools import smoke
from tools.smoke import AnsweredOtherwise, CannotAsk, find_url, main

PREFIX = "/git2efs/smoke"
SECRET = "of the stack"


class Formation:
    """CloudFormation as far as it is asked."""

    def __init__(self, outputs: dict[str, str] | None) -> None:
        """None: there is no such stack."""
        self._outputs = outputs

    def describe_stacks(self, StackName: str) -> dict[str, Any]:
        """Answer as boto3's client does."""
        if self._outputs is None:
            raise ClientError({"Error": {"Code": "ValidationError", "Message": StackName}}, "DescribeStacks")
        outputs = [{"OutputKey": key, "OutputValue": value} for key, value in self._outputs.items()]
        return {"Stacks": [{"StackName": StackName, "Outputs": outputs}]}


@pytest.fixture
def url(
    gateway: Callable[[Handler], str], parameter_store: ParameterStore, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> Iterator[str]:
    """The deployed webhook's address."""
    parameter_store.put(f"{PREFIX}/webhook-secret", SECRET, is_secure=True)
    parameter_store.lead_here(monkeypatch)
    monkeypatch.setenv("GIT2EFS_PARAMETER_PREFIX", PREFIX)
    monkeypatch.setenv("GIT2EFS_MOUNT", os.fspath(tmp_path))
    webhook.reset()
    yield f"{gateway(webhook.handler)}/github"
    webhook.reset()
    parameter_store.delete(f"{PREFIX}/webhook-secret")


def test_service_that_verifies_passes(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    """0, and a line without the secret."""
    assert main(["--stack", "smoke", "--url", url]) == 0
    captured = capsys.readouterr()
    assert captured.out.splitlines()[-1] == f"smoke: {url} verifies and answers"
    assert SECRET not in captured.out + captured.err


def test_other_secret_fails(url: str, parameter_store: ParameterStore, capsys: pytest.CaptureFixture[str]) -> None:
    """1, and what was expected: GitHub's deliveries would fail in the same way."""
    parameter_store.put("/git2efs/other/webhook-secret", "another", is_secure=True)
    assert main(["--stack", "other", "--url", url, "--wait", "0"]) == 1
    assert "expected 200 pong, and got 401 signature_invalid" in capsys.readouterr().err
    parameter_store.delete("/git2efs/other/webhook-secret")


@pytest.mark.usefixtures("url")
def test_secret_that_is_not_there_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    """2, with what to do: a new stack has none."""
    assert main(["--stack", "fresh", "--url", "http://127.0.0.1:9/github"]) == 2
    captured = capsys.readouterr().err
    assert "/git2efs/fresh/webhook-secret" in captured
    assert "PutSecretCommand" in captured


def test_service_that_is_not_there_fails(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    """1: nobody answers."""
    assert main(["--stack", "smoke", "--url", "http://127.0.0.1:9/github", "--wait", "0"]) == 1
    assert "ConnectionRefusedError" in capsys.readouterr().err


def test_service_that_verifies_nothing_fails(gateway: Callable[[Handler], str]) -> None:
    """A `pong` for everybody is no proof: the guess has to be refused."""
    everybody = gateway(lambda event, context: {"statusCode": 200, "body": '{"reason": "pong"}'})
    with pytest.raises(AnsweredOtherwise, match="expected 401 signature_invalid, and got 200 pong"):
        smoke.smoke(f"{everybody}/github", SECRET, wait_seconds=0)


def test_what_is_not_there_yet_is_asked_again(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A new API needs moments; time is counted here and not waited for."""
    now = [0.0]
    addresses = iter(["http://127.0.0.1:9/github"] * 3 + [url] * 2)

    def later(seconds: float) -> None:
        now[0] += seconds

    monkeypatch.setattr(smoke, "send", lambda _, *rest, **more: github.send(next(addresses), *rest, **more))
    smoke.smoke("ignored", SECRET, clock=lambda: now[0], sleep=later)
    assert now[0] == 3 * smoke.PAUSE_SECONDS


def test_address_is_the_stacks_output() -> None:
    """WebhookUrl, which the template has."""
    assert find_url(Formation({"Other": "x", "WebhookUrl": "https://example.com/github"}), "s").endswith("/github")
    without: list[dict[str, str] | None] = [{}, None]
    for outputs in without:
        with pytest.raises(CannotAsk):
            find_url(Formation(outputs), "s")
