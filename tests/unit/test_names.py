"""Names of refs and of paths."""

import subprocess

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from handler.config.names import branch_of, default_path, path_problem, ref_problem
from testing import selection
from testing.repositories import require_git

TRICKY = ["a", "b.", ".", "..", "/", "//", ".lock", "@", "@{", "{", "~", "^", ":", "?", "*", "[", "]", "\\", " "]
TRICKY += ["\x7f", "\x01", "\t", "é", "日", "-", "heads", "refs", "HEAD", "\u2028", "\xa0"]


@settings(deadline=None, max_examples=selection.count(300, 60))
@given(st.lists(st.sampled_from(TRICKY), min_size=1, max_size=6).map(lambda parts: "refs/" + "".join(parts)))
@example("refs/heads/@")
@example("refs/heads/-")
@example("refs/heads/a.lock/b")
@example("refs/heads/a.")
@example("refs/heads/a./b")
def test_a_ref_is_good_exactly_when_git_says_so(ref: str) -> None:
    """The rules are git's own, held to the program."""
    require_git()
    verdict = subprocess.run(["git", "check-ref-format", ref], check=False, capture_output=True)
    assert (ref_problem(ref) is None) == (verdict.returncode == 0)


@pytest.mark.parametrize("ref", ["", "main", "HEAD", "heads/main", "xrefs/heads/main", "/refs/heads/main", "refs"])
def test_a_ref_is_a_full_name(ref: str) -> None:
    """Short names are for people."""
    assert ref_problem(ref) == "does not start with refs/"


def test_a_ref_has_a_bound_and_is_utf8() -> None:
    """JSON can spell what UTF-8 cannot."""
    assert ref_problem("refs/heads/" + "x" * 501) is None
    assert ref_problem("refs/heads/" + "x" * 502)
    assert ref_problem("refs/heads/" + "é" * 251)
    assert ref_problem("refs/heads/\ud800")


@pytest.mark.parametrize("path", ["site", "octo/site/main", "a b/ü", "x/" + "y" * 255, "a/-/~", "octo/.github/main"])
def test_good_paths(path: str) -> None:
    """Relative, of plain parts."""
    assert path_problem(path) is None


@pytest.mark.parametrize(
    ("path", "problem"),
    [
        ("", "empty part"),
        ("/site", "empty part"),
        ("site/", "empty part"),
        ("a//b", "empty part"),
        (".", "starts with a dot"),
        ("a/../b", "starts with a dot"),
        ("a/.git", "starts with a dot"),
        ("a/.git/b", "starts with a dot"),
        ("a/.b", "starts with a dot"),
        (".a/b/c", "starts with a dot"),
        ("a/b/.c", "starts with a dot"),
        ("a/.b/.c", "starts with a dot"),
        ("o/n/mirror.git", "mirror.git"),
        ("a\\b", "backslash"),
        ("a\nb", "control character"),
        ("a\0b", "control character"),
        ("a\x9bb", "control character"),
        ("x" * 256, "255"),
        ("é" * 128, "255"),
        ("x/" * 512 + "x", "1024"),
        ("\udcff", "UTF-8"),
    ],
)
def test_bad_paths_and_why(path: str, problem: str) -> None:
    """Each with words that a person can act on."""
    assert problem in (path_problem(path) or "")


@pytest.mark.parametrize(
    ("ref", "branch"),
    [
        ("refs/heads/main", "main"),
        ("refs/heads/feature/x", "feature/x"),
        ("refs/heads/refs/heads/x", "refs/heads/x"),
        ("refs/tags/v1", "tags/v1"),
        ("refs/heads/preview/*", "preview/*"),
    ],
)
def test_the_default_path_follows_the_ref(ref: str, branch: str) -> None:
    """Branches by their short names; tags below `tags`, so that a tag and a branch of one name keep apart."""
    assert branch_of(ref) == branch
    assert default_path("octo/site", ref) == f"octo/site/{branch}"
