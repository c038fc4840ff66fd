"""Read a copy's config, as far as a pull needs it. Included files are not read: they may be any file at all."""

import re
from dataclasses import dataclass

from handler.config.names import branch_of
from handler.errors import CopyUnusable
from handler.mount.working_copy.gitdir.config_file import Key, parse_config
from handler.mount.working_copy.gitdir.names import decode_name, encode_name

_TRUE, _FALSE = (b"true", b"yes", b"on"), (b"false", b"no", b"off", b"")
_NUMBER = re.compile(rb"[+-]?[0-9]{1,12}[kKmMgG]?")
_NOT_IN_IDENTITY = re.compile(rb"[\x00-\x1f<>]")
_CRUD = b" .,:;<>\"\\'"
"""The characters that git strips from both ends of a name or an address."""
_KNOWN_EXTENSIONS = {b"noop": None, b"objectformat": b"sha1", b"refstorage": b"files"}


@dataclass(frozen=True, slots=True)
class Config:
    """The variables of a config file, the values of each in the file's order."""

    entries: dict[Key, list[bytes]]

    @staticmethod
    def parse(content: bytes) -> "Config":
        """Parse a config file. Raises CopyUnusable if git would refuse it."""
        entries: dict[Key, list[bytes]] = {}
        try:
            for key, value in parse_config(content):
                entries.setdefault(key, []).append(value)
        except ValueError as error:
            raise CopyUnusable(f".git/config cannot be read: {error}") from None
        return Config(entries)

    def values(self, section: str, subsection: str, name: str) -> list[str]:
        """Return all values of a variable in a subsection."""
        found = self.entries.get((section.encode(), encode_name(subsection), name.encode()), [])
        return [decode_name(value) for value in found]

    def text(self, section: str, subsection: str, name: str) -> str | None:
        """Return the last value of a variable in a subsection; None if it is not set."""
        return next(reversed(self.values(section, subsection, name)), None)

    def last(self, section: str, name: str) -> bytes | None:
        """Return the last value of a variable in a section; None if it is not set."""
        return next(reversed(self.entries.get((section.encode(), b"", name.encode()), [])), None)

    def flag(self, section: str, name: str, *, default: bool) -> bool:
        """Return a variable as git reads a boolean. Raises CopyUnusable if it is none."""
        value = self.last(section, name)
        return default if value is None else _is_true(value, f"{section}.{name}")

    def number(self, section: str, name: str, *, default: int) -> int:
        """Return a variable as a number. Raises CopyUnusable if it is none."""
        value = self.last(section, name)
        if value is None:
            return default
        if not re.fullmatch(rb"[0-9]{1,9}", value):
            raise CopyUnusable(f"its config has no number for {section}.{name}")
        return int(value)

    def committer(self) -> bytes | None:
        """Return `Name <mail>` if the copy sets both and git could use them, else None."""
        parts = []
        for name in ("name", "email"):
            value = self.last("committer", name) or self.last("user", name) or b""
            if _NOT_IN_IDENTITY.search(value) or not value.strip(_CRUD):
                return None
            parts.append(value.strip(_CRUD))
        return b"%s <%s>" % (parts[0], parts[1])

    def remotes(self) -> list[str]:
        """Return the names of the remotes that have a url."""
        keys = [key for key in self.entries if key[0] == b"remote" and key[2] == b"url" and key[1]]
        return [decode_name(key[1]) for key in keys]

    def url(self, remote: str) -> str | None:
        """Return the url from which a remote is fetched: the first one. Only pushes go to all."""
        return next(iter(self.values("remote", remote, "url")), None)

    def is_partial(self) -> bool:
        """Whether it is a partial clone: git fetches the missing objects when it needs them."""
        if (b"extensions", b"", b"partialclone") in self.entries:
            return True
        settings = [(key[2], values[-1]) for key, values in self.entries.items() if key[0] == b"remote"]
        return any(
            name == b"partialclonefilter" or (name == b"promisor" and _is_true(value, "remote.<name>.promisor"))
            for name, value in settings
        )

    def unknown_extension(self) -> str | None:
        """Return the name of a repository extension that git2efs does not know; None if there is none."""
        for (section, _, name), values in self.entries.items():
            is_known = name in _KNOWN_EXTENSIONS and _KNOWN_EXTENSIONS[name] in (None, values[-1])
            if section == b"extensions" and not is_known:
                return f"extensions.{name[:50].decode('ascii', 'replace')}"
        return None


def default_tracking_ref(remote: str, branch_ref: str) -> str:
    """Return the remote-tracking ref of a remote's branch, as `git clone` names it."""
    return f"refs/remotes/{remote}/{branch_of(branch_ref)}"


def tracking_ref(refspecs: list[str], branch_ref: str) -> str | None:
    """Return the remote-tracking ref of a branch by a remote's `fetch` refspecs; None if none of them covers it."""
    for refspec in refspecs:
        source, colon, target = refspec.removeprefix("+").partition(":")
        if refspec.startswith("^") or not colon or not source or not target:
            continue
        matched = _match_pattern(_full_ref(source), branch_ref)
        if matched is not None and source.count("*") == target.count("*") <= 1:
            return _full_ref(target).replace("*", matched)
    return None


def _match_pattern(pattern: str, ref: str) -> str | None:
    """Return what `*` stands for; empty for a pattern without one that equals the ref; None if it does not match."""
    before, star, after = pattern.partition("*")
    if not star:
        return "" if pattern == ref else None
    is_long = len(ref) >= len(before) + len(after)
    return (
        ref[len(before) : len(ref) - len(after)] if is_long and ref.startswith(before) and ref.endswith(after) else None
    )


def _full_ref(name: str) -> str:
    return name if name.startswith("refs/") else f"refs/heads/{name}"


def _is_true(value: bytes, what: str) -> bool:
    text = value.strip().lower()
    if text in _TRUE:
        return True
    if text in _FALSE:
        return False
    if not _NUMBER.fullmatch(text):
        raise CopyUnusable(f"its config says neither yes nor no for {what}")
    return int(text.rstrip(b"kmg")) != 0
