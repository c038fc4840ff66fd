"""What `make build` made for both processors is what it has to be."""

import json
import subprocess
from collections.abc import Callable

import pytest

from testing.stack import ROOT, parse
from tests.artifact.runtime import Tools
from tools.artefact import check, functions_of, told
from tools.contents import MACHINES
from tools.template import SOURCE_RULE

BUILT = ROOT / ".aws-sam"
FUNCTIONS = sorted(
    name
    for name, item in parse((ROOT / "template.yaml").read_text(encoding="utf-8"))["Resources"].items()
    if item["Type"] == "AWS::Serverless::Function"
)


@pytest.mark.parametrize("architecture", MACHINES)
def test_artefacts_are_as_they_have_to_be(architecture: str, say: Callable[[str], None]) -> None:
    """Every rule of tools/contents.py, for each function; and the size is told."""
    functions = functions_of(BUILT / architecture)
    assert [function.name for function in functions] == FUNCTIONS
    assert [check(function, architecture) for function in functions] == [[] for _ in functions]
    say(told(BUILT / architecture))


@pytest.mark.parametrize("architecture", MACHINES)
def test_publishers_package_has_no_client_of_anything(architecture: str) -> None:
    """What inflates hostile packs has dulwich's readers, and nothing that could call, sign, or read a secret."""
    publisher = BUILT / architecture / "PublisherFunction"
    assert sorted(path.name.split("-")[0] for path in publisher.glob("*.dist-info")) == ["dulwich"]
    assert sorted(path.name for path in publisher.iterdir() if path.suffix != ".dist-info") == ["dulwich", "handler"]
    assert not (publisher / "handler" / "network").exists()
    assert not (publisher / "dulwich" / "client.py").exists()


def test_architectures_are_not_taken_for_each_other() -> None:
    """The rule about processors is really at work."""
    (webhook,) = [function for function in functions_of(BUILT / "arm64") if function.name == "WebhookFunction"]
    assert any("is not for x86_64" in problem for problem in check(webhook, "x86_64"))


def test_template_that_sam_takes_by_itself_leads_to_the_artefacts_too() -> None:
    """`sam deploy` without `--template-file`."""
    default = BUILT / "build" / "template.yaml"
    template = parse(default.read_text(encoding="utf-8"))
    functions = [name for name, item in template["Resources"].items() if item["Type"] == "AWS::Serverless::Function"]
    places = [default.parent / template["Resources"][name]["Properties"]["CodeUri"] for name in functions]
    architecture = template["Parameters"]["Architecture"]["Default"]
    assert [place.resolve() for place in places] == [BUILT.resolve() / architecture / name for name in functions]


@pytest.mark.parametrize("architecture", MACHINES)
def test_built_template_is_for_one_architecture(architecture: str) -> None:
    """It proposes its own, takes no other, and is refused no more."""
    template = parse((BUILT / architecture / "template.yaml").read_text(encoding="utf-8"))
    parameter = template["Parameters"]["Architecture"]
    assert (parameter["Default"], parameter["AllowedValues"]) == (architecture, [architecture])
    source = parse((ROOT / "template.yaml").read_text(encoding="utf-8"))
    assert source["Rules"].keys() - template["Rules"].keys() == {SOURCE_RULE}


def test_second_build_has_nothing_to_do(tools: Tools) -> None:
    """`make build` recorded what it made, of what, and with which Python."""
    command = [str(tools.python), "-m", "tools.built", *(f".aws-sam/{name}" for name in MACHINES)]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stdout.endswith("built already, and nothing changed\n")) == (0, True)


@pytest.mark.parametrize("architecture", MACHINES)
def test_built_template_leads_to_the_artefacts(architecture: str) -> None:
    """`sam deploy --template-file` uploads what was checked, and nothing else."""
    template = parse((BUILT / architecture / "template.yaml").read_text(encoding="utf-8"))
    functions = {
        name: item["Properties"]["CodeUri"]
        for name, item in template["Resources"].items()
        if item["Type"] == "AWS::Serverless::Function"
    }
    assert functions == {name: name for name in FUNCTIONS}, json.dumps(functions)
