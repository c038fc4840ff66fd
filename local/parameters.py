"""Parameter Store in this process: moto answers every AWS call, and none reaches AWS.

moto hooks into botocore and `requests` only. A fetch from a git remote uses urllib3 directly, and is real.
"""

import importlib
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import ModuleType
from typing import Any

from handler.model import Forge

REGION = "us-east-1"

AWS_ENVIRONMENT: Mapping[str, str] = {
    "AWS_ACCESS_KEY_ID": "local",
    "AWS_SECRET_ACCESS_KEY": "local",
    "AWS_SESSION_TOKEN": "local",
    "AWS_REGION": REGION,
    "AWS_DEFAULT_REGION": REGION,
    "AWS_EC2_METADATA_DISABLED": "true",
    # The user's profile may name an endpoint, a region or a credential process.
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
}
DROPPED = (
    "AWS_PROFILE",
    "AWS_DEFAULT_PROFILE",
    "AWS_ENDPOINT_URL",
    "AWS_ENDPOINT_URL_LAMBDA",
    "AWS_ENDPOINT_URL_SSM",
    "AWS_CA_BUNDLE",
)


def import_parameter_store() -> None:
    """Import moto's Parameter Store without moto's EC2.

    Its module imports EC2 for one thing, commands on instances, and EC2's import reads the lists of all instance types
    and regions: 0.6 s of processor time, where the rest of moto takes 0.2 s.
    """
    if "moto.ssm.models" in sys.modules or "moto.ec2" in sys.modules:
        return
    importlib.import_module("moto")
    empty = ModuleType("moto.ec2")
    vars(empty)["ec2_backends"] = {}
    sys.modules["moto.ec2"] = empty
    try:
        importlib.import_module("moto.ssm.models")
    finally:
        # Whoever imports EC2 itself gets the real one.
        del sys.modules["moto.ec2"]


@contextmanager
def embedded_parameters(
    prefix: str, secret: str, repositories: Mapping[str, str], secure: Mapping[str, str] | None = None
) -> Iterator[None]:
    """Run a Parameter Store with the webhook secret and the repositories until the block ends.

    `repositories` maps `owner/name` to the JSON text of its parameter; `secure` maps further names (absolute,
    or relative to `prefix`) to SecureStrings, for tokens. Meanwhile the process has another environment.
    """
    import boto3
    from moto import mock_aws

    import_parameter_store()
    before = dict(os.environ)
    for name in DROPPED:
        os.environ.pop(name, None)
    os.environ.update(AWS_ENVIRONMENT)
    # moto's fake keys have no session token, and would replace ours.
    with mock_aws(config={"core": {"mock_credentials": False}}):
        put_parameters(boto3.client("ssm", region_name=REGION), prefix, secret, repositories, secure or {})
        try:
            yield
        finally:
            os.environ.clear()
            os.environ.update(before)


def put_parameters(
    client: Any, prefix: str, secret: str, repositories: Mapping[str, str], secure: Mapping[str, str]
) -> None:
    """Write the parameters that `embedded_parameters` describes; `client` is boto3's SSM client."""
    client.put_parameter(Name=f"{prefix}/webhook-secret", Value=secret, Type="SecureString")
    for forge in Forge:
        if forge is not Forge.GITHUB:
            client.put_parameter(Name=f"{prefix}/webhook-secrets/{forge}", Value=secret, Type="SecureString")
    for full_name, text in repositories.items():
        client.put_parameter(Name=f"{prefix}/repositories/{full_name}", Value=text, Type="String")
    for name, value in secure.items():
        path = name if name.startswith("/") else f"{prefix}/{name}"
        client.put_parameter(Name=path, Value=value, Type="SecureString")
