"""How many random examples a differential test takes, and the same ones every time."""

import os
import random

from testing import selection


def examples(few: int) -> int:
    """Return `few` with `--all`, else a third, or what GIT2EFS_TEST_EXAMPLES says."""
    return int(os.environ.get("GIT2EFS_TEST_EXAMPLES", selection.count(few, few // 3)))


def chance(name: str) -> random.Random:
    """Return the random source of one test: GIT2EFS_TEST_SEED changes it."""
    return random.Random(name + os.environ.get("GIT2EFS_TEST_SEED", ""))
