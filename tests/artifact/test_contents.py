"""The rules about an artefact's contents, each broken once; on a small one that is made here."""

import shutil
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from testing.github_app import make_key, pem_of
from testing.stack import ROOT, parse
from tools import contents, finish, reach
from tools.artefact import main
from tools.contents import COMPILED, MACHINES, problems_of, read_pins

TAG = sys.implementation.cache_tag or ""
HASH = f"--hash=sha256:{'0' * 64}"
REQUIREMENTS = "# What runs.\n" + "".join(
    f"{pin} \\\n    {HASH}\n    # via git2efs (pyproject.toml)\n"
    for pin in ("boto3==1.4.5", "dulwich==1.2.3", "pycryptodome==4.0", "urllib3==2.0")
)
ELF = b"\x7fELF\x02\x01\x01" + bytes(9) + struct.pack("<HH", 3, MACHINES["arm64"][0])
SOURCE = {
    "__init__.py": "",
    "webhook.py": "import boto3\nclient = boto3.client('ssm')\n",
    "network/__init__.py": "",
    "network/app_jwt.py": "def make():\n    from Crypto.Hash import SHA256\n",
    "aws/__init__.py": "",
    "aws/queue.py": "def make(session):\n    return session.client('sqs')\n",
}


@pytest.fixture(autouse=True)
def _this_python(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tests run with any Python, and compile for it."""
    monkeypatch.setattr(finish, "PYTHON", sys.version_info[:2])
    monkeypatch.setattr(contents, "TAG", TAG)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """The project's package."""
    return write(tmp_path / "project" / "handler", SOURCE)


@pytest.fixture
def built(tmp_path: Path, source: Path) -> Path:
    """What `sam build` makes of it, not yet finished."""
    directory = tmp_path / "arm64" / "WebhookFunction"
    shutil.copytree(source, directory / "handler")
    extensions = [f"{part}.{TAG}-aarch64-linux-gnu.so" for part in COMPILED]
    package(directory, "dulwich", "1.2.3", [*extensions, "dulwich/tests/test_it.py"])
    package(directory, "urllib3", "2.0", ["urllib3/__init__.py"])
    models = [f"botocore/data/{name}/service.json" for name in ("ssm", "sqs", "s3")]
    models += [f"botocore/data/{name}" for name in (*finish.SHARED_MODELS, "other.json")]
    package(
        directory, "boto3", "1.4.5", ["boto3/__init__.py", "boto3/docs/__init__.py", "boto3/examples/s3.rst", *models]
    )
    stable = ["Crypto/Hash/_SHA256.abi3.so", "Crypto/Hash/_MD5.abi3.so"]
    package(directory, "pycryptodome", "4.0", [*stable, *CRYPTO])
    write(directory, CRYPTO)
    for extension in (*extensions, *stable):
        (directory / extension).write_bytes(ELF)
    return directory


CRYPTO = {
    "Crypto/__init__.py": "",
    "Crypto/Hash/__init__.py": "",
    "Crypto/Hash/SHA256.py": 'load("Crypto.Hash._SHA256")\n\ndef other():\n    from Crypto.Hash import MD5\n',
    "Crypto/Hash/MD5.py": 'load("Crypto.Hash._MD5")\n',
    "Crypto/SelfTest/Hash/test_it.py": "",
}


PUBLISHER = {
    "publisher.py": "from handler.mount.deep import work\n\ndef handler():\n    from handler import late\n",
    "late.py": "",
    "mount/__init__.py": "",
    "mount/deep.py": "from dulwich.pack import Pack\nfrom typing import TYPE_CHECKING\n"
    "if TYPE_CHECKING:\n    import boto3\n",
}
DULWICH = {
    "__init__.py": "",
    "pack.py": "import sys\nfrom .base import Base\nif sys.version_info >= (3, 12):\n    import array\nelse:\n"
    "    import backport\ntry:\n    from dulwich._pack import fast\nexcept ImportError:\n    pass\n\n"
    "def other():\n    from .client import Client\n",
    "base.py": "",
    "client.py": "import urllib3\n",
}


@pytest.fixture
def publisher(built: Path, source: Path) -> Path:
    """The same, as the publisher's directory; the source has the publisher too."""
    directory = built.with_name("PublisherFunction")
    write(source, PUBLISHER)
    shutil.copytree(source, built / "handler", dirs_exist_ok=True)
    write(built / "dulwich", DULWICH)
    record = built / "dulwich-1.2.3.dist-info" / "RECORD"
    record.write_text(record.read_text() + "".join(f"dulwich/{name},,\n" for name in DULWICH))
    shutil.copytree(built, directory)
    return directory


def write(directory: Path, files: dict[str, str]) -> Path:
    """Write text files below a directory; return it."""
    for name, text in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return directory


def package(directory: Path, name: str, version: str, files: list[str]) -> None:
    """Install a distribution as pip does."""
    about = {"METADATA": f"Name: {name}\n", "RECORD": "".join(f"{file},,\n" for file in files)}
    write(directory, dict.fromkeys(files, ""))
    write(directory / f"{name}-{version}.dist-info", about)
    (directory / f"{name}-{version}.data" / "scripts").mkdir(parents=True)


def problems(built: Path, source: Path) -> list[str]:
    """Return what is wrong with it."""
    return problems_of(built, "arm64", source, REQUIREMENTS)


def test_finished_artefact_has_no_problem(built: Path, source: Path) -> None:
    """Tests, examples, scripts and other services' models are gone, the rest is compiled; twice is as once."""
    assert len(problems(built, source)) > 3
    finish.finish(built)
    assert problems(built, source) == []
    assert sorted(path.name for path in (built / "botocore" / "data").iterdir()) == sorted(
        {*finish.SHARED_MODELS, "ssm", "sqs"}
    )
    before = {path: path.read_bytes() for path in built.rglob("*") if path.is_file()}
    finish.finish(built)
    assert {path: path.read_bytes() for path in built.rglob("*") if path.is_file()} == before


def test_of_a_package_that_is_needed_in_part_only_that_stays(built: Path) -> None:
    """What our module imports, and the extensions that this loads by their names."""
    finish.finish(built)
    assert sorted(
        path.relative_to(built).as_posix() for path in (built / "Crypto").rglob("*.*") if path.suffix != ".pyc"
    ) == ["Crypto/Hash/SHA256.py", "Crypto/Hash/_SHA256.abi3.so", "Crypto/Hash/__init__.py", "Crypto/__init__.py"]


def test_what_stays_of_pycryptodome_signs(tmp_path: Path) -> None:
    """The version that is installed here, by the same rule as in the artefact, and nothing else of it."""
    import Crypto

    installed = Path(Crypto.__file__).parent
    (tmp_path / "whole").mkdir()
    (tmp_path / "whole" / "Crypto").symlink_to(installed)
    (tmp_path / "whole" / "handler").symlink_to(ROOT / "handler")
    kept = finish.part_of(tmp_path / "whole", "Crypto", finish.PARTLY["Crypto"])
    for path in kept:
        copy = tmp_path / "kept" / path.relative_to(tmp_path / "whole")
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)
    code = "import sys; sys.path = [*sys.argv[1:], *(path for path in sys.path if 'packages' not in path)]; "
    code += "from handler.config.credential import AppKey; from handler.network.app_jwt import make_jwt; "
    code += "print(make_jwt('name', AppKey(app_id='1', private_key=sys.stdin.read()), 1))"
    ran = subprocess.run(
        [sys.executable, "-I", "-c", code, tmp_path / "kept", ROOT],
        input=pem_of(make_key()),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ran.stderr, ran.stdout.count(".")) == ("", 2)
    assert sum(path.stat().st_size for path in kept) < 2 * 1024 * 1024


