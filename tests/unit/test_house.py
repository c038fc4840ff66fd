"""The house's own rules: who may import whom, how large a module is, what says what it does."""

import ast
import inspect
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from handler import errors

HOUSE = Path(__file__).parents[2] / "handler"
MODULES = {
    ".".join(path.relative_to(HOUSE.parent).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted(HOUSE.rglob("*.py"))
}

FLOORS: tuple[frozenset[str], ...] = (
    frozenset({"webhook", "worker", "schedule", "operate"}),
    frozenset({"operations"}),
    frozenset({"deliver", "process", "rounds"}),
    frozenset({"reconcile", "survey", "chores"}),
    frozenset({"publish", "inspection", "working_copy"}),
    frozenset({"retire", "recording"}),
    frozenset({"work"}),
    frozenset({"holding"}),
    frozenset({"telling"}),
    frozenset({"github", "git", "efs", "aws"}),
    frozenset({"outcome", "configuration", "routing", "places", "message", "batch", "announcement"}),
    frozenset({"names", "model", "errors", "settings", "strict_json", "versions", "beside", "request", "files"}),
)
"""From the roof down: a part of the house imports from the floors below its own, and from its own package."""
ROOMS = FLOORS[9]
"""The neighbours of `reconcile`: none of them imports another."""

IMPURE = frozenset(
    ["os", "boto3", "botocore", "dulwich", "time", "socket", "urllib3", "subprocess", "threading", "fcntl"]
)
MAX_LINES = 300


def part_of(module: str) -> str:
    """Return the part of the house that a module belongs to: `git` for `handler.network.remote.client`."""
    return module.split(".")[1] if "." in module else ""


def floor_of(module: str) -> int:
    """Return the number of a module's floor, from the roof down."""
    return next(number for number, parts in enumerate(FLOORS) if part_of(module) in parts)


def imports_of(path: Path) -> Iterator[str]:
    """Yield the full name of every module that a file imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports by a relative name"
            yield from ({f"{node.module}.{name.name}" for name in node.names} & set(MODULES)) or {str(node.module)}


@pytest.mark.parametrize("module", MODULES)
def test_every_module_has_its_floor(module: str) -> None:
    """A new part of the house is given its place here, on purpose."""
    assert module == "handler" or floor_of(module) >= 0


@pytest.mark.parametrize("module", [module for module in MODULES if module != "handler"])
def test_imports_point_down(module: str) -> None:
    """Entry points, deliver, reconcile, the four neighbours, what they all know: never the other way."""
    for imported in imports_of(MODULES[module]):
        if imported.partition(".")[0] != "handler" or imported == "handler":
            continue
        is_own = part_of(imported) == part_of(module)
        # The lowest two floors hold small modules that build on each other, without a circle (see below).
        is_beside = floor_of(module) == floor_of(imported) >= len(FLOORS) - 2
        assert is_own or is_beside or floor_of(imported) > floor_of(module), f"{module} imports {imported}"


@pytest.mark.parametrize("module", [module for module in MODULES if part_of(module) in ROOMS])
def test_the_four_neighbours_do_not_know_each_other(module: str) -> None:
    """What GitHub says, objects, the shared directory, AWS: brought together by those above."""
    others = {part_of(name) for name in imports_of(MODULES[module]) if name.startswith("handler.")} & ROOMS
    assert others <= {part_of(module)}


def test_nothing_imports_itself_in_a_circle() -> None:
    """Also not by a detour."""
    graph = {module: set(imports_of(path)) & set(MODULES) for module, path in MODULES.items()}
    done: set[str] = set()

    def visit(module: str, way: tuple[str, ...]) -> None:
        assert module not in way, " imports ".join((*way, module))
        if module not in done:
            for imported in graph[module] - {"handler"}:
                visit(imported, (*way, module))
            done.add(module)

    for module in graph:
        visit(module, ())


def _calls_itself_pure(path: Path) -> bool:
    return "Pure" in (ast.get_docstring(ast.parse(path.read_text())) or "")


PURE = [module for module, path in MODULES.items() if _calls_itself_pure(path)]


@pytest.mark.parametrize("module", PURE)
def test_what_calls_itself_pure_imports_nothing_that_acts(module: str) -> None:
    """No clock, no file, no socket, no thread, no AWS; of git only what reads bytes."""
    allowed = {
        "handler.mount.target.layout": {"os"},  # os.path, for joining names
        "handler.mount.git.plan": {"dulwich"},  # parsing a tree and judging a name: bytes in, values out
        "handler.mount.working_copy.rebase.patches": {"dulwich"},  # parsing a tree
        "handler.network.aws.cache": {"threading"},  # the lock around its memory
    }
    found = {name.partition(".")[0] for name in imports_of(MODULES[module])} & IMPURE
    assert found <= allowed.get(module, set())


def test_the_rules_of_protocols_are_pure() -> None:
    """Those modules whose rules have to be testable without anything around them say so."""
    wanted = "batch configuration message request routing names announcement outcome strict_json places versions"
    wanted += " aws.gateway efs.layout efs.turns git.plan git.protocol github.delivery github.push github.signature"
    wanted += " git.differences git.index.index_file git.merging.lines git.replaying.history git.replaying.replay"
    assert {f"handler.{name}" for name in wanted.split()} <= set(PURE)


@pytest.mark.parametrize("module", MODULES)
def test_no_module_is_longer_than_one_can_hold_in_mind(module: str) -> None:
    """Beyond that it is two."""
    assert len(MODULES[module].read_text().splitlines()) <= MAX_LINES


@pytest.mark.parametrize("module", MODULES)
def test_everything_public_says_what_it_is(module: str) -> None:
    """Modules, classes, functions and public methods have docstrings; a protocol's methods are its own text."""
    tree = ast.parse(MODULES[module].read_text())
    assert ast.get_docstring(tree) or module == "handler", module
    silent = [name for name, node in _public(tree, module) if not ast.get_docstring(node)]
    assert silent == []


def _public(
    tree: ast.Module | ast.ClassDef, prefix: str
) -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef]]:
    for node in tree.body:
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) or node.name.startswith("_"):
            continue
        name = f"{prefix}.{node.name}"
        yield name, node
        if isinstance(node, ast.ClassDef) and not any("Protocol" in ast.dump(base) for base in node.bases):
            yield from _public(node, name)


