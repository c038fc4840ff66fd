"""The fuzzer's targets, without the fuzzer: their seeds, and the same mutations of them in every run."""

import random

import pytest

from testing import selection
from tests.fuzz.targets import TARGETS

MUTATIONS = selection.count(30_000, 6000)
"""Of each target; some seconds in all."""
_TOKENS = (
    b"\0",
    b"\xff" * 4,
    b"\x80" * 5,
    b'"',
    b"[",
    b"{}",
    b"null",
    b"0000",
    b"0001",
    b"-1",
    b"1e999",
    b"\xed\xa0\x80",
)


def mutated(draw: random.Random, content: bytes) -> bytes:
    """Return the content with one to four changes: a bit, a piece that is gone, doubled or moved, a token."""
    found = bytearray(content)
    for _ in range(draw.randint(1, 4)):
        at = draw.randrange(len(found) + 1)
        end = min(len(found), at + draw.choice((1, 2, 4, 16, 64)))
        change = draw.randrange(5)
        if change == 0 and at < len(found):
            found[at] ^= 1 << draw.randrange(8)
        elif change == 1:
            del found[at:end]
        elif change == 2:
            found[at:at] = found[at:end]
        elif change == 3:
            found[at:end] = draw.choice(_TOKENS)
        else:
            found[at:at] = draw.randbytes(draw.randint(1, 8))
    return bytes(found)


@pytest.mark.parametrize("name", TARGETS)
def test_seeds_and_their_mutations_find_nothing(name: str) -> None:
    """A target raises for a defect alone. What fails, fails again: the mutations are drawn from the target's name."""
    target, draw = TARGETS[name], random.Random(name)
    for seed in target.seeds:
        target.run(seed)
    for _ in range(MUTATIONS):
        target.run(mutated(draw, draw.choice(target.seeds)))


@pytest.mark.parametrize("name", TARGETS)
def test_nothing_is_too_little_for_a_target(name: str) -> None:
    """The first input that a fuzzer tries is empty."""
    for content in (b"", b"\0", b"\xff"):
        TARGETS[name].run(content)
