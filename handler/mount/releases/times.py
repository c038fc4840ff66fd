"""Keep times going forward where a release is used as it stands: give what readers saw otherwise since a new mtime.

A recycled release's plan has its touches in itself (`plan_touches`). Raises OSError for what the mount answers.
"""

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, suppress

from handler.errors import Git2EfsError
from handler.mount.fs.checkout import touch_only
from handler.mount.fs.directories import list_below
from handler.mount.fs.parallel import Workers
from handler.mount.fs.plan import TreePlan
from handler.mount.git.objects import Objects
from handler.mount.git.plan import plan_touches
from handler.mount.releases.inventory import Inventory

Borrow = Callable[[], AbstractContextManager[Objects]]
"""Lends the repository's objects for the length of a block."""


def renew(
    path: str, release: str, shown: Iterable[str], inventory: Inventory, borrow: Borrow, workers: Workers
) -> None:
    """Touch all in the tree of `release` at `path` in which one of the releases `shown` differs, and directories above.

    Not its root. Contents stay as they are, so that readers may be in it, and a kill does no harm.
    """
    with suppress(FileNotFoundError, NotADirectoryError):  # somebody removed it: no reader gets it any more
        try:
            with borrow() as objects:
                root_of, read = inventory.trees(objects, inventory.filtered(objects))
                plan = plan_touches(read, map(root_of, shown), root_of(release))
        except (Git2EfsError, OSError):
            # Objects are gone or damaged, which keeps no operator from going back. Then everything may differ.
            files, directories = list_below(path)
            plan = TreePlan(touched_files=files, touched_directories=directories)
        touch_only(path, plan, workers)