def test_bytecode_says_where_lambda_has_the_source(built: Path) -> None:
    """A traceback in CloudWatch shall not name a directory of whoever built it."""
    finish.finish(built)
    (compiled,) = (built / "handler" / "__pycache__").glob("webhook.*")
    assert b"/var/task/handler/webhook.py" in compiled.read_bytes()
    assert str(built).encode() not in compiled.read_bytes()


def test_publisher_has_just_what_it_imports(publisher: Path, source: Path) -> None:
    """What its functions import later too; not what others' functions do, nor what type checkers read."""
    finish.finish(publisher)
    assert problems(publisher, source) == []
    kept = {path.relative_to(publisher).as_posix() for path in publisher.rglob("*") if path.suffix != ".pyc"}
    names = {name for name in kept if (publisher / name).is_file() and ".dist-info" not in name}
    assert names == {
        "handler/__init__.py",
        *(f"handler/{name}" for name in PUBLISHER),
        *(f"dulwich/{name}" for name in DULWICH if name != "client.py"),
        f"dulwich/_pack.{TAG}-aarch64-linux-gnu.so",
    }
    assert {path.name for path in publisher.glob("*.dist-info")} == {"dulwich-1.2.3.dist-info"}
    finish.finish(publisher)
    assert problems(publisher, source) == []


