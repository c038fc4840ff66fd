"""The embedded Parameter Store: what it holds, what it leaves alone."""

import os
import subprocess
import sys

import boto3
import pytest
import urllib3

from local.origin import FileContent, SampleOrigin
from local.parameters import embedded_parameters
from tests.local.conftest import PROJECT


def test_it_holds_the_secret_the_repositories_and_the_tokens() -> None:
    """Names under the prefix, absolute names as they are, secrets as SecureStrings."""
    secure = {"token": "t1", "/elsewhere/token": "t2"}
    with embedded_parameters("/p", "geheim ", {"octocat/weather": '{"depth":1}'}, secure):
        client = boto3.client("ssm")
        found = {}
        for name in ("/p/webhook-secret", "/p/repositories/octocat/weather", "/p/token", "/elsewhere/token"):
            parameter = client.get_parameter(Name=name, WithDecryption=True)["Parameter"]
            found[parameter["Name"]] = parameter["Type"], parameter["Value"]
        encrypted = client.get_parameter(Name="/p/webhook-secret")["Parameter"]["Value"]
    assert found == {
        "/p/webhook-secret": ("SecureString", "geheim "),
        "/p/repositories/octocat/weather": ("String", '{"depth":1}'),
        "/p/token": ("SecureString", "t1"),
        "/elsewhere/token": ("SecureString", "t2"),
    }
    assert encrypted != "geheim "


def test_the_users_own_aws_settings_have_no_effect(monkeypatch: pytest.MonkeyPatch) -> None:
    """A profile that does not exist and an endpoint that nobody serves would both fail the call."""
    monkeypatch.setenv("AWS_PROFILE", "no-such-profile")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    before = dict(os.environ)
    with embedded_parameters("/p", "s", {}):
        assert boto3.client("ssm").get_parameter(Name="/p/webhook-secret")["Parameter"]["Version"] == 1
    assert dict(os.environ) == before


def test_the_store_starts_without_ec2() -> None:
    """Whose import takes three times as long as everything else; who wants it gets the real one."""
    script = """
import sys
from local.parameters import embedded_parameters
with embedded_parameters("/p", "s", {}):
    import boto3
    print(boto3.client("ssm").get_parameter(Name="/p/webhook-secret", WithDecryption=True)["Parameter"]["Value"])
    print([name for name in sys.modules if name.startswith("moto.ec2")])
import moto.ec2
print(type(moto.ec2.ec2_backends).__name__)
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=PROJECT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["s", "[]", "BackendDict"]


def test_a_fetch_from_a_git_remote_is_real(origin: SampleOrigin) -> None:
    """urllib3, which dulwich fetches with, is not intercepted."""
    origin.commit("refs/heads/main", {b"a": FileContent(b"")}, "One")
    with embedded_parameters("/p", "s", {}), urllib3.PoolManager() as pool:
        url = f"{origin.url}/info/refs?service=git-upload-pack"
        response = pool.request("GET", url, headers={"Git-Protocol": "version=2"}, retries=False)
    assert b"version 2" in response.data
