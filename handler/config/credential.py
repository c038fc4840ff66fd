"""A credential: a token or a key, and the hosts and repositories that it is for. Pure: no I/O, no clock.

A SecureString's plain text is a token for the stack's own hosts (the setting `allowed_hosts`). JSON says more:

    token          the token; or, of a GitHub App, the next three
    app_id         its id or its client id
    private_key    its private key, the whole PEM
    installation_id   a number; by default GitHub is asked which installation has the repository
    ssh_key        a deploy key, for a url for SSH: the whole private key, as ssh-keygen writes it
    known_hosts    of an ssh_key: a list of lines of known_hosts, for hosts whose keys are not built in
    hosts          a list of hosts, each with or without a port; by default the stack's
    ca             the parameter with certificates (PEM) of authorities that may sign the hosts', if they are one's own
    repositories   a list of <owner>/<name> or <owner>/*; by default any

Whoever may write a repository's parameter chooses its `url`, and so could have any token sent to any server.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from handler.config.fields import FieldReader, parse_object, text, whole_number
from handler.config.names import is_full_name
from handler.errors import ConfigurationInvalid, SecretUnusable
from handler.model import Forge, Repository
from handler.settings import is_host

if TYPE_CHECKING:
    from handler.config.known_hosts import HostKey

MAX_ENTRIES = 1000

_APP_FIELDS = frozenset({"app_id", "private_key", "installation_id"})
_SSH_FIELDS = frozenset({"ssh_key", "known_hosts"})
_APP, _SSH = "an App's key", "an ssh_key"
_KINDS = MappingProxyType({"a token": frozenset({"token"}), _APP: _APP_FIELDS, _SSH: _SSH_FIELDS})
_FIELDS = frozenset({"token", "hosts", "repositories", "ca", *_APP_FIELDS, *_SSH_FIELDS})
_APP_ID = re.compile(r"[A-Za-z0-9._-]{1,100}")
_PRIVATE_KEY = re.compile(r"-----BEGIN (RSA )?PRIVATE KEY-----\s[A-Za-z0-9+/=\s]+-----END (RSA )?PRIVATE KEY-----\s*")
_SSH_KEY = re.compile(r"-----BEGIN ((?:OPENSSH|RSA|EC) PRIVATE KEY)-----\n[A-Za-z0-9+/=\n]+\n-----END \1-----\n?")
_ALL_OF_OWNER = re.compile(r"([^/*]+)/\*")


@dataclass(frozen=True, slots=True, kw_only=True)
class AppKey:
    """A GitHub App's key, which makes tokens for one repository at a time; nothing but its form was checked."""

    app_id: str
    private_key: str = field(repr=False)
    installation_id: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DeployKey:
    """A key for SSH, nothing but whose form was checked, and the host keys that come with it."""

    private_key: str = field(repr=False)
    known_hosts: tuple["HostKey", ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Credential:
    """A token, valid in an HTTP header; or the key of an `app` or an `ssh` key, which have none.

    Hosts and repositories are in lower case.

    `repositories` None: any repository.
    """

    token: str = field(default="", repr=False)
    app: AppKey | None = None
    ssh: DeployKey | None = None
    hosts: tuple[str, ...]
    repositories: tuple[str, ...] | None = None
    ca: str | None = None

    def refuse_others(self, name: str, repository: Repository) -> None:
        """Raise ConfigurationInvalid where the parameter `name` does not hold it for the repository and its url."""
        is_ssh = repository.has_ssh_url
        if is_ssh != (self.ssh is not None):
            raise ConfigurationInvalid(
                f"{repository.full_name}: a url for SSH needs a credential with an ssh_key, and any other one a token "
                f"or a GitHub App: {name} holds the other kind"
            )
        host, port, path = (_ssh_place_of if is_ssh else _place_of)(repository.url)
        if host not in self.hosts and f"{host}:{port}" not in self.hosts:
            raise ConfigurationInvalid(
                f"{repository.full_name}: credentials may not be sent to the host of its url: {name} is for "
                f'{", ".join(self.hosts)} alone; store it as {{"token": ..., "hosts": [...]}}, or set AllowedHosts'
            )
        # Both: the name is what an operator granted, the path is what the token would open.
        path = _name_in_path(repository.forge, path.strip("/").removesuffix(".git"))
        if self.repositories is not None and not all(self._is_for(each) for each in (repository.full_name, path)):
            raise ConfigurationInvalid(
                f"{repository.full_name}: credentials may not be used for it and for the path of its url: the "
                f'"repositories" of {name} do not name both'
            )

    def _is_for(self, full_name: str) -> bool:
        # No two names on GitHub differ in their case alone.
        wanted = full_name.lower()
        return wanted in (self.repositories or ()) or f"{wanted.partition('/')[0]}/*" in (self.repositories or ())


def _place_of(url: str) -> tuple[str, int, str]:
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    return _bracketed((parts.hostname or "").lower()), port, parts.path


def _ssh_place_of(url: str) -> tuple[str, int, str]:
    # Imported when it is used: most stacks have no url for SSH.
    from handler.config.ssh_url import parse_ssh_url

    place = parse_ssh_url(url)
    return _bracketed(place.host), place.port, place.path


def _name_in_path(forge: Forge, path: str) -> str:
    """Return what a url's path is called here: in two parts, where the forge's own name can have others."""
    if forge is Forge.GITLAB:
        groups, _, name = path.rpartition("/")
        return f"{groups.replace('/', '.')}/{name}"
    if forge is Forge.BITBUCKET and path.count("/") == 2:
        # On Data Center git is below `scm`, and a person's own project is `~user`.
        return path.removeprefix("scm/").removeprefix("~")
    return path


def parse_credential(name: str, stored: str, hosts: Sequence[str]) -> Credential:
    """Return the credential that the parameter `name` holds; `hosts` are those of a token without its own.

    Raises SecretUnusable (the token cannot stand in a header, the key is none) and ConfigurationInvalid (JSON of
    another form), naming every problem and showing no value.
    """
    if not stored.lstrip().startswith("{"):
        return Credential(token=_token(name, stored), hosts=tuple(hosts))
    try:
        fields = parse_object(stored)
    except ValueError as error:
        raise ConfigurationInvalid(f"credential {name} {error}") from None
    problems: list[str] = []
    reader = FieldReader(fields, problems)
    # A key may be the token itself, put in the wrong place: it is not shown.
    if not fields.keys() <= _FIELDS:
        problems.append(f"has another field than {', '.join(sorted(_FIELDS))}")
    kinds = [kind for kind, names in _KINDS.items() if fields.keys() & names]
    if len(kinds) != 1:
        problems.append(f"has both {' and '.join(kinds)}" if kinds else "has no token, no App's key, no ssh_key")
    credential = Credential(
        token=reader.read("token", text, ""),
        app=_read_app(fields, reader, problems) if _APP in kinds else None,
        ssh=_read_ssh(fields, reader, problems) if _SSH in kinds else None,
        hosts=reader.read("hosts", _entries(is_host, "a host"), tuple(hosts)),
        repositories=reader.read("repositories", _entries(_is_pattern, "<owner>/<name> or <owner>/*"), None),
        ca=reader.read("ca", text, None),
    )
    if problems:
        raise ConfigurationInvalid(f"credential {name}: " + "; ".join(problems))
    _refuse_unusable(name, credential)
    return credential


def _refuse_unusable(name: str, credential: Credential) -> None:
    if credential.app is not None:
        if not _PRIVATE_KEY.fullmatch(credential.app.private_key):
            raise SecretUnusable(
                f"the private_key in parameter {name} is not as GitHub gives it out: the whole .pem file, with its "
                "line ends as \\n"
            )
    elif credential.ssh is not None:
        if not _SSH_KEY.fullmatch(credential.ssh.private_key):
            raise SecretUnusable(
                f"the ssh_key in parameter {name} is not as ssh-keygen writes it: the whole private key, without a "
                "passphrase, with its line ends as \\n"
            )
    # Inside JSON a line end is no slip of a shell's.
    elif _token(name, credential.token) != credential.token:
        raise SecretUnusable(f"the token in parameter {name} ends with a newline")


def _read_app(fields: dict[str, object], reader: FieldReader, problems: list[str]) -> AppKey:
    problems += [f"has no {name}" for name in ("app_id", "private_key") if name not in fields]
    return AppKey(
        app_id=reader.read("app_id", _app_id, ""),
        private_key=reader.read("private_key", text, ""),
        installation_id=reader.read("installation_id", whole_number(1, 2**63), None),
    )


def _read_ssh(fields: dict[str, object], reader: FieldReader, problems: list[str]) -> DeployKey:
    if "ssh_key" not in fields:
        problems.append("has no ssh_key")
    if "ca" in fields:
        problems.append("has a ca, and SSH has no certificates")
    return DeployKey(
        private_key=reader.read("ssh_key", text, ""), known_hosts=reader.read("known_hosts", _host_keys, ())
    )


def _host_keys(value: object) -> tuple["HostKey", ...]:
    from handler.config.known_hosts import parse_host_key

    if not isinstance(value, list) or not 1 <= len(value) <= MAX_ENTRIES or not all(map(_is_text, value)):
        raise ValueError(f"is not a list of 1 to {MAX_ENTRIES} lines of known_hosts")
    return tuple(parse_host_key(line) for line in value)


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _app_id(value: object) -> str:
    # GitHub shows the id as a number, and the client id as text; either stands in a JWT as text.
    found = str(value) if isinstance(value, str | int) and not isinstance(value, bool) else ""
    if not _APP_ID.fullmatch(found):
        raise ValueError("is not an App's id or client id")
    return found


def _token(name: str, value: str) -> str:
    token = value.rstrip("\r\n")
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        raise SecretUnusable(f"parameter {name} holds what cannot stand in an HTTP header")
    return token


def _entries(is_valid: Callable[[str], bool], form: str) -> Callable[[object], tuple[str, ...]]:
    def parse(value: object) -> tuple[str, ...]:
        if not isinstance(value, list) or not 1 <= len(value) <= MAX_ENTRIES:
            raise ValueError(f"is not a list of 1 to {MAX_ENTRIES} entries")
        if not all(isinstance(each, str) and is_valid(each) for each in value):
            raise ValueError(f"has an entry that is not {form}")
        return tuple(each.lower() for each in value)

    return parse


def _is_pattern(entry: str) -> bool:
    match = _ALL_OF_OWNER.fullmatch(entry)
    return is_full_name(f"{match[1]}/x" if match else entry)


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
