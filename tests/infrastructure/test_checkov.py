"""What checkov is told to pass over, and why: three places that say the same. It is run by hand (.checkov.yaml)."""

import re
from collections.abc import Iterator

import pytest
import yaml

from testing.stack import ROOT, Node, parse

TEMPLATES = (ROOT / "template.yaml", ROOT / ".github" / "deploy-role.yaml")
DECISIONS = (ROOT / "docs" / "decisions.md").read_text(encoding="utf-8")


def of_resources() -> Iterator[tuple[str, str, str]]:
    """Yield the resource, the check and the reason of every skip in the templates."""
    for path in TEMPLATES:
        resources: dict[str, Node] = parse(path.read_text(encoding="utf-8"))["Resources"]
        for name, resource in resources.items():
            for skip in resource.get("Metadata", {}).get("checkov", {}).get("skip", []):
                yield name, skip["id"], skip["comment"]


def of_all() -> list[str]:
    """Return the checks that are passed over everywhere."""
    skipped: list[str] = yaml.safe_load((ROOT / ".checkov.yaml").read_text(encoding="utf-8"))["skip-check"]
    return skipped


def recorded() -> dict[str, str]:
    """Return each check of the table in docs/decisions.md, with all that its rows say."""
    rows: dict[str, str] = {}
    for line in DECISIONS.splitlines():
        if line.startswith("| CKV_"):
            checks, _, rest = line.strip("| ").partition(" | ")
            for check in re.findall(r"CKV_AWS_\d+", checks):
                rows[check] = rows.get(check, "") + rest
    return rows


def test_every_skip_is_recorded_and_no_other() -> None:
    """A finding is passed over with a reason that stands where decisions stand; one that is gone leaves the table."""
    assert set(recorded()) == {check for _, check, _ in of_resources()} | set(of_all())


@pytest.mark.parametrize(("name", "check", "reason"), list(of_resources()))
def test_every_skip_of_a_resource_has_its_reason(name: str, check: str, reason: str) -> None:
    """In so many words; and it is not one of those that are passed over everywhere, where it would say nothing."""
    assert re.fullmatch(r"CKV_AWS_\d+", check), name
    assert len(reason.split()) > 3
    assert check not in of_all()


def test_table_gives_reasons() -> None:
    """Where, and why."""
    for check, rest in recorded().items():
        where, _, why = rest.partition("|")
        assert where.strip(), check
        assert len(why.split()) > 5, check
