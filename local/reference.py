"""`python -m local.reference`: write the tables of configuration.md and security.md, and the index of decisions.md.

The tables come from the code and the template, the index from the page's headings.
"""

import ast
import inspect
import re
from collections.abc import Mapping
from dataclasses import MISSING, fields
from itertools import pairwise
from pathlib import Path
from typing import Any

import yaml

from handler import settings
from handler.config import repository
from handler.config.repository import parse_repository
from handler.exchange.messages import OPERATOR_ACTIONS, PUBLISHER_ACTIONS
from handler.exchange.operations import Operations
from handler.exchange.publisher import Publisher
from handler.settings import Settings

PROJECT = Path(__file__).resolve().parent.parent
PAGE = PROJECT / "docs" / "configuration.md"
SECURITY = PROJECT / "docs" / "security.md"
DECISIONS = PROJECT / "docs" / "decisions.md"
TEMPLATE = PROJECT / "template.yaml"

MADE_BY_THE_TEMPLATE: Mapping[str, str] = {
    "parameter_prefix": "`ParameterRoot` and the stack's name",
    "mount": "`MountPath`",
    "allow_sha1": "`AllowSha1`",
    "allowed_hosts": "`AllowedHosts`",
    "event_bus": "`EventBus`",
    "queue_url": "`Delivery`",
    "dead_letter_url": "`Delivery`",
    "publisher": "`Publisher`",
    "all_metrics": "`Monitoring`",
    "ca": "`CaName`",
    "https_proxy": "`HttpsProxy`",
    "no_proxy": "`NoProxy`",
}
"""Settings whose value follows from the stack's parameters; the others stand in template.yaml as they are."""

REPOSITORY: Mapping[str, str] = {
    "url": "Where it is fetched from: https, or http on loopback (names below localhost too); without user or query",
    "forge": "Whose it is: `github`, `gitlab`, `gitea` (Forgejo too) or `bitbucket`; see [Forges](#forges)",
    "publish": "A list of at most 100 rules: which ref goes to which path; see [Rules](#rules)",
    "keep_releases": "How many trees are kept, counting `current`; more while their grace lasts",
    "grace_seconds": "How long a replaced tree stays as it is",
    "spares": "How many spares each target may have at most: complete trees that the next pushes are written into, so "
    "that each costs its own change alone ([scale.md](scale.md#spares)); 0 for none",
    "depth": "Commits of history in the mirror; 0 for all",
    "max_tree_bytes": "How many bytes the files of a published tree may have together (`tree_too_large`); by default "
    "`GIT2EFS_MAX_TREE_BYTES`",
    "credentials": "The full name of the SecureString that holds the token of a private repository, or a GitHub App's "
    "key, below `<prefix>/credentials/`; or such a [secret's ARN](#secrets-manager)",
    "ca": "The full name of the parameter that holds certificates (PEM) of authorities of your own, below "
    "`<prefix>/ca/`; by default the credential's `ca`, else the stack's ([Private networks](#private-networks))",
    "external_links": "What becomes of symbolic links that may lead out of what is published: `refuse` the commit "
    "(`tree_unsafe`, which names them), `keep` them, or `skip` them, which the log notes",
    "allow_external_links": "What `external_links` was called before: `true` is `keep`, `false` is `refuse`",
    "commit_status": "Show on the forge how publishing each commit ended; needs `credentials` whose token may write "
    "commit statuses ([events.md](events.md#commit-statuses))",
    "own_secret": "Accept its pushes only at its own URL, signed with its own secret; see "
    "[Secrets of repositories](#secrets-of-repositories)",
    "trust_payload": "Publish the commit that a signed payload names even if the remote's ref does not confirm it "
    "within `GIT2EFS_LAG_SECONDS`; see [security.md](security.md#a-leaked-webhook-secret) before you set it",
}
"""What each field of a repository's parameter is; defaults and bounds come from the code."""


class _Loader(yaml.SafeLoader):
    """YAML with CloudFormation's tags, whose values are of no use here."""


def tables() -> dict[str, str]:
    """Return the tables, each by the name of its place on the page."""
    return {"repository": repository_table(), "stack": stack_table(TEMPLATE.read_text()), "settings": settings_table()}


def repository_table() -> str:
    """Return the fields of a repository's parameter. Raises KeyError for one that is not described here."""
    defaults = parse_repository("OWNER/NAME", "{}")
    rows = []
    for name in sorted(repository._FIELDS, key=list(REPOSITORY).index):
        default = getattr(defaults, name, None)
        shown = {"url": "`https://github.com/<owner>/<name>.git`", "publish": "the default branch"}.get(name)
        bounds = repository._BOUNDS.get(name)
        rows.append([f"`{name}`", shown or _value(default), _range(*bounds) if bounds else "", f"{REPOSITORY[name]}."])
    return _table(["field", "default", "from–to", ""], rows)


