"""The pipeline's laws: pinned actions, least permissions, no secrets, approval before prod; and scripts that parse."""

import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest
import yaml
from cfnlint import api
from cfnlint.config import ManualArgs

from testing.stack import REGION, ROOT, Stack, parse
from tools.locks import LOCKS

PIPELINE = ROOT / ".github" / "workflows" / "pipeline.yml"
ROLE = ROOT / ".github" / "deploy-role.yaml"
TEXT = PIPELINE.read_text(encoding="utf-8")
WORKFLOW = yaml.safe_load(TEXT)
JOBS: dict[str, Any] = WORKFLOW["jobs"]
TRIGGERS = WORKFLOW[True]
"""YAML 1.1 reads the key `on` as true."""
MOST_MINUTES = 60

STEPS = [(name, number, step) for name, job in JOBS.items() for number, step in enumerate(job["steps"])]
SCRIPTS = [(name, number, step["run"]) for name, number, step in STEPS if "run" in step]


def expressions(value: object) -> Iterator[str]:
    """Yield what stands between ${{ and }} anywhere in a value."""
    if isinstance(value, dict):
        for item in value.values():
            yield from expressions(item)
    elif isinstance(value, list):
        for item in value:
            yield from expressions(item)
    elif isinstance(value, str):
        yield from (each.strip() for each in re.findall(r"\$\{\{(.*?)\}\}", value))


def test_every_action_is_pinned_by_commit_and_says_its_version() -> None:
    """A tag can be moved to other code; the comment is for those who update it. One pin an action."""
    used = [line.strip().removeprefix("- ") for line in TEXT.splitlines() if re.match(r"\s*(- )?uses:", line)]
    assert len(used) == len([step for _, _, step in STEPS if "uses" in step])
    for line in used:
        assert re.fullmatch(r"uses: [a-z-]+/[a-z-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", line), line
    actions = {line.split()[1] for line in used}
    assert len({action.partition("@")[0] for action in actions}) == len(actions)


def test_nothing_is_permitted_unless_a_job_says_so() -> None:
    """Each job reads the code; only what deploys may ask for a token in an environment, which AWS asks for."""
    assert WORKFLOW["permissions"] == {}
    more = {
        "deploy": {"id-token": "write"},
        "attest": {"id-token": "write", "attestations": "write"},
        "publish": {"contents": "write"},
    }
    for name, job in JOBS.items():
        deploys = "environment" in job
        assert deploys == (name == "deploy")
        assert job["permissions"] == {"contents": "read"} | more.get(name, {}), name
        uses_aws = any("configure-aws-credentials" in step.get("uses", "") for step in job["steps"])
        assert uses_aws == deploys, name


def test_there_are_no_secrets() -> None:
    """OIDC needs none; and an environment's variables are for the jobs in it."""
    assert "secrets." not in TEXT
    assert "AWS_SECRET" not in TEXT
    for name, job in JOBS.items():
        if "environment" not in job:
            assert [each for each in expressions(job) if each.startswith("vars.")] == [], name


@pytest.mark.parametrize("name", JOBS)
def test_every_job_ends(name: str) -> None:
    """Without a time-out a job that hangs runs for six hours."""
    assert 0 < JOBS[name]["timeout-minutes"] <= MOST_MINUTES


@pytest.mark.parametrize("name", JOBS)
def test_runner_is_named_by_its_version(name: str) -> None:
    """`latest` is another machine from one day to the next."""
    assert re.fullmatch(r"ubuntu-\d\d\.04", JOBS[name]["runs-on"])


def test_needs_are_jobs_and_deploying_needs_all_the_others() -> None:
    """What is deployed was linted, tested on both Pythons, built and run."""
    for job in JOBS.values():
        assert set(job.get("needs", [])) <= set(JOBS)
    assert set(JOBS["deploy"]["needs"]) == set(JOBS) - {"deploy", "publish"}
    assert JOBS["check"]["strategy"]["matrix"]["python"] == ["3.11", "3.13"]


def test_main_goes_to_dev_and_a_release_to_prod() -> None:
    """And a pull request nowhere. A deployment is never broken off; environments do not wait for each other."""
    deploy = JOBS["deploy"]
    target = "${{ github.event_name == 'release' && 'prod' || 'dev' }}"
    assert set(TRIGGERS) == {"pull_request", "push", "release"}
    assert TRIGGERS["push"] == {"branches": ["main"]}
    assert TRIGGERS["release"] == {"types": ["published"]}
    is_main = "(github.event_name == 'push' && github.ref == 'refs/heads/main')"
    assert deploy["if"] == f"github.event_name == 'release' || {is_main}"
    assert (deploy["environment"], deploy["env"]["TARGET"]) == (target, target)
    assert deploy["concurrency"] == {"group": f"deploy-{target}", "cancel-in-progress": False}
    assert WORKFLOW["concurrency"]["cancel-in-progress"] == "${{ github.event_name == 'pull_request' }}"


