"""`python -m tools.artefact .aws-sam/arm64 ...`: finish what `sam build` made, check it, and print its size.

Each argument is a build directory, named for its architecture; the first is also what `sam deploy` deploys without
being told. Exit status 1 says that something in one is wrong.
"""

import io
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path

from tools.built import forget_built, record_built
from tools.contents import MACHINES, problems_of, size_of
from tools.finish import ALONE, UnfitPython, finish
from tools.locks import artefact_lock
from tools.template import finish_template, write_default

PROJECT = Path(__file__).resolve().parents[1]
MEGABYTE = 1_000_000


def main(arguments: Sequence[str]) -> int:
    """Finish and check every function below each directory; return the exit status: 0, 1 problems, 2 wrong use."""
    builds = [Path(argument) for argument in arguments]
    if not builds or any(build.name not in MACHINES or not functions_of(build) for build in builds):
        print(f"needs directories that `sam build` filled, each named {' or '.join(MACHINES)}", file=sys.stderr)
        return 2
    forget_built(builds)
    problems = []
    for build in builds:
        try:
            _finish(build)
        except (OSError, UnfitPython, ValueError) as error:
            print(error, file=sys.stderr)
            return 2
        for function in functions_of(build):
            problems += [f"{function}: {problem}" for problem in check(function, build.name)]
        print(told(build))
    for problem in problems:
        print(problem, file=sys.stderr)
    if problems:
        return 1
    write_default(builds[0] / "template.yaml", builds[0].parent / "build")
    record_built(builds, PROJECT)
    return 0


def _finish(build: Path) -> None:
    """Finish the functions and the template. Raises OSError, UnfitPython, ValueError."""
    for function in functions_of(build):
        finish(function)
    finish_template(build / "template.yaml", build.name)


def functions_of(build: Path) -> list[Path]:
    """Return the functions' directories in a build directory."""
    return sorted(path.parent for path in build.glob("*/handler"))


def check(function: Path, architecture: str) -> list[str]:
    """Return what is wrong with a function's directory, as sentences."""
    requirements = artefact_lock().read_text(encoding="utf-8")
    return problems_of(function, architecture, PROJECT / "handler", requirements)


def told(build: Path) -> str:
    """Return one line about what was built."""
    functions = functions_of(build)
    alone = [function for function in functions if function.name in ALONE]
    others = [function for function in functions if function.name not in ALONE]
    parts = [f"{len(others)} functions over one package of {_sizes(others[0])}"] if others else []
    parts += [f"{function.name} of {_sizes(function)}" for function in alone]
    return f"{build}: {', and '.join(parts)}, for {build.name}"


def _sizes(function: Path) -> str:
    return f"{size_of(function) / MEGABYTE:.1f} MB, {zipped_bytes(function) / MEGABYTE:.1f} MB zipped"


def zipped_bytes(directory: Path) -> int:
    """Return the size in bytes of the ZIP that Lambda gets."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as written:
        for path in sorted(directory.rglob("*")):
            written.write(path, path.relative_to(directory))
    return len(archive.getvalue())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