ALONE_BREAKAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "a module that it does not import": (lambda at: write(at, {"dulwich/client.py": ""}), "dulwich/client.py is there"),
    "a package that it does not import": (
        lambda at: package(at, "urllib3", "2.0", ["urllib3/__init__.py"]),
        "urllib3/__init__.py is there, and never imported",
    ),
    "another side": (lambda at: write(at, {"handler/webhook.py": ""}), "handler/webhook.py is not the project's"),
    "a module that is gone": (lambda at: (at / "dulwich/base.py").unlink(), "dulwich.base is not there"),
    "a package that is gone": (lambda at: shutil.rmtree(at / "dulwich"), "dulwich.pack is not there"),
    "a module of ours that is gone": (lambda at: (at / "handler/late.py").unlink(), "handler/late.py is not the"),
    "the pure wheel": (lambda at: next(at.glob("dulwich/_pack*")).unlink(), "_pack"),
    "another version": (
        lambda at: (at / "dulwich-1.2.3.dist-info").rename(at / "dulwich-1.2.4.dist-info"),
        "dulwich 1.2.3 is missing",
    ),
    "data": (lambda at: write(at, {"handler/mount/data.json": ""}), "data.json"),
    "nine megabytes": (lambda at: (at / "handler/late.py").write_bytes(b"#" * 9 * 1024 * 1024), "bytes unpacked"),
}


@pytest.mark.parametrize("breakage", ALONE_BREAKAGES)
def test_each_rule_of_the_publishers_is_told_when_it_is_broken(publisher: Path, source: Path, breakage: str) -> None:
    """One thing wrong, and it is named."""
    finish.finish(publisher)
    breaks, told = ALONE_BREAKAGES[breakage]
    breaks(publisher)
    found = problems(publisher, source)
    assert any(told in problem for problem in found), found


def test_only_the_publisher_is_alone_and_by_its_handler() -> None:
    """The names are the template's, and a misspelt one would leave everything in."""
    resources = parse((ROOT / "template.yaml").read_text(encoding="utf-8"))["Resources"]
    handlers = {name: resources[name]["Properties"]["Handler"] for name in finish.ALONE}
    assert handlers == {"PublisherFunction": "handler.publisher.handler"}
    assert {name: handler.rpartition(".")[0] for name, handler in handlers.items()} == finish.ALONE


