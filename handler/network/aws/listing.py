"""What the listed parameters describe: repositories, and owners' rules for those that have none of their own."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import chain
from typing import TYPE_CHECKING, TypeVar

from handler.config.names import is_owner
from handler.config.repository import parse_repository
from handler.errors import ConfigurationInvalid
from handler.model import Repository
from handler.network.aws.ssm import Text

if TYPE_CHECKING:
    from handler.config.owners import OwnerRule

MAX_PARSED = 1000
MAX_RULES = 100

Parsed = TypeVar("Parsed")
Described = tuple[str, Repository | ConfigurationInvalid]
"""A repository by its full name, or what is wrong with its parameter; or an owner's name, and what is wrong there."""

# Pure, so that a text that was parsed once needs no second time, whoever sent the push.
parse = lru_cache(maxsize=MAX_PARSED)(parse_repository)


@lru_cache(maxsize=MAX_RULES)
def parse_rule(owner: str, text: str) -> "OwnerRule":
    """Return the rule that an owner's parameter describes. Raises ConfigurationInvalid."""
    from handler.config.owners import parse_owner_rule  # who has no rules does not pay for it

    return parse_owner_rule(owner, text)


def described(texts: Sequence[tuple[str, Text]], published: Callable[[], Iterable[str]]) -> Iterator[Described]:
    """Yield what the texts describe, by their parameters' names; see `Parameters.repositories`."""
    rules = {name: _parsed(parse_rule, name, text) for name, text in texts if is_owner(name)}
    own = ((name, _parsed(parse, name, text)) for name, text in texts if name not in rules)
    wrong = [(name, rule) for name, rule in rules.items() if isinstance(rule, ConfigurationInvalid)]
    if len(wrong) == len(rules):
        return chain(own, wrong)
    # A repository's own parameter replaces the rule whole, also where it is wrong.
    names = {name for name, _ in texts}
    return chain(own, wrong, _by_rule([each for each in published() if each not in names], rules))


def _by_rule(names: Iterable[str], rules: "Mapping[str, OwnerRule | ConfigurationInvalid]") -> Iterator[Described]:
    """Yield those of the names that a rule includes."""
    for name in names:
        rule = rules.get(name.partition("/")[0])
        if rule is None or isinstance(rule, ConfigurationInvalid) or not rule.includes(name):
            continue
        try:
            yield name, rule.repository(name)
        except ConfigurationInvalid as error:
            yield name, error


def _parsed(parse_text: Callable[[str, str], Parsed], name: str, text: Text) -> Parsed | ConfigurationInvalid:
    """Return what a parameter's text describes, or what is wrong with it."""
    if isinstance(text, ConfigurationInvalid):
        return text
    try:
        return parse_text(name, text)
    except ConfigurationInvalid as error:
        return error
