"""Finishes a function's directory as `sam build` made it: what never runs goes, what runs is compiled.

Lambda cannot write where a function's code is. What comes there without bytecode is compiled again at every cold start,
which takes longer than all that is then run.
"""

import ast
import compileall
import os
import shutil
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from py_compile import PycInvalidationMode

PYTHON = (3, 13)
"""The template's runtime. Bytecode is read by the same minor version alone."""
TASK_ROOT = "/var/task"
"""Where Lambda has the function, and tracebacks are to say so."""

NEVER_RUN = ("dulwich/tests", "boto3/examples", "*.data")
"""Tests, examples, and wheels' folders of scripts."""
SHARED_MODELS = frozenset({"_retry.json", "endpoints.json", "partitions.json", "sdk-default-configuration.json"})
"""What botocore reads whatever the service."""
MODELS = "botocore/data"


class UnfitPython(Exception):
    """This is not the Python that Lambda runs: what it compiles would be passed over there."""


@dataclass(frozen=True)
class _Function:
    """A function, or a module's own level, with the calls that stand directly in it."""

    path: Path
    name: str
    parameters: tuple[str, ...]
    calls: tuple[ast.Call, ...]


def services_of(source: Path) -> frozenset[str]:
    """Return the AWS services whose clients the package `source` makes: `ssm`, ...

    A function that takes the service as a parameter and passes it on makes what its callers name. Raises ValueError for
    a client whose service is not written out: nobody could tell which models it needs.
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
    """Yield the functions that pass a parameter on as the service, and the parameter's number."""
    for function in functions:
        for call in function.calls:
            number = _parameter(function, _service(function, call, makers))
            if number is not None:
                yield (function.path if function.name.startswith("_") else None, function.name), number


def _service(function: _Function, call: ast.Call, makers: Mapping[tuple[Path | None, str], int]) -> ast.expr | None:
    """Return what a call names as the service; None where it makes no client."""
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
    """Remove what never runs, and compile the rest; a second time changes nothing. Raises UnfitPython."""
    if sys.version_info[:2] != PYTHON:
        raise UnfitPython(f"needs Python {PYTHON[0]}.{PYTHON[1]}, and this is {sys.version.split()[0]}")
    for pattern in NEVER_RUN:
        for path in directory.glob(pattern):
            shutil.rmtree(path)
    _keep_models(directory / MODELS, services_of(directory / "handler"))
    _compile(directory)


def _keep_models(models: Path, services: Iterable[str]) -> None:
    """botocore describes some 430 services, in two thirds of the package's bytes; four of them are called."""
    kept = SHARED_MODELS | set(services)
    for entry in sorted(models.iterdir()):
        if entry.name in kept:
            continue
        if entry.is_dir():
            shutil.rmtree(entry)
        else:
            entry.unlink()


def _compile(directory: Path) -> None:
    """Compile everything, to files that are believed unread.

    The other two ways have Python compare either the source's time, which the ways into a ZIP and out of it change, or
    its hash, for which it is read. The bytes hang on the sources alone: the same sources make the same artefact.
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
