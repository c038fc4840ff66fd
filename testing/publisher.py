"""The mount side of a `Service` in a process of its own, without a network, where GIT2EFS_TEST_TRANSPORT=process."""

import os
from collections.abc import Mapping

from local.lambda_api import LambdaFunction, api_server, publisher_environment

VARIABLE = "GIT2EFS_TEST_TRANSPORT"


def is_isolated() -> bool:
    """Return whether services publish through a function, as `Publisher=isolated` does, and not in process."""
    return os.environ.get(VARIABLE) == "process"


class PublisherProcess:
    """A function behind Lambda's API, which starts its processes when it is invoked."""

    def __init__(self) -> None:
        """Listen. The first invocation wants an environment before: see `redeploy`."""
        self.function = LambdaFunction({})
        self._server = api_server(self.function)
        self._server.start()

    @property
    def variables(self) -> dict[str, str]:
        """What leads a driver to it."""
        return {"GIT2EFS_PUBLISHER": self.function.name, "AWS_ENDPOINT_URL_LAMBDA": self._server.url}

    def redeploy(self, environment: Mapping[str, str]) -> None:
        """Forget all that is in memory; the next invocation finds what is the mount side's of an environment."""
        self.function.redeploy(publisher_environment(environment))

    def stop(self) -> None:
        """Stop listening, and end its processes."""
        self._server.stop(5.0)
        self.function.stop()
