"""An owner's parameter: a rule for all of an owner's repositories that have none of their own. Pure: no I/O, no clock.

It has the fields of a repository's parameter, and two more, `include` and `exclude`: lists of patterns of names, in
which `*` stands for any characters. In `url` and in each rule's `path`, `{owner}` and `{name}` stand for the
repository's own. A repository's own parameter replaces the rule whole.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase

from handler.config.fields import FieldReader, Parse, parse_object, text
from handler.config.names import is_owner
from handler.config.repository import parse_repository
from handler.errors import ConfigurationInvalid
from handler.model import Repository

MAX_PATTERNS = 100
SAMPLE = "NAME"
"""Stands for any repository's name where the rule itself is checked."""
_PATTERN = re.compile(r"[A-Za-z0-9_.*-]{1,100}")
_UNKNOWN_PLACEHOLDER = re.compile(r"\{(?!owner\}|name\})|(?<!\{owner)(?<!\{name)\}")


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnerRule:
    """The rule for an owner's repositories, validated for a name of `SAMPLE`."""

    owner: str
    fields: Mapping[str, object]
    include: tuple[str, ...] = ("*",)
    exclude: tuple[str, ...] = ()

    def includes(self, full_name: str) -> bool:
        """Whether `<owner>/<name>` is one of this owner's, and its name is included and not excluded."""
        owner, _, name = full_name.partition("/")
        # In any letter case: a forge takes `Secrets` and `secrets` for one repository, and `exclude` must not miss one.
        name = name.lower()
        return (
            owner == self.owner
            and any(fnmatchcase(name, pattern.lower()) for pattern in self.include)
            and not any(fnmatchcase(name, pattern.lower()) for pattern in self.exclude)
        )

    def repository(self, full_name: str) -> Repository:
        """Return the repository that the rule describes.

        Raises ConfigurationInvalid, where this name makes a path that a target cannot have.
        """
        return parse_repository(full_name, _filled_in(self.fields, full_name))


def parse_owner_rule(owner: str, parameter: str) -> OwnerRule:
    """Return the rule that the parameter's text describes.

    Raises ConfigurationInvalid, naming the owner and every problem, each with its field.
    """
    if not is_owner(owner):
        raise ConfigurationInvalid(f"{owner[:200]!r} is neither <owner>/<name> nor <owner>")
    try:
        fields = parse_object(parameter)
    except ValueError as error:
        raise ConfigurationInvalid(f"{owner}: the parameter {error}") from None
    problems: list[str] = []
    reader = FieldReader(fields, problems)
    rule = OwnerRule(
        owner=owner,
        fields={name: value for name, value in fields.items() if name not in ("include", "exclude")},
        include=reader.read("include", _patterns(1), ("*",)),
        exclude=reader.read("exclude", _patterns(0), ()),
    )
    problems += _placeholder_problems(rule.fields)
    sample = f"{owner}/{SAMPLE}"
    try:
        rule.repository(sample)
    except ConfigurationInvalid as error:
        problems.append(str(error).removeprefix(f"{sample}: "))
    if problems:
        raise ConfigurationInvalid(f"{owner}: " + "; ".join(problems))
    return rule


def _patterns(fewest: int) -> Parse[tuple[str, ...]]:
    def parse(value: object) -> tuple[str, ...]:
        if not isinstance(value, list) or not fewest <= len(value) <= MAX_PATTERNS:
            raise ValueError(f"is not a list of {fewest} to {MAX_PATTERNS} patterns of names")
        for each in value:
            if not _PATTERN.fullmatch(text(each)):
                raise ValueError("holds what is no pattern of repositories' names: letters, digits, _ . - and *")
        return tuple(value)

    return parse


def _placeholder_problems(fields: Mapping[str, object]) -> list[str]:
    """Return the problems of placeholders; what is no text at all is found where the fields are read."""
    rules = fields.get("publish")
    places = [("url", fields.get("url"))]
    places += [
        (f"publish[{number}].path", rule.get("path"))
        for number, rule in enumerate(rules if isinstance(rules, list) else ())
        if isinstance(rule, dict)
    ]
    problems = []
    for name, value in places:
        if not isinstance(value, str):
            continue
        if _UNKNOWN_PLACEHOLDER.search(value):
            problems.append(f"{name} has a brace that belongs neither to {{owner}} nor to {{name}}")
        elif "{name}" not in value:
            problems.append(f"{name} has no {{name}}: it would be the same for all repositories")
    return problems


def _filled_in(fields: Mapping[str, object], full_name: str) -> dict[str, object]:
    """Return the fields with the placeholders replaced, as a repository's own parameter would have them."""
    filled = dict(fields)
    if "url" in filled:
        filled["url"] = _replaced(filled["url"], full_name)
    rules = filled.get("publish")
    if isinstance(rules, list):
        filled["publish"] = [
            {**rule, "path": _replaced(rule["path"], full_name)} if isinstance(rule, dict) and "path" in rule else rule
            for rule in rules
        ]
    return filled


def _replaced(value: object, full_name: str) -> object:
    owner, _, name = full_name.partition("/")
    return value.replace("{owner}", owner).replace("{name}", name) if isinstance(value, str) else value
