"""A release: one version, and what the Serverless Application Repository and GitHub are told of the project."""

import re
import tomllib
from collections.abc import Callable
from typing import Any

import pytest
import yaml

from handler.cli.parser import version
from testing.stack import ROOT, Node, Stack
from tools.template import APPLICATION

PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
FORMS = sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml"))
TEXT = re.compile(r".{1,256}")
RULES: dict[str, re.Pattern[str]] = {
    "Name": re.compile(r"[a-zA-Z0-9-]{1,140}"),
    "Description": TEXT,
    "Author": re.compile(r"(?=.{1,127}$)[a-z0-9](([a-z0-9]|-(?!-))*[a-z0-9])?"),
    "SpdxLicenseId": TEXT,
    "LicenseUrl": TEXT,
    "ReadmeUrl": TEXT,
    "SemanticVersion": re.compile(r"\d+\.\d+\.\d+(-[0-9A-Za-z.-]+)?"),
    "Labels": re.compile(r"[a-zA-Z0-9+\-_:/@]{1,127}"),
}
"""AWS's rules for the metadata, from the page that template.yaml names; a public application needs all of these."""
MOST_LABELS = 10
MOST_BYTES = 5_000_000


def application_problems(application: Node) -> list[str]:
    """Return what the repository would refuse, as sentences."""
    problems = [f"{name} is missing" for name in RULES if name not in application]
    for name, value in application.items():
        values = value if isinstance(value, list) else [value]
        if name not in RULES or not all(isinstance(each, str) and RULES[name].fullmatch(each) for each in values):
            problems.append(f"{name} is {value!r}")
    if len(application.get("Labels", [])) > MOST_LABELS:
        problems.append("there are too many labels")
    for name in {"LicenseUrl", "ReadmeUrl"} & set(application):
        path = ROOT / application[name]
        if not path.is_file() or path.stat().st_size > MOST_BYTES:
            problems.append(f"{name} is no file, or too large a one")
    return problems


def test_application_is_one_that_the_repository_takes(stack: Stack) -> None:
    """It knows no parameters: each value is a literal."""
    assert application_problems(stack.plain["Metadata"][APPLICATION]) == []


@pytest.mark.parametrize(
    "change",
    [
        lambda application: application.pop("Author"),
        lambda application: application.update(Author="The authors"),
        lambda application: application.update(Labels=["a b"]),
        lambda application: application.update(Labels=["a"] * 11),
        lambda application: application.update(SemanticVersion=0.1),
        lambda application: application.update(ReadmeUrl="docs/none.md"),
        lambda application: application.update(Version="0.1.0"),
    ],
)
def test_application_that_it_refuses_is_found(stack: Stack, change: Callable[[Node], object]) -> None:
    """The test above can fail."""
    application = dict(stack.plain["Metadata"][APPLICATION])
    change(application)
    assert application_problems(application) != []


def test_version_and_licence_are_those_of_pyproject(stack: Stack) -> None:
    """It says the version; the command reads it there, and so does the bill of materials."""
    application = stack.plain["Metadata"][APPLICATION]
    assert application["SemanticVersion"] == PROJECT["version"] == version()
    assert (application["Name"], application["Description"]) == (PROJECT["name"], PROJECT["description"])
    assert (application["SpdxLicenseId"], application["Labels"]) == (PROJECT["license"], PROJECT["keywords"])
    assert PROJECT["license-files"] == [application["LicenseUrl"]]


def test_changelog_has_the_version_first_once_it_is_released() -> None:
    """What is not released yet stands above; below that, the newest release is what pyproject.toml says."""
    headings = re.findall(r"^## (.+)$", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    released = [heading for heading in headings if heading != "Unreleased"]
    assert headings[:1] == ["Unreleased"] or headings[:1] == released[:1]
    assert not released or released[0].startswith(PROJECT["version"])


def form_problems(form: Node) -> list[str]:
    """Return what GitHub would not show of an issue form: it drops the whole form for one mistake.

    https://docs.github.com/en/communities/using-templates-to-encourage-useful-issues-and-pull-requests/syntax-for-githubs-form-schema
    """
    problems = [f"{key} is missing" for key in ("name", "description", "body") if not form.get(key)]
    problems += [f"{key} is no key" for key in form.keys() - {"name", "description", "body", "labels"}]
    items = form.get("body", [])
    names = [item["id"] for item in items if "id" in item]
    problems += [f"{name} is there twice" for name in set(names) if names.count(name) > 1]
    for item in items:
        kind, attributes = item.get("type"), item.get("attributes", {})
        if kind == "markdown":
            problems += [] if set(item) == {"type", "attributes"} and attributes.get("value") else ["a text is empty"]
            continue
        if kind not in ("textarea", "input", "dropdown", "checkboxes") or not attributes.get("label"):
            problems.append(f"{item} is no question")
        if not re.fullmatch(r"[a-z_-]+", item.get("id", "")):
            problems.append(f"{item} has no id")
        options = attributes.get("options", [])
        if (kind in ("dropdown", "checkboxes")) != bool(options):
            problems.append(f"{item} has options, or lacks them")
        wanted = dict if kind == "checkboxes" else str
        problems += [f"{option} is no option" for option in options if not isinstance(option, wanted)]
    if all(item.get("type") == "markdown" for item in items):
        problems.append("nothing is asked")
    return problems


@pytest.mark.parametrize("path", [path for path in FORMS if path.name != "config.yml"], ids=lambda path: path.stem)
def test_issue_form_is_one_that_github_shows(path: Any) -> None:
    """A form with a mistake is not offered, and nobody is told."""
    assert form_problems(yaml.safe_load(path.read_text(encoding="utf-8"))) == []


def test_issue_form_with_a_mistake_is_found() -> None:
    """The test above can fail."""
    question = {"type": "input", "id": "a", "attributes": {"label": "A"}}
    good = {"name": "N", "description": "D", "body": [question]}
    assert form_problems(good) == []
    assert form_problems(good | {"body": [question, question]}) == ["a is there twice"]
    assert form_problems(good | {"body": [question | {"type": "dropdown"}]}) != []
    assert form_problems(good | {"body": [question | {"attributes": {}}]}) != []
    assert form_problems(good | {"title": 1}) == ["title is no key"]
    assert form_problems({"name": "N", "description": "D", "body": []}) != []


def test_bug_reports_go_by_the_form_and_vulnerabilities_in_private() -> None:
    """Both are there to be offered, a blank one is not, and each says where a vulnerability goes."""
    assert {path.name for path in FORMS} == {"bug.yml", "config.yml", "feature.yml"}
    config = yaml.safe_load((ROOT / ".github" / "ISSUE_TEMPLATE" / "config.yml").read_text(encoding="utf-8"))
    assert config == {"blank_issues_enabled": False}
    for name in ("SECURITY.md", ".github/ISSUE_TEMPLATE/bug.yml"):
        assert "Security → Report a vulnerability" in " ".join((ROOT / name).read_text(encoding="utf-8").split())
    assert "SECURITY.md" in (ROOT / ".github" / "pull_request_template.md").read_text(encoding="utf-8")
