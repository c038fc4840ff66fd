"""cfn-lint has nothing to say, about the template as written and about what SAM makes of it.

The transformed one shows what the source hides: an undefined name in a function's environment, a time-out that
Lambda does not take. It is linted with subnets given too, for the check that the template switches off for
their empty defaults.
"""

import copy
import json

import pytest
from cfnlint import api
from cfnlint.config import ManualArgs, ParameterSet

from testing.stack import EVERYTHING_OWN, OWN_FILE_SYSTEM, OWN_VPC, REGION, TEMPLATE, Node, Stack


def _lint(text: str, given: dict[str, str] | None = None) -> list[str]:
    config = ManualArgs(regions=[REGION])
    if given:
        config["parameters"] = [ParameterSet(source=None, parameters=dict(given))]
    return [f"{match.rule.id} {match.message} at {match.path}" for match in api.lint(text, config=config)]


def _without_exceptions(plain: Node) -> str:
    """The template as JSON, with every check of cfn-lint on."""
    bare = copy.deepcopy(plain)
    del bare["Metadata"]["cfn-lint"]
    return json.dumps(bare)


def test_source_is_clean() -> None:
    """What `sam validate --lint` asks, without SAM."""
    assert _lint(TEMPLATE.read_text(encoding="utf-8")) == []


@pytest.mark.sampled(1)
@pytest.mark.parametrize("delivery", ["queued", "direct"])
def test_transformed_template_is_clean(stack: Stack, delivery: str) -> None:
    """What CloudFormation gets is clean too, in both modes, and what a mode leaves out is not missed by the rest."""
    assert _lint(json.dumps(stack.plain), {"Delivery": delivery}) == []
    rest = _lint(json.dumps(stack.under({"Delivery": delivery}).plain))
    # Warnings are about the conditions, which the rest no longer has.
    assert [problem for problem in rest if problem.startswith("E")] == []


@pytest.mark.sampled(0)
@pytest.mark.parametrize("publisher", ["isolated", "inline"])
@pytest.mark.parametrize("delivery", ["queued", "direct"])
def test_template_in_a_named_vpc_is_clean_without_exceptions(stack: Stack, delivery: str, publisher: str) -> None:
    """Where the subnets are given, no check has to be switched off."""
    given = OWN_FILE_SYSTEM | {"Delivery": delivery, "Publisher": publisher}
    given["MoreSubnetIds"] = EVERYTHING_OWN["MoreSubnetIds"]
    assert _lint(_without_exceptions(stack.plain), given) == []


@pytest.mark.sampled(1)
@pytest.mark.parametrize(
    "given",
    [
        OWN_VPC | {"Publisher": "inline"},
        OWN_FILE_SYSTEM,
        {"Publisher": "isolated"},
        EVERYTHING_OWN | {"Delivery": "queued"},
    ],
)
def test_what_is_not_made_is_not_missed(stack: Stack, given: dict[str, str]) -> None:
    """Without a publisher, without a file system of its own: nothing refers to what is not there."""
    decided = {"Delivery": "direct", "SnapStart": "queued", "ConsumersNeedIam": "false", "FileSystemId": ""} | given
    rest = _lint(json.dumps(stack.under(decided).plain))
    assert [problem for problem in rest if problem.startswith("E")] == []


@pytest.mark.sampled(1)
@pytest.mark.parametrize(
    ("expected", "change"),
    [
        ("Nowhere", {"Environment": {"Variables": {"NAME": {"Fn::GetAtt": ["Nowhere", "Arn"]}}}}),
        ("Nowhere", {"Environment": {"Variables": {"NAME": {"Ref": "Nowhere"}}}}),
        ("1500", {"Timeout": 1500}),
    ],
)
def test_lint_finds_what_is_wrong(stack: Stack, expected: str, change: dict[str, Node]) -> None:
    """The linter is really at work: `sam validate --lint` finds none of these in the source."""
    broken = copy.deepcopy(stack.plain)
    broken["Resources"]["WebhookFunction"]["Properties"].update(change)
    errors = [problem for problem in _lint(json.dumps(broken)) if problem.startswith("E")]
    assert [expected in error for error in errors] == [True]
