"""A repository's parameter, from JSON text to one frozen value. Pure: no I/O, no clock.

All fields have defaults, so `{}` is complete: the remote's default branch, published at
`<owner>/<name>/<branch>`.

    url                   https://github.com/<owner>/<name>.git, or the same at gitlab.com or bitbucket.org
    forge                 github, gitlab, gitea (Forgejo too) or bitbucket: whose webhooks, statuses and token headers
    publish               list of {"ref", "path", "subdirectory", "exclude", "exclude_refs", "mode",
                          "autostash", "latest", "prereleases"}; see `config.rules`
    keep_releases         1 to 50: how many releases of a target are kept
    grace_seconds         0 to 604,800: how long a replaced release stays
    spares                0 to 8: how many spares a target may have, which make each push cost its change alone
    depth                 commits of history in the mirror; 0 is all of it
    max_tree_bytes        bytes of all files of a published tree; by default the stack's
    credentials           the name of the SecureString parameter that holds the token, or the ARN of such a secret
    ca                    the name of the parameter that holds certificates (PEM) of authorities of one's own
    external_links        "refuse", "keep" or "skip" links that lead out of the tree
    allow_external_links  what older versions call it: false is "refuse", true is "keep"
    commit_status         post outcomes as statuses of the commit; needs credentials
    own_secret            accept deliveries only at the repository's own webhook URL, signed with its own secret
    trust_payload         publish a signed payload's commit though the remote's ref does not confirm it yet

All problems are reported at once. A message names fields, refs and paths, and never the url, in which somebody may
have put a token against the rules.
"""

import re
from ipaddress import ip_address
from types import MappingProxyType

from handler.config.fields import FieldReader, checked, flag, one_of, parse_object, whole_number
from handler.config.names import is_full_name
from handler.config.rules import parameter_of_rule, read_publish
from handler.errors import ConfigurationInvalid
from handler.model import ExternalLinks, Forge, Repository

MAX_URL_LENGTH = 2048
MAX_PARAMETER_NAME_LENGTH = 1011

_DEFAULTS = Repository(full_name="", url="")
_BOUNDS = MappingProxyType(
    {
        "keep_releases": (1, 50),
        "grace_seconds": (0, 604_800),
        "spares": (0, 8),
        "depth": (0, 2**31 - 1),
        "max_tree_bytes": (1, 2**50),
    }
)
_FLAGS = frozenset({"commit_status", "own_secret", "trust_payload"})
_LINKS = frozenset({"external_links", "allow_external_links"})
_FIELDS = frozenset({"url", "forge", "publish", "credentials", "ca", *_LINKS, *_FLAGS, *_BOUNDS})
_SECRET_ARN = re.compile(r"arn:[a-z-]+:secretsmanager:[a-z0-9-]+:[0-9]{12}:secret:/[A-Za-z0-9/_+=.@-]{1,512}")
_PARAMETER_NAME = re.compile(r"(/[A-Za-z0-9_.-]+)+")
_URL_CHARACTERS = re.compile(r"[\x21-\x7e]+")
_HOSTS = MappingProxyType({Forge.GITHUB: "github.com", Forge.GITLAB: "gitlab.com", Forge.BITBUCKET: "bitbucket.org"})
"""Where a repository without url is. Gitea and Forgejo have no host that is theirs alone."""
_HOST = re.compile(r"[a-z0-9_]([a-z0-9_.-]*[a-z0-9_])?")


def parse_repository(full_name: str, parameter: str | dict[str, object]) -> Repository:
    """Return the repository that the parameter's text describes, or the JSON object in it.

    Raises ConfigurationInvalid, naming the repository and every problem, each with its field.
    """
    if not is_full_name(full_name):
        raise ConfigurationInvalid(f"{full_name[:200]!r} is not <owner>/<name>")
    try:
        fields = parse_object(parameter) if isinstance(parameter, str) else parameter
    except ValueError as error:
        raise ConfigurationInvalid(f"{full_name}: the parameter {error}") from None
    problems: list[str] = []
    reader = FieldReader(fields, problems)
    reader.refuse_unknown(_FIELDS)
    forge = reader.read("forge", one_of(Forge), Forge.GITHUB)
    if "url" not in fields and forge not in _HOSTS:
        problems.append(f"url is missing: {forge.label} has no host that is its own")
    repository = Repository(
        full_name=full_name,
        url=reader.read("url", checked(_url_problem), f"https://{_HOSTS.get(forge)}/{full_name}.git"),
        forge=forge,
        publish=read_publish(fields, full_name, problems),
        keep_releases=_read_count(reader, "keep_releases"),
        grace_seconds=_read_count(reader, "grace_seconds"),
        spares=_read_count(reader, "spares"),
        depth=_read_count(reader, "depth"),
        max_tree_bytes=reader.read("max_tree_bytes", whole_number(*_BOUNDS["max_tree_bytes"]), None),
        credentials=reader.read("credentials", _credential_name, None),
        ca=reader.read("ca", _parameter_name, None),
        external_links=_read_external_links(fields, reader),
        commit_status=reader.read("commit_status", flag, False),
        own_secret=reader.read("own_secret", flag, False),
        trust_payload=reader.read("trust_payload", flag, False),
    )
    if repository.commit_status and "credentials" not in fields:
        problems.append(f"commit_status needs credentials: {forge.label} lets nobody else write a status")
    if repository.external_links is ExternalLinks.SKIP and any(rule.is_copy for rule in repository.publish):
        problems.append("external_links skips links, which git would miss in a working copy: refuse or keep them")
    if problems:
        raise ConfigurationInvalid(f"{full_name}: " + "; ".join(problems))
    return repository


