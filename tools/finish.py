"""Finish a function's directory that `sam build` made: remove what never runs there, and compile the rest.

Lambda cannot write where a function's code is. Without bytecode, every cold start compiles the modules again, which
takes longer than everything that then runs.
"""

import ast
import compileall
import os
import re
import shutil
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from py_compile import PycInvalidationMode
from types import MappingProxyType

from tools.reach import PYTHON, module_file, reached

TASK_ROOT = "/var/task"
"""Where Lambda has the function's code; tracebacks shall name it."""

ALONE: Mapping[str, str] = MappingProxyType({"PublisherFunction": "handler.publisher"})
"""Functions that get only what their entry point can import: its module, by the function's name in the template.

SAM builds one package for all. The publisher inflates what remotes send, next to what readers execute: what is not
there cannot be called.
"""
PARTLY: Mapping[str, str] = MappingProxyType({"Crypto": "handler.network.app_jwt"})
"""Packages of which only what a module of ours reaches stays: its extensions too, which it names in its own text."""
STABLE = ".abi3.so"
"""The end of an extension's name that any CPython loads."""
NEVER_RUN = ("dulwich/tests", "boto3/examples", "*.data")
"""Tests, examples, and the folders of scripts that wheels bring."""
SHARED_MODELS = frozenset({"_retry.json", "endpoints.json", "partitions.json", "sdk-default-configuration.json"})
"""botocore reads these for every service."""
MODELS = "botocore/data"


class UnfitPython(Exception):
    """This is not the Python that Lambda runs, which would ignore the bytecode."""


@dataclass(frozen=True)
class _Function:
    """A function, or a module's top level, with the calls directly in it."""

    path: Path
    name: str
    parameters: tuple[str, ...]
    calls: tuple[ast.Call, ...]


def services_of(source: Path) -> frozenset[str]:
    """Return the AWS services for which the package `source` makes clients: `ssm`, ...

    For a function that takes the service as a parameter and passes it on, these are the services that its callers name.
    Raises ValueError for a client whose service is not a literal: nothing would say which models it needs.
    """
    functions = [each for path in sorted(source.rglob("*.py")) for each in _functions(path)]
    makers: dict[tuple[Path | None, str], int] = {}
    while more := dict(_makers(functions, makers)).items() - makers.items():
        makers |= dict(more)
    services = set()
    for function in functions:
        for call in function.calls:
            service = _service(function, call, makers)
            if isinstance(service, ast.Constant) and isinstance(service.value, str):
                services.add(service.value)
            elif service is not None and _parameter(function, service) is None:
                raise ValueError(f"{function.path.name}, line {call.lineno}: write the service's name out")
    return frozenset(services)


def _functions(path: Path) -> Iterator[_Function]:
    pending: list[ast.AST] = [ast.parse(path.read_text(encoding="utf-8"))]
    while pending:
        scope = pending.pop()
        calls, inside = [], list(ast.iter_child_nodes(scope))
        while inside:
            node = inside.pop()
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                pending.append(node)
            else:
                calls += [node] if isinstance(node, ast.Call) else []
                inside += ast.iter_child_nodes(node)
        arguments = getattr(scope, "args", None)
        names = [each.arg for each in (*arguments.posonlyargs, *arguments.args)] if arguments else []
        yield _Function(path, getattr(scope, "name", ""), tuple(names), tuple(calls))


def _makers(
    functions: Iterable[_Function], makers: Mapping[tuple[Path | None, str], int]
) -> Iterator[tuple[tuple[Path | None, str], int]]:
    """Yield the functions that pass a parameter on as the service, with the parameter's number."""
    for function in functions:
        for call in function.calls:
            number = _parameter(function, _service(function, call, makers))
            if number is not None:
                yield (function.path if function.name.startswith("_") else None, function.name), number


def _service(function: _Function, call: ast.Call, makers: Mapping[tuple[Path | None, str], int]) -> ast.expr | None:
    """Return the service that a call names; None if it makes no client."""
    name = getattr(call.func, "attr", getattr(call.func, "id", ""))
    is_boto3 = isinstance(call.func, ast.Attribute) and name in ("client", "resource")
    number = 0 if is_boto3 else makers.get((function.path if name.startswith("_") else None, name))
    if number is None:
        return None
    return call.args[number] if number < len(call.args) else ast.Constant(None)


