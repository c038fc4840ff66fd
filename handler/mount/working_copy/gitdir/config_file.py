"""Parse git's config files as git does. Pure.

dulwich's parser accepts what git refuses (a variable name that begins with a digit, an unknown escape), and refuses
what git accepts (quotes in a subsection's name). Source: git-config(1), "Syntax".
"""

import re
from collections.abc import Iterator

Key = tuple[bytes, bytes, bytes]
"""Section and variable in lower case, and between them the subsection as it is, empty if there is none."""

NO_VALUE = b"true"
"""The value of a variable that stands without one."""

_SECTION = re.compile(rb"([A-Za-z0-9.-]+)\]")
_WITH_SUBSECTION = re.compile(rb'([A-Za-z0-9.-]*)[ \t\r]+"((?:[^"\\\n]|\\[^\n])*)"\]')
_NAME = re.compile(rb"([A-Za-z][A-Za-z0-9-]*)[ \t]*(=|(?=\n)|\Z)")
_SKIPPED = re.compile(rb"(?:[ \t\r\n]|[#;][^\n]*)*")
_PLAIN = re.compile(rb'[^"\\\n#; \t\r]+')
_ESCAPES = {b"t": b"\t", b"b": b"\b", b"n": b"\n", b'"': b'"', b"\\": b"\\"}


def parse_config(content: bytes) -> Iterator[tuple[Key, bytes]]:
    """Yield each variable, in the file's order. Raises ValueError for what git refuses."""
    text = content.removeprefix(b"\xef\xbb\xbf").replace(b"\r\n", b"\n")
    if b"\0" in text:
        raise ValueError("a config holds no zeros")
    section, subsection = b"", b""
    at = 0
    while (at := _match_end(_SKIPPED, text, at)) < len(text):
        if text[at : at + 1] == b"[":
            section, subsection, at = _parse_header(text, at + 1)
            continue
        name = _NAME.match(text, at)
        if name is None:
            raise ValueError("neither a section nor a setting")
        value, at = _parse_value(text, name.end()) if name[2] else (NO_VALUE, name.end())
        yield (section, subsection, name[1].lower()), value


def _parse_header(text: bytes, at: int) -> tuple[bytes, bytes, int]:
    """Return section, subsection, and the offset after them. `[a.b]` is an old form of `[a "b"]`."""
    if match := _WITH_SUBSECTION.match(text, at):
        return match[1].lower(), re.sub(rb"\\(.)", rb"\1", match[2], flags=re.DOTALL), match.end()
    match = _SECTION.match(text, at)
    if match is None:
        raise ValueError("a section's header is broken")
    section, _, subsection = match[1].lower().partition(b".")
    return section, subsection, match.end()


def _parse_value(text: bytes, at: int) -> tuple[bytes, int]:
    """Return a value and the offset after it: without quotes, comments and space at its ends, escapes resolved."""
    value = bytearray()
    length = 0  # without trailing space
    is_quoted = False
    while at < len(text) and text[at : at + 1] != b"\n":
        char = text[at : at + 1]
        if not is_quoted and (plain := _PLAIN.match(text, at)):
            value += plain[0]
            at = plain.end()
        elif char == b"\\":
            escaped = text[at + 1 : at + 2]
            at += 2
            if escaped in (b"\n", b""):
                length = len(value)
                continue
            if escaped not in _ESCAPES:
                raise ValueError("an escape that there is not")
            value += _ESCAPES[escaped]
        elif char == b'"':
            is_quoted = not is_quoted
            at += 1
        elif is_quoted:
            value += char
            at += 1
        elif char in b"#;":
            end = text.find(b"\n", at)
            at = len(text) if end < 0 else end
            continue
        else:
            value += char if value else b""
            at += 1
            continue
        length = len(value)
    if is_quoted:
        raise ValueError("a quote that does not end")
    return bytes(value[:length]), at


def _match_end(pattern: re.Pattern[bytes], text: bytes, at: int) -> int:
    match = pattern.match(text, at)
    return at if match is None else match.end()
