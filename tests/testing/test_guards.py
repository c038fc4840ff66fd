"""What must not be touched raises, and these tests would see it if it did not."""

import os
import socket
from pathlib import Path

import boto3
import pytest
import urllib3
from botocore.config import Config
from botocore.exceptions import EndpointConnectionError

from testing.guards import NetworkForbidden, isolated_environment

ELSEWHERE = "192.0.2.1"
"""An address of TEST-NET-1: nobody's, should the guard fail."""


def test_a_connection_to_another_host_raises() -> None:
    """A socket that leaves this machine is a test's mistake, whoever opens it."""
    with socket.socket() as one, pytest.raises(NetworkForbidden):
        one.connect((ELSEWHERE, 443))
    with socket.socket() as one, pytest.raises(NetworkForbidden):
        one.connect_ex((ELSEWHERE, 443))
    with socket.socket(type=socket.SOCK_DGRAM) as one, pytest.raises(NetworkForbidden):
        one.sendto(b"", (ELSEWHERE, 53))


def test_looking_up_another_host_raises() -> None:
    """Not even the name of a host goes out."""
    with pytest.raises(NetworkForbidden):
        socket.getaddrinfo("github.com", 443)


def test_no_except_exception_hides_the_guard() -> None:
    """The product's own catch-all must not make an outcome of a forbidden request."""
    assert not issubclass(NetworkForbidden, Exception)
    with pytest.raises(NetworkForbidden):
        urllib3.PoolManager(retries=False).request("GET", f"http://{ELSEWHERE}/")


def test_loopback_and_unix_sockets_are_open(tmp_path: Path) -> None:
    """Origins and the Parameter Store listen there."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        socket.create_connection(server.getsockname()).close()
        socket.create_connection(("localhost", server.getsockname()[1])).close()
    with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as client:
        server.bind(os.fspath(tmp_path / "s"))
        server.listen()
        client.connect(os.fspath(tmp_path / "s"))


def test_a_client_that_was_led_nowhere_does_not_reach_aws() -> None:
    """Without the Parameter Store's fixture a call ends at a closed loopback port, with keys that open nothing."""
    client = boto3.client("ssm", config=Config(retries={"total_max_attempts": 1}))
    assert client.meta.endpoint_url == "http://127.0.0.1:9"
    with pytest.raises(EndpointConnectionError):
        client.get_parameter(Name="x")


def test_the_environment_holds_nothing_of_the_users() -> None:
    """Credentials, proxies, git's variables and the home of whoever runs the tests stay out."""
    users = {
        "HOME": "/home/ada",
        "AWS_PROFILE": "production",
        "AWS_ACCESS_KEY_ID": "AKIAREAL",
        "https_proxy": "http://proxy:3128",
        "GIT_DIR": "/home/ada/x/.git",
        "GIT2EFS_MOUNT": "/mnt/real",
        "PATH": "/usr/bin",
    }
    isolated = isolated_environment(Path("/tmp/h"), users)
    assert isolated["PATH"] == "/usr/bin"
    assert not {"AWS_PROFILE", "https_proxy", "GIT_DIR", "GIT2EFS_MOUNT"} & set(isolated)
    assert isolated["AWS_ACCESS_KEY_ID"] == "testing"
    assert not [value for value in isolated.values() if "ada" in value]


def test_this_process_runs_in_such_an_environment() -> None:
    """The session's fixture did its work: what a test sees as home is a temporary directory."""
    assert "pytest" in os.fspath(Path.home())
    assert Path.home().is_dir()
    assert os.environ["GIT_CONFIG_GLOBAL"] == os.devnull
    assert "AWS_PROFILE" not in os.environ
