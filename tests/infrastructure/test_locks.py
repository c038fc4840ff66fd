"""The lock files: every package of every environment is hashed, and they say what pyproject.toml says. No network."""

import re
import sys
import tomllib
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import pytest
from packaging.markers import Marker
from packaging.requirements import Requirement

from tools.locks import LAMBDA_PYTHON, LOCKS, OLDEST_PYTHON, Lock, Pin, header_of, normalize, read_lock
from tools.locks import PROJECT as ROOT

PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
NAME = PROJECT["project"]["name"]
HASH = f"--hash=sha256:{'0' * 64}"
COMES_WITH_PYTHON = frozenset({"pip", "setuptools"})

each_lock = pytest.mark.parametrize("lock", LOCKS, ids=[lock.path for lock in LOCKS])


def text_of(lock: Lock) -> str:
    """Return a lock file's text."""
    return (ROOT / lock.path).read_text(encoding="utf-8")


def pins_of(lock: Lock) -> list[Pin]:
    """Return its pins."""
    return read_lock(text_of(lock))


def requirements_of(lock: Lock) -> dict[str, list[Requirement]]:
    """Return what pyproject.toml asks for there, by the name that a lock file gives to whoever asks."""
    asked = {}
    if lock.has_project:
        asked[f"{NAME} (pyproject.toml)"] = PROJECT["project"]["dependencies"]
    if lock.group is not None:
        asked[f"{NAME} (pyproject.toml:{lock.group})"] = PROJECT["dependency-groups"][lock.group]
    return {via: [Requirement(each) for each in texts] for via, texts in asked.items()}


def test_each_group_has_a_lock_and_nothing_else_is_one() -> None:
    """One requirements.txt at the root: what runs in Lambda."""
    groups = [lock.group for lock in LOCKS if lock.group is not None]
    assert sorted(groups) == sorted(PROJECT["dependency-groups"])
    lying_there = {path.relative_to(ROOT).as_posix() for path in (*ROOT.glob("*requirements*"), *ROOT.glob("locks/*"))}
    assert lying_there == {lock.path for lock in LOCKS}


@each_lock
def test_every_package_is_pinned_and_hashed(lock: Lock) -> None:
    """`read_lock` raises for a line that is not. No package twice where one environment would take both."""
    pins = pins_of(lock)
    assert pins
    for pin in pins:
        assert len(set(pin.hashes)) == len(pin.hashes), pin.name
    once = {pin.name for pin in pins if not pin.marker}
    assert len([pin for pin in pins if pin.name in once]) == len(once)


@each_lock
def test_lock_says_how_it_was_made_and_not_where_from(lock: Lock) -> None:
    """No registry's address: everybody has a mirror of their own."""
    text = text_of(lock)
    assert text.startswith(header_of(lock))
    assert "://" not in text
    assert re.findall(r"^\s*-(?!-hash=sha256:)\S+", text, re.MULTILINE) == []


@each_lock
def test_lock_has_what_pyproject_asks_for(lock: Lock) -> None:
    """The same names with the same extras, in versions that it allows; and nothing that it no longer asks for."""
    pins = pins_of(lock)
    for via, requirements in requirements_of(lock).items():
        asked = {normalize(each.name): each for each in requirements}
        direct = [pin for pin in pins if via in pin.via]
        assert {pin.name for pin in direct} == set(asked)
        for pin in direct:
            assert asked[pin.name].specifier.contains(pin.version, prereleases=True), pin.name
            assert {normalize(extra) for extra in asked[pin.name].extras} <= pin.extras, pin.name


@each_lock
def test_everything_else_is_needed_by_something(lock: Lock) -> None:
    """A package that nothing asks for any more would show that `make lock` was not run."""
    pins = pins_of(lock)
    reached = set(requirements_of(lock))
    while more := {pin.name for pin in pins if reached & set(pin.via)} - reached:
        reached |= more
    assert {pin.name for pin in pins} <= reached
    assert {via for pin in pins for via in pin.via} <= reached


@each_lock
def test_locks_that_meet_in_an_environment_agree(lock: Lock) -> None:
    """What is tested is what runs in Lambda; and the benchmarks' packages change nothing of the tests'."""
    pins = pins_of(lock)
    for path in lock.beside:
        (other,) = (each for each in LOCKS if each.path == path)
        versions = {pin.name: {each.version for each in pins_of(other) if each.name == pin.name} for pin in pins}
        assert all(pin.version in versions[pin.name] for pin in pins if versions[pin.name]), path
    if lock.group == "dev":
        (runtime,) = (each for each in LOCKS if each.group is None)
        assert {pin.name for pin in pins_of(runtime)} <= {pin.name for pin in pins}


