"""The house's own rules: who may import whom, how large a module is, what says what it does."""

import ast
import inspect
import io
import re
import subprocess
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

from handler import errors

HOUSE = Path(__file__).parents[2] / "handler"
MODULES = {
    ".".join(path.relative_to(HOUSE.parent).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted(HOUSE.rglob("*.py"))
}

ENTRY_POINTS = frozenset({"webhook", "worker", "schedule", "operate", "cli", "publisher", "runtime"})
BASE = frozenset({"model", "errors", "settings", "outcome", "deadline"})
LAYERS: tuple[frozenset[str], ...] = (
    ENTRY_POINTS,
    frozenset({"network", "mount"}),
    frozenset({"exchange"}),
    frozenset({"config"}),
    BASE,
)
"""From the top down: a part of the house imports from the layers below its own, and from itself."""
SIDES = frozenset({"network", "mount"})
"""Neither side imports the other; an entry point brings them together."""

MOUNT_LAYERS: tuple[frozenset[str], ...] = (
    frozenset({"publisher"}),
    frozenset({"operations", "maintenance"}),
    frozenset({"reconcile"}),
    frozenset({"releases", "working_copy"}),
    frozenset({"target"}),
    frozenset({"git"}),
    frozenset({"fs", "log"}),
)
"""The same inside the mount side. Two rooms of one layer never import each other, but for the second."""
MAX_TOP_LEVEL_FILES = 13

IMPURE = frozenset(
    ["os", "boto3", "botocore", "dulwich", "time", "socket", "urllib3", "subprocess", "threading", "fcntl"]
)
MAX_LINES = 300
MIN_COMMENTS = 0.05


def part_of(module: str, depth: int = 1) -> str:
    """Return the part of the house that a module belongs to: `mount` for `handler.mount.git.plan`, `git` at depth 2."""
    parts = module.split(".")
    return parts[depth] if len(parts) > depth else ""


def layer_of(part: str, layers: tuple[frozenset[str], ...]) -> int:
    """Return the number of a part's layer, from the top down."""
    return next(number for number, parts in enumerate(layers) if part in parts)


def imports_of(path: Path) -> Iterator[str]:
    """Yield the full name of every module that a file imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports by a relative name"
            yield from ({f"{node.module}.{name.name}" for name in node.names} & set(MODULES)) or {str(node.module)}


INNER = [module for module in MODULES if module != "handler"]


@pytest.mark.parametrize("module", INNER)
def test_every_module_has_its_layer(module: str) -> None:
    """A new part of the house is given its place here, on purpose."""
    assert layer_of(part_of(module), LAYERS) >= 0
    if part_of(module) == "mount" and part_of(module, 2):
        assert layer_of(part_of(module, 2), MOUNT_LAYERS) >= 0


@pytest.mark.parametrize("module", INNER)
def test_imports_point_down(module: str) -> None:
    """Entry points, the two sides, what passes between them, the configuration, the values: never the other way."""
    for imported in imports_of(MODULES[module]):
        if imported.partition(".")[0] != "handler" or imported == "handler":
            continue
        own, other = part_of(module), part_of(imported)
        is_beside = own == other or (own in ENTRY_POINTS and other in ENTRY_POINTS) or (own in BASE and other in BASE)
        assert is_beside or layer_of(other, LAYERS) > layer_of(own, LAYERS), f"{module} imports {imported}"


@pytest.mark.parametrize("module", [module for module in INNER if part_of(module) in SIDES])
def test_neither_side_imports_the_other(module: str) -> None:
    """The network side has secrets and no mount; the mount side has the mount and no network."""
    sides = {part_of(name) for name in imports_of(MODULES[module]) if name.startswith("handler.")} & SIDES
    assert sides <= {part_of(module)}


@pytest.mark.parametrize("module", [module for module in INNER if part_of(module) == "mount" and part_of(module, 2)])
def test_imports_inside_the_mount_side_point_down(module: str) -> None:
    """operations, maintenance → reconcile → releases | working_copy → target → git → fs."""
    own = part_of(module, 2)
    for imported in imports_of(MODULES[module]):
        if not imported.startswith("handler.mount."):
            continue
        other = part_of(imported, 2)
        mine, theirs = layer_of(own, MOUNT_LAYERS), layer_of(other, MOUNT_LAYERS)
        assert own == other or theirs > mine or mine == theirs == 1, f"{module} imports {imported}"


def test_the_mount_side_loads_nothing_of_a_network() -> None:
    """Whatever hostile bytes it reads, there is no client in the process to misuse."""
    code = "import sys, handler.publisher; bad = {'socket', 'ssl', 'urllib3', 'boto3', 'botocore', 'http.client'}; "
    code += "print(*sorted(bad & set(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", code], cwd=HOUSE.parent, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == ""


WORKING_COPY_DOORS = frozenset({"handler.mount.working_copy.pull", "handler.mount.working_copy.maintain"})


@pytest.mark.parametrize("module", [module for module in INNER if not module.startswith("handler.mount.working_copy")])
def test_the_working_copy_is_one_room(module: str) -> None:
    """Two of its names are for others: what pulls, and what maintains."""
    inside = {name for name in imports_of(MODULES[module]) if name.startswith("handler.mount.working_copy")}
    assert inside <= WORKING_COPY_DOORS


def test_the_working_copys_map_is_complete() -> None:
    """Its docstring names every file and every room in it."""
    room = HOUSE / "mount" / "working_copy"
    told = set(re.findall(r"\w+", ast.get_docstring(ast.parse((room / "__init__.py").read_text())) or ""))
    names = {path.parent.name if path.stem == "__init__" else path.stem for path in room.rglob("*.py")}
    assert names - told == {room.name}


def test_no_public_class_name_stands_in_two_rooms() -> None:
    """A name says one thing in the whole house."""
    places: dict[str, list[str]] = {}
    for module, path in MODULES.items():
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places.setdefault(node.name, []).append(module)
    assert {name: found for name, found in places.items() if len(found) > 1} == {}


def test_the_top_level_can_be_taken_in_at_a_glance() -> None:
    """At most thirteen files, and each of them and every room stands in the map of `handler/__init__.py`."""
    files = list(HOUSE.glob("*.py"))
    assert len(files) <= MAX_TOP_LEVEL_FILES
    told = (HOUSE / "__init__.py").read_text()
    rooms = [path.parent.name for path in HOUSE.glob("*/__init__.py")]
    rooms += [path.parent.name for path in HOUSE.glob("*/*/__init__.py")]
    names = [path.stem for path in files if path.stem != "__init__"] + rooms
    assert [name for name in names if name not in told] == []


def test_threads_are_started_by_one_engine() -> None:
    """On the mount side nothing but `fs.parallel` has a pool of threads."""
    pools = {module for module in INNER if part_of(module) == "mount" and "ThreadPool" in MODULES[module].read_text()}
    assert pools == {"handler.mount.fs.parallel"}


def test_trees_are_parsed_by_one_parser() -> None:
    """With one set of bounds, and one walk of two trees upon it."""
    assert {module for module in INNER if "parse_tree(" in MODULES[module].read_text()} == {"handler.mount.git.tree"}


def _opens_a_file(path: Path) -> bool:
    """Whether a module calls `open`, `os.open`, `os.fdopen` or `io.open`."""
    calls = [node.func for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
    names = {ast.unparse(call) for call in calls if isinstance(call, ast.Name | ast.Attribute)}
    return bool(names & {"open", "os.open", "os.fdopen", "io.open"})


def test_the_mount_is_opened_at_one_place() -> None:
    """No link followed, nothing waited for, only regular files, bounded: one module can be held to that."""
    openers = {module for module in INNER if part_of(module) == "mount" and _opens_a_file(MODULES[module])}
    openers -= {"handler.mount.fs.mounts"}  # /proc, which is no mount of ours
    assert openers == {"handler.mount.fs.files"}


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
        "handler.mount.git.tree": {"dulwich"},  # parsing a tree: bytes in, values out
        "handler.mount.git.plan": {"dulwich"},  # judging a name
        "handler.network.aws.cache": {"threading"},  # the lock around its memory
    }
    found = {name.partition(".")[0] for name in imports_of(MODULES[module])} & IMPURE
    assert found <= allowed.get(module, set())


def test_the_rules_of_protocols_are_pure() -> None:
    """Those modules whose rules have to be testable without anything around them say so."""
    wanted = "config.fields config.names config.overlaps config.repository config.targets config.versions outcome"
    wanted += " exchange.events exchange.publisher exchange.remote network.queue.batch network.queue.message"
    wanted += " network.aws.api_gateway network.remote.protocol network.remote.protocol_v0"
    wanted += " network.forges.github"
    wanted += " mount.target.layout mount.releases.strategy mount.git.plan mount.git.diff"
    wanted += " mount.git.tree mount.git.commit"
    wanted += " mount.working_copy.index.index_file mount.working_copy.merge.contents"
    wanted += " mount.working_copy.rebase.commit_graph mount.working_copy.rebase.replay"
    assert {f"handler.{name}" for name in wanted.split()} <= set(PURE)


@pytest.mark.parametrize("module", MODULES)
def test_no_module_is_longer_than_one_can_hold_in_mind(module: str) -> None:
    """Beyond that it is two."""
    assert len(MODULES[module].read_text().splitlines()) <= MAX_LINES


@pytest.mark.parametrize("room", ["fs", "target", "releases"])
def test_the_reason_of_a_step_stands_at_its_line(room: str) -> None:
    """Where files, locks and races are, at least one line in twenty tells why it stands where it does."""
    texts = [path.read_text() for module, path in MODULES.items() if module.startswith(f"handler.mount.{room}")]
    lines = sum(len(text.splitlines()) for text in texts)
    assert sum(map(_comment_lines, texts)) >= MIN_COMMENTS * lines


def _comment_lines(text: str) -> int:
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    return len({token.start[0] for token in tokens if token.type == tokenize.COMMENT})


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
    assert {part_of(module) for module in readers - {"handler.network.aws.telemetry"}} <= ENTRY_POINTS


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


def test_every_file_of_the_source_is_linted() -> None:
    """What keeps published files out of the linter must not keep a room of the house out: one is called `mount` too."""
    command = [sys.executable, "-m", "ruff", "check", "--show-files", "."]
    shown = subprocess.run(command, cwd=HOUSE.parent, capture_output=True, text=True, check=True).stdout.splitlines()
    linted = {Path(line) for line in shown}
    missed = [path for path in HOUSE.rglob("*.py") if path not in linted]
    assert not missed
