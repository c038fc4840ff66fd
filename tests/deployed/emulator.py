"""MiniStack: AWS's services on a loopback port, without containers. It deploys the template and runs the functions.

What it does as AWS does: CloudFormation with SAM's transform, HTTP APIs, Lambda (each function in a process of its own,
with the artefact that SAM built), FIFO queues with their groups and dead letters, event source mappings, EventBridge
Scheduler, Parameter Store, logs; and, switched on here, IAM: every call is judged by the caller's policies.
"""

import os
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config

from testing.daemon import Daemon, free_ports

REGION = "us-east-1"
ACCOUNT = "123456789012"
START_SECONDS = 60.0


class Emulator:
    """One emulator, with an account of its own and nothing in it; a context manager."""

    def __init__(self, python: Path, directory: Path) -> None:
        """`python` has ministack installed, and runs the functions too; everything written is below `directory`."""
        self.python = python
        self.directory = directory
        (self.port,) = free_ports(1)
        self.log = directory / "emulator.log"
        self._daemon: Daemon | None = None

    @property
    def endpoint(self) -> str:
        """What AWS_ENDPOINT_URL has to be."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def credentials(self) -> dict[str, str]:
        """The AWS variables of the account's owner, who may do everything."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": "testing",
            "AWS_SECRET_ACCESS_KEY": "testing",
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
        }

    def __enter__(self) -> "Emulator":
        """Start it, and wait until it answers. Raises RuntimeError with its log."""
        for name in ("tmp", "home", "s3"):
            (self.directory / name).mkdir(parents=True)
        environment = {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": os.fspath(self.directory / "home"),
            "TMPDIR": os.fspath(self.directory / "tmp"),
            "LC_ALL": "C.UTF-8",
            "NO_PROXY": "*",
            "PYTHONUNBUFFERED": "1",
            **self.credentials,
            "BIND_HOST": "127.0.0.1",
            "MINISTACK_HOST": "127.0.0.1",
            "GATEWAY_PORT": str(self.port),
            "MINISTACK_ACCOUNT_ID": ACCOUNT,
            "S3_DATA_DIR": os.fspath(self.directory / "s3"),
            "DOCKER_HOST": "unix:///nonexistent.sock",
            "LAMBDA_EXECUTOR": "local",
            # Listeners on ports of their own, that nobody here talks to.
            "IOT_MTLS_ENABLED": "0",
            "SFTP_ENABLED": "0",
            # Every call is judged by its caller's policies.
            "AUTH": "true",
        }
        daemon = Daemon([self.python, "-m", "ministack"], self.directory, environment, self.log)
        daemon.wait_until(self._ask, START_SECONDS)
        self._daemon = daemon
        return self

    def __exit__(self, *_: object) -> None:
        """Stop it, with the functions' processes that it started."""
        daemon, self._daemon = self._daemon, None
        if daemon is not None:
            daemon.stop()

    def _ask(self) -> None:
        urllib.request.urlopen(f"{self.endpoint}/_ministack/health", timeout=2).close()

    def log_text(self) -> str:
        """Return what the emulator wrote, the functions' errors among it."""
        return self.log.read_text("utf-8", "replace")

    def client(self, service: str) -> Any:
        """Return boto3's client, as the account's owner."""
        config = Config(connect_timeout=5, read_timeout=120, retries={"total_max_attempts": 1}, max_pool_connections=64)
        return boto3.client(
            service,
            endpoint_url=self.endpoint,
            region_name=REGION,
            aws_access_key_id="testing",
            aws_secret_access_key="testing",
            config=config,
        )

    def post(self, api: str, path: str, headers: Mapping[str, str], body: bytes) -> tuple[int, str]:
        """POST to an HTTP API, which is known by the name in the Host header; return status and body."""
        host = f"{api}.execute-api.127.0.0.1:{self.port}"
        sent = {name: value for name, value in headers.items() if name.lower() not in ("host", "content-length")}
        request = urllib.request.Request(f"{self.endpoint}{path}", body, {**sent, "Host": host}, method="POST")
        try:
            with urllib.request.urlopen(request, timeout=120) as response:
                return response.status, response.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()
