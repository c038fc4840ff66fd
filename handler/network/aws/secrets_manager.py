"""Secrets Manager's one call that we use, its failures translated into ours.

A secret is named by its ARN, whose last part is its name, a hyphen and six characters of AWS's. Source: Secrets
Manager's docs ("GetSecretValue", "What's in a secret").
"""

from collections.abc import Mapping
from typing import Any, Protocol, cast

from handler.errors import ConfigurationInvalid, ParametersUnavailable, SecretUnusable
from handler.network.aws.client import AwsError, ClientOptions, call, make_client
from handler.network.aws.ssm import StoredVersion

OPTIONS = ClientOptions(attempts=2)
"""As for Parameter Store: GitHub waits 10 s for the whole answer."""
NOT_FOUND = "ResourceNotFoundException"


class SecretsManagerClient(Protocol):
    """The part of boto3's Secrets Manager client that we use."""

    def get_secret_value(self, *, SecretId: str) -> Mapping[str, Any]: ...


def make_secrets_client() -> SecretsManagerClient:
    """Return a client with short timeouts. Raises ConfigurationInvalid where the environment makes none."""
    try:
        return cast(SecretsManagerClient, make_client("secretsmanager", OPTIONS))
    except AwsError as error:
        raise ConfigurationInvalid(f"no client for Secrets Manager: {error.code}") from error


def read_secret(client: SecretsManagerClient, arn: str) -> StoredVersion:
    """Return the secret's current version (AWSCURRENT), decrypted; its number is 0.

    Raises SecretUnusable (missing, blank, or bytes instead of text), ParametersUnavailable, ConfigurationInvalid (all
    else: access denied, marked for deletion, another region's).
    """
    try:
        answer = call(client.get_secret_value, SecretId=arn)
    except AwsError as error:
        if error.code == NOT_FOUND:
            raise SecretUnusable(f"secret {arn} is not there, or has no value") from error
        kind = ParametersUnavailable if error.is_transient else ConfigurationInvalid
        raise kind(f"secret {arn}: {error.code}") from error
    value = answer.get("SecretString")
    if not isinstance(value, str) or not value.strip():
        raise SecretUnusable(f"secret {arn} is blank, or bytes instead of text")
    return StoredVersion(number=0, value=value, modified_at=0.0, is_secure=True)