def test_environments_are_samconfigs() -> None:
    """The smoke test asks the stack that was deployed."""
    samconfig = tomllib.loads((ROOT / "samconfig.toml").read_text(encoding="utf-8"))
    for environment in ("dev", "prod"):
        assert samconfig[environment]["deploy"]["parameters"]["stack_name"] == f"git2efs-{environment}"
    scripts = "\n".join(script for name, _, script in SCRIPTS if name == "deploy")
    assert '--config-env "$TARGET"' in scripts
    assert '--stack "git2efs-$TARGET"' in scripts


def test_what_was_tested_is_what_is_deployed() -> None:
    """The artefact is handed on, and not built a second time; for the template's default architecture."""
    deploy = "\n".join(script for name, _, script in SCRIPTS if name == "deploy")
    architecture = parse((ROOT / "template.yaml").read_text(encoding="utf-8"))["Parameters"]["Architecture"]["Default"]
    assert "build" not in deploy
    assert f"--template-file .aws-sam/{architecture}/template.yaml" in deploy
    assert any(f"tar -cf artefact.tar .aws-sam/{architecture}" in script for _, _, script in SCRIPTS)


@pytest.mark.parametrize(("name", "number", "script"), SCRIPTS, ids=[f"{name}-{number}" for name, number, _ in SCRIPTS])
def test_script_parses_and_has_nothing_of_an_event_in_it(name: str, number: int, script: str) -> None:
    """An expression in a script is text before it is a script: a branch's name could be a command."""
    assert list(expressions(script)) == []
    result = subprocess.run(["bash", "-n"], input=script, text=True, capture_output=True, check=False)
    assert result.returncode == 0, result.stderr


def test_scripts_make_what_the_makefile_has() -> None:
    """A target that was renamed would fail here first."""
    targets = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    made = {words[-1] for _, _, script in SCRIPTS if (words := script.split()) and words[0] == "make"}
    assert made == {"lint", "test-all", "e2e"}
    assert made <= targets


@pytest.mark.parametrize("step", [step for _, _, step in STEPS if "actions/checkout" in step.get("uses", "")])
def test_checkout_keeps_no_token(step: dict[str, Any]) -> None:
    """What the tests run needs none."""
    assert step["with"]["persist-credentials"] is False


def test_role_is_for_one_environment_of_one_repository() -> None:
    """Exact, without a wildcard: neither a pull request's job nor another repository's gets it, nor one of its name."""
    template = parse(ROLE.read_text(encoding="utf-8"))
    (statement,) = template["Resources"]["DeployRole"]["Properties"]["AssumeRolePolicyDocument"]["Statement"]
    assert statement["Condition"] == {
        "StringEquals": {
            "token.actions.githubusercontent.com:aud": "sts.amazonaws.com",
            "token.actions.githubusercontent.com:sub": {"Fn::Sub": "repo:${Repository}:environment:${Environment}"},
            "token.actions.githubusercontent.com:repository_id": {"Ref": "RepositoryId"},
            "token.actions.githubusercontent.com:repository_owner_id": {"Ref": "RepositoryOwnerId"},
        }
    }
    outputs = {value["Description"].split()[3] for value in template["Outputs"].values() if "variable" in str(value)}
    assert {f"vars.{name}" for name in outputs} | {"vars.AWS_REGION"} == {
        each for each in expressions(JOBS["deploy"]) if each.startswith("vars.")
    }


def test_role_may_make_every_resource_of_the_template() -> None:
    """A service that the template begins to use has to be added to CloudFormation's role."""
    kinds = {item["Type"] for item in parse((ROOT / "template.yaml").read_text())["Resources"].values()}
    services = {"ApiGatewayV2": "apigateway", "EFS": "elasticfilesystem", "Serverless": "lambda"}
    needed = {services.get(kind.split("::")[1], kind.split("::")[1].lower()) for kind in kinds} - {"iam"}
    role = parse(ROLE.read_text(encoding="utf-8"))["Resources"]["CloudFormationRole"]["Properties"]
    statements = role["Policies"][0]["PolicyDocument"]["Statement"]
    made = [action for statement in statements for action in _listed(statement["Action"])]
    assert {f"{service}:*" for service in needed | {"apigateway", "scheduler"}} <= set(made)


