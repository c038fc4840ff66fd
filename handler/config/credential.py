"""A credential: a token or a GitHub App's key, and the hosts and repositories that it is for. Pure: no I/O, no clock.

A SecureString's plain text is a token for the stack's own hosts (the setting `allowed_hosts`). JSON says more:

    token          the token; or, of a GitHub App, the next three
    app_id         its id or its client id
    private_key    its private key, the whole PEM
    installation_id   a number; by default GitHub is asked which installation has the repository
    hosts          a list of hosts, each with or without a port; by default the stack's
    ca             the parameter with certificates (PEM) of authorities that may sign the hosts', if they are one's own
    repositories   a list of <owner>/<name> or <owner>/*; by default any

Whoever may write a repository's parameter chooses its `url`, and so could have any token sent to any server.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from handler.config.fields import FieldReader, parse_object, text, whole_number
from handler.config.names import is_full_name
from handler.errors import ConfigurationInvalid, SecretUnusable
from handler.model import Forge, Repository
from handler.settings import is_host

MAX_ENTRIES = 1000

_APP_FIELDS = frozenset({"app_id", "private_key", "installation_id"})
_FIELDS = frozenset({"token", "hosts", "repositories", "ca", *_APP_FIELDS})
_APP_ID = re.compile(r"[A-Za-z0-9._-]{1,100}")
_PRIVATE_KEY = re.compile(r"-----BEGIN (RSA )?PRIVATE KEY-----\s[A-Za-z0-9+/=\s]+-----END (RSA )?PRIVATE KEY-----\s*")
_ALL_OF_OWNER = re.compile(r"([^/*]+)/\*")


@dataclass(frozen=True, slots=True, kw_only=True)
class AppKey:
    """A GitHub App's key, which makes tokens for one repository at a time; nothing but its form was checked."""

    app_id: str
    private_key: str = field(repr=False)
    installation_id: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Credential:
    """A token, valid in an HTTP header, or the key of an `app`, which has none; hosts and repositories in lower case.

    `repositories` None: any repository.
    """

    token: str = field(default="", repr=False)
    app: AppKey | None = None
    hosts: tuple[str, ...]
    repositories: tuple[str, ...] | None = None
    ca: str | None = None

    def refuse_others(self, name: str, repository: Repository) -> None:
        """Raise ConfigurationInvalid where the parameter `name` does not hold it for the repository and its url."""
        parts = urlsplit(repository.url)
        host = _bracketed((parts.hostname or "").lower())
        port = parts.port or (443 if parts.scheme == "https" else 80)
        if host not in self.hosts and f"{host}:{port}" not in self.hosts:
            raise ConfigurationInvalid(
                f"{repository.full_name}: credentials may not be sent to the host of its url: {name} is for "
                f'{", ".join(self.hosts)} alone; store it as {{"token": ..., "hosts": [...]}}, or set AllowedHosts'
            )
        # Both: the name is what an operator granted, the path is what the token would open.
        path = _name_in_path(repository.forge, parts.path.strip("/").removesuffix(".git"))
        if self.repositories is not None and not all(self._is_for(each) for each in (repository.full_name, path)):
            raise ConfigurationInvalid(
                f"{repository.full_name}: credentials may not be used for it and for the path of its url: the "
                f'"repositories" of {name} do not name both'
            )

    def _is_for(self, full_name: str) -> bool:
        # No two names on GitHub differ in their case alone.
        wanted = full_name.lower()
        return wanted in (self.repositories or ()) or f"{wanted.partition('/')[0]}/*" in (self.repositories or ())


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
    is_app = bool(fields.keys() & _APP_FIELDS)
    if is_app == ("token" in fields):
        problems.append("has both a token and an App's key" if is_app else "has no token, and no App's key")
    credential = Credential(
        token=reader.read("token", text, ""),
        app=_read_app(fields, reader, problems) if is_app else None,
        hosts=reader.read("hosts", _entries(is_host, "a host"), tuple(hosts)),
        repositories=reader.read("repositories", _entries(_is_pattern, "<owner>/<name> or <owner>/*"), None),
        ca=reader.read("ca", text, None),
    )
    if problems:
        raise ConfigurationInvalid(f"credential {name}: " + "; ".join(problems))
    if credential.app is not None:
        if not _PRIVATE_KEY.fullmatch(credential.app.private_key):
            raise SecretUnusable(
                f"the private_key in parameter {name} is not as GitHub gives it out: the whole .pem file, with its "
                "line ends as \\n"
            )
        return credential
    # Inside JSON a line end is no slip of a shell's.
    if _token(name, credential.token) != credential.token:
        raise SecretUnusable(f"the token in parameter {name} ends with a newline")
    return credential


def _read_app(fields: dict[str, object], reader: FieldReader, problems: list[str]) -> AppKey:
    problems += [f"has no {name}" for name in ("app_id", "private_key") if name not in fields]
    return AppKey(
        app_id=reader.read("app_id", _app_id, ""),
        private_key=reader.read("private_key", text, ""),
        installation_id=reader.read("installation_id", whole_number(1, 2**63), None),
    )


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
