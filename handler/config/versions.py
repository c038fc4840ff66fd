"""Which of several tags names the newest version. Pure: no I/O, no clock.

A version is numbers with dots between them (`1.2.3`, `2024.05.01`, `7`), then perhaps `-` and a pre-release, then
perhaps `+` and build metadata, as semver.org defines them. Unlike semver, it may have any number of numbers, and
leading zeros, since dates have them. A prefix in the tag's name (`v`, `release-`) is the fixed part of the pattern.
Anything else (`nightly`, `1.0rc1`, `1..2`) is not a version, and never the newest.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from handler.config.names import starred

_VERSION = re.compile(r"([0-9]+(?:\.[0-9]+)*)(?:-([0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*))?(?:\+[0-9A-Za-z.-]+)?")

Identifier = tuple[int, int, str]


@dataclass(frozen=True, slots=True, order=True)
class Version:
    """A version, ordered by its fields; two spellings are never equal."""

    numbers: tuple[int, ...]
    """Without zeros at the end: 1.2 and 1.2.0 compare equal here."""
    is_release: bool
    prerelease: tuple[Identifier, ...]
    """Numbers come before words, numbers by value, words in ASCII order; a longer list comes after its own prefix."""
    spelling: tuple[int, str]
    """How many numbers, then the text: orders what is equal by semver's rules (1.2 and 1.2.0, 1.0+a and 1.0+b)."""


def read_version(text: str) -> Version | None:
    """Return the version that `text` spells, None when it spells none."""
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
    """Return the version that `*` of `pattern` matches in the ref `name`.

    Return None where the pattern does not match, the match is not a version, or it is a pre-release and `prereleases`
    is false.
    """
    text = starred(pattern, name)
    version = None if text is None else read_version(text)
    return version if version is not None and (version.is_release or prereleases) else None


def newest(names: Iterable[str], pattern: str, *, prereleases: bool = False) -> str | None:
    """Return the ref among `names` whose version under `pattern` is the newest, None where there is no version.

    The result does not depend on the order of the names.
    """
    found = ((version_of(name, pattern, prereleases=prereleases), name) for name in names)
    versions = [(version, name) for version, name in found if version is not None]
    return max(versions)[1] if versions else None
