"""What README and docs/ say is so: names, reasons, settings, links. And the checks can fail."""

import ast
import re
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import pytest

from benchmarks.readme import RESULTS, short_table, tables_of, with_table
from handler import errors
from handler.cli.stacks import STACK_VARIABLE
from handler.exchange.messages import OPERATOR_ACTIONS, PUBLISHER_ACTIONS
from handler.settings import Settings
from local import reference
from testing.process import PROJECT
from tests.infrastructure.watching import anchors_of

README = PROJECT / "README.md"
DOCS = PROJECT / "docs"
PAGES = [*sorted(PROJECT.glob("*.md")), *sorted(DOCS.glob("*.md"))]
OPERATIONS = (PROJECT / "docs" / "operations.md").read_text(encoding="utf-8")
_TEST = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_PATH = re.compile(r"`((?:benchmarks|docs|handler|local|locks|testing|tests|tools)/[\w./-]*)`")


# -- tests that are named -------------------------------------------------------------------------------------


def _functions(path: Path) -> set[str]:
    return {node.name for node in ast.parse(path.read_text()).body if isinstance(node, ast.FunctionDef)}


def missing_tests(text: str) -> list[str]:
    """Return the tests that a text names and that are not there."""
    return [
        f"{path}::{name}"
        for path, name in _TEST.findall(text)
        if not (PROJECT / path).is_file() or name not in _functions(PROJECT / path)
    ]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_test_that_a_page_names_exists(page: Path) -> None:
    """A promise whose proof was renamed away is no promise."""
    assert missing_tests(page.read_text(encoding="utf-8")) == []


def test_a_test_that_does_not_exist_is_found() -> None:
    """The test above can fail."""
    assert missing_tests("`tests/docs/test_pages.py::test_of_nothing` `tests/none.py::test_x`") != []
    assert missing_tests("`tests/docs/test_pages.py::test_a_test_that_does_not_exist_is_found`") == []


def test_promises_and_defences_name_their_tests() -> None:
    """Each row of README's promises has one; so has each of security.md's, where something is tried or held."""
    promises = README.read_text(encoding="utf-8").partition("## Promises")[2].partition("\n## ")[0]
    rows = [line for line in promises.splitlines() if line.startswith("| ")][1:]
    assert len(rows) > 15
    assert [row for row in rows if not _TEST.search(row)] == []
    assert len(_TEST.findall((PROJECT / "docs" / "security.md").read_text(encoding="utf-8"))) > 25


# -- reasons --------------------------------------------------------------------------------------------------


def reasons_in(tree: ast.Module) -> Iterator[str]:
    """Yield the reasons of outcomes that are no failures, wherever a module spells one."""
    for node in ast.walk(tree):
        candidates: list[ast.expr] = []
        if isinstance(node, ast.Call):
            name = getattr(node.func, "id", getattr(node.func, "attr", ""))
            candidates += node.args[:1] if name == "ignored" else node.args[1:2] if name == "Outcome" else []
            candidates += [keyword.value for keyword in node.keywords if keyword.arg == "reason"]
        elif isinstance(node, ast.Dict):
            pairs = zip(node.keys, node.values, strict=True)
            candidates += [value for key, value in pairs if isinstance(key, ast.Constant) and key.value == "reason"]
        elif isinstance(node, ast.Assign):
            for target in node.targets:
                if isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple):
                    pairs_of = zip(target.elts, node.value.elts, strict=True)
                    candidates += [value for name_, value in pairs_of if getattr(name_, "id", "") == "reason"]
                elif getattr(target, "id", "") == "reason":
                    candidates.append(node.value)
        elif isinstance(node, ast.FunctionDef) and "reason" in node.name:
            candidates += [each.value for each in ast.walk(node) if isinstance(each, ast.Return) and each.value]
        for candidate in candidates:
            options = [candidate.body, candidate.orelse] if isinstance(candidate, ast.IfExp) else [candidate]
            yield from (
                each.value for each in options if isinstance(each, ast.Constant) and isinstance(each.value, str)
            )


def _leaves(error: type[errors.Git2EfsError] = errors.Git2EfsError) -> Iterator[type[errors.Git2EfsError]]:
    """The leaves of the drawn tree; what other modules derive for themselves has the same reasons."""
    children = [each for each in error.__subclasses__() if each.__module__ == errors.__name__]
    if not children:
        yield error
    for child in children:
        yield from _leaves(child)


def documented() -> dict[tuple[str, str], int]:
    """Return what the page says of answers: the status of each outcome and reason."""
    table = OPERATIONS.partition("## Answers")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (\d+) \| `(\w+)` \| `(\w+)` \| \S.*\|$", table, re.MULTILINE)
    return {(outcome, reason): int(status) for status, outcome, reason in rows}


def test_every_failure_is_documented_with_its_status() -> None:
    """What the tree of exceptions says, and nothing else."""
    expected = {
        ("rejected" if issubclass(leaf, errors.Rejected) else "failed", leaf.reason): leaf.status for leaf in _leaves()
    }
    assert {key: status for key, status in documented().items() if key[0] in ("rejected", "failed")} == expected


def test_every_other_reason_is_documented() -> None:
    """Whoever adds one says what it means and what to do."""
    spelled = {
        reason
        for path in (PROJECT / "handler").rglob("*.py")
        if path.name != "errors.py" and path.parent.name != "cli"  # an operator's own answers are in docs/operate.md
        for reason in reasons_in(ast.parse(path.read_text()))
    }
    failures = {leaf.reason for leaf in _leaves()}
    rest = {reason for outcome, reason in documented() if outcome not in ("rejected", "failed")}
    assert len(spelled) > 10
    assert rest == spelled - failures