def parameter_of(repository: Repository) -> dict[str, object]:
    """Return the JSON object that `parse_repository` reads as the repository, without url and forge if url is empty."""
    parameter: dict[str, object] = {
        name: getattr(repository, name)
        for name in ("credentials", "ca", *sorted(_FLAGS), *_BOUNDS)
        if getattr(repository, name) != getattr(_DEFAULTS, name)
    }
    if repository.external_links is ExternalLinks.KEEP:
        # By the name that a publisher of an older version knows too, while a deployment is under way.
        parameter["allow_external_links"] = True
    elif repository.external_links is not ExternalLinks.REFUSE:
        parameter["external_links"] = str(repository.external_links)
    if repository.url:
        parameter["url"] = repository.url
        if repository.forge is not _DEFAULTS.forge:
            parameter["forge"] = str(repository.forge)
    if repository.publish != _DEFAULTS.publish:
        parameter["publish"] = [parameter_of_rule(rule) for rule in repository.publish]
    return parameter


def _read_external_links(fields: dict[str, object], reader: FieldReader) -> ExternalLinks:
    if "external_links" in fields and "allow_external_links" in fields:
        reader.refuse("allow_external_links", "is what external_links was called before: set one of the two")
    default = ExternalLinks.KEEP if reader.read("allow_external_links", flag, False) else ExternalLinks.REFUSE
    return reader.read("external_links", one_of(ExternalLinks), default)


def _read_count(reader: FieldReader, name: str) -> int:
    default: int = getattr(_DEFAULTS, name)
    return reader.read(name, whole_number(*_BOUNDS[name]), default)


def _parameter_name(value: object) -> str:
    if isinstance(value, str) and len(value) <= MAX_PARAMETER_NAME_LENGTH and _PARAMETER_NAME.fullmatch(value):
        return value
    # The value is not shown: the likely mistake is to write the token itself here.
    raise ValueError("is not a parameter's name that starts with a slash")


def _credential_name(value: object) -> str:
    if isinstance(value, str) and _SECRET_ARN.fullmatch(value):
        return value
    try:
        return _parameter_name(value)
    except ValueError:
        raise ValueError("is neither a parameter's name that starts with a slash nor a secret's ARN") from None


def _url_problem(url: str) -> str | None:
    """Return what is wrong with `url`. A valid one is https (http on loopback), a host, perhaps a port, and a path."""
    # First, because urlsplit drops tabs and newlines silently.
    if len(url) > MAX_URL_LENGTH or not _URL_CHARACTERS.fullmatch(url) or "\\" in url:
        return f"is not at most {MAX_URL_LENGTH} printable ASCII characters without spaces and backslashes"
    try:
        # Imported when it is used: most parameters have no url of their own.
        from urllib.parse import urlsplit

        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return "has a host or a port that cannot be read"
    if parts.scheme not in ("https", "http"):
        return "is not https"
    if "@" in parts.netloc:
        return "holds a user or a password; a token belongs into the parameter that credentials names"
    if "?" in url or "#" in url:
        return "has a query or a fragment"
    if not _is_host(host) or port == 0 or parts.netloc.endswith(":"):
        return "has a host or a port that cannot be read"
    if parts.scheme == "http" and not _is_loopback(host):
        return "is plain http, which is for this machine's own loopback alone"
    return None if parts.path.strip("/") else "has no path"


def _is_host(host: str) -> bool:
    return bool(_HOST.fullmatch(host)) or _is_address(host)


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _is_loopback(host: str) -> bool:
    # RFC 6761 reserves names below localhost for this machine: no DNS has them. A container calls its host by one.
    is_name = host == "localhost" or host.endswith(".localhost")
    return is_name or (_is_address(host) and ip_address(host).is_loopback)
