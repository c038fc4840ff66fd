"""A repository's parameter, from JSON text to one frozen value. Pure: no I/O, no clock.

All fields have defaults, so `{}` is complete: the remote's default branch, published at
`<owner>/<name>/<branch>`.

    url                   https://github.com/<owner>/<name>.git, or the same at gitlab.com or bitbucket.org
    forge                 github, gitlab, gitea (Forgejo too) or bitbucket: whose webhooks, statuses and token headers
    publish               list of {"ref", "path", "mode", "autostash", "latest", "prereleases"}; see `_read_rule`
    keep_releases         1 to 50: how many releases of a target are kept
    grace_seconds         0 to 604,800: how long a replaced release stays
    spares                0 to 8: how many spares a target may have, which make each push cost its change alone
    depth                 commits of history in the mirror; 0 is all of it
    max_tree_bytes        bytes of all files of a published tree; by default the stack's
    credentials           the name of the SecureString parameter that holds the token, or the ARN of such a secret
    ca                    the name of the parameter that holds certificates (PEM) of authorities of one's own
    allow_external_links  publish links that lead out of the tree
    commit_status         post outcomes as statuses of the commit; needs credentials
    own_secret            accept deliveries only at the repository's own webhook URL, signed with its own secret
    trust_payload         publish a signed payload's commit though the remote's ref does not confirm it yet

All problems are reported at once. A message names fields, refs and paths, and never the url, in which somebody may
have put a token against the rules.
"""

import re
from ipaddress import ip_address
from types import MappingProxyType

from handler.config.fields import FieldReader, checked, flag, one_of, parse_object, text, whole_number
from handler.config.names import is_full_name, is_pattern, path_problem, ref_problem
from handler.config.overlaps import covers_repository, overlapping_rules, path_of
from handler.errors import ConfigurationInvalid
from handler.model import Forge, PublishRule, Repository

MAX_RULES = 100
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
_FLAGS = frozenset({"allow_external_links", "commit_status", "own_secret", "trust_payload"})
_FIELDS = frozenset({"url", "forge", "publish", "credentials", "ca", *_FLAGS, *_BOUNDS})
_RULE_FIELDS = frozenset({"ref", "path", "mode", "autostash", "latest", "prereleases"})
_RELEASES, _WORKING_COPY = "releases", "working-copy"
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
        publish=_read_publish(fields, full_name, problems),
        keep_releases=_read_count(reader, "keep_releases"),
        grace_seconds=_read_count(reader, "grace_seconds"),
        spares=_read_count(reader, "spares"),
        depth=_read_count(reader, "depth"),
        max_tree_bytes=reader.read("max_tree_bytes", whole_number(*_BOUNDS["max_tree_bytes"]), None),
        credentials=reader.read("credentials", _credential_name, None),
        ca=reader.read("ca", _parameter_name, None),
        allow_external_links=reader.read("allow_external_links", flag, False),
        commit_status=reader.read("commit_status", flag, False),
        own_secret=reader.read("own_secret", flag, False),
        trust_payload=reader.read("trust_payload", flag, False),
    )
    if repository.commit_status and "credentials" not in fields:
        problems.append(f"commit_status needs credentials: {forge.label} lets nobody else write a status")
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
    if repository.url:
        parameter["url"] = repository.url
        if repository.forge is not _DEFAULTS.forge:
            parameter["forge"] = str(repository.forge)
    if repository.publish != _DEFAULTS.publish:
        parameter["publish"] = [_parameter_of_rule(rule) for rule in repository.publish]
    return parameter


def _parameter_of_rule(rule: PublishRule) -> dict[str, object]:
    given = {
        "ref": rule.ref,
        "path": rule.path,
        "latest": rule.is_latest or None,
        "prereleases": rule.prereleases or None,
        "mode": _WORKING_COPY if rule.is_copy else None,
        "autostash": rule.autostash or None,
    }
    return {name: value for name, value in given.items() if value is not None}


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


def _read_publish(fields: dict[str, object], full_name: str, problems: list[str]) -> tuple[PublishRule, ...]:
    if "publish" not in fields:
        return (PublishRule(),)
    entries = fields["publish"]
    if not isinstance(entries, list) or not 1 <= len(entries) <= MAX_RULES:
        problems.append(f"publish is not a list of 1 to {MAX_RULES} objects")
        return ()
    rules: list[PublishRule] = []
    before = len(problems)
    for position, entry in enumerate(entries):
        rules.append(_read_rule(entry, f"publish[{position}]", problems))
    if len(problems) == before:
        problems.extend(_overlap_problems(rules, full_name))
    return tuple(rules)


