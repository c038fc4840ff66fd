"""Finishes a function's directory as `sam build` made it: what never runs goes, what runs is compiled.

Lambda cannot write where a function's code is. What comes there without bytecode is compiled again at every cold start,
which takes longer than all that is then run.
"""

import ast
import compileall
import os
import re
import shutil
import sys
from collections.abc import Iterable, Iterator
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

_CLIENT = re.compile(r"^(client|resource)$")


class UnfitPython(Exception):
    """This is not the Python that Lambda runs: what it compiles would be passed over there."""


def services_of(source: Path) -> frozenset[str]:
    """Return the AWS services whose clients the package `source` makes: `ssm`, ...

    Raises ValueError for a client whose service is not written out: nobody could tell which models it needs.
    """
    return frozenset(name for path in sorted(source.rglob("*.py")) for name in _services(path))


def _services(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and _CLIENT.match(node.func.attr)):
            continue
        name = node.args[0] if node.args else None
        if not (isinstance(name, ast.Constant) and isinstance(name.value, str)):
            raise ValueError(f"{path.name}, line {node.lineno}: write the service's name out")
        yield name.value


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
