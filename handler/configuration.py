"""A repository's parameter, from JSON text to one frozen value. Pure: no I/O, no clock.

All fields have defaults, so `{}` is complete: the remote's default branch, published at
`<owner>/<name>/<branch>`.

    url                   https://github.com/<owner>/<name>.git
    publish               list of {"ref": ..., "path": ..., "mode": "releases"}; see `_read_rule`
    keep_releases         1 to 50
    grace_seconds         0 to 604,800: how long a replaced release stays
    depth                 commits of history in the mirror; 0 is all of it
    credentials           the name of the SecureString parameter that holds the token
    allow_external_links  publish links that lead out of the tree

Every problem is reported at once. A message names fields, refs and paths, and never the url, which may hold a
token that somebody put there against the rules.
"""

import re
from ipaddress import ip_address
from types import MappingProxyType
from urllib.parse import urlsplit

from handler.errors import ConfigurationInvalid
from handler.model import PublishRule, Repository
from handler.names import default_path, is_full_name, path_problem, ref_problem
from handler.strict_json import parse_object

MAX_RULES = 100
MAX_URL_LENGTH = 2048
MAX_PARAMETER_NAME_LENGTH = 1011

_DEFAULTS = Repository(full_name="", url="")
_BOUNDS = MappingProxyType({"keep_releases": (1, 50), "grace_seconds": (0, 604_800), "depth": (0, 2**31 - 1)})
_FIELDS = frozenset({"url", "publish", "credentials", "allow_external_links", *_BOUNDS})
_RULE_FIELDS = frozenset({"ref", "path", "mode"})
_PARAMETER_NAME = re.compile(r"(/[A-Za-z0-9_.-]+)+")
_URL_CHARACTERS = re.compile(r"[\x21-\x7e]+")
_HOST = re.compile(r"[a-z0-9_]([a-z0-9_.-]*[a-z0-9_])?")


def parse_repository(full_name: str, text: str) -> Repository:
    """Return the repository that the parameter's `text` describes.

    Raises ConfigurationInvalid, naming the repository and every problem, each with its field.
    """
    if not is_full_name(full_name):
        raise ConfigurationInvalid(f"{full_name[:200]!r} is not <owner>/<name>")
    try:
        fields = parse_object(text)
    except ValueError as error:
        raise ConfigurationInvalid(f"{full_name}: the parameter {error}") from None
    problems = _unknown(fields, _FIELDS, "")
    repository = Repository(
        full_name=full_name,
        url=_read_url(fields, f"https://github.com/{full_name}.git", problems),
        publish=_read_publish(fields, full_name, problems),
        keep_releases=_read_count(fields, "keep_releases", _DEFAULTS.keep_releases, problems),
        grace_seconds=_read_count(fields, "grace_seconds", _DEFAULTS.grace_seconds, problems),
        depth=_read_count(fields, "depth", _DEFAULTS.depth, problems),
        credentials=_read_credentials(fields, problems),
        allow_external_links=_read_flag(fields, "allow_external_links", problems),
    )
    if problems:
        raise ConfigurationInvalid(f"{full_name}: " + "; ".join(problems))
    return repository


def _unknown(fields: dict[str, object], known: frozenset[str], where: str) -> list[str]:
    # !a and the cut: a key can be anything, and goes into a log line.
    return [f"{where}{name[:40]!a} is not a known field" for name in fields if name not in known]


def _read_count(fields: dict[str, object], name: str, default: int, problems: list[str]) -> int:
    value = fields.get(name, default)
    low, high = _BOUNDS[name]
    # bool is an int in Python; `"depth": true` is a mistake in JSON.
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        problems.append(f"{name} is not a whole number from {low} to {high}")
        return default
    return value


def _read_flag(fields: dict[str, object], name: str, problems: list[str]) -> bool:
    value = fields.get(name, False)
    if not isinstance(value, bool):
        problems.append(f"{name} is neither true nor false")
    return value is True


def _read_credentials(fields: dict[str, object], problems: list[str]) -> str | None:
    if "credentials" not in fields:
        return None
    value = fields["credentials"]
    if isinstance(value, str) and len(value) <= MAX_PARAMETER_NAME_LENGTH and _PARAMETER_NAME.fullmatch(value):
        return value
    # The value is not shown: the likely mistake is to write the token itself here.
    problems.append("credentials is not a parameter's name that starts with a slash")
    return None


