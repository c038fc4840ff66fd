"""The mount side of a `Service` in a process of its own, without a network, where GIT2EFS_TEST_TRANSPORT=process."""

import os
from collections.abc import Mapping

from local.lambda_api import PUBLISHER_NAME, FunctionFailed, lambda_server
from local.mount_process import MountProcess, mount_environment
from testing.fake_lambda import VARIABLE


def is_isolated() -> bool:
    """Return whether services publish through a function, as `Publisher=isolated` does, and not in process."""
    return os.environ.get(VARIABLE) == "process"


class PublisherProcess:
    """The mount side behind Lambda's API; its process is started when it is invoked."""

    def __init__(self) -> None:
        """Listen. The first invocation wants an environment before: see `redeploy`."""
        self._process: MountProcess | None = None
        self._server = lambda_server(self._invoke)
        self._server.start()

    @property
    def variables(self) -> dict[str, str]:
        """What leads a driver to it."""
        return {"GIT2EFS_PUBLISHER": PUBLISHER_NAME, "AWS_ENDPOINT_URL_LAMBDA": self._server.url}

    def redeploy(self, environment: Mapping[str, str]) -> None:
        """Forget all that is in memory; the next invocation finds what is the mount side's of an environment."""
        before, self._process = self._process, MountProcess(mount_environment(environment))
        if before is not None:
            before.close()

    def stop(self) -> None:
        """Stop listening, and end its process."""
        self._server.stop(5.0)
        if self._process is not None:
            self._process.close()

    def _invoke(self, payload: bytes) -> bytes:
        if self._process is None:
            raise FunctionFailed("there is no environment yet")
        return self._process.invoke(payload)
