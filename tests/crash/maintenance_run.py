"""Maintain a repository, stopped at an operation: `python -m tests.crash.maintenance_run` answers with "outcomes"."""

import os

from handler.model import Repository
from handler.mount.git.mirror import StorePool
from handler.mount.maintenance.maintenance import Maintenance
from handler.settings import read_settings
from tests.crash.forks import answer


def _maintain(_: object) -> dict[str, object]:
    maintenance = Maintenance(read_settings(os.environ), StorePool())
    result = maintenance.maintain(Repository(full_name="octo/site", url="https://unused.example"))
    return {"outcomes": [[str(outcome.kind), outcome.reason] for outcome in result.outcomes]}


if __name__ == "__main__":
    answer(_maintain)