@pytest.mark.parametrize("module", MODULES)
def test_nothing_happens_at_import(module: str) -> None:
    """A module defines; only constants, definitions and imports stand at its top."""
    allowed = (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.ClassDef, ast.Assign, ast.AnnAssign, ast.Expr, ast.If)
    for node in ast.parse(MODULES[module].read_text()).body:
        assert isinstance(node, allowed), f"{module}:{node.lineno}"
        if isinstance(node, ast.Expr):
            assert isinstance(node.value, ast.Constant), f"{module}:{node.lineno} calls something"
        if isinstance(node, ast.If):
            assert {"TYPE_CHECKING", "__main__"} & set(ast.dump(node.test).split("'")), (
                f"{module}:{node.lineno} decides something"
            )


def test_the_environment_is_read_at_one_place() -> None:
    """The core gets values; only entry points look at os.environ, and telemetry for Powertools' own names."""
    readers = {module for module, path in MODULES.items() if "os.environ" in path.read_text()}
    assert {part_of(module) for module in readers - {"handler.network.aws.telemetry"}} <= FLOORS[0]


def test_importing_the_door_loads_no_aws_client() -> None:
    """boto3 is most of a cold start's imports: it waits until the first parameter is read."""
    code = "import sys, handler.webhook; print(*{'boto3', 'botocore.client', 'dulwich.porcelain'} & set(sys.modules))"
    found = subprocess.run([sys.executable, "-c", code], cwd=HOUSE.parent, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == ""


def test_every_failure_of_the_tree_is_drawn_in_its_docstring() -> None:
    """The exception tree is a promise: reasons are dimensions of a metric, and stand in answers."""
    here = [
        value for value in vars(errors).values() if inspect.isclass(value) and issubclass(value, errors.Git2EfsError)
    ]
    drawing = errors.__doc__ or ""
    assert [error.__name__ for error in here if error.__name__ not in drawing] == []
    leaves = [error for error in here if not set(error.__subclasses__()) & set(here)]
    assert len({leaf.reason for leaf in leaves}) == len(leaves)
