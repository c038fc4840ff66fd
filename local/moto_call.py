"""One AWS call of the JSON protocol, answered by moto in this process: Parameter Store, SQS, EventBridge.

moto keeps its state for as long as the process lives. It is not safe between threads: its queues are lists, and a
message that one thread sends while another deletes would be lost. Callers hold a lock.
"""

import re
from collections.abc import Mapping

from local.parameters import REGION, import_parameter_store

_HOSTS: Mapping[str, str] = {
    "AmazonSSM": "ssm",
    "AmazonSQS": "sqs",
    "AWSEvents": "events",
    "secretsmanager": "secretsmanager",
}
"""By the first part of X-Amz-Target."""
_SCOPE = re.compile(r"(Credential=[^/]+/\d{8})/[^/]+/")


def operation_of(headers: Mapping[str, str]) -> tuple[str, str]:
    """Return the service and the operation that a call's X-Amz-Target names; both empty where there is none."""
    target = next((value for name, value in headers.items() if name.lower() == "x-amz-target"), "")
    service, _, operation = target.partition(".")
    return service, operation


def call_moto(headers: Mapping[str, str], body: bytes) -> tuple[int, bytes]:
    """Return moto's status and content for one call. Raises KeyError for a service that is not listed here."""
    from botocore.awsrequest import AWSPreparedRequest
    from botocore.compat import HTTPHeaders
    from moto.core.botocore_stubber import BotocoreStubber

    import_parameter_store()
    service, _ = operation_of(headers)
    url = f"https://{_HOSTS[service]}.{REGION}.amazonaws.com/"
    sent = HTTPHeaders()
    for name, value in headers.items():
        # moto keeps a store for each region and takes the region from the signature: whatever region the caller's
        # profile names, there is to be one store.
        if name.lower() == "authorization":
            sent[name] = _SCOPE.sub(rf"\1/{REGION}/", value)
        elif name.lower() != "host":
            sent[name] = value
    answered = BotocoreStubber().process_request(AWSPreparedRequest("POST", url, sent, body, False))
    assert answered is not None, "moto does not know the address of its own service"
    status, _, content = answered
    return status, content.encode() if isinstance(content, str) else content
