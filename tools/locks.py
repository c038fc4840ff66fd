"""Write the lock files from pyproject.toml, and read them: `make lock`.

A lock file is a requirements file. It names every package of one environment, transitive ones too, each with one
version and the hashes of all files that the registry serves for it, for every platform. uv resolves; only pip
installs. A pin stays as it is unless pyproject.toml excludes it, or `--upgrade` asks for newer versions.
"""

import os
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
OLDEST_PYTHON = "3.11"
"""The oldest version that pyproject.toml allows."""
LAMBDA_PYTHON = "3.13"
"""The template's runtime."""

LOCK_VARIABLE = "GIT2EFS_LOCK"
"""The environment variable by which `make build` says which of them the artefact holds."""

_PIN = re.compile(r"([A-Za-z0-9._-]+)(?:\[([A-Za-z0-9._, -]+)\])?==([A-Za-z0-9.+!]+)(?: ; (.+))?")
_HASH = re.compile(r"--hash=(sha256:[0-9a-f]{64})")
_COMMENT = re.compile(r"#\s*(?:via\b\s*|-c .*)?(.*)")
"""uv's annotation: who asks for the pin above it. A constraint does not ask."""


@dataclass(frozen=True, kw_only=True)
class Lock:
    """One lock file: which part of pyproject.toml it pins, for which Pythons, and beside which other lock files."""

    path: str
    group: str | None
    """The dependency group; None if it has none."""
    has_project: bool = False
    """Whether it has the project's own dependencies."""
    python: str = LAMBDA_PYTHON
    """The oldest Python that installs it."""
    is_universal: bool = True
    """Whether it is for every platform, by markers; otherwise only for Lambda's."""
    beside: tuple[str, ...] = ()
    """Lock files whose versions it has to share, since they are installed into one environment."""


LOCKS = (
    Lock(path="requirements.txt", group=None, has_project=True, is_universal=False),
    Lock(path="locks/ssh.txt", group="ssh", has_project=True, is_universal=False, beside=("requirements.txt",)),
    Lock(path="locks/dev.txt", group="dev", has_project=True, python=OLDEST_PYTHON, beside=("requirements.txt",)),
    Lock(path="locks/bench.txt", group="bench", python=OLDEST_PYTHON, beside=("locks/dev.txt",)),
    Lock(path="locks/lock.txt", group="lock", python=OLDEST_PYTHON, beside=("locks/dev.txt",)),
    Lock(path="locks/fuzz.txt", group="fuzz", has_project=True, is_universal=False, beside=("requirements.txt",)),
    Lock(path="locks/emulator.txt", group="emulator"),
    Lock(path="locks/sam.txt", group="sam"),
    Lock(path="locks/runtime-client.txt", group="runtime-client"),
)
"""In the order in which they are written: each after the ones in its `beside`."""


@dataclass(frozen=True, kw_only=True)
class Pin:
    """One package of a lock file."""

    name: str
    """Normalized: lower case, with hyphens."""
    extras: frozenset[str]
    version: str
    marker: str
    """The environments that it is for, in the form of PEP 508; empty for all."""
    hashes: tuple[str, ...]
    """Each is `sha256:` and 64 hexadecimal digits."""
    via: tuple[str, ...] = ()
    """Who asks for it: a package's name, `git2efs (pyproject.toml)`, or `git2efs (pyproject.toml:<group>)`."""


def artefact_lock() -> Path:
    """Return the lock file of what the artefact holds: requirements.txt, or of `make build SSH=1` locks/ssh.txt."""
    return PROJECT / os.environ.get(LOCK_VARIABLE, "requirements.txt")


def normalize(name: str) -> str:
    """Return a package's name as registries compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def read_lock(text: str) -> list[Pin]:
    """Return the pins of a lock file.

    Raises ValueError for any other line: a range, an option, another file, an address.
    """
    pins: list[Pin] = []
    for line in map(str.strip, text.replace("\\\n", "").splitlines()):
        comment = _COMMENT.fullmatch(line)
        if comment is None and line:
            pins.append(_read_pin(line))
        elif comment and comment[1] and pins:
            pins[-1] = replace(pins[-1], via=(*pins[-1].via, comment[1]))
    return pins


def _read_pin(line: str) -> Pin:
    written, *hashes = re.split(r"\s+(?=--)", line)
    pin = _PIN.fullmatch(written)
    if pin is None:
        raise ValueError(f"not pinned exactly: {written}")
    if not hashes or not all(_HASH.fullmatch(each) for each in hashes):
        raise ValueError(f"not hashed: {written}")
    return Pin(
        name=normalize(pin[1]),
        extras=frozenset(normalize(extra.strip()) for extra in (pin[2] or "").split(",") if extra),
        version=pin[3],
        marker=pin[4] or "",
        hashes=tuple(each.removeprefix("--hash=") for each in hashes),
    )


def header_of(lock: Lock) -> str:
    """Return the comment at the beginning of a lock file."""
    parts = ["the project's dependencies"] if lock.has_project else []
    parts += [f"the group `{lock.group}`"] if lock.group else []
    return f"# Written by `make lock` from pyproject.toml: {' and '.join(parts)}. Change that, not this.\n"


def arguments_of(lock: Lock) -> list[str]:
    """Return uv's arguments to write a lock file.

    Nothing builds a source distribution, neither here nor where pip installs: that would run code that no hash covers.
    """
    return [
        *("pip", "compile", "--quiet", "--generate-hashes", "--no-strip-extras", "--no-header", "--no-build"),
        *("--no-python-downloads", "--no-emit-index-url", "--no-emit-find-links"),
        *("--python-version", lock.python),
        *(["--universal"] if lock.is_universal else ["--python-platform", "linux"]),
        *(["pyproject.toml"] if lock.has_project else []),
        *(["--group", lock.group] if lock.group else []),
        *(argument for path in lock.beside for argument in ("--constraints", path)),
        *("--output-file", lock.path),
    ]


def main(arguments: Sequence[str]) -> int:
    """Write every lock file; `arguments` go to uv: `--upgrade`, `--upgrade-package NAME`. Return the exit status."""
    (PROJECT / "locks").mkdir(exist_ok=True)
    for lock in LOCKS:
        status = subprocess.run(
            [Path(sys.executable).with_name("uv"), *arguments_of(lock), *arguments], cwd=PROJECT, check=False
        ).returncode
        if status:
            return status
        path = PROJECT / lock.path
        text = header_of(lock) + path.read_text(encoding="utf-8")
        pins = read_lock(text)
        path.write_text(text, encoding="utf-8")
        print(f"{lock.path}: {len(pins)} packages, {sum(len(pin.hashes) for pin in pins)} hashes")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
