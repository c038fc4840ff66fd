"""A deployed stack as its operator reaches it: what CloudFormation says of it, and its parameters."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from handler.errors import ConfigurationInvalid
from handler.network.aws.client import AwsError
from handler.network.aws.ssm import ParameterNotFound, make_ssm_client, make_writer, read_version, write_parameter
from handler.network.operations.aws import ask, failure


@dataclass(frozen=True, slots=True, kw_only=True)
class StackAddress:
    """Where a stack is reached. What it does not have, or nobody knows, is empty."""

    prefix: str
    """The beginning of its parameters' names."""
    webhook_url: str = ""
    operate_function: str = ""
    kms_key: str = ""
    """The key of its SecureStrings; empty is the account's own."""


class ParameterEditor(Protocol):
    """Reads and writes one stack's parameters."""

    def read(self, name: str) -> str | None:
        """Return a parameter's value, decrypted; None where it is not there. Raises Git2EfsError, AccessDenied."""
        ...

    def write(self, name: str, value: str, *, is_secure: bool) -> None:
        """Write a parameter, or its next version. Raises as `read`."""
        ...


class StackParameters:
    """Parameter Store. `kms_key` encrypts what is secure; empty: the account's own key."""

    def __init__(self, kms_key: str = "") -> None:
        self._kms_key = kms_key

    def read(self, name: str) -> str | None:
        """See `ParameterEditor.read`."""
        try:
            return read_version(make_ssm_client(), name).value
        except ParameterNotFound:
            return None

    def write(self, name: str, value: str, *, is_secure: bool) -> None:
        """See `ParameterEditor.write`."""
        write_parameter(make_writer(), name, value, kms_key=self._kms_key if is_secure else None)


def find_stack(name: str) -> StackAddress:
    """Return the address of the deployed stack of that name.

    Raises AccessDenied, ConfigurationInvalid (no such stack, no credentials or region, or it is none of git2efs),
    QueueUnavailable where AWS does not answer.
    """
    try:
        (found,) = ask("cloudformation", "describe_stacks", StackName=name)["Stacks"]
    except AwsError as error:
        if error.is_answer and error.code == "ValidationError":
            raise ConfigurationInvalid(
                f"there is no stack {name} in this account and region: deploy it, or name another one "
                "(--stack, --region, --profile)"
            ) from None
        raise failure(error, "CloudFormation") from None
    outputs = _pairs(found.get("Outputs", ()), "OutputKey", "OutputValue")
    parameters = _pairs(found.get("Parameters", ()), "ParameterKey", "ParameterValue")
    if "OperateFunctionName" not in outputs or "ParameterRoot" not in parameters:
        raise ConfigurationInvalid(f"the stack {name} is none of git2efs, or its deployment is not done")
    return StackAddress(
        prefix=f"{parameters['ParameterRoot']}/{name}",
        webhook_url=outputs.get("WebhookUrl", ""),
        operate_function=outputs["OperateFunctionName"],
        kms_key=parameters.get("KmsKeyArn", ""),
    )


def _pairs(entries: Any, key: str, value: str) -> Mapping[str, str]:
    return {str(each[key]): str(each[value]) for each in entries if key in each and value in each}
