"""Values that several rooms share: object ids, and the mapping that forgets."""

import pytest

from handler.config.names import is_object_id
from handler.network.aws.cache import BoundedMapping

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def test_an_object_id_is_forty_lower_case_hex_digits() -> None:
    """As text, and as git's protocol has it."""
    assert is_object_id(COMMIT)
    assert is_object_id(COMMIT.encode())


@pytest.mark.parametrize("text", ["", COMMIT[:39], COMMIT + "0", COMMIT + "\n", COMMIT.upper(), "g" + COMMIT[1:]])
def test_nothing_else_is_an_object_id(text: str) -> None:
    """No abbreviation, no newline at its end."""
    assert not is_object_id(text)
    assert not is_object_id(text.encode())


def test_a_bounded_mapping_lets_the_oldest_entry_go() -> None:
    """The one that was put longest ago; to put it again makes it young, to read it does not."""
    entries: BoundedMapping[str, int] = BoundedMapping(2)
    assert entries.put("a", 1) is None
    assert entries.put("b", 2) is None
    assert entries.put("a", 3) is None
    assert entries.get("b") == 2
    assert entries.put("c", 4) == 2
    assert (entries.get("a"), entries.get("b"), entries.get("c"), len(entries)) == (3, None, 4, 2)
    assert (entries.pop("a"), entries.pop("a"), len(entries)) == (3, None, 1)
