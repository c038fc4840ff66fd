"""Test a deployment: the webhook answers `pong` to a signed ping, and refuses one that is signed with a guess.

    python -m tools.smoke --stack git2efs-dev

reads the webhook's address from the stack's outputs and the secret from Parameter Store. It prints neither the secret
nor a signature. Exit status 1 means a wrong answer; 2 means that it cannot ask: no such stack, no secret yet.
"""

import argparse
import secrets
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

from local.github import Answer, send

PARAMETER_ROOT = "/git2efs"
PING = {"zen": "Keep it logically awesome.", "hook_id": 0, "repository": {"full_name": "smoke/test"}}
WAIT_SECONDS = 60.0
"""A new API, or a new version behind its alias, may answer 5xx or 404 for moments, or not at all yet."""
PAUSE_SECONDS = 2.0


class CannotAsk(Exception):
    """There is no webhook to ask, or no secret to sign with; the text says what to do."""


class AnsweredOtherwise(Exception):
    """The service gave a wrong answer; the text says which."""


def find_url(formation: Any, stack: str) -> str:
    """Return the stack's WebhookUrl; `formation` is boto3's client for CloudFormation. Raises CannotAsk."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        (found,) = formation.describe_stacks(StackName=stack)["Stacks"]
    except (BotoCoreError, ClientError, ValueError) as error:
        raise CannotAsk(f"the stack {stack} is not to be found: {_code(error)}") from None
    urls = [str(item["OutputValue"]) for item in found.get("Outputs", []) if item["OutputKey"] == "WebhookUrl"]
    if not urls:
        raise CannotAsk(f"the stack {stack} has no output WebhookUrl")
    return urls[0]


def read_secret(parameters: Any, name: str) -> str:
    """Return the webhook's secret; `parameters` is boto3's client for Parameter Store. Raises CannotAsk."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        return str(parameters.get_parameter(Name=name, WithDecryption=True)["Parameter"]["Value"])
    except (BotoCoreError, ClientError) as error:
        raise CannotAsk(
            f"the secret {name} is not to be read: {_code(error)}; the stack's output PutSecretCommand puts it"
        ) from None


def _code(error: Exception) -> str:
    """Return the service's error code, not its text, which may quote the request."""
    response = getattr(error, "response", {})
    return str(response.get("Error", {}).get("Code", type(error).__name__))


def smoke(
    url: str,
    secret: str,
    wait_seconds: float = WAIT_SECONDS,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Ask until the service answers right, for at most `wait_seconds`. Raises AnsweredOtherwise."""
    deadline = clock() + wait_seconds
    while True:
        try:
            _expect(send(url, PING, secret, event="ping"), 200, "pong")
            _expect(send(url, PING, secrets.token_hex(32), event="ping"), 401, "signature_invalid")
        except (OSError, AnsweredOtherwise) as error:
            if clock() >= deadline:
                text = str(error) if isinstance(error, AnsweredOtherwise) else type(error).__name__
                raise AnsweredOtherwise(text) from None
            sleep(PAUSE_SECONDS)
        else:
            return


def _expect(answer: Answer, status: int, reason: str) -> None:
    found = answer.fields.get("reason")
    if (answer.status, found) != (status, reason):
        raise AnsweredOtherwise(f"expected {status} {reason}, and got {answer.status} {found}")


def main(arguments: Sequence[str]) -> int:
    """Run the test; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tools.smoke", description=__doc__.partition("\n")[0])
    add = parser.add_argument
    add("--stack", required=True, help="the stack's name")
    add("--url", help="the webhook's address, where not the stack's output WebhookUrl")
    add("--secret-parameter", metavar="NAME", help=f"({PARAMETER_ROOT}/STACK/webhook-secret)")
    add("--wait", type=float, default=WAIT_SECONDS, metavar="SECONDS", help="for the right answers (%(default)g)")
    options = parser.parse_args(arguments)
    import boto3

    try:
        url = options.url or find_url(boto3.client("cloudformation"), options.stack)
        name = options.secret_parameter or f"{PARAMETER_ROOT}/{options.stack}/webhook-secret"
        secret = read_secret(boto3.client("ssm"), name)
        smoke(url, secret, options.wait)
    except CannotAsk as error:
        print(f"smoke: {error}", file=sys.stderr)
        return 2
    except AnsweredOtherwise as error:
        print(f"smoke: {error}", file=sys.stderr)
        return 1
    print(f"smoke: {url} verifies and answers")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
