"""Which of several tags names the newest version. Pure: no I/O, no clock.

A version is numbers with dots between them (`1.2.3`, `2024.05.01`, `7`), then perhaps `-` and a pre-release, then
perhaps `+` and build metadata, as semver.org writes them; any number of numbers is taken, and leading zeros, since
dates have them. What stands before it in a tag's name (`v`, `release-`) is the fixed part of the pattern. Anything
else (`nightly`, `1.0rc1`, `1..2`) is no version, and never the newest.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from handler.config.names import starred

_VERSION = re.compile(r"([0-9]+(?:\.[0-9]+)*)(?:-([0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*))?(?:\+[0-9A-Za-z.-]+)?")

Identifier = tuple[int, int, str]


@dataclass(frozen=True, slots=True, order=True)
class Version:
    """Ordered as its fields are, so that no two spellings are the same version."""

    numbers: tuple[int, ...]
    """Without zeros at the end: 1.2 and 1.2.0 are the same point in the order."""
    is_release: bool
    prerelease: tuple[Identifier, ...]
    """Numbers before words, numbers by value, words by ASCII; of two, the one that goes on is later."""
    spelling: tuple[int, str]
    """How many numbers, then the text: settles what is equal by rule (1.2 and 1.2.0, 1.0+a and 1.0+b)."""


def read_version(text: str) -> Version | None:
    """Return the version that `text` is, None when it is none."""
    match = _VERSION.fullmatch(text)
    if match is None:
        return None
    parts = [int(part) for part in match[1].split(".")]
    numbers = list(parts)
    while numbers and numbers[-1] == 0:
        numbers.pop()
    identifiers = match[2].split(".") if match[2] else []
    return Version(
        numbers=tuple(numbers),
        is_release=not identifiers,
        prerelease=tuple(map(_identifier, identifiers)),
        spelling=(len(parts), text),
    )


def _identifier(text: str) -> Identifier:
    return (0, int(text), "") if text.isdigit() else (1, 0, text)


def version_of(name: str, pattern: str, *, prereleases: bool = False) -> Version | None:
    """Return the version that the ref `name` names under `pattern`.

    None where the pattern does not match, what `*` stands for is no version, or it is a pre-release and
    `prereleases` does not ask for those.
    """
    text = starred(pattern, name)
    version = None if text is None else read_version(text)
    return version if version is not None and (version.is_release or prereleases) else None


def newest(names: Iterable[str], pattern: str, *, prereleases: bool = False) -> str | None:
    """Return the ref among `names` whose version under `pattern` is the newest, None where there is no version.

    The answer hangs on which names there are, not on their order.
    """
    found = ((version_of(name, pattern, prereleases=prereleases), name) for name in names)
    versions = [(version, name) for version, name in found if version is not None]
    return max(versions)[1] if versions else None
