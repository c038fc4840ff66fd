"""Does the chores and is stopped at an operation: `python -m tests.crash.mender`; tells their "outcomes"."""

import os

from handler.model import Repository
from handler.mount.git.store_pool import StorePool
from handler.mount.maintenance.maintenance import Maintenance
from handler.settings import read_settings
from tests.crash.forks import answer


def _do_the_chores(_: object) -> dict[str, object]:
    caretaker = Maintenance(read_settings(os.environ), StorePool())
    tended = caretaker.maintain(Repository(full_name="octo/site", url="https://unused.example"))
    return {"outcomes": [[str(outcome.kind), outcome.reason] for outcome in tended.outcomes]}


if __name__ == "__main__":
    answer(_do_the_chores)
