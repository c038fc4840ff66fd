"""Comparing a published tree with a commit notices every kind of difference."""

from collections.abc import Callable
from pathlib import Path

import pytest

from local.origin import EXECUTABLE, FILE, LINK, SUBMODULE, FileContent
from local.tree import differences, listing, published_files

COMMITTED = {
    b"a/b/file": FileContent(b"1\r\n"),
    b"a/run": FileContent(b"#!", EXECUTABLE),
    b"link": FileContent(b"a/none", LINK),
    b"vendor": FileContent(b"1" * 40, SUBMODULE),
}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """COMMITTED, written by hand."""
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "file").write_bytes(b"1\r\n")
    (tmp_path / "a" / "run").write_bytes(b"#!")
    (tmp_path / "a" / "run").chmod(0o755)
    (tmp_path / "link").symlink_to("a/none")
    (tmp_path / "vendor").mkdir()
    return tmp_path


def test_an_equal_tree_has_no_differences(tree: Path) -> None:
    """Links that lead nowhere and submodules included."""
    assert differences(COMMITTED, published_files(str(tree))) == []


CHANGES: dict[str, Callable[[Path], object]] = {
    "a/b/file: 2 bytes that are not the 3 committed": lambda tree: (tree / "a/b/file").write_bytes(b"1\n"),
    "a/run: mode 100644 instead of 100755": lambda tree: (tree / "a/run").chmod(0o644),
    "link: was committed, is not published": lambda tree: (tree / "link").unlink(),
    "more: is published, was not committed": lambda tree: (tree / "more").touch(),
    "empty: is published, was not committed": lambda tree: (tree / "empty").mkdir(),
    "vendor/x: is published, was not committed": lambda tree: (tree / "vendor" / "x").touch(),
}


@pytest.mark.parametrize("line", CHANGES)
def test_a_difference_is_named(tree: Path, line: str) -> None:
    """Content, mode, missing, surplus, surplus empty directory, and a submodule with something in it."""
    CHANGES[line](tree)
    assert line in differences(COMMITTED, published_files(str(tree)))


def test_a_link_is_not_followed(tree: Path) -> None:
    """A link to an equal file is not that file."""
    (tree / "a" / "run").rename(tree / "a" / "other")
    (tree / "a" / "run").symlink_to("other")
    assert f"a/run: mode {LINK:o} instead of {EXECUTABLE:o}" in differences(COMMITTED, published_files(str(tree)))


def test_the_listing_shows_mode_size_and_target(tree: Path) -> None:
    """As `ls -l` would."""
    (tree / "a" / "b" / "file").chmod(FILE & 0o777)
    (tree / "vendor").chmod(0o755)
    assert listing(str(tree)) == [
        "-rw-r--r--       3  a/b/file",
        "-rwxr-xr-x       2  a/run",
        "lrwxrwxrwx          link -> a/none",
        "drwxr-xr-x          vendor",
    ]
