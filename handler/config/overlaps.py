"""Where rules publish to, and which of them would meet there. Pure: no I/O, no clock.

Two refs in one directory would take turns at destroying each other, and a target inside another's directory would be
swept with it. A place is the beginning that the paths of all that is in there have: `site/` for the target `site`,
`site/v` for the pattern `site/v*`. Two places meet where one beginning is the other's: what the patterns' `*` stand
for may then be the same directory, or one inside the other, and nowhere else.
"""

from collections.abc import Iterable, Iterator, Sequence

from handler.config.names import MIRROR, default_path, is_pattern
from handler.model import PublishRule, Repository


def path_of(full_name: str, rule: PublishRule) -> str:
    """Return the rule's path, its default where it names none; a pattern's ends with `*`.

    The default branch's own name is not known from the rule: an empty last part stands for it.
    """
    if rule.path is not None:
        return rule.path
    return f"{full_name}/latest" if rule.is_latest else default_path(full_name, rule.ref or "")


def place_of(full_name: str, rule: PublishRule) -> str:
    """Return where the rule publishes."""
    path = path_of(full_name, rule)
    return path[:-1] if is_pattern(path) else f"{path}/"


def do_meet(one: str, other: str) -> bool:
    """Whether two places meet."""
    return one.startswith(other) or other.startswith(one)


def meetings(full_name: str, rules: Sequence[PublishRule]) -> Iterator[tuple[int, int]]:
    """Yield (earlier, later) for each rule that meets an earlier one: the first such, so that lists stay short.

    The default branch is taken for one whose name no other rule's path ends with; `default_branch_meeting` knows more.
    """
    places = [place_of(full_name, rule) for rule in rules]
    for later, place in enumerate(places):
        earlier = next((at for at in range(later) if do_meet(places[at], place)), None)
        if earlier is not None:
            yield earlier, later


def default_branch_meeting(full_name: str, rules: Sequence[PublishRule], default_branch_ref: str) -> int | None:
    """Return the number of the first rule that meets the default branch's default path with another ref.

    None where none does, or no rule publishes the default branch to its default path.
    """
    if not any(rule.ref is None and rule.path is None for rule in rules):
        return None
    path = default_path(full_name, default_branch_ref)
    for number, rule in enumerate(rules):
        if rule.path is None and (rule.ref is None or rule.ref.startswith("refs/heads/")):
            continue  # branches at their default paths keep apart as their names do
        is_same_target = rule.ref in (None, default_branch_ref) and rule.path == path
        if not is_same_target and do_meet(place_of(full_name, rule), f"{path}/"):
            return number
    return None


def takes_repository(full_name: str, rule: PublishRule) -> bool:
    """Whether a target of the rule can be the directory of all the owner's repositories, or a pattern's this one's."""
    return full_name.startswith(place_of(full_name, rule))


def meetings_between(repositories: Iterable[Repository]) -> Iterator[str]:
    """Yield a sentence for each rule that meets another repository's rule or mirror, so that somebody mends it.

    Of such two, the mount lets the one that came first go on, and refuses the other's pushes. Takes the time of a sort.
    """
    places = sorted(
        place for repository in repositories for place in (*_rule_places(repository), _mirror_place(repository))
    )
    around: list[tuple[str, str, str]] = []
    for place in places:
        # What a beginning is one of comes right after it: those around this place are at the list's end.
        while around and not place[0].startswith(around[-1][0]):
            around.pop()
        other = next((each for each in reversed(around) if each[1] != place[1]), None)
        if other is not None:
            yield f"{place[1]}: {place[2]} meets {other[1]}'s {other[2]}"
        around.append(place)


def _rule_places(repository: Repository) -> Iterator[tuple[str, str, str]]:
    for number, rule in enumerate(repository.publish):
        yield place_of(repository.full_name, rule), repository.full_name, f"publish[{number}]"


def _mirror_place(repository: Repository) -> tuple[str, str, str]:
    return f"{repository.full_name}/{MIRROR}/", repository.full_name, MIRROR
