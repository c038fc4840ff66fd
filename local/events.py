"""Ready events for `sam local`, made from a secret and a repository: `python -m local.events`.

The same arguments make the same bytes, so that a test can compare tests/events with what this module makes. The
defaults fit the stand-in (`local.stand_in`): its secret, and the commit of its sample repository.
"""

import argparse
import hashlib
import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from handler.network.forges.github import read_push
from handler.network.queue.message import Cause, Message, encode_message, group_of
from handler.settings import ENVIRONMENT_PREFIX
from local import sample
from local.aws import QUEUES
from local.event import http_api_event
from local.exchange import Request
from local.github import FORM, JSON, NO_COMMIT, Change, delivery_headers, encode, post, push_payload
from local.mapping import sqs_event
from local.origin import SampleOrigin
from local.publisher_events import first_part, first_publish, pack_of

DIRECTORY = Path(__file__).resolve().parents[1] / "tests" / "events"
SECRET = "development-only"  # noqa: S105 -- of the stand-in, which guards nothing
REPOSITORY = "octocat/weather"
REF = "refs/heads/main"
PREFIX = "/git2efs/local"
MADE_AT = 1_735_689_600
"""2025-01-01: all of an event's times, in seconds since the epoch."""

HOST = "stand-in.localhost"
"""The name of this machine in containers, with `--add-host stand-in.localhost:host-gateway`. It is below `localhost`,
because a repository's URL may use plain http only there."""
AWS_PORT, ORIGIN_PORT = 8091, 8092
MOUNT = "/tmp/git2efs"  # noqa: S108 -- in a container of its own: SAM mounts no file system
ROUTE = "/github"


@dataclass(frozen=True, slots=True)
class Made:
    """What events are made from; `commit` is what the ref names, 40 hex digits.

    `asked_at` is when the remote was asked for what the publisher's event has of it; that event's commit is the sample
    repository's, whose objects it holds.
    """

    secret: str = SECRET
    repository: str = REPOSITORY
    ref: str = REF
    commit: str = ""
    asked_at: float = MADE_AT

    @property
    def payload(self) -> dict[str, Any]:
        """The push's payload."""
        return push_payload(
            self.repository, self.ref, NO_COMMIT, self.commit, change=Change("Begin"), pushed_at=MADE_AT
        )


def sample_commit() -> str:
    """Return the commit of the stand-in's sample repository."""
    return _sample()[1]


def _sample() -> tuple[SampleOrigin, str]:
    origin = SampleOrigin(REPOSITORY)
    return origin, origin.commit(REF, sample.first_push(), "Begin", committed_at=MADE_AT)


def events(made: Made) -> dict[str, Any]:
    """Return every event by the name of its file."""
    ping = {"zen": "Keep it logically awesome.", "hook_id": 1, "repository": {"full_name": made.repository}}
    forged = replace(made, secret=made.secret + ", guessed")
    origin, commit = _sample()
    published, pack = replace(made, commit=commit), pack_of(origin.store, commit)
    delivery = _id("push", encode(published.payload))
    return {
        "push.json": _http_event(made, made.payload),
        "push-form.json": _http_event(made, made.payload, media_type=FORM),
        "ping.json": _http_event(made, ping, event="ping"),
        "forged.json": _http_event(forged, made.payload),
        "sqs.json": _batch(made),
        "reconcile.json": {"task": "reconcile"},
        "chores.json": {"task": "chores"},
        "status.json": {"action": "status"},
        "publish.json": first_publish(
            read_push(published.payload), pack, delivery=delivery, asked_at=float(made.asked_at)
        ),
        "receive.json": first_part(made.repository, pack, _id("transfer", pack).replace("-", "")),
        "env.json": _variables(),
    }


def request(made: Made, payload: Mapping[str, Any], event: str = "push", media_type: str = JSON) -> Request:
    """Return the request with which GitHub delivers a payload."""
    body = encode(payload, media_type)
    headers = delivery_headers(body, made.secret, event=event, delivery=_id(event, body), media_type=media_type)
    headers |= {"Host": "example.execute-api.us-east-1.amazonaws.com", "Content-Length": str(len(body))}
    return Request("POST", ROUTE, "", tuple(headers.items()), body, "140.82.115.54")


def _http_event(made: Made, payload: Mapping[str, Any], event: str = "push", media_type: str = JSON) -> dict[str, Any]:
    sent = request(made, payload, event, media_type)
    trace = f"Root=1-{MADE_AT:08x}-{_id('trace', sent.body).replace('-', '')[:24]}"
    return http_api_event(sent, _id("request", sent.body), float(MADE_AT), trace)


