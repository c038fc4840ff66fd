"""A repository's `url` for SSH: `ssh://git@host[:port]/path`, or `git@host:path`. Pure: no I/O, no clock.

Sources: git's docs ("Git URLs"), and its connect.c and quote.c on what of a URL becomes the command.
"""

import re
from dataclasses import dataclass

from handler.config.names import is_host_name

PORT = 22
_URL = re.compile(r"ssh://(?P<user>[^@/]*)@(?P<host>\[[^\]]*\]|[^/:@]*)(?::(?P<port>[0-9]{1,5}))?(?P<path>/.*)")
_SCP = re.compile(r"(?P<user>[^@/:]*)@(?P<host>\[[^\]]*\]|[^/:@]*):(?P<path>.*)")
_USER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True, slots=True, kw_only=True)
class SshUrl:
    """Where a repository is; `host` is in lower case and without brackets, `path` as the server is told it."""

    user: str
    host: str
    port: int
    path: str

    @property
    def command(self) -> str:
        """The command that the server is sent, quoted as git quotes it: a shell there reads it."""
        quoted = self.path.replace("'", "'\\''").replace("!", "'\\!'")
        return f"git-upload-pack '{quoted}'"


def is_ssh(url: str) -> bool:
    """Whether `url` has one of the two forms, right or wrong."""
    return url.startswith("ssh://") or ("://" not in url and "@" in url.partition(":")[0])


def parse_ssh_url(url: str) -> SshUrl:
    """Return the parts of a `url` of printable ASCII. Raises ValueError with the end of a sentence, and no value."""
    match = _URL.fullmatch(url) or (None if "://" in url else _SCP.fullmatch(url))
    if match is None:
        raise ValueError("is neither ssh://git@<host>[:<port>]/<path> nor git@<host>:<path>")
    user, host, path = match["user"], match["host"].lower(), match["path"]
    port = int(match.groupdict().get("port") or PORT)
    if not _USER.fullmatch(user):
        raise ValueError("has a user that is none, or a password; a key belongs into the parameter of credentials")
    host = host[1:-1] if host.startswith("[") else host
    if not is_host_name(host) or not 1 <= port <= 65_535:
        raise ValueError("has a host or a port that cannot be read")
    if url.startswith("ssh://"):
        # Git would decode it, and the rules for repositories would see another path than the server.
        if "%" in path:
            raise ValueError("has a percent sign: write the character itself, or git@<host>:<path>")
        # As git does it: /~user/ is that user's home.
        path = path[1:] if path.startswith("/~") else path
    if not path.strip("/"):
        raise ValueError("has no path")
    # git-upload-pack would take it for an option.
    if path.startswith("-"):
        raise ValueError("has a path that begins with a hyphen")
    if any(not " " < each <= "~" for each in path):
        raise ValueError("has a path with a control character or a space")
    return SshUrl(user=user, host=host, port=port, path=path)


def web_url(url: str) -> str:
    """Return a valid `url`; of one for SSH, where the forge has the same repository over HTTPS, on the usual port."""
    if not is_ssh(url):
        return url
    place = parse_ssh_url(url)
    host = f"[{place.host}]" if ":" in place.host else place.host
    return f"https://{host}/{place.path.lstrip('/')}"


def problem_of(url: str) -> str | None:
    """Return what is wrong with a `url` that is one for SSH; it is the end of a sentence."""
    try:
        parse_ssh_url(url)
    except ValueError as error:
        return str(error)
    return None
