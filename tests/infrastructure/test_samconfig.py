"""samconfig.toml: what the SAM commands do without being told, in each of its three environments."""

import re
import tomllib

import pytest

from testing.stack import ROOT, Node, Stack

ENVIRONMENTS = ("default", "dev", "prod")


@pytest.fixture(scope="module")
def samconfig() -> dict[str, Node]:
    """The file, parsed."""
    return tomllib.loads((ROOT / "samconfig.toml").read_text(encoding="utf-8"))


def test_environments_are_the_three(samconfig: dict[str, Node]) -> None:
    """`--config-env` takes these names."""
    assert set(samconfig) == {"version", *ENVIRONMENTS}


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_build_finds_the_requirements(samconfig: dict[str, Node], environment: str) -> None:
    """They lie beside the template, not in the function's folder; without this nothing is installed."""
    manifest = samconfig[environment]["build"]["parameters"]["manifest"]
    assert (ROOT / manifest).is_file()


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_sam_deploys_what_was_built(samconfig: dict[str, Node], environment: str) -> None:
    """Without this, a `sam deploy` takes the source where nothing was built, and --guided writes its answers here."""
    assert samconfig[environment]["deploy"]["parameters"]["template_file"] == ".aws-sam/build/template.yaml"


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_parameters_are_the_templates(samconfig: dict[str, Node], stack: Stack, environment: str) -> None:
    """An override of a parameter that does not exist fails the deployment at its end."""
    overrides = samconfig[environment]["deploy"]["parameters"].get("parameter_overrides", "")
    for override in overrides.split():
        name, value = override.split("=", 1)
        parameter = stack.parameters[name]
        assert value in [str(allowed) for allowed in parameter.get("AllowedValues", [value])]
        assert re.fullmatch(parameter.get("AllowedPattern", ".*"), value)


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_deployment_leaves_the_region_to_the_profile(samconfig: dict[str, Node], environment: str) -> None:
    """Nobody's stack lands in a region that we chose; each environment has a stack of its own."""
    deploy = samconfig[environment]["deploy"]["parameters"]
    assert "region" not in deploy
    assert deploy["capabilities"] == "CAPABILITY_IAM"
    names = [samconfig[other]["deploy"]["parameters"]["stack_name"] for other in ENVIRONMENTS]
    assert names.count(deploy["stack_name"]) == 1


def test_production_asks_before_it_changes(samconfig: dict[str, Node]) -> None:
    """A change set is shown first."""
    assert samconfig["prod"]["deploy"]["parameters"]["confirm_changeset"] is True
