"""`python -m local serve` as a process: ready line, signals, exit statuses."""

import os
import queue
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from local import github
from local.service import Service
from tests.local.conftest import PROJECT

# The real door around a handler that waits until the test lets it go on.
CHILD = """
import os, sys
import boto3
from local.options import build_parser, serve_options
from local.serve import serve

def handler(event, context):
    name = os.environ["GIT2EFS_PARAMETER_PREFIX"] + "/webhook-secret"
    parameter = boto3.client("ssm").get_parameter(Name=name, WithDecryption=True)["Parameter"]
    print("inside", parameter["Value"], os.environ.get("GIT2EFS_LOCAL_SECRET"), os.environ["GIT2EFS_MOUNT"])
    sys.stdin.readline()
    return {"statusCode": 200, "body": "answered"}

parser = build_parser()
sys.exit(serve(serve_options(parser, parser.parse_args(sys.argv[1:]), os.environ), lambda: handler))
"""


@contextmanager
def serving(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Run the child; yield it and the webhook's URL, read from its ready line."""
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, "serve", "--root", str(tmp_path / "mount"), "--port", "0"],
        cwd=PROJECT, env={**os.environ, "GIT2EFS_LOCAL_SECRET": "s3cret"}, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    try:
        assert child.stdout is not None
        ready = child.stdout.readline()
        assert ready.startswith("git2efs: listening on http://127.0.0.1:"), ready
        assert ready.endswith(f"/github (mount {tmp_path / 'mount'})\n")
        yield child, ready.split()[3]
    finally:
        child.kill()
        child.communicate()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_after_the_request_in_flight(tmp_path: Path, number: signal.Signals) -> None:
    """The request is answered, standard output has the handler's line, the exit status is 0."""
    with serving(tmp_path) as (child, url):
        assert child.stdin is not None
        assert child.stdout is not None
        answers: queue.Queue[github.Answer] = queue.Queue()
        sender = threading.Thread(target=lambda: answers.put(github.send(url, {}, "s3cret")))
        sender.start()
        assert child.stdout.readline() == f"inside s3cret None {tmp_path / 'mount'}\n"
        child.send_signal(number)
        wait_until_refused(url)
        child.stdin.write("\n")
        child.stdin.flush()
        assert answers.get(timeout=10.0).body == b"answered"
        sender.join()
        assert child.wait(timeout=10.0) == 0


def wait_until_refused(url: str) -> None:
    """Return once the server accepts no more connections; the test's own time limit is its bound."""
    host, _, port = url.removeprefix("http://").partition("/")[0].partition(":")
    for _ in range(1000):
        try:
            with socket.create_connection((host, int(port)), timeout=1.0) as connection:
                connection.settimeout(0.01)
                try:
                    connection.recv(1)
                except TimeoutError:
                    continue
        except OSError:
            return
    raise AssertionError("it goes on accepting")


def test_an_idle_connection_does_not_hold_up_the_end(tmp_path: Path) -> None:
    """A keep-alive client that says nothing is not a request in flight."""
    with serving(tmp_path) as (child, url):
        host, _, port = url.removeprefix("http://").partition("/")[0].partition(":")
        with socket.create_connection((host, int(port)), timeout=5.0) as connection:
            connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            assert connection.recv(12) == b"HTTP/1.1 200"
            child.terminate()
            assert child.wait(timeout=10.0) == 0


def run_serve(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `python -m local` to its end."""
    command = [sys.executable, "-m", "local", *arguments]
    return subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, timeout=60, check=False)


def test_a_wrong_argument_ends_the_process_with_2() -> None:
    """From the command line as from within."""
    done = run_serve("serve", "--root", "/tmp", "--secret", "s", "--repository", "x")
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].endswith("--repository must look like OWNER/NAME=URL")


def test_a_mount_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    """A file is where the directory should be."""
    (tmp_path / "file").touch()
    done = run_serve("serve", "--root", str(tmp_path / "file" / "mount"), "--secret", "s")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"git2efs: cannot use {tmp_path}/file/mount as the mount: Not a directory\n"


def test_a_port_in_use_is_said(tmp_path: Path) -> None:
    """With the address, and without a traceback."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = run_serve("serve", "--root", str(tmp_path), "--secret", "s", "--port", str(port))
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == f"git2efs: cannot listen on 127.0.0.1 port {port}: Address already in use"


def test_a_repositorys_own_secret_is_served_at_its_own_url(tmp_path: Path) -> None:
    """Given as any further SecureString is: the real handler, its URL and its name in the store fit together."""
    (tmp_path / "own").write_text("its own\n")
    options = ["--secure", f"webhook-secrets/octo/site={tmp_path / 'own'}"]
    options += ["--configure", 'octo/site={"own_secret": true, "publish": [{"ref": "refs/heads/never"}]}']
    push = github.push_payload("octo/site", "refs/heads/main", "a" * 40, "b" * 40)
    with Service(str(tmp_path / "mount"), "the common one", {}, options) as service:
        answers = [
            github.send(service.url + path, push, secret)
            for path, secret in (("/octo/site", "its own"), ("/octo/site", "the common one"), ("", "the common one"))
        ]
    assert [answer.status for answer in answers] == [200, 401, 401]
    assert b"ref_not_published" in answers[0].body
