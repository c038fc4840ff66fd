"""What an origin remembers of a request, and the faults that a test can order. No I/O.

The parser reads protocol v2 requests (gitprotocol-v2) and older upload-pack requests well enough to tell them
apart; what it does not understand has no lines, and never raises.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

KINDS = ("advertisement", "ls-refs", "fetch", "other")
"""What a request is: an advertisement (GET info/refs), v2's ls-refs, a fetch (v0's too), other."""


@dataclass(slots=True)
class RequestRecord:
    """One request as the origin saw it; `status` and `finished` stay None while it is under way.

    `connection` is one number a TCP connection. `request_bytes` and `response_bytes` count bodies as on the
    wire; `body` is the request's body decoded from gzip. `started` and `finished` are time.monotonic().
    """

    number: int
    connection: int
    method: str
    path: str
    query: str
    kind: str
    protocol: str | None
    authorization: str | None
    user_agent: str | None
    body: bytes
    request_bytes: int
    started: float
    status: int | None = None
    response_bytes: int = 0
    finished: float | None = None
    is_dropped: bool = False
    repository: str | None = None

    @property
    def lines(self) -> list[bytes]:
        """The body's pkt-lines without their line feeds; flush and delimiter packets left out."""
        return packet_lines(self.body)

    @property
    def wants(self) -> list[str]:
        """The object ids asked for."""
        return [line.split()[1].decode() for line in self.lines if line.startswith(b"want ")]

    @property
    def haves(self) -> list[str]:
        """The object ids offered."""
        return [line.split()[1].decode() for line in self.lines if line.startswith(b"have ")]

    @property
    def ref_prefixes(self) -> list[str]:
        """The prefixes that an ls-refs is bound to."""
        return [line[11:].decode() for line in self.lines if line.startswith(b"ref-prefix ")]

    def overlaps(self, other: "RequestRecord") -> bool:
        """Tell whether both were under way at one moment."""
        never = float("inf")
        return self.started < (other.finished or never) and other.started < (self.finished or never)


@dataclass(slots=True)
class Fault:
    """What is to go wrong with the next `remaining` requests of `kind` (None: of any kind).

    Stalls first, `stall_seconds` before the answer; then either `answer` stands in for git's, or git's own is
    passed through `rewrite`; `drop_after` breaks the connection off after that part of the body (0.0:
    before the status line), or with `hangs` sends no more and keeps it open.
    """

    remaining: int = 1
    kind: str | None = None
    stall_seconds: float = 0.0
    answer: "Answer | None" = None
    rewrite: Callable[[bytes], bytes] | None = None
    drop_after: float | None = None
    hangs: bool = False


@dataclass(slots=True)
class Answer:
    """An HTTP answer with its body whole."""

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


def packet_lines(body: bytes) -> list[bytes]:
    """Return the pkt-lines of `body` up to the first that is none."""
    lines: list[bytes] = []
    at = 0
    while at + 4 <= len(body):
        try:
            length = int(body[at : at + 4], 16)
        except ValueError:
            break
        if length >= 4:
            lines.append(body[at + 4 : at + length].rstrip(b"\n"))
        at += max(length, 4)
    return lines


def request_kind(method: str, rest: str, query: str, body: bytes) -> str:
    """Return which of KINDS a request is; `rest` is the path below the repository."""
    if method == "GET" and rest == "info/refs" and "service=git-upload-pack" in query:
        return "advertisement"
    if method == "POST" and rest == "git-upload-pack":
        lines = packet_lines(body)
        if lines and lines[0].startswith(b"command="):
            command = lines[0][8:].decode("ascii", "replace")
            return command if command in KINDS else "other"
        return "fetch"
    return "other"