def _read_rule(entry: object, where: str, problems: list[str]) -> PublishRule:
    """Return one rule.

    `ref` is a full name under refs/heads/ or refs/tags/, or a pattern: such a name with `*` as its last character,
    which matches the rest of a ref, slashes too, as in git's refspecs. By default it is the remote's default branch.
    `path` is where it goes, relative to the mount; a pattern's path must end with `*` too, which stands for the same.
    `latest` publishes the newest version among the tags that a pattern matches, to a path without `*`.
    `mode` is "releases", or "working-copy" for a branch that is kept as a git working copy; `autostash` then stashes
    uncommitted changes before a pull, and applies them afterwards.
    """
    if not isinstance(entry, dict):
        problems.append(f"{where} is not an object")
        return PublishRule()
    reader = FieldReader(entry, problems, prefix=f"{where}.")
    reader.refuse_unknown(_RULE_FIELDS)
    mode = reader.read("mode", _mode, _RELEASES)
    rule = PublishRule(
        ref=reader.read("ref", text, None),
        path=reader.read("path", text, None),
        is_latest=reader.read("latest", flag, False),
        prereleases=reader.read("prereleases", flag, False),
        is_copy=mode == _WORKING_COPY,
        autostash=reader.read("autostash", flag, False),
    )
    if rule.ref is not None:
        reader.refuse("ref", _rule_ref_problem(rule.ref))
    if rule.path is not None:
        reader.refuse("path", _rule_path_problem(rule.path, rule))
    _refuse_combinations(rule, reader)
    return rule


def _mode(value: object) -> str:
    if value not in (_RELEASES, _WORKING_COPY):
        raise ValueError(f'is neither "{_RELEASES}" nor "{_WORKING_COPY}"')
    return str(value)


def _refuse_combinations(rule: PublishRule, reader: FieldReader) -> None:
    is_of_tags = (rule.ref or "").startswith("refs/tags/")
    if rule.is_latest and not (is_pattern(rule.ref or "") and is_of_tags):
        reader.refuse("latest", "needs a ref that is a pattern of tags, as refs/tags/v*")
    if rule.prereleases and not rule.is_latest:
        reader.refuse("prereleases", "means nothing without latest: a pattern publishes every tag")
    if rule.is_copy and is_of_tags:
        reader.refuse("mode", "is for branches: nobody commits on a tag, or pulls one")
    if rule.autostash and not rule.is_copy:
        reader.refuse("autostash", f'means nothing without the mode "{_WORKING_COPY}"')


def _rule_ref_problem(ref: str) -> str | None:
    if not ref.startswith(("refs/heads/", "refs/tags/")):
        return "is not a full name: refs/heads/<branch> or refs/tags/<tag>"
    if "*" in ref[:-1]:
        return "has a * that is not its last character"
    return ref_problem(_sample(ref))


def _rule_path_problem(path: str, rule: PublishRule) -> str | None:
    if not is_pattern(rule.ref or "") or rule.is_latest:
        return "has a * that does not stand for a pattern's" if "*" in path else path_problem(path)
    if not is_pattern(path):
        return "does not end with * as its ref does: all that the pattern matches would go to one place"
    if path == "*":
        return "has nothing before its *: it would take all of the mount"
    return "has a * that is not its last character" if "*" in path[:-1] else path_problem(_sample(path))


def _sample(pattern: str) -> str:
    """Return a name that the pattern matches, so that the rules for names can judge its fixed part."""
    return f"{pattern[:-1]}x" if is_pattern(pattern) else pattern


def _overlap_problems(rules: list[PublishRule], full_name: str) -> list[str]:
    """Return the problems of rules that publish to an earlier rule's path, above it, inside it, or over the mirror.

    Overlaps that depend on the default branch's name or on other repositories are refused when these are known.
    """
    problems = [
        f"publish[{number}].path takes the repository's own directory {full_name}, where its mirror is"
        for number, rule in enumerate(rules)
        if covers_repository(full_name, rule)
    ]
    problems += [
        f"publish[{number}] would go to {path_of(full_name, rule)}, which {problem}; give it a path"
        for number, rule in enumerate(rules)
        if rule.is_latest and rule.path is None and (problem := path_problem(path_of(full_name, rule)))
    ]
    # One line for each rule, so that a hundred rules with one path do not make thousands of lines.
    for earlier, later in overlapping_rules(full_name, rules):
        problems.append(f"publish[{later}] goes to the path of publish[{earlier}], or one lies in the other")
    return problems
