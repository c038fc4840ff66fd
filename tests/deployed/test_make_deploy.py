"""`make deploy`, as README has it, in an account of its own; and what a bare `sam deploy` would deploy."""

import io
import json
import os
import shutil
import subprocess
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from testing.documented import commands_of
from testing.github_hooks import TOKEN, HooksApi
from testing.origin import GitOrigin
from testing.repositories import archive
from testing.stack import ROOT
from tests.deployed.bridges import bridged_template, write_bridged_template
from tests.deployed.conftest import TOOLS
from tests.deployed.deployment import ARCHITECTURE, Deployment, Sam
from tests.deployed.emulator import Emulator
from tests.deployed.pushes import Pusher
from tools.deploy import Configuration, command_of


@pytest.fixture(scope="module")
def account(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    """An account with nothing in it, apart from the other tests'."""
    with Emulator(ROOT / TOOLS / "emulator" / "bin" / "python", tmp_path_factory.mktemp("account")) as started:
        yield started


@pytest.fixture
def hooks() -> Iterator[HooksApi]:
    """GitHub's API for webhooks."""
    api = HooksApi()
    yield api
    api.stop()


def test_readmes_two_commands_lead_to_a_published_push(
    account: Emulator, sam: Sam, built: Path, remote: GitOrigin, hooks: HooksApi, tmp_path: Path
) -> None:
    """As they stand there, but for the name; the push is the third. A second `make deploy` changes nothing."""
    tracked = {name: (ROOT / name).read_bytes() for name in ("samconfig.toml", "template.yaml")}
    deployment = Deployment(account, sam, "git2efs", tmp_path / "mount")
    deployment.mount.mkdir()
    # The emulator runs the functions on this machine's processor.
    (tmp_path / "deploy.toml").write_text(f'architecture = "{ARCHITECTURE}"\n')
    template = write_bridged_template(built, deployment.mount)
    environment = {
        **os.environ,
        **account.credentials,
        # This test's places, for `make` as it is typed there.
        "CONFIG": os.fspath(tmp_path / "deploy.toml"),
        "ARGS": f"--template-file {template}",
        "GH_ENTERPRISE_TOKEN": TOKEN,
    }

    def type_in(command: str) -> str:
        done = subprocess.run(
            ["bash", "-c", command.replace("OWNER/NAME", "octo/first")],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    deploy, add = [command.text for command in commands_of(ROOT / "README.md") if command.text in _deploy_section()]
    type_in(deploy)
    deployment.find(built)
    # The stand-in of GitHub's API has an address of its own; `add` keeps the parameter, and finds it there.
    hooks.hooks["octo/first"] = []
    deployment.put_repository("octo/first", url=hooks.url("octo/first"))
    type_in(add)
    (hook,) = hooks.hooks["octo/first"]
    assert hook["config"]["url"] == deployment.outputs["WebhookUrl"]

    pusher = Pusher(remote, "octo/first").configure(deployment)
    commit = pusher.commit()
    status, answer = deployment.send(pusher.request(secret=hook["config"]["secret"]))
    assert (status, answer["outcome"], answer["commit"]) == (200, "published", commit)
    assert pusher.published(deployment) == archive(pusher.upstream, commit)

    assert "No changes to deploy" in type_in(deploy)
    assert {name: (ROOT / name).read_bytes() for name in tracked} == tracked


def _deploy_section() -> str:
    return (ROOT / "README.md").read_text(encoding="utf-8").partition("## Deploy\n")[2].partition("\n## ")[0]


@pytest.fixture
def project(built: Path, tmp_path: Path) -> Path:
    """What SAM sees of the project after `make build`: the source, samconfig.toml, and what was built."""
    project = tmp_path / "project"
    (project / ".aws-sam" / "build").mkdir(parents=True)
    shutil.copytree(ROOT / "handler", project / "handler", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("samconfig.toml", "template.yaml"):
        shutil.copy(ROOT / name, project)
    template = bridged_template(built, tmp_path)
    for item in template["Resources"].values():
        if item["Type"] == "AWS::Serverless::Function":
            item["Properties"]["CodeUri"] = os.fspath(built.parent / item["Properties"]["CodeUri"])
    (project / ".aws-sam" / "build" / "template.yaml").write_text(json.dumps(template))
    return project


def sam_in(project: Path, account: Emulator, *words: str) -> tuple[int, str]:
    """Run `sam` there as somebody does who answers every question with Enter, and y to a yes or no; return its end."""
    path = f"{ROOT / TOOLS / 'sam' / 'bin'}{os.pathsep}{os.environ['PATH']}"
    process = subprocess.Popen(
        ["sam", *words],
        cwd=project,
        env={**os.environ, **account.credentials, "PATH": path, "SAM_CLI_TELEMETRY": "0"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    with process:
        assert process.stdin is not None
        assert process.stdout is not None
        said = b""
        while part := os.read(process.stdout.fileno(), 1 << 16):
            said += part
            if said.endswith(b"]: "):
                process.stdin.write(b"y\n" if said[-6:-3].lower() == b"y/n" else b"\n")
                process.stdin.flush()
    return process.returncode, said.decode()


def uploaded(account: Emulator) -> list[set[str]]:
    """Return the names in each function's package that SAM uploaded; afterwards there is none."""
    s3 = account.client("s3")
    found = []
    for bucket in s3.list_buckets()["Buckets"]:
        for item in s3.list_objects_v2(Bucket=bucket["Name"]).get("Contents", []):
            content = s3.get_object(Bucket=bucket["Name"], Key=item["Key"])["Body"].read()
            if zipfile.is_zipfile(io.BytesIO(content)):
                found.append(set(zipfile.ZipFile(io.BytesIO(content)).namelist()))
            s3.delete_object(Bucket=bucket["Name"], Key=item["Key"])
    return found


@pytest.mark.parametrize(
    "more",
    [(), ("--config-env", "dev"), ("--config-env", "prod"), ("--guided",)],
    ids=["bare", "dev", "prod", "guided"],
)
def test_whatever_sam_deploy_somebody_types_deploys_what_was_built(
    account: Emulator, project: Path, built: Path, more: tuple[str, ...]
) -> None:
    """The publisher's package and the others' are those that were built; and nothing that is tracked is written."""
    uploaded(account)
    before = (project / "samconfig.toml").read_bytes()
    status, said = sam_in(project, account, "deploy", "--no-execute-changeset", *more)
    assert status == 0, said
    directories = (built.parent / "PublisherFunction", built.parent / "WebhookFunction")
    packages = [
        {path.relative_to(directory).as_posix() for path in directory.rglob("*") if path.is_file()}
        for directory in directories
    ]
    assert sorted(uploaded(account), key=len) == packages
    assert (project / "samconfig.toml").read_bytes() == before


def test_sam_deploys_nothing_where_nothing_is_built(account: Emulator, project: Path) -> None:
    """SAM's own fallback would be the source."""
    uploaded(account)
    shutil.rmtree(project / ".aws-sam")
    status, said = sam_in(project, account, "deploy", "--no-execute-changeset")
    assert status != 0
    assert ".aws-sam/build/template.yaml" in said
    assert uploaded(account) == []


def test_tags_of_the_file_reach_the_stack(account: Emulator, sam: Sam, built: Path, tmp_path: Path) -> None:
    """As SAM reads its option; CloudFormation hands them on to what it makes."""
    tags = {"team": "web", "cost:centre": "4711", "mail": "ops@example.com"}
    configuration = Configuration(stack="git2efs-tagged", architecture=ARCHITECTURE, tags=tags)
    command = command_of(configuration, write_bridged_template(built, tmp_path), asks=False)
    sam.run(*command[1:], "--no-execute-changeset", environment={**os.environ, **account.credentials})
    (stack,) = account.client("cloudformation").describe_stacks(StackName="git2efs-tagged")["Stacks"]
    assert {tag["Key"]: tag["Value"] for tag in stack["Tags"]} == tags
    account.client("cloudformation").delete_stack(StackName="git2efs-tagged")
