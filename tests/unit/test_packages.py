"""Which package imports which: what is deployed knows nothing of its tools, and no tool knows the tests."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
TOOLS = ("local", "tools", "testing", "benchmarks")
ALLOWED = {
    "handler": {"handler"},
    "local": {"handler", "local"},
    "tools": {"handler", "local", "tools"},
    "testing": {"handler", "local", "testing"},
    "benchmarks": {"handler", "local", "testing", "benchmarks"},
}
"""By package: which of the project's packages it may import."""


def imported_by(path: Path) -> Iterator[str]:
    """Yield the first part of every module name that a file imports, anywhere in it."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (name.name.partition(".")[0] for name in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield (node.module or "").partition(".")[0]


@pytest.mark.parametrize("package", ALLOWED)
def test_a_package_imports_only_what_it_may(package: str) -> None:
    """Lambda gets `handler` alone, and the tools work where `tests` is not installed."""
    ours = {"handler", "tests", *TOOLS}
    for path in sorted((PROJECT / package).rglob("*.py")):
        unwanted = set(imported_by(path)) & ours - ALLOWED[package]
        assert not unwanted, f"{path.relative_to(PROJECT)} imports {sorted(unwanted)}"


def test_a_command_in_a_string_names_no_test_module() -> None:
    """A child process is told its module by name: `-m tests.…` would be an import that the syntax does not show."""
    for package in TOOLS:
        for path in sorted((PROJECT / package).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Constant) and isinstance(node.value, str):
                    assert not node.value.startswith("tests."), f"{path.relative_to(PROJECT)}: {node.value!r}"