@pytest.mark.parametrize(
    "code",
    [
        'ignored("x", a, b)',
        'Outcome(kind, "x")',
        'replace(about, reason="x")',
        'kind, reason = PUBLISHED, "x"',
        'reason = "x"',
        'answer = {"reason": "x"}',
        'def _reason():\n    return "x" if a else b',
    ],
)
def test_a_reason_is_found_however_it_is_spelled(code: str) -> None:
    """Or the test above would pass over it."""
    assert list(reasons_in(ast.parse(code))) == ["x"]


# -- configuration --------------------------------------------------------------------------------------------


def test_the_configuration_page_is_what_the_code_says() -> None:
    """After a change: `python -m local.reference`."""
    page = reference.PAGE.read_text(encoding="utf-8")
    assert reference.with_tables(page, reference.tables()) == page


def test_the_publishers_actions_are_those_that_it_takes() -> None:
    """Whoever takes a function over may ask for them. After a change: `python -m local.reference`."""
    page = reference.SECURITY.read_text(encoding="utf-8")
    table = reference.actions_table()
    assert reference.with_tables(page, {"actions": table}) == page
    assert [action for action in (*PUBLISHER_ACTIONS, *OPERATOR_ACTIONS) if f"| `{action}` | " not in table] == []


def test_the_reference_notices_what_it_does_not_know() -> None:
    """A page without a place is refused; a default or a parameter that changed shows in the tables."""
    with pytest.raises(KeyError):
        reference.with_tables("", {"stack": ""})
    template = reference.TEMPLATE.read_text()
    assert reference.stack_table(template) != reference.stack_table(
        template.replace("Default: direct", "Default: queued")
    )
    assert reference.settings_table().count("\n") == 2 + len(fields(Settings))
    assert all(line.rstrip(" |")[-1:] == "." for line in reference.settings_table().splitlines()[2:])


def test_the_settings_that_the_page_names_exist() -> None:
    """In the runbooks as well."""
    known = {f"GIT2EFS_{field.name.upper()}" for field in fields(Settings)}
    local_only = {"GIT2EFS_LOCAL_SECRET", STACK_VARIABLE}
    local_only |= {f"GIT2EFS_TEST_{name}" for name in ("NFS", "NFS2", "E2E", "EXAMPLES")}
    for page in PAGES:
        named = set(re.findall(r"GIT2EFS_[A-Z0-9_]*[A-Z0-9]", page.read_text(encoding="utf-8")))
        assert named - known - local_only == set(), page.name


# -- links and figures ----------------------------------------------------------------------------------------


def broken_links(page: Path, text: str) -> list[str]:
    """Return the links of a page to files and headings of the project that are not there."""
    broken = []
    for link in _LINK.findall(text):
        if link.startswith(("https://", "http://")):
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        if not target.exists() or (anchor and anchor not in anchors_of(target.read_text(encoding="utf-8"))):
            broken.append(link)
    return broken


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page: Path) -> None:
    """To a file, and to a heading of it."""
    assert broken_links(page, page.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(PROJECT).as_posix())
def test_every_path_that_a_page_names_exists(page: Path) -> None:
    """Files and folders of the project; a room that moved takes its rows along."""
    named = _PATH.findall(page.read_text(encoding="utf-8"))
    assert [path for path in named if not (PROJECT / path).exists()] == []


def test_the_index_has_every_page() -> None:
    """A page that nothing leads to is read by nobody."""
    index = (DOCS / "README.md").read_text(encoding="utf-8")
    assert {path.name for path in DOCS.glob("*.md")} - {"README.md"} <= set(_LINK.findall(index))


def test_the_index_of_decisions_has_every_heading() -> None:
    """An entry that the index lacks is not found. After a change: `python -m local.reference`."""
    page = reference.DECISIONS.read_text(encoding="utf-8")
    index = reference.index_of(page)
    assert index.count("\n") > 100
    assert reference.with_tables(page, {"index": index}) == page


def test_contributing_has_every_room_and_every_suite() -> None:
    """Whoever adds one says what goes into it, and what tests it."""
    text = (PROJECT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    named = {path.rstrip("/") for path in _PATH.findall(text)}
    sides = [PROJECT / "handler" / "network", PROJECT / "handler" / "mount"]
    rooms = [path for side in sides for path in side.iterdir() if (path / "__init__.py").exists()]
    assert {path.relative_to(PROJECT).as_posix() for path in rooms} <= named
    suites = {path.parent.relative_to(PROJECT).as_posix() for path in (PROJECT / "tests").glob("*/test_*.py")}
    assert suites <= named


def test_a_link_that_leads_nowhere_is_found() -> None:
    """The test above can fail."""
    text = "[a](docs/none.md) [b](docs/operations.md#none) [c](docs/operations.md#answers) [d](#limits)"
    assert broken_links(README, text) == ["docs/none.md", "docs/operations.md#none"]


def test_readmes_figures_are_the_benchmarks() -> None:
    """After a run of the benchmarks: `python -m benchmarks.readme`."""
    page = README.read_text(encoding="utf-8")
    assert with_table(page, short_table(RESULTS.read_text(encoding="utf-8"))) == page


def test_the_results_are_read_by_their_headings() -> None:
    """The columns without a name are what was done, and who did it."""
    tables = tables_of(
        "\n### Pushes\n\n|  |  | calls |\n| --- | --- | ---: |\n| push | git | 7 |\n\n### Rest\n\nNone.\n"
    )
    assert tables == {"Pushes": [{"what": "push", "who": "git", "calls": "7"}]}
    with pytest.raises(KeyError):
        with_table("", "")
