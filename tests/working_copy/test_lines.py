"""One file's contents merged: what merges, what conflicts and what comes out is what git says."""

import random
import time
from pathlib import Path

import pytest

from handler.mount.working_copy.merge import contents
from handler.mount.working_copy.merge.contents import merge_contents
from tests.working_copy.examples import chance, examples
from tests.working_copy.oracle import Oracle

Case = tuple[bytes, bytes, bytes]
CODE = Path(contents.__file__).read_bytes().split(b"\n")


def _edited(dice: random.Random, content: list[bytes], words: list[bytes]) -> list[bytes]:
    """Insert, remove, replace and repeat some lines."""
    edited = list(content)
    for _ in range(dice.choice([1, 2, 3, 6, 12])):
        kind, at, count = dice.random(), dice.randint(0, len(edited)), dice.randint(1, 4)
        if kind < 0.35:
            edited[at:at] = dice.choices(words, k=count)
        elif kind < 0.65:
            del edited[at : at + count]
        elif kind < 0.9:
            edited[at : at + count] = dice.choices(words, k=dice.randint(1, 4))
        else:
            edited[at:at] = edited[dice.randint(0, len(edited)) :][: dice.randint(1, 9)]
    return edited


def _case(dice: random.Random, words: list[bytes], longest: int) -> Case:
    """Return base, ours and theirs; now and then theirs grew out of ours, or the last line does not end."""
    start = dice.randrange(len(words))
    is_code = words is CODE
    base = words[start : start + longest] if is_code else dice.choices(words, k=dice.randint(0, longest))
    ours = _edited(dice, base, words)
    theirs = _edited(dice, ours if dice.random() < 0.1 else base, words)
    three = [b"".join(line + b"\n" for line in content) for content in (base, ours, theirs)]
    one, two, three_ = (content[:-1] if dice.random() < 0.1 else content for content in three)
    return one, two, three_


@pytest.mark.parametrize(
    ("words", "longest"),
    [(1, 30), (2, 10), (2, 60), (3, 12), (3, 300), (5, 20), (12, 40), (40, 80), (0, 30), (0, 400)],
)
def test_contents_merge_as_git_merges_them(tmp_path: Path, words: int, longest: int) -> None:
    """Few different lines, so that what belongs together is ambiguous; and real code (0), with its blank lines."""
    dice = chance(f"contents {words} {longest}")
    alphabet = [b"%d" % number for number in range(words)] or CODE
    cases = [_case(dice, alphabet, longest) for _ in range(examples(60))]
    expected = Oracle(tmp_path / "oracle").contents(cases)
    assert [case for case, merged in zip(cases, expected, strict=True) if merge_contents(*case) != merged] == []
    assert None in expected and any(expected), "the examples show nothing"


def test_what_is_too_frequent_for_the_histogram_is_compared_as_git_does(tmp_path: Path) -> None:
    """Where every common line occurs more than 64 times, git falls back to the shortest edit script."""
    dice = chance("frequent")
    words = [b"", b"}", b"return"]
    cases = []
    for _ in range(examples(6)):
        base = [dice.choice(words) if dice.random() < 0.6 else b"%d" % dice.randrange(10**6) for _ in range(700)]
        ours, theirs = list(base), list(base)
        for side in (ours, theirs):
            at = dice.randrange(600)
            side[at : at + dice.randint(1, 150)] = dice.choices([*words, b"new"], k=dice.randint(1, 150))
        cases.append((b"\n".join(base), b"\n".join(ours), b"\n".join(theirs)))
    merged = [merge_contents(*case) for case in cases]
    assert merged == Oracle(tmp_path / "oracle").contents(cases)


@pytest.mark.parametrize(
    ("base", "ours", "theirs", "merged"),
    [
        (b"1\n2\n3\n4\n", b"0\n2\n3\n4\n", b"1\n2\n3\n5\n", b"0\n2\n3\n5\n"),
        (b"1\n2\n", b"0\n2\n", b"1\n3\n", None),
        (b"1\n2\n3\n", b"0\n2\n3\n", b"0\n2\n4\n", b"0\n2\n4\n"),
        (b"1\n2\n3", b"0\n2\n3", b"1\n2\n3\n", b"0\n2\n3\n"),
        (b"1\r2\r3\r", b"0\r2\r3\r", b"1\r2\r4\r", None),
        (b"1\n", b"", b"1\n2\n", None),
        (b"", b"1\n", b"1\n2\n", None),
        (b"", b"", b"1\n", b"1\n"),
        (b"1\0\n2\n3\n", b"0\0\n2\n3\n", b"1\0\n2\n4\n", None),
        (b"1\0", b"1\0", b"2\0", b"2\0"),
        (b"1\0", b"2\0", b"2\0", b"2\0"),
        (b"1\n2\n3\n", b"0\n2\n3\n", b"1\n2\n\0\n", None),
        (b"1\n" + b"2\n" * 4000 + b"\0\n", b"0\n" + b"2\n" * 4000 + b"\0\n", b"1\n" + b"2\n" * 4000 + b"\0", b""),
    ],
    ids=[
        "apart",
        "next to each other",
        "the same change is taken once",
        "a last line that does not end",
        "a carriage return ends no line",
        "removed and added to",
        "both added",
        "only one added",
        "binary",
        "binary on one side",
        "binary and the same",
        "binary in theirs",
        "a NUL after 8000 bytes is text",
    ],
)
def test_examples(tmp_path: Path, base: bytes, ours: bytes, theirs: bytes, merged: bytes | None) -> None:
    """The plain cases, spelled out; git says the same."""
    if merged == b"":
        merged = ours[:-1]
    assert merge_contents(base, ours, theirs) == merged
    assert Oracle(tmp_path / "oracle").contents([(base, ours, theirs)]) == [merged]


@pytest.mark.parametrize("theirs", [b"b\n" + b"a\n" * 100_000, b"a\nb\n" * 50_000], ids=["all equal", "alternating"])
def test_hostile_contents_end_in_time(theirs: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every line may equal every other one: what is not found within the bound is a conflict."""
    monkeypatch.setattr(contents, "MAX_WORK", 1_000_000)
    started = time.monotonic()
    merge_contents(b"a\n" * 100_000, b"a\n" * 50_000 + b"b\na\nb\n" + b"a\n" * 50_000, theirs)
    assert time.monotonic() - started < 10


def test_beyond_the_bound_is_a_conflict(monkeypatch: pytest.MonkeyPatch) -> None:
    """More careful than git, which would go on for as long as it takes."""
    base = [b"%d\n" % number for number in range(300)]
    case = b"".join(base), b"".join([b"x\n", *base[1:]]), b"".join([*base[:-1], b"x\n"])
    assert merge_contents(*case) == b"".join([b"x\n", *base[1:-1], b"x\n"])
    monkeypatch.setattr(contents, "MAX_WORK", 500)
    assert merge_contents(*case) is None