def _read_url(fields: dict[str, object], default: str, problems: list[str]) -> str:
    value = fields.get("url", default)
    if not isinstance(value, str):
        problems.append("url is not text")
        return default
    if problem := _url_problem(value):
        problems.append(f"url {problem}")
    return value


def _url_problem(url: str) -> str | None:
    """What is wrong with `url`; a good one is https (http on loopback), host, perhaps a port, and a path."""
    # First, because urlsplit drops tabs and newlines silently.
    if len(url) > MAX_URL_LENGTH or not _URL_CHARACTERS.fullmatch(url) or "\\" in url:
        return f"is not at most {MAX_URL_LENGTH} printable ASCII characters without spaces and backslashes"
    try:
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
    return host == "localhost" or (_is_address(host) and ip_address(host).is_loopback)


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
        problems.extend(_overlaps(rules, full_name))
    return tuple(rules)


def _read_rule(entry: object, where: str, problems: list[str]) -> PublishRule:
    """Return one rule.

    `ref` is a full name under refs/heads/ or refs/tags/, or a pattern: such a name with `*` as its whole last
    part, which stands for one part or more, as in git's refspecs. Absent, it is the remote's default branch.
    `path` is where it goes, relative to the mount; a pattern's must have the `*` too, at its end.
    """
    if not isinstance(entry, dict):
        problems.append(f"{where} is not an object")
        return PublishRule()
    problems.extend(_unknown(entry, _RULE_FIELDS, f"{where}."))
    if entry.get("mode", "releases") != "releases":
        problems.append(f'{where}.mode is not "releases", the only one so far')
    ref = _read_text(entry, "ref", where, problems)
    path = _read_text(entry, "path", where, problems)
    is_pattern = ref is not None and ref.endswith("/*")
    if ref is not None and (problem := _rule_ref_problem(ref)):
        problems.append(f"{where}.ref {problem}")
    if path is not None and (problem := _rule_path_problem(path, is_pattern)):
        problems.append(f"{where}.path {problem}")
    return PublishRule(ref, path)


def _read_text(entry: dict[str, object], name: str, where: str, problems: list[str]) -> str | None:
    value = entry.get(name)
    if name in entry and not isinstance(value, str):
        problems.append(f"{where}.{name} is not text")
    return value if isinstance(value, str) else None


def _rule_ref_problem(ref: str) -> str | None:
    if not ref.startswith(("refs/heads/", "refs/tags/")):
        return "is not a full name: refs/heads/<branch> or refs/tags/<tag>"
    if "*" in ref.removesuffix("/*"):
        return "has a * that is not its whole last part"
    return ref_problem(_sample(ref))


def _rule_path_problem(path: str, is_pattern: bool) -> str | None:
    if is_pattern and not path.endswith("/*"):
        return "does not end with /* as its ref does: all that the pattern matches would go to one place"
    if "*" in (path.removesuffix("/*") if is_pattern else path):
        return "has a * that does not stand for a pattern's"
    return path_problem(_sample(path) if is_pattern else path)


def _sample(pattern: str) -> str:
    """A name that the pattern matches, to hold its fixed part to the rules."""
    return f"{pattern[:-1]}x" if pattern.endswith("/*") else pattern


def _overlaps(rules: list[PublishRule], full_name: str) -> list[str]:
    """Name the rules that publish to an earlier one's path, above it, or inside it.

    A pattern takes all below its fixed part. The default branch's name is not known here: an empty last part
    stands for it. That its directory turns out to belong to another ref is for the mount to say.
    """
    places = [(rule.path or default_path(full_name, rule.ref or "")).removesuffix("/*").split("/") for rule in rules]
    problems = []
    for second, place in enumerate(places):
        # One line a rule, so that a hundred rules with one path do not make thousands of lines.
        first = next((earlier for earlier in range(second) if _is_inside(places[earlier], place)), None)
        if first is not None:
            problems.append(f"publish[{second}] goes to the path of publish[{first}], or one lies in the other")
    return problems


def _is_inside(one: list[str], other: list[str]) -> bool:
    """Whether the two paths are the same, or either lies in the other."""
    return all(left == right for left, right in zip(one, other, strict=False))