def test_pythons_are_the_projects() -> None:
    """The oldest one that it supports, and Lambda's."""
    assert PROJECT["project"]["requires-python"] == f">={OLDEST_PYTHON}"
    template = (ROOT / "template.yaml").read_text(encoding="utf-8")
    assert set(re.findall(r"^ +Runtime: (\S+)$", template, re.MULTILINE)) == {f"python{LAMBDA_PYTHON}"}


@pytest.mark.parametrize("path", ["Makefile", ".github/workflows/pipeline.yml", ".ci/run"])
def test_everything_that_is_installed_is_installed_by_its_hash(path: str) -> None:
    """By a lock file, with wheels alone: to build a source distribution would run what no hash covers."""
    text = (ROOT / path).read_text(encoding="utf-8").replace("\\\n", " ")
    text = text.replace("$(INSTALL)", "-m pip install $(LOCKED)")
    locked = re.findall(r"^LOCKED := (.*)$", text, re.MULTILINE)
    text = text.replace("$(LOCKED)", "".join(locked))
    commands = [line for line in text.splitlines() if re.search(r"pip3? (install|download|wheel)\b", line)]
    commands = [line for line in commands if not re.match(r"[A-Z]+ :=", line)]
    assert len(commands) == {"Makefile": 9, ".github/workflows/pipeline.yml": 2, ".ci/run": 0}[path]
    for command in commands:
        assert {"--require-hashes", "--only-binary"} <= set(command.split()), command
        assert set(re.findall(r"-r (\S+)", command)) <= {lock.path for lock in LOCKS}, command
        assert re.search(r"-r \S+", command), command


@pytest.mark.skipif(not Path(sys.prefix).is_relative_to(ROOT / ".venv"), reason="not the environment of `make venv`")
def test_what_is_installed_here_is_what_the_locks_name() -> None:
    """`make venv`, `make bench` and `make lock` put nothing else into it."""
    locked = {(pin.name, pin.version) for lock in LOCKS if lock.python == OLDEST_PYTHON for pin in pins_of(lock)}
    installed = {(normalize(each.metadata["Name"]), each.version) for each in distributions(path=_site_packages())}
    assert {each for each in installed - locked if each[0] not in COMES_WITH_PYTHON} == set()


def _site_packages() -> list[str]:
    return [path for path in sys.path if Path(path).is_relative_to(sys.prefix)]


@each_lock
def test_markers_are_understood(lock: Lock) -> None:
    """pip takes a package with a wrong one for everywhere, or refuses the file."""
    for pin in pins_of(lock):
        if pin.marker:
            Marker(pin.marker).evaluate()


WRONG = {
    "no version": f"boto3 {HASH}",
    "a range": f"boto3>=1 {HASH}",
    "a pattern": f"boto3==1.* {HASH}",
    "an address": f"boto3 @ https://example.invalid/boto3.whl {HASH}",
    "an index": "--index-url https://example.invalid/simple",
    "another file": "-r other.txt",
    "no hash": "boto3==1",
    "a weak hash": "boto3==1 --hash=md5:0",
    "a short hash": f"boto3==1 {HASH[:-1]}",
    "an indented line": "    boto3==1",
    "an option": f"boto3==1 {HASH} --config-settings=x=y",
}


@pytest.mark.parametrize("line", WRONG.values(), ids=WRONG)
def test_any_other_line_is_refused(line: str) -> None:
    """The tests above are as good as what reads the files."""
    good = f"urllib3==2 \\\n    {HASH}\n    # via boto3\n"
    assert [pin.name for pin in read_lock(good)] == ["urllib3"]
    with pytest.raises(ValueError, match=r"not pinned exactly|not hashed"):
        read_lock(f"{good}{line}\n")


def test_pin_is_read_whole() -> None:
    """Extras, marker, hashes, and who asks for it, in either way of writing it."""
    pin = f"Moto[sqs, SSM]==5.2 ; sys_platform == 'win32' \\\n    {HASH} \\\n    {HASH}\n"
    text = f"# Written by hand.\n{pin}    # via\n    #   -c a.txt\n    #   b\n"
    assert read_lock(text) == [
        Pin(
            name="moto",
            extras=frozenset({"sqs", "ssm"}),
            version="5.2",
            marker="sys_platform == 'win32'",
            hashes=(HASH.removeprefix("--hash="),) * 2,
            via=("b",),
        )
    ]
    assert read_lock(f"a==1 {HASH}\n    # via b\n")[0].via == ("b",)
