"""What a run of one target has in its hands, under its repository's lock."""

from collections.abc import Callable
from dataclasses import dataclass

from handler.exchange.events import Emit
from handler.exchange.remote import Remote
from handler.exchange.trigger import Trigger
from handler.model import Repository, Target
from handler.mount.fs.executor import Executor
from handler.mount.target.directory import Published, TargetDirectory
from handler.mount.target.layout import RepositoryPaths
from handler.mount.target.registry import TargetRegistry
from handler.settings import Settings


@dataclass(frozen=True, slots=True)
class Run:
    """One target to bring up to date: what is asked, what stands there, and what it takes to do it.

    `is_slow` says that the mount makes every step wait; `progress` is told about a long check-out: what it is, and how
    many of how many files are written. `announce` takes an event, and says whether the bus took it; None where nobody
    is told. `begin` hears which commit is about to be published.
    """

    settings: Settings
    repository: Repository
    target: Target
    remote: Remote
    trigger: Trigger
    paths: RepositoryPaths
    directory: TargetDirectory
    published: Published
    executor: Executor
    is_slow: bool
    clock: Callable[[], float]
    sleep: Callable[[float], None]
    progress: Callable[[str, int, int], None]
    emit: Emit | None = None
    begin: Callable[[str], None] = lambda commit: None

    @property
    def registry(self) -> TargetRegistry:
        """Which targets the repository has on the mount."""
        return TargetRegistry.of(self.settings.mount, self.repository.full_name)

    def check_time(self) -> None:
        """Raise OutOfTime where the run has to have stopped by now."""
        self.trigger.deadline.check(f"{self.target.path} is not ready, and will be gone on with")