def test_mount_side_is_dulwich_and_nothing_else(tmp_path: Path) -> None:
    """The project's own, as it is installed here: no client of anything, and what is left out of dulwich is known.

    A new dulwich whose functions import more, where they are called from, is looked at: then this list is the place.
    """
    import dulwich

    (tmp_path / "handler").symlink_to(ROOT / "handler")
    (tmp_path / "dulwich").symlink_to(Path(dulwich.__file__).parent)
    inside = reach.reached(tmp_path, "handler.publisher")
    assert {name.split(".")[0] for name in inside} == {"handler", "dulwich"}
    assert not [name for name in inside if name.startswith("handler.network")]
    assert "dulwich.client" not in inside
    assert reach.missing(tmp_path, "handler.publisher") == frozenset()
    assert reach.deferred(tmp_path, "handler.publisher") == {
        "dulwich.bitmap",
        "dulwich.commit_graph",
        "dulwich.diff_tree",
        "dulwich.repo",
        "dulwich.sparse_patterns",
        "dulwich.submodule",
    }


BREAKAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "pure wheel": (lambda built: next(built.glob("dulwich/_pack*")).unlink(), "_pack"),
    "other processor": (
        lambda built: next(built.glob("dulwich/_pack*")).write_bytes(ELF[:18] + struct.pack("<H", 62)),
        "is not for arm64",
    ),
    "other processor by name": (
        lambda built: (built / f"dulwich/_more.{TAG}-x86_64-linux-gnu.so").write_bytes(ELF),
        "_more",
    ),
    "extension that is none": (lambda built: next(built.glob("dulwich/_pack*")).write_bytes(b""), "is not for arm64"),
    "other version": (
        lambda built: (built / "dulwich-1.2.3.dist-info").rename(built / "dulwich-1.2.4.dist-info"),
        "dulwich 1.2.3 is missing",
    ),
    "other processor of a stable extension": (
        lambda built: (built / "Crypto/Hash/_SHA256.abi3.so").write_bytes(ELF[:18] + struct.pack("<H", 62)),
        "Crypto/Hash/_SHA256.abi3.so is not for arm64",
    ),
    "part that nothing uses": (
        lambda built: write(built, {"Crypto/more.py": ""}),
        "Crypto/more.py is there, and never",
    ),
    "part that is missing": (lambda built: (built / "Crypto/Hash/_SHA256.abi3.so").unlink(), "Crypto is missing"),
    "tool": (lambda built: package(built, "pytest", "9.0", ["pytest.py"]), "pytest is there"),
    "document": (lambda built: write(built, {"README.md": ""}), "README.md is of no package"),
    "project's tests": (lambda built: write(built, {"tests/test_it.py": ""}), "tests is of no package"),
    "tests in a package": (lambda built: (built / "urllib3" / "tests").mkdir(), "urllib3/tests is inside"),
    "link": (lambda built: (built / "urllib3" / "link").symlink_to("/"), "urllib3/link is a link"),
    "handler's module missing": (lambda built: (built / "handler/webhook.py").unlink(), "handler/webhook.py"),
    "handler's module changed": (lambda built: write(built, {"handler/webhook.py": "1"}), "handler/webhook.py"),
    "module too many": (lambda built: write(built, {"handler/more.py": ""}), "handler/more.py is not the project's"),
    "model missing": (lambda built: shutil.rmtree(built / "botocore/data/sqs"), "botocore/data/sqs is missing"),
    "not compiled": (
        lambda built: next((built / "handler/__pycache__").glob("webhook.*")).unlink(),
        "handler/webhook.py is not compiled",
    ),
    "bytecode with a time": (
        lambda built: next((built / "handler/__pycache__").glob("webhook.*")).write_bytes(bytes(16)),
        "handler/webhook.py is not compiled",
    ),
}


@pytest.mark.parametrize("breakage", BREAKAGES)
def test_each_rule_is_told_when_it_is_broken(built: Path, source: Path, breakage: str) -> None:
    """One thing wrong, and it is named."""
    finish.finish(built)
    breaks, told = BREAKAGES[breakage]
    breaks(built)
    found = problems(built, source)
    assert any(told in problem for problem in found), found


