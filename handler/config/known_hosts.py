"""Servers' host keys, by which an SSH server proves who it is. Pure: no I/O, no clock.

An entry is a line as in OpenSSH's known_hosts (sshd(8), "SSH_KNOWN_HOSTS FILE FORMAT"): names with commas between, of
which one on another port than 22 is `[host]:port`; the key's type; the key in base64.

The keys of three forges are built in. Sources, each compared with the fingerprints that it publishes too:
GitHub's docs ("GitHub's SSH key fingerprints"); GitLab's docs ("GitLab.com settings", "SSH known_hosts entries");
Bitbucket Cloud's https://bitbucket.org/site/ssh, as its docs say ("Configure SSH and two-step verification").
"""

import base64
import re
from collections.abc import Sequence
from dataclasses import dataclass

from handler.config.names import is_host_name
from handler.config.ssh_url import PORT

KINDS = ("ssh-ed25519", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521", "ssh-rsa")
"""The types of keys, the preferred one first."""

_NAME = re.compile(r"\[(?P<host>[^\[\]]+)\]:(?P<port>[0-9]{1,5})|(?P<plain>[^\[\]]+)")
_FORM = "is not an entry of known_hosts: <host>[,<host>] <type> <key in base64>, a host neither hashed nor a pattern"


@dataclass(frozen=True, slots=True)
class HostKey:
    """A key of the servers with these `names`, each a host and a port."""

    names: tuple[tuple[str, int], ...]
    kind: str
    content: bytes


def parse_host_key(line: str) -> HostKey:
    """Return an entry. Raises ValueError with the end of a sentence."""
    parts = line.split()
    if len(parts) < 3 or parts[1] not in KINDS:
        raise ValueError(_FORM)
    try:
        content = base64.b64decode(parts[2], validate=True)
    except ValueError:
        raise ValueError(_FORM) from None
    # RFC 4253, section 6.6: a key's content begins with its type. Another would never be compared as equal.
    kind = parts[1].encode()
    if not content.startswith(len(kind).to_bytes(4, "big") + kind):
        raise ValueError(_FORM)
    return HostKey(tuple(_name(each) for each in parts[0].lower().split(",")), parts[1], content)


def _name(text: str) -> tuple[str, int]:
    match = _NAME.fullmatch(text)
    host = (match["host"] or match["plain"]) if match else ""
    if match is None or not is_host_name(host):
        raise ValueError(_FORM)
    return host, int(match["port"] or PORT)


def keys_of(host: str, port: int, own: Sequence[HostKey]) -> dict[str, frozenset[bytes]]:
    """Return the contents of the server's keys by their type: of `own` entries, if any is for it, else built-in ones.

    So an operator can name a forge's new key before a version of ours has it, and ours do not outlive theirs.
    """
    entries = [each for each in own if (host, port) in each.names]
    if not entries:
        entries = [parse_host_key(line) for line in _BUILT_IN if line.partition(" ")[0] == host and port == PORT]
    kinds = {each.kind for each in entries}
    return {kind: frozenset(each.content for each in entries if each.kind == kind) for kind in KINDS if kind in kinds}


_BUILT_IN = (
    "github.com ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl",
    "github.com ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBEmKSENjQEezOmxkZMy7opKgwFB9n"
    "kt5YRrYMjNuG5N87uRgg6CLrbo5wAdT/y6v0mKV0U2w0WZ2YB/++Tpockg=",
    "github.com ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABgQCj7ndNxQowgcQnjshcLrqPEiiphnt+VTTvDP6mHBL9j1aNUkY4Ue1gvwnGLVlOh"
    "GeYrnZaMgRK6+PKCUXaDbC7qtbW8gIkhL7aGCsOr/C56SJMy/BCZfxd1nWzAOxSDPgVsmerOBYfNqltV9/hWCqBywINIR+5dIg6JTJ72pcEpEjcY"
    "gXkE2YEFXV1JHnsKgbLWNlhScqb2UmyRkQyytRLtL+38TGxkxCflmO+5Z8CSSNY7GidjMIZ7Q4zMjA2n1nGrlTDkzwDCsw+wqFPGQA179cnfGWOW"
    "RVruj16z6XyvxvjJwbz0wQZ75XK5tKSb7FNyeIEs4TT4jk+S4dhPeAUC5y+bDYirYgM4GC7uEnztnZyaVWQ7B381AK4Qdrwt51ZqExKbQpTUNn+E"
    "jqoTwvqNj4kqx5QUCI0ThS/YkOxJCXmPUWZbhjpCg56i+2aB6CmK2JGhn57K5mj0MNdBXA4/WnwH6XoPWJzK5Nyu2zB3nAZp+S5hpQs+p1vN1/ws"
    "jk=",
    "gitlab.com ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAfuCHKVTjquxvt6CM6tdG4SLp1Btn/nOeHHE5UOzRdf",
    "gitlab.com ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBFSMqzJeV9rUzU4kWitGjeR4PWSa2"
    "9SPqJ1fVkhtj3Hw9xjLVXVYrU9QlYWrOLXBpQ6KWjbjTDTdDkoohFzgbEY=",
    "gitlab.com ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABAQCsj2bNKTBSpIYDEGk9KxsGh3mySTRgMtXL583qmBpzeQ+jqCMRgBqB98u3z++J1"
    "sKlXHWfM9dyhSevkMwSbhoR8XIq/U0tCNyokEi/ueaBMCvbcTHhO7FcwzY92WK4Yt0aGROY5qX2UKSeOvuP4D6TPqKF1onrSzH9bx9XUf2lEdWT/"
    "ia1NEKjunUqu1xOB/StKDHMoX4/OKyIzuS0q/T1zOATthvasJFoPrAjkohTyaDUz2LN5JoH839hViyEG82yB+MjcFV5MU3N1l1QL3cVUCh93xSau"
    "a1N85qivl+siMkPGbO5xR/En4iEY6K2XPASUEMaieWVNTRCtJ4S8H+9",
    "bitbucket.org ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIazEu89wgQZ4bqs3d63QSMzYVa0MuJ2e2gKTKqu+UUO",
    "bitbucket.org ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBPIQmuzMBuKdWeF4+a2sjSSpBK"
    "0iqitSQ+5BM9KhpexuGt20JpTVM7u5BDZngncgrqDMbWdxMWWOGtZ9UgbqgZE=",
    "bitbucket.org ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABgQDQeJzhupRu0u0cdegZIa8e86EG2qOCsIsD1Xw0xSeiPDlCr7kq97NLmMbpKT"
    "X6Esc30NuoqEEHCuc7yWtwp8dI76EEEB1VqY9QJq6vk+aySyboD5QF61I/1WeTwu+deCbgKMGbUijeXhtfbxSxm6JwGrXrhBdofTsbKRUsrN1WoN"
    "gUa8uqN1Vx6WAJw1JHPhglEGGHea6QICwJOAr/6mrui/oB7pkaWKHj3z7d1IC4KWLtY47elvjbaTlkN04Kc/5LFEirorGYVbt15kAUlqGM65pk6Z"
    "BxtaO3+30LVlORZkxOh+LKL/BvbZ/iRNhItLqNyieoQj/uh/7Iv4uyH/cV/0b4WDSd3DptigWq84lJubb9t/DnZlrJazxyDCulTmKdOR7vs9gMTo"
    "+uoIrPSb8ScTtvw65+odKAlBj59dhnVp9zd7QUojOpXlL62Aw56U4oO+FALuevvMjiWeavKhJqlR7i5n9srYcrNV7ttmDw7kf/97P5zauIhxcjX+"
    "xHv4M=",
)
