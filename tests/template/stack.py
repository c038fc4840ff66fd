"""The template as the tests see it: as written, and as CloudFormation gets it after SAM's transform.

`Stack.resolve` answers what a value becomes for given parameters: enough of CloudFormation's functions for
the values that the tests ask about. That every name exists is cfn-lint's to say.
"""

import copy
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import boto3
import yaml
from samtranslator.parser.parser import Parser
from samtranslator.translator.translator import Translator

ROOT = Path(__file__).resolve().parents[2]
TEMPLATE = ROOT / "template.yaml"
REGION = "eu-central-1"

PSEUDO_PARAMETERS = {
    "AWS::StackName": "git2efs",
    "AWS::Region": REGION,
    "AWS::AccountId": "123456789012",
    "AWS::Partition": "aws",
    "AWS::URLSuffix": "amazonaws.com",
}

# Nested JSON of any shape; every test looks at a few places of it.
Node = Any


class CloudFormationLoader(yaml.SafeLoader):
    """YAML with CloudFormation's short tags, into the long form; a repeated key is an error."""


def _construct_tag(loader: CloudFormationLoader, suffix: str, node: yaml.Node) -> Node:
    value: Node
    if isinstance(node, yaml.ScalarNode):
        value = loader.construct_scalar(node)
    elif isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    else:
        assert isinstance(node, yaml.MappingNode)
        value = loader.construct_mapping(node, deep=True)
    if suffix == "GetAtt" and isinstance(value, str):
        value = value.split(".", 1)
    return {suffix if suffix in ("Ref", "Condition") else f"Fn::{suffix}": value}


def _construct_mapping(loader: CloudFormationLoader, node: yaml.MappingNode) -> Node:
    keys = [loader.construct_object(key) for key, _ in node.value]
    repeated = {key for key in keys if keys.count(key) > 1}
    if repeated:
        raise ValueError(f"line {node.start_mark.line + 1}: repeated {sorted(repeated)}")
    return loader.construct_mapping(node, deep=True)


CloudFormationLoader.add_multi_constructor("!", _construct_tag)
CloudFormationLoader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _construct_mapping)


def parse(text: str) -> Node:
    """Return the template in `text` as plain dicts and lists."""
    return yaml.load(text, Loader=CloudFormationLoader)


@dataclass(frozen=True)
class Stack:
    """`source` is the template as written, `plain` what the transform makes of it; neither is changed."""

    source: Node
    plain: Node

    @property
    def parameters(self) -> dict[str, Node]:
        """The template's parameters by name."""
        parameters: dict[str, Node] = self.plain["Parameters"]
        return parameters

    def of_type(self, kind: str) -> dict[str, Node]:
        """The resources of the type `kind` (`AWS::Logs::LogGroup`), or below it (`AWS::EC2::`), by name."""
        return {
            name: resource
            for name, resource in self.plain["Resources"].items()
            if resource["Type"] == kind or (kind.endswith("::") and resource["Type"].startswith(kind))
        }

    def functions(self) -> Iterator[tuple[str, Node]]:
        """Every Lambda function: its logical id and its properties."""
        for name, resource in self.of_type("AWS::Lambda::Function").items():
            yield name, resource["Properties"]

    def environment(self, name: str) -> dict[str, Node]:
        """The environment of the function `name`, unresolved."""
        variables: dict[str, Node] = self.plain["Resources"][name]["Properties"]["Environment"]["Variables"]
        return variables

    def resolve(self, value: Node, given: Mapping[str, str] | None = None) -> Node:
        """Return what `value` becomes where the parameters are `given`, and the others have their defaults.

        What a resource would answer stands as `<LogicalId>` or `<LogicalId.Attribute>`.
        """
        defaults = {name: str(parameter["Default"]) for name, parameter in self.parameters.items()}
        return self._resolve(value, PSEUDO_PARAMETERS | defaults | dict(given or {}))

    def _resolve(self, value: Node, names: Mapping[str, str]) -> Node:
        if isinstance(value, list):
            items = [self._resolve(item, names) for item in value]
            return [item for item in items if item != "<AWS::NoValue>"]
        if not isinstance(value, dict):
            return value
        if len(value) != 1:
            return {key: self._resolve(item, names) for key, item in value.items()}
        ((function, argument),) = value.items()
        if function == "Fn::If":
            condition, yes, no = argument
            return self._resolve(yes if self._holds(condition, names) else no, names)
        if function == "Fn::Sub":
            text, more = argument if isinstance(argument, list) else (argument, {})
            scope = {**names, **self._resolve(more, names)}
            return re.sub(r"\$\{([^!}]+)\}", lambda match: scope.get(match[1], f"<{match[1]}>"), text)
        if function == "Ref":
            return names.get(argument, f"<{argument}>")
        if function == "Fn::GetAtt":
            return f"<{'.'.join(argument)}>"
        return {function: self._resolve(argument, names)}

    def _holds(self, condition: str, names: Mapping[str, str]) -> bool:
        return self._truth(self.plain["Conditions"][condition], names)

    def _truth(self, expression: Node, names: Mapping[str, str]) -> bool:
        ((function, argument),) = expression.items()
        if function == "Fn::Not":
            return not self._truth(argument[0], names)
        assert function == "Fn::Equals", f"the tests cannot read {function}"
        left, right = (str(self._resolve(side, names)) for side in argument)
        return left == right


def transform(source: Node) -> Node:
    """Return what SAM makes of `source`, offline: no managed policy is looked up, the region is given.

    Raises samtranslator's InvalidDocumentException for what SAM refuses.
    """
    packaged = copy.deepcopy(source)
    for resource in packaged["Resources"].values():
        if resource["Type"] == "AWS::Serverless::Function":
            # `sam package` puts the artefact's place here; the transform takes nothing else.
            resource["Properties"]["CodeUri"] = "s3://artefacts/function"
    session = boto3.Session(region_name=REGION)
    return Translator({}, Parser(), boto_session=session).translate(packaged, {})


@cache
def read_stack() -> Stack:
    """The project's own template."""
    source = parse(TEMPLATE.read_text(encoding="utf-8"))
    return Stack(source=source, plain=transform(source))
