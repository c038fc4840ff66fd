"""Where rules publish to, and which of them overlap. Pure: no I/O, no clock.

Two refs that publish to one directory would destroy each other's releases in turn, and a target inside another's
directory would be swept with it. A rule's path prefix is the beginning of all the paths that it publishes to: `site/`
for the target `site`, `site/v` for the pattern `site/v*`. Two rules overlap where one prefix starts with the other:
then, and only then, can their paths be the same, or one lie inside the other.
"""

from collections.abc import Iterable, Iterator, Sequence

from handler.config.names import MIRROR, default_path, is_pattern
from handler.model import PublishRule, Repository

_Claim = tuple[str, str, str]
"""A path prefix, the repository that publishes there, and what of it does."""


def path_of(full_name: str, rule: PublishRule) -> str:
    """Return the rule's path, or its default path; a pattern's path ends with `*`.

    The rule does not know the default branch's name: an empty last part stands for it.
    """
    if rule.path is not None:
        return rule.path
    return f"{full_name}/latest" if rule.is_latest else default_path(full_name, rule.ref or "")


def path_prefix(full_name: str, rule: PublishRule) -> str:
    """Return the beginning of all the paths that the rule publishes to."""
    path = path_of(full_name, rule)
    return path[:-1] if is_pattern(path) else f"{path}/"


def do_overlap(one: str, other: str) -> bool:
    """Whether two path prefixes overlap."""
    return one.startswith(other) or other.startswith(one)


def overlapping_rules(full_name: str, rules: Sequence[PublishRule]) -> Iterator[tuple[int, int]]:
    """Yield (earlier, later) for each rule that overlaps an earlier one: only the first, so that lists stay short.

    Assume that no other rule's path ends with the default branch's name. `default_branch_overlap` checks that, once
    the name is known.
    """
    prefixes = [path_prefix(full_name, rule) for rule in rules]
    for later, prefix in enumerate(prefixes):
        earlier = next((at for at in range(later) if do_overlap(prefixes[at], prefix)), None)
        if earlier is not None:
            yield earlier, later


def default_branch_overlap(full_name: str, rules: Sequence[PublishRule], default_branch_ref: str) -> int | None:
    """Return the number of the first rule that publishes another ref to the default branch's default path, or into it.

    Return None where no rule does, or no rule publishes the default branch to its default path.
    """
    if not any(rule.ref is None and rule.path is None for rule in rules):
        return None
    path = default_path(full_name, default_branch_ref)
    for number, rule in enumerate(rules):
        if rule.path is None and (rule.ref is None or rule.ref.startswith("refs/heads/")):
            continue  # the default paths of two branches differ as their names do
        is_same_target = rule.ref in (None, default_branch_ref) and rule.path == path
        if not is_same_target and do_overlap(path_prefix(full_name, rule), f"{path}/"):
            return number
    return None


def covers_repository(full_name: str, rule: PublishRule) -> bool:
    """Whether the rule can publish over the repository's own directory, where its mirror is, or above it."""
    return full_name.startswith(path_prefix(full_name, rule))


def overlaps_between(repositories: Iterable[Repository]) -> Iterator[str]:
    """Yield a sentence for each rule that overlaps another repository's rule or mirror.

    On the mount the target that was there first is still published; the other one's pushes are refused. Takes the time
    of a sort.
    """
    claims = sorted(
        claim for repository in repositories for claim in (*_rule_prefixes(repository), _mirror_prefix(repository))
    )
    enclosing: list[_Claim] = []
    for prefix, full_name, about in claims:
        # In this order a prefix comes right before those that start with it: the enclosing ones form a stack.
        while enclosing and not prefix.startswith(enclosing[-1][0]):
            enclosing.pop()
        other = next((each for each in reversed(enclosing) if each[1] != full_name), None)
        if other is not None:
            yield f"{full_name}: {about} meets {other[1]}'s {other[2]}"
        enclosing.append((prefix, full_name, about))


def _rule_prefixes(repository: Repository) -> Iterator[_Claim]:
    for number, rule in enumerate(repository.publish):
        yield path_prefix(repository.full_name, rule), repository.full_name, f"publish[{number}]"


def _mirror_prefix(repository: Repository) -> _Claim:
    return f"{repository.full_name}/{MIRROR}/", repository.full_name, MIRROR