def _batch(made: Made) -> dict[str, Any]:
    """Return the event that Lambda makes of one message that the webhook sent."""
    body = encode(made.payload)
    push = read_push(made.payload)
    text = encode_message(
        Message(
            cause=Cause.PUSH,
            repository=made.repository,
            ref=made.ref,
            delivery=_id("push", body),
            received_at=float(MADE_AT),
            push=push,
        )
    )
    about = {
        "ApproximateReceiveCount": "1",
        "SentTimestamp": str(MADE_AT * 1000),
        "ApproximateFirstReceiveTimestamp": str(MADE_AT * 1000),
        "MessageGroupId": group_of(made.repository),
        "MessageDeduplicationId": _id("message", body),
        "SequenceNumber": "18849496460467696128",
        "SenderId": "AIDAEXAMPLE",
    }
    message = {
        "MessageId": _id("message", body),
        "ReceiptHandle": _id("receipt", body),
        "Body": text,
        "Attributes": about,
        "MD5OfBody": hashlib.md5(text.encode(), usedforsecurity=False).hexdigest(),
    }
    return sqs_event([message], QUEUES.url.rpartition("/")[2])


def _variables() -> dict[str, dict[str, str]]:
    """Return the variables that direct each function to the stand-in, in the format of `--env-vars`."""
    common = {
        "AWS_ENDPOINT_URL": f"http://{HOST}:{AWS_PORT}",
        f"{ENVIRONMENT_PREFIX}PARAMETER_PREFIX": PREFIX,
        f"{ENVIRONMENT_PREFIX}MOUNT": MOUNT,
        # In this process: a container of SAM's invokes no other one by the name that the template gives.
        f"{ENVIRONMENT_PREFIX}PUBLISHER": "",
    }
    queues = {
        f"{ENVIRONMENT_PREFIX}QUEUE_URL": QUEUES.url,
        f"{ENVIRONMENT_PREFIX}DEAD_LETTER_URL": QUEUES.dead_letter_url,
    }
    return {
        "WebhookFunction": common,
        "WorkerFunction": common | queues,
        "ScheduleFunction": common,
        "OperateFunction": common,
        # It has neither an address of AWS nor a use for one.
        "PublisherFunction": {name: common[name] for name in common if name.startswith(ENVIRONMENT_PREFIX)},
    }


def _id(about: str, body: bytes) -> str:
    """Return an id that looks random, and is the same for the same input."""
    text = hashlib.sha256(about.encode() + body).hexdigest()
    return "-".join((text[:8], text[8:12], f"4{text[13:16]}", f"a{text[17:20]}", text[20:32]))


def write(directory: Path, made: Made) -> None:
    """Write a file for each event into a directory, which is created if it does not exist."""
    directory.mkdir(parents=True, exist_ok=True)
    for name, event in events(made).items():
        (directory / name).write_text(json.dumps(event, indent=2) + "\n", encoding="utf-8")


def main(arguments: Sequence[str]) -> int:
    """Write the events, or post the push to a running API; return the exit status, 1 for an error."""
    parser = argparse.ArgumentParser(prog="python -m local.events", description=__doc__)
    add = parser.add_argument
    add("--secret", default=os.environ.get("GIT2EFS_LOCAL_SECRET", SECRET), help="the webhook's (the stand-in's)")
    add("--repository", default=REPOSITORY, metavar="OWNER/NAME", help="(%(default)s)")
    add("--ref", default=REF, help="(%(default)s)")
    add("--commit", help="what the ref names (the sample repository's commit)")
    add("--asked-at", type=float, default=MADE_AT, metavar="SECONDS", help="when the remote was asked (2025-01-01)")
    add("--directory", type=Path, default=DIRECTORY, help="where to write (tests/events)")
    add("--post", metavar="URL", help="write nothing, and post the signed push there: sam local start-api")
    options = parser.parse_args(arguments)
    commit = options.commit or sample_commit()
    made = Made(options.secret, options.repository, options.ref, commit, options.asked_at)
    if options.post is None:
        write(options.directory, made)
        return 0
    sent = request(made, made.payload)
    headers = {name: value for name, value in sent.headers if name not in ("Host", "Content-Length")}
    answer = post(options.post, sent.body, headers)
    print(answer.status, answer.body.decode("utf-8", "replace"))
    return 0 if answer.status < 300 else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
