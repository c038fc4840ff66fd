"""Check what is inside a function's directory, and report every problem at once.

The wheels must be those of the function's processor, and the packages exactly those that requirements.txt names. The
handler must be whole, and nothing of tests, documents or tools may be there. A function of `finish.ALONE` has just what
its entry point can import, instead.
"""

import struct
from collections.abc import Iterator, Mapping
from importlib.util import cache_from_source
from pathlib import Path
from types import MappingProxyType

from tools.finish import ALONE, MODELS, PARTLY, SHARED_MODELS, STABLE, owners, part_of, services_of
from tools.locks import normalize, read_lock
from tools.reach import imported, missing, module_file, reached

MACHINES: Mapping[str, tuple[int, str]] = MappingProxyType({"arm64": (183, "aarch64"), "x86_64": (62, "x86_64")})
"""The machine in an ELF file's header, and in an extension's name, by the template's name of the architecture."""
TAG = "cpython-313"
COMPILED = ("dulwich/_diff_tree", "dulwich/_objects", "dulwich/_pack")
"""dulwich's parts in Rust. Its pure wheel lacks them: with it everything works, but many times slower."""

NOT_INSIDE = frozenset({"benchmark", "benchmarks", "doc", "docs", "example", "examples", "test", "testing", "tests"})
CODE_ALL_THE_SAME = frozenset({"boto3/docs", "botocore/docs"})
"""boto3 imports these before it makes a client."""
MOST_BYTES = 32 * 1024 * 1024
"""The unpacked size. A cold start fetches and unpacks it; Lambda's own bound is 250 MB."""
MOST_BYTES_ALONE = 8 * 1024 * 1024
"""The same, of a function that has only what it imports."""


def problems_of(directory: Path, architecture: str, source: Path, requirements: str) -> list[str]:
    """Return what is wrong with a function's directory, as sentences; an empty list means nothing.

    `architecture` is a key of MACHINES, `source` the project's package, `requirements` the text of requirements.txt.
    """
    entry = ALONE.get(directory.name)
    return [
        *_wrong_machines(directory, architecture),
        *_wrong_packages(directory, requirements),
        *_unexpected(directory),
        *_not_the_source(directory / "handler", source, entry),
        *(_not_alone(directory, entry) if entry else (*_missing_models(directory), *_not_partly(directory))),
        *_not_compiled(directory),
        *_too_large(directory, MOST_BYTES_ALONE if entry else MOST_BYTES),
    ]


def size_of(directory: Path) -> int:
    """Return the size in bytes of all files below a directory."""
    return sum(path.stat().st_size for path in directory.rglob("*") if path.is_file())


def read_pins(requirements: str) -> dict[str, str]:
    """Return the version of each package that requirements.txt names, by its normalized name.

    Raises ValueError for a package that is not pinned exactly, has no hash, or is for some environments only: a build
    tomorrow must give the artefact of today.
    """
    pins = read_lock(requirements)
    if partial := [pin.name for pin in pins if pin.marker]:
        raise ValueError(f"not pinned exactly: {', '.join(partial)}")
    return {pin.name: pin.version for pin in pins}


def _wrong_machines(directory: Path, architecture: str) -> Iterator[str]:
    number, name = MACHINES[architecture]
    suffix = f".{TAG}-{name}-linux-gnu.so"
    extensions = sorted(path.relative_to(directory).as_posix() for path in directory.rglob("*.so"))
    entry = ALONE.get(directory.name)
    # dulwich tries them and goes on without, so that nothing but this rule misses one.
    parts = [part for part in COMPILED if not entry or part.replace("/", ".") in imported(directory, entry)]
    yield from (f"{part}{suffix} is missing" for part in parts if f"{part}{suffix}" not in extensions)
    for extension in extensions:
        head = (directory / extension).read_bytes()[:20]
        is_elf = len(head) == 20 and head.startswith(b"\x7fELF")
        if not extension.endswith((suffix, STABLE)) or not is_elf or struct.unpack_from("<H", head, 18) != (number,):
            yield f"{extension} is not for {architecture}"