def test_size_is_bounded(built: Path, source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package that grows is a decision."""
    finish.finish(built)
    monkeypatch.setattr(contents, "MOST_BYTES", 10)
    assert any("bytes unpacked" in problem for problem in problems(built, source))


def test_other_python_does_not_compile(built: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lambda would pass its bytecode over, without a word."""
    monkeypatch.setattr(finish, "PYTHON", (2, 7))
    with pytest.raises(finish.UnfitPython):
        finish.finish(built)


NOT_WRITTEN_OUT = {
    "a global": "import boto3\nboto3.client(name)\n",
    "nothing": "import boto3\nboto3.client()\n",
    "an expression": "import boto3\ndef make(name):\n    return boto3.client(name + 's')\n",
    "by a function": "import boto3\ndef make(name):\n    return boto3.client(name)\nmake(name)\n",
    "by a keyword": "import boto3\ndef make(name):\n    return boto3.client(name)\nmake(name='ssm')\n",
}


@pytest.mark.parametrize("text", NOT_WRITTEN_OUT.values(), ids=NOT_WRITTEN_OUT)
def test_client_whose_service_is_not_written_out_is_refused(tmp_path: Path, text: str) -> None:
    """Its models would be removed, and nobody would see it before the first call."""
    source = write(tmp_path, {"a.py": text})
    with pytest.raises(ValueError, match="write the service's name out"):
        finish.services_of(source)


def test_a_service_is_found_through_functions_that_pass_it_on(tmp_path: Path) -> None:
    """From module to module; a private function is its module's own."""
    make = "import boto3\ndef make(title, service):\n    return boto3.client(service)\n"
    ask = "from a import make\ndef _ask(service):\n    return make('title', service)\ndef depth():\n    _ask('sqs')\n"
    other = "from a import make\ndef _ask(question):\n    return make('title', 'ssm')\n_ask(question)\n"
    source = write(tmp_path, {"a.py": make, "b.py": ask, "c.py": other})
    assert finish.services_of(source) == {"sqs", "ssm"}


def test_project_calls_services_that_are_written_out() -> None:
    """All of the handler's clients are found; CloudFormation is the command's, which comes with the package."""
    from tools.artefact import PROJECT

    assert {"ssm", "sqs", "events", "lambda", "cloudformation", "secretsmanager"} == finish.services_of(
        PROJECT / "handler"
    )


@pytest.mark.parametrize("line", ["boto3", "boto3>=1", "boto3==1.*", "boto3~=1.2", "-r other.txt", "boto3==1 ; x"])
def test_requirement_that_is_not_pinned_is_refused(line: str) -> None:
    """The artefact of today has to be the artefact of tomorrow."""
    with pytest.raises(ValueError, match="not pinned exactly"):
        read_pins(f"{line} {HASH}\n")


@pytest.mark.parametrize(
    "line", ["boto3==1", f"boto3==1 {HASH[:-1]}", f"boto3==1 {HASH} --pre", "boto3==1 --hash=md5:0"]
)
def test_requirement_that_is_not_hashed_is_refused(line: str) -> None:
    """A version alone does not say which bytes."""
    with pytest.raises(ValueError, match="not hashed"):
        read_pins(f"{line}\n")


def test_project_is_pinned_exactly() -> None:
    """requirements.txt, which is what runs in Lambda."""
    from tools.artefact import PROJECT

    assert set(read_pins((PROJECT / "requirements.txt").read_text())) >= {"boto3", "dulwich", "aws-lambda-powertools"}


@pytest.mark.parametrize("arguments", [[], ["nowhere"], ["arm64"]])
def test_command_needs_what_sam_build_filled(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """2, and a line that says so."""
    assert main([str(tmp_path / argument) for argument in arguments]) == 2
    assert "sam build" in capsys.readouterr().err


def test_command_ends_with_1_where_something_is_wrong(built: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The pipeline stops there; each problem is a line."""
    parameter = "  Architecture:\n    Type: String\n    Default: arm64\n    AllowedValues:\n    - arm64\n    - x86_64\n"
    (built.parent / "template.yaml").write_text(f"Parameters:\n{parameter}")
    assert main([str(built.parent)]) == 1
    captured = capsys.readouterr()
    assert "1 functions over one package" in captured.out
    assert "aws-lambda-powertools 3" in captured.err