def stack_table(template: str) -> str:
    """Return the parameters of the stack, in the groups of its form."""
    _Loader.add_multi_constructor("!", lambda loader, suffix, node: None)
    parsed = yaml.load(template, Loader=_Loader)  # noqa: S506 - a SafeLoader, with tags of no effect
    rows = []
    for group in parsed["Metadata"]["AWS::CloudFormation::Interface"]["ParameterGroups"]:
        rows.append([f"**{group['Label']['default']}**", "", "", ""])
        for name in group["Parameters"]:
            parameter = parsed["Parameters"][name]
            rows.append(
                [f"`{name}`", _value(parameter["Default"]), _allowed(parameter), parameter["Description"].strip()]
            )
    return _table(["parameter", "default", "allowed", ""], rows)


def settings_table() -> str:
    """Return the settings of the functions. Raises KeyError for one without a description."""
    about = _descriptions()
    rows = []
    for field in fields(Settings):
        default = "" if field.default is MISSING else _value(field.default)
        bounds = settings._BOUNDS.get(field.name)
        made = MADE_BY_THE_TEMPLATE.get(field.name, "")
        name = f"`{settings.variable_of(field.name)}`"
        rows.append(
            [name, default, _range(*bounds) if bounds else "", f"{about[field.name]}{f' From {made}.' if made else ''}"]
        )
    return _table(["variable", "default", "from–to", ""], rows)


def actions_table() -> str:
    """Return what the publisher may be asked: each action, with the first sentence of its method."""
    owners = [(Publisher, PUBLISHER_ACTIONS), (Operations, OPERATOR_ACTIONS)]
    rows = []
    for owner, actions in owners:
        for action in actions:
            about = " ".join((inspect.getdoc(getattr(owner, action)) or "").split())
            rows.append([f"`{action}`", f"{re.split('[.] ', about)[0].rstrip('.')}."])
    return _table(["action", "asks it to"], rows)


def index_of(page: str) -> str:
    """Return a list with a link to each heading of the second and third level, in their order."""
    lines = []
    for marks, heading in re.findall(r"^(##|###) (.+)$", page, re.MULTILINE):
        # GitHub's anchors: lower case, hyphens for spaces, and no punctuation.
        anchor = re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        lines.append(f"{'  ' * (len(marks) - 2)}- [{heading}](#{anchor})\n")
    return "".join(lines)


def _descriptions() -> dict[str, str]:
    """Return what stands below each field of Settings."""
    body: list[ast.stmt] = []
    for node in ast.parse(inspect.getsource(settings)).body:
        if isinstance(node, ast.ClassDef) and node.name == Settings.__name__:
            body = node.body
    about = {}
    for field, text in pairwise(body):
        if isinstance(field, ast.AnnAssign) and isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant):
            assert isinstance(field.target, ast.Name)
            about[field.target.id] = " ".join(str(text.value.value).split())
    return about


def _allowed(parameter: Mapping[str, Any]) -> str:
    if "AllowedValues" in parameter:
        return ", ".join(f"`{value}`" for value in parameter["AllowedValues"])
    if "MinValue" in parameter:
        return _range(parameter["MinValue"], parameter.get("MaxValue"))
    return str(parameter.get("ConstraintDescription", "")).removeprefix("must be ")


def _range(low: float, high: float | None) -> str:
    return f"{low:,} or more" if high is None else f"{low:,}–{high:,}"


def _value(value: object) -> str:
    if isinstance(value, bool):
        return "`true`" if value else "`false`"
    if value is None or value == "":
        return "none"
    return f"`{value}`"


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |\n" for line in lines)


def with_tables(page: str, made: Mapping[str, str]) -> str:
    """Return the page with each table between its marks `<!-- name -->` and `<!-- /name -->`.

    Raises KeyError where a table has no one place.
    """
    for name, table in made.items():
        marks = f"<!-- {name} -->", f"<!-- /{name} -->"
        pattern = re.compile(f"{marks[0]}.*?{marks[1]}", re.DOTALL)
        text = f"{marks[0]}\n\n{table}\n{marks[1]}"
        page, count = pattern.subn(text.replace("\\", r"\\"), page)
        if count != 1:
            raise KeyError(f"the page has no one place for {name}")
    return page


if __name__ == "__main__":
    PAGE.write_text(with_tables(PAGE.read_text(encoding="utf-8"), tables()), encoding="utf-8")
    security = SECURITY.read_text(encoding="utf-8")
    SECURITY.write_text(with_tables(security, {"actions": actions_table()}), encoding="utf-8")
    decisions = DECISIONS.read_text(encoding="utf-8")
    DECISIONS.write_text(with_tables(decisions, {"index": index_of(decisions)}), encoding="utf-8")