def _parameter(function: _Function, value: ast.expr | None) -> int | None:
    name = getattr(value, "id", None)
    return function.parameters.index(name) if name in function.parameters else None


def finish(directory: Path) -> None:
    """Remove what never runs, and compile the rest. A second call changes nothing. Raises UnfitPython."""
    if sys.version_info[:2] != PYTHON:
        raise UnfitPython(f"needs Python {PYTHON[0]}.{PYTHON[1]}, and this is {sys.version.split()[0]}")
    for pattern in NEVER_RUN:
        for path in directory.glob(pattern):
            shutil.rmtree(path)
    if entry := ALONE.get(directory.name):
        _keep_modules(directory, reached(directory, entry))
    else:
        _keep_models(directory / MODELS, services_of(directory / "handler"))
        for package, user in PARTLY.items():
            _keep_files(directory / package, part_of(directory, package, user))
    _compile(directory)


def owners(directory: Path) -> dict[str, Path]:
    """Return which distribution's directory each file below `directory` belongs to, by the file's relative path."""
    found = {}
    for record in directory.glob("*.dist-info/RECORD"):
        for line in record.read_text("utf-8").splitlines():
            found[line.split(",")[0]] = record.parent
    return found


def _keep_modules(directory: Path, modules: Iterable[str]) -> None:
    """Remove every file that is not of one of `modules`, and the distributions that none is of."""
    kept = {path for name in modules if (path := module_file(directory, name))}
    owner = owners(directory)
    about = {owner.get(path.relative_to(directory).as_posix()) for path in kept}
    for path in sorted(directory.rglob("*"), reverse=True):
        if path.is_dir() and not path.is_symlink():
            if not any(path.iterdir()):
                path.rmdir()
        elif path not in kept and path.parent not in about and path.parent.parent not in about:
            path.unlink()


def part_of(directory: Path, package: str, user: str) -> frozenset[Path]:
    """Return the files of a package that the module `user` of ours reaches, extensions that are loaded by name too."""
    named = (name for name in reached(directory, user) if name.split(".")[0] == package)
    files = {path for name in named if (path := module_file(directory, name))}
    texts = "".join(path.read_text(encoding="utf-8") for path in files if path.suffix == ".py")
    loaded = re.findall(rf"[\"']({package}(?:\.\w+)+)[\"']", texts)
    extensions = {directory.joinpath(*name.split(".")).with_name(f"{name.split('.')[-1]}{STABLE}") for name in loaded}
    return frozenset(files | {path for path in extensions if path.is_file()})


def _keep_files(root: Path, kept: Collection[Path]) -> None:
    """Remove every other file below `root`, and the directories that are empty then."""
    for path in sorted(root.rglob("*"), reverse=True):
        if path.is_dir() and not path.is_symlink():
            if not any(path.iterdir()):
                path.rmdir()
        elif path not in kept:
            path.unlink()


def _keep_models(models: Path, services: Iterable[str]) -> None:
    """Remove the models of services that nothing calls: botocore brings some 430, two thirds of the package's bytes."""
    kept = SHARED_MODELS | set(services)
    for entry in sorted(models.iterdir()):
        if entry.name in kept:
            continue
        if entry.is_dir():
            shutil.rmtree(entry)
        else:
            entry.unlink()


def _compile(directory: Path) -> None:
    """Compile everything, to bytecode that Python does not compare with its source.

    The alternatives compare the source's time, which a ZIP does not keep, or its hash, for which Python reads the
    source. The bytes depend only on the sources: the same sources make the same artefact.
    """
    root = os.fspath(directory)
    is_done = compileall.compile_dir(
        root,
        stripdir=root,
        prependdir=TASK_ROOT,
        force=True,
        quiet=1,
        invalidation_mode=PycInvalidationMode.UNCHECKED_HASH,
    )
    if not is_done:
        raise ValueError(f"something in {directory} is not compiled")
