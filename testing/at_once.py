"""Background work that is done before the caller goes on: a test knows that it is done, and can stop it anywhere."""

from collections.abc import Callable


class AtOnce:
    """In the place of `handler.network.background.Background`."""

    def submit(self, key: str, job: Callable[[], None]) -> None:
        """Do the job now."""
        job()

    def wait(self, seconds: float) -> bool:
        """There is never anything left to do."""
        return True

    def close(self) -> None:
        """There is nothing to close."""
