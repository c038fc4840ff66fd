"""One AWS account and region, or an emulator in its place: boto3's clients, and which operations were called."""

from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import boto3
from botocore.config import Config

CONFIG = Config(
    connect_timeout=5,
    # Lambda's longest run: an operator's command is waited for.
    read_timeout=910,
    # A second invocation of a rollback would go back a second time; the others are asked again by the steps.
    retries={"mode": "standard", "total_max_attempts": 4},
    max_pool_connections=32,
)
INVOKING = CONFIG.merge(Config(retries={"total_max_attempts": 1}))


@dataclass
class Account:
    """Clients by service. `endpoint` is an emulator's; None means AWS.

    Raises botocore's ProfileNotFound and NoRegionError.
    """

    profile: str | None = None
    region: str | None = None
    endpoint: str | None = None
    operations: set[str] = field(default_factory=set)
    """Those that were called, as `lambda:Invoke`: the service as boto3 names it, and the API's operation."""

    def __post_init__(self) -> None:
        self._session = boto3.Session(profile_name=self.profile, region_name=self.region)
        self._clients: dict[str, Any] = {}
        # boto3 makes a client only for a region.
        self.region = self.client("cloudformation").meta.region_name

    @property
    def is_emulator(self) -> bool:
        """Whether this is no account of AWS's."""
        return self.endpoint is not None

    def client(self, service: str) -> Any:
        """Return the client of a service; the same one each time. Clients are safe for threads."""
        if service not in self._clients:
            config = INVOKING if service == "lambda" else CONFIG
            client = self._session.client(service, endpoint_url=self.endpoint, config=config)
            client.meta.events.register("before-call.*", self._note)
            self._clients[service] = client
        return self._clients[service]

    def _note(self, model: Any, **_: object) -> None:
        self.operations.add(f"{model.service_model.service_name}:{model.name}")

    def caller(self) -> str:
        """Return the caller's ARN. Raises botocore's errors: no credentials, expired ones."""
        return str(self.client("sts").get_caller_identity()["Arn"])

    def reach(self, url: str) -> str:
        """Return the address at which an HTTP API answers; an emulator has it below its own."""
        if self.endpoint is None:
            return url
        parts = urlsplit(url)
        api = (parts.hostname or "").partition(".")[0]
        return f"{self.endpoint}/_aws/execute-api/{api}/$default{parts.path}"
