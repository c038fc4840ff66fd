"""Read from the source which modules an entry point can import: what its artefact has to hold. Imports nothing itself.

In our own package every import counts, since we defer some to where they are used. In what others wrote, an import in
a function does not: it serves what we do not call, and would bring half of the packages along. `deferred` lists those,
and a test compares the list with one that was looked at.
"""

import ast
import operator
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

OURS = "handler"
PYTHON = (3, 13)
"""The template's runtime: which branch of a comparison with `sys.version_info` counts."""
_COMPARISONS: Mapping[type[ast.cmpop], Callable[[tuple[int, ...], tuple[int, ...]], bool]] = MappingProxyType(
    {ast.Lt: operator.lt, ast.LtE: operator.le, ast.Gt: operator.gt, ast.GtE: operator.ge}
)


@dataclass(frozen=True)
class _Import:
    """A module that may be imported; `names` may be modules of it, or anything else in it."""

    module: str
    names: tuple[str, ...]
    is_deferred: bool
    is_tried: bool


def reached(root: Path, entry: str) -> frozenset[str]:
    """Return the modules below `root` that importing the module `entry`, and calling what is in it, may import."""
    found: set[str] = set()
    pending = [entry]
    while pending:
        name = pending.pop()
        if name in found or module_file(root, name) is None:
            continue
        found.add(name)
        pending += _parents(name)
        for each in _counted_in(root, name):
            pending += [each.module, *(f"{each.module}.{inner}" for inner in each.names)]
    return frozenset(found)


def imported(root: Path, entry: str) -> frozenset[str]:
    """Return the modules that those of `reached` name in their imports, whether they are there or not."""
    return frozenset(each.module for each in _counted(root, entry))


def missing(root: Path, entry: str) -> frozenset[str]:
    """Return the modules that those of `reached` cannot do without, and that are neither below `root` nor Python's."""
    return frozenset(
        each.module
        for each in _counted(root, entry)
        if not each.is_tried
        and each.module.partition(".")[0] not in sys.stdlib_module_names
        and module_file(root, each.module) is None
    )


def deferred(root: Path, entry: str) -> frozenset[str]:
    """Return the modules below `root` that only functions of others' modules import, and that are left out for it."""
    inside = reached(root, entry)
    return frozenset(
        each.module
        for name in inside
        if not _is_ours(name)
        for each in _imports(root, name)
        if each.is_deferred and each.module not in inside and module_file(root, each.module) is not None
    )


def module_file(root: Path, name: str) -> Path | None:
    """Return the file of a module below `root`: a package's `__init__.py`, a source or an extension; None without."""
    place = root.joinpath(*name.split("."))
    for path in (place / "__init__.py", place.with_name(f"{place.name}.py")):
        if path.is_file():
            return path
    return next(place.parent.glob(f"{place.name}.cpython-*.so"), None) if place.parent.is_dir() else None


def _counted(root: Path, entry: str) -> Iterator[_Import]:
    return (each for name in reached(root, entry) for each in _counted_in(root, name))


def _counted_in(root: Path, name: str) -> Iterator[_Import]:
    return (each for each in _imports(root, name) if not each.is_deferred or _is_ours(name))


def _is_ours(name: str) -> bool:
    return name.partition(".")[0] == OURS


def _parents(name: str) -> list[str]:
    parts = name.split(".")
    return [".".join(parts[:count]) for count in range(1, len(parts))]


def _imports(root: Path, name: str) -> Sequence[_Import]:
    path = module_file(root, name)
    if path is None or path.suffix != ".py":
        return ()
    package = name.split(".") if path.name == "__init__.py" else name.split(".")[:-1]
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return tuple(_of_statements(tree.body, package, is_deferred=False, is_tried=False))


def _of_statements(
    body: Sequence[ast.AST], package: list[str], *, is_deferred: bool, is_tried: bool
) -> Iterator[_Import]:
    for node in body:
        if isinstance(node, ast.Import):
            yield from (_Import(alias.name, (), is_deferred, is_tried) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            yield _Import(module, tuple(alias.name for alias in node.names), is_deferred, is_tried)
        else:
            yield from _of_statements(
                _taken(node) if isinstance(node, ast.If) else [*ast.iter_child_nodes(node)],
                package,
                is_deferred=is_deferred or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda),
                is_tried=is_tried or isinstance(node, ast.Try),
            )


def _taken(node: ast.If) -> Sequence[ast.AST]:
    """Return the branches that may run: not what is for type checkers, nor for another Python."""
    if getattr(node.test, "id", getattr(node.test, "attr", "")) == "TYPE_CHECKING":
        return node.orelse
    test = node.test
    if isinstance(test, ast.Compare) and ast.unparse(test.left) == "sys.version_info":
        compare, (wanted,) = _COMPARISONS[type(test.ops[0])], test.comparators
        return node.body if compare(PYTHON, ast.literal_eval(wanted)) else node.orelse
    return [*node.body, *node.orelse]