def _wrong_packages(directory: Path, requirements: str) -> Iterator[str]:
    found = {}
    for path in directory.glob("*.dist-info"):
        name, _, version = path.name.removesuffix(".dist-info").rpartition("-")
        found[normalize(name)] = version
    pins = read_pins(requirements)
    needed = pins if directory.name not in ALONE else {name: pins[name] for name in found.keys() & pins.keys()}
    yield from (f"{name} {version} is missing" for name, version in needed.items() if found.get(name) != version)
    yield from (f"{name} is there, and nothing needs it" for name in sorted(found.keys() - pins.keys()))


def _unexpected(directory: Path) -> Iterator[str]:
    owned = {"handler"} | {path.name for path in directory.glob("*.dist-info")} | {"__pycache__"}
    for record in directory.glob("*.dist-info/RECORD"):
        owned |= {line.split(",")[0].split("/")[0] for line in record.read_text("utf-8").splitlines()}
    yield from (f"{path.name} is of no package" for path in sorted(directory.iterdir()) if path.name not in owned)
    for path in sorted(directory.rglob("*")):
        name = path.relative_to(directory).as_posix()
        if path.is_dir() and path.name.lower() in NOT_INSIDE and name not in CODE_ALL_THE_SAME:
            yield f"{name} is inside"
        if path.is_symlink():
            yield f"{name} is a link"


def _not_the_source(package: Path, source: Path, entry: str | None) -> Iterator[str]:
    wanted, there = (_sources(root) for root in (source, package))
    if entry:
        files = (module_file(source.parent, name) for name in reached(source.parent, entry))
        names = {path.relative_to(source).as_posix() for path in files if path and path.is_relative_to(source)}
        wanted = {name: wanted[name] for name in names}
    for name in sorted(wanted.keys() | there.keys()):
        if wanted.get(name) != there.get(name):
            yield f"handler/{name} is not the project's"


def _sources(root: Path) -> dict[str, bytes]:
    files = (path for path in root.rglob("*") if path.is_file() and path.suffix != ".pyc")
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in files}


def _missing_models(directory: Path) -> Iterator[str]:
    for name in sorted(SHARED_MODELS | services_of(directory / "handler")):
        if not (directory / MODELS / name).exists():
            yield f"{MODELS}/{name} is missing"


def _not_alone(directory: Path, entry: str) -> Iterator[str]:
    """What is there and never imported, or imported and not there; and packages of which nothing is."""
    files = {path for name in reached(directory, entry) if (path := module_file(directory, name))}
    owner = owners(directory)
    used = {owner.get(path.relative_to(directory).as_posix()) for path in files}
    yield from (f"{name} is not there, and is imported" for name in sorted(missing(directory, entry)))
    for path in sorted(directory.rglob("*")):
        about = next((each for each in path.parents if each.suffix == ".dist-info"), None)
        is_bytecode = path.suffix == ".pyc"
        if path.is_file() and path not in files and not is_bytecode and about not in used - {None}:
            yield f"{path.relative_to(directory).as_posix()} is there, and never imported"


def _not_partly(directory: Path) -> Iterator[str]:
    """What no module of ours reaches, of packages of which only a part is needed; and such a package without any."""
    for package, user in PARTLY.items():
        kept = part_of(directory, package, user)
        files = {path for path in (directory / package).rglob("*") if path.is_file() and path.suffix != ".pyc"}
        yield from (
            f"{path.relative_to(directory).as_posix()} is there, and never used" for path in sorted(files - kept)
        )
        if module_file(directory, user) and not any(path.name.endswith(STABLE) for path in kept):
            yield f"{package} is missing, or without its extensions"


def _not_compiled(directory: Path) -> Iterator[str]:
    for path in sorted(directory.rglob("*.py")):
        compiled = Path(cache_from_source(str(path))).with_name(f"{path.stem}.{TAG}.pyc")
        # The flags after the magic number: 1 says a hash instead of a time, 2 (not set) that Python compares it.
        if not compiled.is_file() or compiled.read_bytes()[4:8] != b"\x01\0\0\0":
            yield f"{path.relative_to(directory).as_posix()} is not compiled"


def _too_large(directory: Path, most_bytes: int) -> Iterator[str]:
    size = size_of(directory)
    if size > most_bytes:
        yield f"{size} bytes unpacked, and {most_bytes} are allowed"
