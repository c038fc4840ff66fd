"""Where rules publish to, and which of them would meet there. Pure: no I/O, no clock.

Two refs in one directory would take turns at destroying each other, and a target inside another's directory would be
swept with it. A place is a path, or all paths with a fixed beginning: a pattern's `*` may stand for anything.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from handler.model import PublishRule
from handler.names import default_path, is_pattern


@dataclass(frozen=True, slots=True)
class Place:
    """`fixed` is the path, or where `is_open` the beginning that all paths of a pattern have."""

    fixed: str
    is_open: bool

    def meets(self, other: "Place") -> bool:
        """Whether a target here and one there can be the same directory, or one inside the other."""
        if self.is_open and other.is_open:
            return self.fixed.startswith(other.fixed) or other.fixed.startswith(self.fixed)
        if self.is_open:
            return other.meets(self)
        inside = f"{self.fixed}/"
        if other.is_open:
            return inside.startswith(other.fixed) or other.fixed.startswith(inside)
        return inside.startswith(f"{other.fixed}/") or other.fixed.startswith(inside)


def path_of(full_name: str, rule: PublishRule) -> str:
    """Return the rule's path, its default where it names none; a pattern's ends with `*`.

    The default branch's own name is not known from the rule: an empty last part stands for it.
    """
    if rule.path is not None:
        return rule.path
    return f"{full_name}/latest" if rule.is_latest else default_path(full_name, rule.ref or "")


def place_of(full_name: str, rule: PublishRule) -> Place:
    """Return where the rule publishes."""
    path = path_of(full_name, rule)
    return Place(path[:-1], True) if is_pattern(path) else Place(path, False)


def meetings(full_name: str, rules: Sequence[PublishRule]) -> Iterator[tuple[int, int]]:
    """Yield (earlier, later) for each rule that meets an earlier one: the first such, so that lists stay short.

    The default branch is taken for one whose name no other rule's path ends with; `default_branch_meeting` knows more.
    """
    places = [place_of(full_name, rule) for rule in rules]
    for later, place in enumerate(places):
        earlier = next((at for at in range(later) if places[at].meets(place)), None)
        if earlier is not None:
            yield earlier, later


def default_branch_meeting(full_name: str, rules: Sequence[PublishRule], default_branch_ref: str) -> int | None:
    """Return the number of the first rule that meets the default branch's default path with another ref.

    None where none does, or no rule publishes the default branch to its default path.
    """
    if PublishRule() not in rules:
        return None
    place = Place(default_path(full_name, default_branch_ref), False)
    for number, rule in enumerate(rules):
        if rule.path is None and (rule.ref is None or rule.ref.startswith("refs/heads/")):
            continue  # branches at their default paths keep apart as their names do
        is_same_target = rule.ref in (None, default_branch_ref) and rule.path == place.fixed
        if not is_same_target and place_of(full_name, rule).meets(place):
            return number
    return None


def takes_repository(full_name: str, place: Place) -> bool:
    """Whether a target there can be the repository's own directory, which holds its mirror, or lie around it."""
    owner = full_name.partition("/")[0]
    return full_name.startswith(place.fixed) if place.is_open else place.fixed == owner
