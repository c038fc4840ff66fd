"""Parameter Store on a loopback port."""

from collections import Counter
from datetime import timedelta
from typing import Any

from local.parameters import REGION
from testing.aws import AwsService


class ParameterStore(AwsService):
    """One store for a whole test session: tests keep apart by their prefixes.

    `calls` lists (operation, name or names) of every client's call, in order; its own methods do not count.
    """

    ENDPOINT_VARIABLE = "AWS_ENDPOINT_URL_SSM"

    def __init__(self) -> None:
        """Listen, with an empty store."""
        self.calls: list[tuple[str, str]] = []
        super().__init__()

    def environment(self) -> dict[str, str]:
        """Return the AWS variables that lead a client here."""
        return {
            **super().environment(),
            "AWS_ACCESS_KEY_ID": "testing",
            "AWS_SECRET_ACCESS_KEY": "testing",
            "AWS_SESSION_TOKEN": "testing",
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
        }

    def put(self, name: str, value: str, *, is_secure: bool = False) -> None:
        """Write a new version of a parameter."""
        kind = "SecureString" if is_secure else "String"
        with self._lock:
            self.backend("ssm").put_parameter(name, "", value, kind, "", "", True, [], "text", None, None)

    def delete(self, name: str) -> None:
        """Delete a parameter with its history."""
        with self._lock:
            self.backend("ssm").delete_parameter(name)

    def age(self, name: str, seconds: float) -> None:
        """Make every version of a parameter that many seconds older (moto's own clock cannot be set)."""
        with self._lock:
            for version in self.backend("ssm")._parameters[name]:
                version.last_modified_date -= timedelta(seconds=seconds)

    def reset(self) -> None:
        """Forget faults and calls; the parameters stay."""
        self.forget_faults()
        with self._lock:
            self.calls.clear()
            self.is_down = False

    def counts(self) -> Counter[str]:
        """How many calls of each operation there were."""
        with self._lock:
            return Counter(operation for operation, _ in self.calls)

    def _note(self, operation: str, asked: dict[str, Any]) -> None:
        self.calls.append((operation, asked.get("Name") or asked.get("Path") or ",".join(asked.get("Names", []))))
