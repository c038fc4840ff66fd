"""What `make build` makes of SAM's template, and when it has nothing to do; no build runs here."""

import sys
from pathlib import Path

import pytest
import yaml

from testing.stack import SOURCE_RULE, TEMPLATE, Stack, parse
from tools import built, template
from tools.contents import MACHINES
from tools.template import finish_template, finished, write_default

FUNCTIONS = ("PublisherFunction", "WebhookFunction")


@pytest.fixture(scope="module")
def by_sam() -> str:
    """The project's template as SAM writes it: long forms, one key a line, no comments."""
    source = parse(TEMPLATE.read_text(encoding="utf-8"))
    for name in FUNCTIONS:
        source["Resources"][name]["Properties"]["CodeUri"] = name
    return yaml.safe_dump(source, sort_keys=False)


def test_source_is_refused_whatever_the_parameters(stack: Stack) -> None:
    """By a rule whose assertion holds for none of the values that its parameter may have."""
    (assertion,) = stack.plain["Rules"][SOURCE_RULE]["Assertions"]
    assert SOURCE_RULE == template.SOURCE_RULE
    reference, value = assertion["Assert"]["Fn::Equals"]
    assert "RuleCondition" not in stack.plain["Rules"][SOURCE_RULE]
    assert value not in stack.parameters[reference["Ref"]]["AllowedValues"]
    assert "make build" in assertion["AssertDescription"]


@pytest.mark.parametrize("architecture", MACHINES)
def test_built_template_differs_from_the_source_in_the_rule_and_the_architecture(
    by_sam: str, architecture: str
) -> None:
    """It is refused no more, and is for its own processor; a second time nothing happens."""
    text = finished(by_sam, architecture)
    result, source = parse(text), parse(by_sam)
    parameter = result["Parameters"]["Architecture"]
    assert (parameter["Default"], parameter["AllowedValues"]) == (architecture, [architecture])
    del source["Rules"][SOURCE_RULE]
    source["Parameters"]["Architecture"] = parameter
    assert result == source
    assert finished(text, architecture) == text


@pytest.mark.parametrize(
    "change",
    [("  Architecture:\n", "  Processor:\n"), (f"  {SOURCE_RULE}:\n", f'  "{SOURCE_RULE}":\n')],
    ids=["no architecture", "the rule otherwise written"],
)
def test_template_that_sam_writes_otherwise_is_not_let_through(by_sam: str, change: tuple[str, str]) -> None:
    """A newer SAM may write another text: then the build fails, and nothing half done is deployed."""
    with pytest.raises(ValueError, match="built template"):
        finished(by_sam.replace(*change), "arm64")


def test_what_is_published_is_the_built_template_with_its_application(by_sam: str, tmp_path: Path) -> None:
    """A deployment needs neither README nor licence; and a second run leaves both templates as they are."""
    path = tmp_path / "template.yaml"
    path.write_text(by_sam)
    finish_template(path, "arm64")
    published = path.with_name(template.PUBLISHED).read_text()
    application = parse(published)["Metadata"].pop(template.APPLICATION)
    assert application == parse(by_sam)["Metadata"][template.APPLICATION]
    deployed = path.read_text()
    assert template.APPLICATION not in deployed
    assert parse(deployed)["Resources"] == parse(published)["Resources"]
    finish_template(path, "arm64")
    assert (path.read_text(), path.with_name(template.PUBLISHED).read_text()) == (deployed, published)


def test_application_that_sam_writes_otherwise_is_not_let_through(by_sam: str, tmp_path: Path) -> None:
    """A deployment would look for the files that it names."""
    path = tmp_path / "template.yaml"
    path.write_text(by_sam.replace(f"  {template.APPLICATION}:\n", f'  "{template.APPLICATION}":\n'))
    with pytest.raises(ValueError, match="Application"):
        finish_template(path, "arm64")


def test_default_template_leads_to_the_artefacts_beside_it(by_sam: str, tmp_path: Path) -> None:
    """SAM reads a CodeUri from the template's folder. What a plain `sam build` left there is replaced."""
    for name in FUNCTIONS:
        (tmp_path / "arm64" / name).mkdir(parents=True)
    source = tmp_path / "arm64" / "template.yaml"
    source.write_text(by_sam)
    finish_template(source, "arm64")
    (tmp_path / "build").mkdir()
    (tmp_path / "build" / "template.yaml").write_text(by_sam)
    write_default(source, tmp_path / "build")
    default = parse((tmp_path / "build" / "template.yaml").read_text())
    for name in FUNCTIONS:
        place = tmp_path / "build" / default["Resources"][name]["Properties"]["CodeUri"]
        assert place.resolve() == (tmp_path / "arm64" / name).resolve()
    assert SOURCE_RULE not in default["Rules"]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with sources, the modules that finish a build, and one build directory."""
    files = {name: name for name in built.SOURCES} | {"handler/webhook.py": "", "tools/__init__.py": ""}
    files |= {"tools/artefact.py": "import tools.finish", "tools/finish.py": "", "tools/smoke.py": ""}
    files |= {".aws-sam/arm64/template.yaml": "", ".aws-sam/arm64/WebhookFunction/handler/webhook.py": ""}
    files |= {".aws-sam/build/template.yaml": ""}
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def test_what_was_recorded_is_fresh_whatever_its_times(project: Path) -> None:
    """A checkout makes every file newer, and importing a module writes its bytecode."""
    builds = [project / ".aws-sam" / "arm64"]
    assert not built.is_fresh(builds, project)
    built.record_built(builds, project)
    for path in project.rglob("*.py"):
        path.touch()
    (project / "handler" / "__pycache__").mkdir()
    (project / "handler" / "__pycache__" / "webhook.pyc").write_bytes(b"x")
    (project / "tools" / "smoke.py").write_text("no part of a build")
    assert built.is_fresh(builds, project)
    assert built.main([str(builds[0])]) == 1, "of this project, it is not"


@pytest.mark.parametrize(
    "name",
    [
        *built.SOURCES,
        "handler/webhook.py",
        "handler/new.py",
        "tools/finish.py",
        ".aws-sam/arm64/template.yaml",
        ".aws-sam/arm64/WebhookFunction/handler/webhook.py",
        ".aws-sam/build/template.yaml",
    ],
)
def test_what_changed_is_built_again(project: Path, name: str) -> None:
    """What it was built of, and what was built: somebody may have tried something there."""
    builds = [project / ".aws-sam" / "arm64"]
    built.record_built(builds, project)
    (project / name).write_text("other")
    assert not built.is_fresh(builds, project)


def test_another_python_or_another_architecture_is_built(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The bytecode is of the one; the other is not there."""
    builds = [project / ".aws-sam" / "arm64"]
    built.record_built(builds, project)
    assert not built.is_fresh([*builds, project / ".aws-sam" / "x86_64"], project)
    monkeypatch.setattr(sys, "version", "3.13.99")
    assert not built.is_fresh(builds, project)
    built.forget_built(builds)
    built.forget_built(builds)
    assert not (project / ".aws-sam" / built.RECORD).exists()
