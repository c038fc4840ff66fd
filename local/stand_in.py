"""Parameter Store, SQS and GitHub for `sam local`, in one process on fixed ports: `python -m local.stand_in`.

They hold the secret and the sample repository that the events in tests/events are made of. The functions call them
from containers, where this machine is called `stand-in.localhost` (`--add-host stand-in.localhost:host-gateway`).
"""

import argparse
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from local import sample
from local.aws import MAX_CALL_BYTES, Services
from local.events import AWS_PORT, HOST, MADE_AT, ORIGIN_PORT, PREFIX, REF, REPOSITORY, SECRET
from local.origin import SampleOrigin
from local.parameters import AWS_ENVIRONMENT, REGION, put_parameters
from local.server import LoopbackServer


@dataclass(frozen=True, slots=True)
class StandIn:
    """Both addresses, and the commit that `main` of the sample repository names."""

    aws_url: str
    origin_url: str
    commit: str


@contextmanager
def standing_in(
    host: str = "127.0.0.1",
    aws_port: int = AWS_PORT,
    origin_port: int = ORIGIN_PORT,
    secret: str = SECRET,
    repositories: dict[str, str] | None = None,
) -> Iterator[StandIn]:
    """Run both until the block ends; `repositories` are the URLs of more repositories. Raises OSError for an address.

    The functions read `stand-in.localhost` as the sample's address, whatever `host` it listens on.
    """
    import boto3

    aws = LoopbackServer(host, aws_port, Services().respond, MAX_CALL_BYTES)
    try:
        with SampleOrigin(REPOSITORY, host=host, port=origin_port) as origin:
            commit = origin.commit(REF, sample.first_push(), "Begin", committed_at=MADE_AT)
            port = origin.url.rpartition(":")[2].partition("/")[0]
            urls = {REPOSITORY: f"http://{HOST}:{port}/{REPOSITORY}.git"} | (repositories or {})
            aws.start()
            client = boto3.client(
                "ssm",
                endpoint_url=aws.url,
                region_name=REGION,
                aws_access_key_id=AWS_ENVIRONMENT["AWS_ACCESS_KEY_ID"],
                aws_secret_access_key=AWS_ENVIRONMENT["AWS_SECRET_ACCESS_KEY"],
            )
            texts = {name: f'{{"url": "{url}"}}' for name, url in urls.items()}
            put_parameters(client, PREFIX, secret, texts, {})
            yield StandIn(aws.url, origin.url, commit)
            aws.stop(1.0)
    finally:
        aws.server_close()


def main(arguments: Sequence[str]) -> int:
    """Run until Ctrl-C or SIGTERM; return the exit status: 2 if it cannot listen on an address."""
    parser = argparse.ArgumentParser(prog="python -m local.stand_in", description=__doc__)
    add = parser.add_argument
    add("--host", default="127.0.0.1", help="the address to listen on; Docker on Linux: its bridge's, 172.17.0.1")
    add("--aws-port", type=int, default=AWS_PORT, help="(%(default)s)")
    add("--origin-port", type=int, default=ORIGIN_PORT, help="(%(default)s)")
    options = parser.parse_args(arguments)
    # Its own calls must reach only itself, whatever the user's profile says.
    os.environ.pop("AWS_PROFILE", None)
    os.environ.update(AWS_ENVIRONMENT)
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, frame: ended.set())
    try:
        with standing_in(options.host, options.aws_port, options.origin_port) as stand_in:
            print(f"git2efs: Parameter Store and SQS at {stand_in.aws_url}, {REPOSITORY} at {stand_in.origin_url}")
            print(f"git2efs: its main is {stand_in.commit}; Ctrl-C ends it", flush=True)
            while not ended.wait(0.2):
                pass
    except (OSError, OverflowError) as error:
        print(f"git2efs: cannot listen on {options.host}: {getattr(error, 'strerror', None) or error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
