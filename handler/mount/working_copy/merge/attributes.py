"""Read `.gitattributes`, to find the files that must not be merged line by line. Pure: an argument reads the files."""

import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

Value = bool | bytes | None
"""Set, unset, or a value. None is `!name`: unspecified."""
_BUILT_IN: dict[bytes, list[tuple[bytes, Value]]] = {b"binary": [(b"diff", False), (b"merge", False), (b"text", False)]}
_MACRO = b"[attr]"
_ESCAPES = {b"n": b"\n", b"t": b"\t", b"r": b"\r", b"a": b"\a", b"b": b"\b", b"f": b"\f", b"v": b"\v"}
_TOKEN = re.compile(rb"\\(?P<escaped>.)|(?P<deep>(?:(?<=/)|^)\*\*(?:/|$))|(?P<star>\*+)|(?P<any>\?)"
                    rb"|\[(?P<not>[!^]?)(?P<set>\]?(?:\[:[a-z]+:\]|\\.|[^\]])*)\]|(?P<plain>.)", re.DOTALL)  # fmt: skip
_RANGE = re.compile(rb"\[:[a-z]+:\]|(?:\\?(.))-(?:\\?([^\]]))|\\?(.)", re.DOTALL)


class _Rule(NamedTuple):
    pattern: list[re.Match[bytes]]
    is_for_names: bool
    values: list[tuple[bytes, Value]]


class Attributes:
    """The attribute files of one tree. Each is read when the first path below it is asked for."""

    def __init__(self, read: Callable[[bytes], bytes | None]) -> None:
        """`read(path)` returns the content of the regular file at a path; None if there is none."""
        self._read = read
        self._rules: dict[bytes, list[_Rule]] = {}
        self._macros: dict[bytes, list[tuple[bytes, Value]]] = dict(_BUILT_IN)

    def is_merged_by_lines(self, path: bytes) -> bool:
        """Whether git merges this file line by line: `merge` is set, unspecified, or `text`.

        Not so with `-merge`, `binary` or another driver's name: only the user's configuration says whether that driver
        is installed, and `union` is not implemented. The configuration's attributes and `info/attributes` are not read.
        """
        found: dict[bytes, Value] = {}
        parts = path.split(b"/")
        # The deepest file wins, in it the last line, and on that line the last word.
        directories = [b"".join(part + b"/" for part in parts[:depth]) for depth in range(len(parts))]
        rules = {directory: self._rules_of(directory) for directory in directories}  # the root's macros come first
        for directory in reversed(directories):
            below = path[len(directory) :]
            for rule in reversed(rules[directory]):
                if _matches(rule.pattern, parts[-1] if rule.is_for_names else below):
                    self._apply(rule.values, found)
        return found.get(b"merge") in (None, True, b"text")

    def _apply(self, values: list[tuple[bytes, Value]], found: dict[bytes, Value]) -> None:
        for name, value in reversed(values):
            if name not in found:
                found[name] = value
                if value is True and name in self._macros:
                    self._apply(self._macros[name], found)

    def _rules_of(self, directory: bytes) -> list[_Rule]:
        if directory not in self._rules:
            content = self._read(directory + b".gitattributes") or b""
            self._rules[directory] = list(self._parse(content.removeprefix(b"\xef\xbb\xbf"), is_root=not directory))
        return self._rules[directory]

    def _parse(self, content: bytes, *, is_root: bool) -> Iterator[_Rule]:
        for line in content.split(b"\n"):
            pattern, words = _split_line(line.strip(b" \t\r"))
            values = [_parse_value(word) for word in words]
            if pattern.startswith(_MACRO):
                if is_root:
                    self._macros[pattern.removeprefix(_MACRO)] = values
            elif pattern and pattern[:1] not in (b"#", b"!") and not pattern.endswith(b"/"):
                tokens = list(_TOKEN.finditer(pattern.removeprefix(b"/")))
                yield _Rule(tokens, b"/" not in pattern, values)


def _split_line(line: bytes) -> tuple[bytes, list[bytes]]:
    """Return a line's pattern, without its quotes, and its other words."""
    if line.startswith(b'"') and (quoted := re.match(rb'"((?:\\.|[^"\\])*)"(.*)', line)):
        pattern = re.sub(rb"\\([0-7]{3}|.)", lambda found: _unescaped(found[1]), quoted[1])
        return pattern, quoted[2].split()
    pattern, *words = line.split() or [b""]
    return pattern, words


def _unescaped(escape: bytes) -> bytes:
    return bytes([int(escape, 8) & 255]) if len(escape) == 3 else _ESCAPES.get(escape, escape)


def _parse_value(word: bytes) -> tuple[bytes, Value]:
    if word[:1] in (b"-", b"!"):
        return word[1:], False if word[:1] == b"-" else None
    name, equals, value = word.partition(b"=")
    return name, value if equals else True


def _matches(pattern: list[re.Match[bytes]], text: bytes) -> bool:
    """Whether a pattern matches all of `text`. All alternatives are followed at once: no pattern makes it slow."""
    states = _closure(pattern, {0})
    for at, byte in enumerate(text):
        following: set[int] = set()
        for state in states:
            if state == len(pattern):
                continue
            token = pattern[state]
            if token.lastgroup == "deep" or (token.lastgroup == "star" and byte != 0x2F):
                following.add(state)
            elif token.lastgroup != "star" and _accepts(token, byte):
                following.add(state + 1)
        # `**/` matches up to a slash; `**` at the end matches everything.
        states = _closure(pattern, following, is_after_slash=byte == 0x2F, is_last=at == len(text) - 1)
    return len(pattern) in states


def _closure(
    pattern: list[re.Match[bytes]], states: set[int], *, is_after_slash: bool = True, is_last: bool = False
) -> set[int]:
    """Add the states that can be reached without another byte."""
    reached = set(states)
    for state in sorted(states):
        while state < len(pattern):
            token = pattern[state]
            is_passed = token.lastgroup == "star" or (
                token.lastgroup == "deep" and (is_after_slash if token[0].endswith(b"/") else is_last)
            )
            if not is_passed:
                break
            state += 1  # noqa: PLW2901
            reached.add(state)
    return reached


def _accepts(token: re.Match[bytes], byte: int) -> bool:
    one = bytes([byte])
    if token.lastgroup in ("escaped", "plain"):
        return one == token[token.lastgroup]
    if token.lastgroup == "any":
        return byte != 0x2F
    is_in = False
    for found in _RANGE.finditer(token["set"]):
        low, high, single = found.groups()
        # A class such as [:alpha:] accepts every byte.
        is_in = is_in or (low <= one <= high if low is not None else single is None or single == one)
    return byte != 0x2F and is_in != bool(token["not"])
