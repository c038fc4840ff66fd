"""`python -m tools.built .aws-sam/arm64 ...`: tell whether `make build` has nothing to do; exit status 0 says so.

`tools.artefact` records what it finished: a digest of what it was built of, and one of each build directory. Nothing
goes by times, which a checkout changes.
"""

import hashlib
import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from tools.locks import artefact_lock
from tools.reach import module_file, reached

PROJECT = Path(__file__).resolve().parents[1]
SOURCES = ("Makefile", "requirements.txt", "locks/ssh.txt", "samconfig.toml", "template.yaml")
FINISHES = "tools.artefact"
"""The module that finishes and checks a build; what it imports counts as a source too."""
RECORD = "built.json"
"""Beside the build directories."""


def main(arguments: Sequence[str]) -> int:
    """Return 0 where every directory is as it was built, of what the sources are now; 1 else."""
    builds = [Path(argument) for argument in arguments]
    if not builds or not is_fresh(builds, PROJECT):
        return 1
    print(f"{', '.join(map(str, builds))}: built already, and nothing changed")
    return 0


def is_fresh(builds: Sequence[Path], project: Path) -> bool:
    """Return whether the record says of each directory what is there, and of the sources what they are."""
    try:
        record = json.loads((builds[0].parent / RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return bool(record == _described(builds, project))


def record_built(builds: Sequence[Path], project: Path) -> None:
    """Record what the directories hold, and what they were built of."""
    text = json.dumps(_described(builds, project), indent=2)
    (builds[0].parent / RECORD).write_text(text + "\n", encoding="utf-8")


def forget_built(builds: Sequence[Path]) -> None:
    """Remove the record: what is there is not finished, or is wrong."""
    (builds[0].parent / RECORD).unlink(missing_ok=True)


def _described(builds: Sequence[Path], project: Path) -> dict[str, str]:
    sources = [project / name for name in SOURCES]
    sources += [path for path in (project / "handler").rglob("*") if path.suffix != ".pyc"]
    sources += [path for name in reached(project, FINISHES) if (path := module_file(project, name))]
    # The bytecode is of the very Python, and SAM's options are in the Makefile.
    found = {"python": sys.version, "lock": artefact_lock().name, "sources": _digest(project, sources)}
    default = builds[0].parent / "build" / "template.yaml"
    found["build"] = _digest(default.parent, [default])
    return found | {build.name: _digest(build, build.rglob("*")) for build in builds}


def _digest(root: Path, paths: Iterable[Path]) -> str:
    """Return the SHA-256 of the files' names below `root` and of their contents, in the names' order."""
    digest = hashlib.sha256()
    for path in sorted(path for path in paths if path.is_file()):
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        digest.update(f"{path.relative_to(root).as_posix()}\0{content}\n".encode())
    return digest.hexdigest()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