def _listed(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value


def _statements(role: str) -> dict[str, Any]:
    """Return the statements of a role of deploy-role.yaml by their Sid."""
    properties = parse(ROLE.read_text(encoding="utf-8"))["Resources"][role]["Properties"]
    return {each["Sid"]: each for each in properties["Policies"][0]["PolicyDocument"]["Statement"]}


GIVES_RIGHTS = frozenset(
    ["iam:CreateRole", "iam:PutRolePolicy", "iam:AttachRolePolicy", "iam:PutRolePermissionsBoundary"]
)


def test_cloudformation_makes_no_role_without_the_boundary() -> None:
    """Whatever gives a role a right is allowed for a bounded role only; nothing takes a boundary away."""
    statements = _statements("CloudFormationRole")
    seen = set()
    for statement in statements.values():
        actions = set(_listed(statement["Action"]))
        if statement["Effect"] == "Allow":
            assert not {each for each in actions if each.startswith("iam:") and "*" in each}, statement["Sid"]
            assert "iam:DeleteRolePermissionsBoundary" not in actions
            if actions & GIVES_RIGHTS:
                assert actions <= GIVES_RIGHTS
                assert statement["Condition"] == {"StringEquals": {"iam:PermissionsBoundary": {"Ref": "Boundary"}}}
                seen |= actions
    assert seen == GIVES_RIGHTS
    lends = statements["LendTheStacksRoles"]
    assert lends["Condition"] == {
        "StringEquals": {"iam:PassedToService": ["lambda.amazonaws.com", "scheduler.amazonaws.com"]}
    }


def test_cloudformation_may_not_change_its_own_role_or_the_boundary() -> None:
    """The names of the pipeline's roles begin like those of the stack's: `git2efs-dev-pipeline-…`."""
    denied = _statements("CloudFormationRole")["LeaveThePipelinesOwnRoles"]
    assert (denied["Effect"], denied["Action"], "Condition" in denied) == ("Deny", "iam:*", False)
    account = "arn:${AWS::Partition}:iam::${AWS::AccountId}"
    own, boundary = (each["Fn::Sub"] for each in denied["Resource"])
    assert own == account + ":role/${AWS::StackName}-*"
    name = parse(ROLE.read_text(encoding="utf-8"))["Resources"]["Boundary"]["Properties"]["ManagedPolicyName"][
        "Fn::Sub"
    ]
    assert fnmatchcase(f"{account}:policy/{name}", boundary.replace("[", "[[]"))
    made = _statements("CloudFormationRole")["MakeTheStacksPolicies"]["Resource"]["Fn::Sub"]
    assert not fnmatchcase(f"{account}:policy/git2efs-boundary-dev", made.replace("${Environment}", "dev"))


@pytest.mark.parametrize("environment", ["dev", "prod"])
def test_samconfig_names_the_boundary(environment: str) -> None:
    """Without it, the pipeline's deployment would be refused; and every role of the template takes it."""
    samconfig = tomllib.loads((ROOT / "samconfig.toml").read_text(encoding="utf-8"))
    overrides = samconfig[environment]["deploy"]["parameters"]["parameter_overrides"].split()
    assert f"PermissionsBoundary=git2efs-boundary-{environment}" in overrides
    template = parse((ROOT / "template.yaml").read_text(encoding="utf-8"))
    roles = [item for item in template["Resources"].values() if item["Type"] == "AWS::IAM::Role"]
    named = {"Fn::Sub": "arn:${AWS::Partition}:iam::${AWS::AccountId}:policy/${PermissionsBoundary}"}
    for role in roles:
        bounded = {"Fn::If": ["HasPermissionsBoundary", named, {"Ref": "AWS::NoValue"}]}
        assert role["Properties"]["PermissionsBoundary"] == bounded
    # SAM makes a role for a function or a state machine that names none.
    functions = [item for item in template["Resources"].values() if item["Type"] == "AWS::Serverless::Function"]
    assert all("Role" in function["Properties"] for function in functions)


def test_boundary_allows_what_the_templates_roles_do(stack: Stack) -> None:
    """And nothing else: an action that the template begins to use has to be added to it, on purpose."""
    boundary = parse(ROLE.read_text(encoding="utf-8"))["Resources"]["Boundary"]["Properties"]["PolicyDocument"]
    bound = {action for each in boundary["Statement"] for action in _listed(each["Action"])}
    used = {
        action
        for item in stack.plain["Resources"].values()
        if item["Type"] in ("AWS::IAM::Role", "AWS::IAM::ManagedPolicy")
        for name, part in item["Properties"].items()
        if name != "AssumeRolePolicyDocument"
        for action in _allowed(part)
    }
    assert used == bound


def _allowed(value: object) -> Iterator[str]:
    """Yield the actions that statements anywhere in a value allow."""
    if isinstance(value, list):
        for item in value:
            yield from _allowed(item)
    elif isinstance(value, dict):
        if value.get("Effect") == "Allow":
            yield from _listed(value["Action"])
        for item in value.values():
            yield from _allowed(item)


@pytest.mark.parametrize("role", ["DeployRole", "CloudFormationRole"])
def test_what_is_named_by_a_pattern_is_of_this_account(role: str) -> None:
    """A bucket of the expected name may be a stranger's; and `*` is everybody's."""
    for statement in _statements(role).values():
        for resource in statement["Resource"] if isinstance(statement["Resource"], list) else [statement["Resource"]]:
            text = resource.get("Fn::Sub", "") if isinstance(resource, dict) else resource
            if statement["Effect"] == "Allow" and text and "${AWS::AccountId}" not in text and ":aws:" not in text:
                (condition,) = statement["Condition"].values()
                assert condition == {"aws:ResourceAccount": {"Ref": "AWS::AccountId"}}, statement["Sid"]


def test_job_that_may_assume_the_role_installs_nothing_from_the_network() -> None:
    """It has what the job before fetched by its hashes. What may sign runs nothing that was fetched at all."""
    (install,) = (script for name, _, script in SCRIPTS if name == "deploy" and "pip" in script)
    assert {"--no-index", "--find-links", "--require-hashes"} <= set(install.split())
    for name in ("deploy", "attest", "publish"):
        for _, _, script in [each for each in SCRIPTS if each[0] == name]:
            assert not re.search(r"\b(make|curl|wget|npm|npx|pipx|uv|apt|apt-get|docker|git)\b", script), script
    assert [step.get("run") for step in JOBS["attest"]["steps"]] == [None, None]
    handed = next(step for step in JOBS["artefact"]["steps"] if "upload-artifact" in step.get("uses", ""))
    assert handed["with"]["path"].split() == ["artefact.tar", "git2efs.cdx.json", "wheels"]


def test_what_is_released_is_attested() -> None:
    """Artefact and bill of materials: those that were tested, that are signed and that are added to the release."""
    (attested,) = (step for step in JOBS["attest"]["steps"] if "attest-build-provenance" in step["uses"])
    files = attested["with"]["subject-path"].split()
    assert files == ["artefact.tar", "git2efs.cdx.json"]
    (upload,) = (script for name, _, script in SCRIPTS if name == "publish")
    assert upload.split()[-2:] == files
    assert JOBS["publish"]["needs"] == ["attest"]
    assert JOBS["publish"]["if"] == "github.event_name == 'release'"
    assert JOBS["attest"]["if"] == JOBS["deploy"]["if"]


def test_release_is_tagged_with_its_version(tmp_path: Path) -> None:
    """Before anything is built: else the artefact, its bill and the command would say different versions."""
    (step,) = (step for name, _, step in STEPS if name == "artefact" and "GITHUB_REF_NAME" in step.get("run", ""))
    assert step["if"] == "github.event_name == 'release'"
    (tmp_path / "python").symlink_to(sys.executable)
    version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    ends = {}
    for tag in (f"v{version}", version, "v0.0.1"):
        environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "GITHUB_REF_NAME": tag}
        done = subprocess.run(["bash", "-e", "-c", step["run"]], cwd=ROOT, env=environment, check=False)
        ends[tag] = done.returncode
    assert ends == {f"v{version}": 0, version: 1, "v0.0.1": 1}


def test_dependabot_looks_at_packages_and_actions() -> None:
    """In every folder that has a lock, and at the workflows."""
    updates = yaml.safe_load((ROOT / ".github" / "dependabot.yml").read_text(encoding="utf-8"))["updates"]
    assert {each["package-ecosystem"] for each in updates} == {"pip", "github-actions"}
    (pip,) = (each for each in updates if each["package-ecosystem"] == "pip")
    assert set(pip["directories"]) == {f"/{Path(lock.path).parent.as_posix()}".rstrip(".") for lock in LOCKS}


def test_role_is_clean() -> None:
    """cfn-lint has nothing to say."""
    config = ManualArgs(regions=[REGION])
    assert [str(match) for match in api.lint(ROLE.read_text(encoding="utf-8"), config=config)] == []
