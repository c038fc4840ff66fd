"""Secrets Manager on a loopback port."""

import base64
from typing import Any

from testing.aws import AwsService


class SecretsManager(AwsService):
    """`read` are the ARNs that were asked for, in order."""

    ENDPOINT_VARIABLE = "AWS_ENDPOINT_URL_SECRETS_MANAGER"

    def __init__(self) -> None:
        """Listen, with an empty store."""
        self.read: list[str] = []
        super().__init__()

    def put(self, name: str, value: str | bytes) -> str:
        """Write a secret, or its next version; return its ARN."""
        backend = self.backend("secretsmanager")
        text, raw = (value, None) if isinstance(value, str) else (None, base64.b64encode(value).decode())
        with self._lock:
            if backend.secrets.get(name) is None:
                backend.create_secret(
                    name=name,
                    secret_string=text,
                    secret_binary=raw,
                    description=None,
                    tags=None,
                    kms_key_id=None,
                    client_request_token=None,
                    replica_regions=[],
                    force_overwrite=False,
                )
            else:
                backend.put_secret_value(
                    secret_id=name,
                    secret_string=text,
                    secret_binary=raw,
                    client_request_token=None,
                    version_stages=["AWSCURRENT"],
                )
            return str(backend.secrets.get(name).arn)

    def delete(self, name: str) -> None:
        """Delete a secret at once."""
        with self._lock:
            self.backend("secretsmanager").delete_secret(
                name, recovery_window_in_days=None, force_delete_without_recovery=True
            )

    def _note(self, operation: str, asked: dict[str, Any]) -> None:
        assert operation == "GetSecretValue"
        self.read.append(asked["SecretId"])
