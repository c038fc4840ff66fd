"""Compare urls: do both name the same repository? Pure."""

import re
from dataclasses import dataclass
from urllib.parse import unquote

_URL = re.compile(
    r"(https?|ssh|git\+ssh|ssh\+git|git)://(?:[^/@]*@)?(\[[0-9a-fA-F:.]+\]|[^/:@\[\]]+)(?::([0-9]{1,5}))?/(.*)"
)
_SCP = re.compile(r"(?:[^/@:]+@)?([^/:@\[\]]+):(?!//)(.*)")
_DEFAULT_PORTS = {"https": "443", "http": "80"}


@dataclass(frozen=True, slots=True)
class _Location:
    host: str
    path: str
    port: str | None
    """HTTP's, if it is not the default. Another protocol has another port on the same host."""
    is_http: bool


def is_same_remote(one: str | None, other: str) -> bool:
    """Whether both urls have the same host and path, whatever the user and the protocol.

    Understood are `https://[user[:token]@]host[:port]/owner/name[.git][/]`, `git@host:owner/name` and `ssh://...`. Any
    other url, of a directory say, never matches.
    """
    left, right = _parse(one or ""), _parse(other)
    if left is None or right is None or (left.host, left.path) != (right.host, right.path):
        return False
    return left.port == right.port or not (left.is_http and right.is_http)


def _parse(url: str) -> _Location | None:
    if match := _URL.fullmatch(url):
        scheme, host, port, path = match.groups()
        is_http = scheme.startswith("http")
        has_port = is_http and port is not None and port != _DEFAULT_PORTS[scheme]
        return _normalized(host, unquote(path), port if has_port else None, is_http=is_http)
    if "://" not in url and (match := _SCP.fullmatch(url)):
        return _normalized(match[1], match[2], None, is_http=False)
    return None


def _normalized(host: str, path: str, port: str | None, *, is_http: bool) -> _Location | None:
    parts = [part for part in path.split("/") if part]
    if not parts or {".", ".."} & set(parts):
        return None
    joined = "/".join(parts).removesuffix(".git")
    return _Location(host.lower().removesuffix("."), joined, port, is_http) if joined else None
