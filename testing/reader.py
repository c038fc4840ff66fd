"""A consumer that reads the published tree over and over: `python -m testing.reader <target> <grace seconds>`.

It keeps to the contract: it resolves `current` once, and reads what it found there within the grace. Ends with its
standard input, and then tells on standard output what it saw.
"""

import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

from testing.process import PROJECT
from testing.repositories import Tree, snapshot

FILE, EXECUTABLE, LINK = 0o100644, 0o100755, 0o120000


def tree_of(number: int) -> Tree:
    """Return the tree of push `number`: every file tells the number, so that no two pushes can be mixed unseen.

    From push to push files come and go, and turn into directories and links.
    """
    content = b"%d\n" % number
    paths = [b"number", b"deep/er/still/number", b"only-%d" % (number % 5), *(b"many/%d" % each for each in range(6))]
    tree: Tree = dict.fromkeys(paths, (FILE, content))
    turning: Sequence[Tree] = (
        {b"turn": (FILE, content)},
        {b"turn/to/directory": (EXECUTABLE, content), b"turn/link": (LINK, b"to/directory")},
        {b"turn": (LINK, b"many/%d" % (number % 6))},
    )
    return tree | turning[number % 3]


@dataclass(slots=True)
class Sightings:
    """What a reader saw: how often a whole tree, how often it was too slow to be under the contract, and what else."""

    whole: int = 0
    late: int = 0
    numbers: list[int] = field(default_factory=list)
    torn: list[str] = field(default_factory=list)


@contextmanager
def reading(target: Path, grace_seconds: float) -> Iterator[Sightings]:
    """Read in a process of its own while the block runs; the sightings are filled in at its end."""
    command = [sys.executable, "-m", "testing.reader", os.fspath(target), str(grace_seconds)]
    process = subprocess.Popen(command, cwd=PROJECT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    sightings = Sightings()
    try:
        yield sightings
    finally:
        output, _ = process.communicate(timeout=30)
        for name, value in json.loads(output or "{}").items():
            setattr(sightings, name, value)


def read_once(
    target: Path, grace_seconds: float, sightings: Sightings, clock: Callable[[], float] = time.monotonic
) -> None:
    """Do one unit of work, and note what was seen."""
    started = clock()
    problem, number = None, 0
    try:
        commit = os.path.basename(os.readlink(target / "current"))
        tree = snapshot(target / "releases" / commit)
        number = int(tree[b"number"][1])
        if tree != tree_of(number):
            wanted = tree_of(number)
            differing = sorted(path for path in {**tree, **wanted} if tree.get(path) != wanted.get(path))
            problem = f"{commit} is a mix with {number}: {differing[:5]}"
    except (OSError, KeyError, ValueError) as error:
        problem = f"{type(error).__name__}: {error}"
    # The replaced release's clock may say up to a second more than has passed since the link was read.
    if clock() - started > grace_seconds * 0.9:
        sightings.late += 1
    elif problem:
        sightings.torn.append(problem)
    else:
        sightings.whole += 1
        if sightings.numbers[-1:] != [number]:
            sightings.numbers.append(number)


def main() -> None:
    """Read until standard input ends."""
    target, grace_seconds, sightings = Path(sys.argv[1]), float(sys.argv[2]), Sightings()
    while not (target / "current").is_symlink():
        time.sleep(0.001)
    while not select.select([sys.stdin], [], [], 0)[0]:
        read_once(target, grace_seconds, sightings)
    json.dump(asdict(sightings), sys.stdout)


if __name__ == "__main__":
    main()
