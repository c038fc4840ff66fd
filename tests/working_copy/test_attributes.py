"""What `.gitattributes` say of a path: as `git check-attr merge` does."""

import time
from pathlib import Path

import pytest

from handler.mount.working_copy.merge.attributes import Attributes
from handler.mount.working_copy.merge.merge_trees import merge_trees
from handler.mount.working_copy.overlay import MemoryOverlay
from testing.repositories import run_git
from tests.working_copy.examples import chance, examples
from tests.working_copy.oracle import Memory

PATTERNS = rb"""* *.txt /a.txt d/* d/** **/b.txt ** d/**/b.txt e/b* /d/e/*.txt [ab].txt [!a].txt [a-c]* ?.txt \*.txt d/
 *b* *b*t a**t d/**b.txt !a.txt #a []a].txt **/e/** /**/b.txt **/*.txt [d-/]e "a\040b.txt" "[ab].txt" """.split()
VALUES = (
    rb"""merge -merge !merge merge=union merge=text binary -binary !binary mine -mine -text merge=lfs nest""".split()
)
PATHS = [*rb"""a.txt b.txt d/a.txt d/b.txt d/e/a.txt d/e/b.txt *.txt d/abbt abt d/e/x ]a.txt""".split(), b"a b.txt"]


def test_attributes_are_read_as_git_reads_them(tmp_path: Path) -> None:
    """Random files at three levels: patterns, macros, and who has the last word."""
    dice = chance("attributes")
    run_git("init", "--quiet", directory=tmp_path)
    (tmp_path / "d/e").mkdir(parents=True)
    verdicts = set()
    for _ in range(examples(30)):
        files = {}
        for directory in (b"", b"d/", b"d/e/"):
            lines = [b"[attr]mine -merge x", b"[attr]nest mine"] if dice.random() < 0.4 else []
            for _ in range(dice.randint(0, 3)):
                lines.append(b" ".join([dice.choice(PATTERNS), *dice.choices(VALUES, k=dice.randint(1, 2))]))
            files[directory + b".gitattributes"] = b"\n".join(lines) + b"\n"
        for name, content in files.items():
            (tmp_path / name.decode()).write_bytes(content)
        said = run_git("check-attr", "-z", "--stdin", "merge", directory=tmp_path, stdin=b"\0".join(PATHS) + b"\0")
        fields = said.split(b"\0")
        expected = {
            path: value in (b"unspecified", b"set", b"text")
            for path, value in zip(fields[0::3], fields[2::3], strict=False)
        }
        attributes = Attributes(files.get)
        assert {path: attributes.is_merged_by_lines(path) for path in PATHS} == expected, files
        verdicts |= set(expected.values())
    assert verdicts == {True, False}


@pytest.mark.parametrize(
    ("line", "is_merged"),
    [(b"*.txt -text", True), (b"*.txt binary", False), (b"*.txt merge=union", False), (b"*.md -merge", True)],
)
def test_a_file_that_must_not_be_merged_conflicts(line: bytes, is_merged: bool) -> None:
    """Only where its content would have to be merged; the tree that is merged into says so."""
    objects = Memory()
    text = b"".join(b"%d\n" % number for number in range(9))
    base, ours, theirs = (
        objects.tree({b".gitattributes": rules, b"d/a.txt": content, b"d/b.txt": other})
        for rules, content, other in (
            (b"", text, text),
            (line, b"x\n" + text, b"x\n" + text),
            (b"", text + b"y\n", text),
        )
    )
    assert merge_trees(MemoryOverlay(objects), base, ours, theirs).conflicts == (() if is_merged else (b"d/a.txt",))
    assert merge_trees(MemoryOverlay(objects), base, theirs, ours).conflicts == ()


def test_no_pattern_is_slow() -> None:
    """A matcher that tries one way after the other would not end here."""
    rules = b"*a" * 100 + b"b -merge\n" + b"**/" * 50 + b"x -merge\n"
    started = time.monotonic()
    assert Attributes({b".gitattributes": rules}.get).is_merged_by_lines(b"a/" * 100 + b"a" * 255)
    assert time.monotonic() - started < 5
