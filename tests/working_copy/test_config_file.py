"""Config files: whatever is in one, it is read as git reads it, or refused where git refuses it."""

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from handler.mount.working_copy.gitdir.config_file import parse_config
from testing.repositories import run_git

EXAMPLES = int(os.environ.get("GIT2EFS_TEST_EXAMPLES", "60"))
PIECES = [b"[core]", b'[a "B"]', b"[A.b]", b'[a "q\\"#;"]', b"[", b"]", b'"', b'"a ;"', b"\\", b"\\n", b"\\\n", b"\\q"]
PIECES += [b"=", b" = ", b" ", b"\t", b"\n", b"\r\n", b"\r", b"\f", b"#", b";", b"name", b"Na-me", b".", b"1", b"\xff"]
PIECES += [b"\n\tname = value", b"\nname", b' "in quotes" ', b"# a comment\n", b"_", b"\xef\xbb\xbf"]


def as_git(path: Path) -> list[tuple[bytes, bytes]] | None:
    """Return the settings of a file as git reads them, None where it refuses it."""
    try:
        output = run_git("config", "--list", "-z", "--no-includes", "-f", path, directory=path.parent)
    except RuntimeError:
        return None
    parts = (each.partition(b"\n") for each in output.split(b"\0")[:-1])
    return [(name, value if newline else b"true") for name, newline, value in parts]


def as_ours(content: bytes) -> list[tuple[bytes, bytes]] | None:
    """Return them as we read them, with names as git writes them."""
    try:
        return [(b".".join(part for part in key if part), value) for key, value in parse_config(content)]
    except ValueError:
        return None


def with_spaces(found: list[tuple[bytes, bytes]] | None) -> list[tuple[bytes, bytes]] | None:
    """Git's versions differ in whether a tab within a value is one: older ones make it a space."""
    return found and [(name, value.replace(b"\t", b" ").replace(b"\r", b" ")) for name, value in found]


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a directory for the files."""
    return tmp_path_factory.mktemp("config")


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(pieces=st.lists(st.sampled_from(PIECES), max_size=14), begins=st.sampled_from([b"", b"[core]\n\tname = value"]))
def test_a_config_is_read_as_git_reads_it(directory: Path, pieces: list[bytes], begins: bytes) -> None:
    """Sections, quotes, escapes, comments, lines that go on, and what is broken."""
    content = begins + b"".join(pieces)
    (directory / "config").write_bytes(content)
    assert with_spaces(as_ours(content)) == with_spaces(as_git(directory / "config"))


def test_what_git_writes_is_read_back(directory: Path) -> None:
    """Values and names that need quotes."""
    path = directory / "written"
    wanted = []
    for number, value in enumerate(
        [" in space ", 'a "quote"', "a # b ; c", "back\\slash", "two\nlines", "tab\there", ""]
    ):
        run_git("config", "-f", path, f'a.sub "{number}" \\ #.name', value, directory=directory)
        wanted.append((f'a.sub "{number}" \\ #.name'.encode(), value.encode()))
    assert as_ours(path.read_bytes()) == wanted


def test_zeros_are_refused() -> None:
    """Git reads up to the first one, and what comes after it is anybody's guess."""
    assert as_ours(b"[core]\n\tname = a\0b\n") is None
