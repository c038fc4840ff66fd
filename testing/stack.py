"""The template, as written and as CloudFormation gets it after SAM's transform.

`Stack.resolve` evaluates a value for given parameters, with as many of CloudFormation's functions as the tests need.
cfn-lint checks that every name exists.
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

ROOT = Path(__file__).resolve().parents[1]
TEMPLATE = ROOT / "template.yaml"
REGION = "eu-central-1"
SOURCE_RULE = "IsBuilt"
"""The rule that refuses the source; `make build` takes it out."""

PSEUDO_PARAMETERS = {
    "AWS::StackName": "git2efs",
    "AWS::Region": REGION,
    "AWS::AccountId": "123456789012",
    "AWS::Partition": "aws",
    "AWS::URLSuffix": "amazonaws.com",
}

OWN_VPC = {"VpcId": "vpc-01234567", "SubnetIdA": "subnet-01234567", "SubnetIdB": "subnet-89abcdef"}
OWN_KEY = "arn:aws:kms:eu-central-1:123456789012:key/0a1b2c3d"
OWN_TOPIC = "arn:aws:sns:eu-central-1:123456789012:pagers"
OWN_FILE_SYSTEM = OWN_VPC | {
    "FileSystemId": "fs-0123456789abcdef0",
    "AccessPointId": "fsap-0123456789abcdef0",
    "MountTargetSecurityGroupId": "sg-01234567",
}
"""Parameters that name what there is already."""

_NOTHING_OWN = {
    **dict.fromkeys(("MoreSubnetIds", "AlarmTopicArn", "EarlyTopicArn"), ""),
    **dict.fromkeys(("FileSystemKmsKeyArn", "LogsKmsKeyArn", "QueueKmsKeyArn", "TopicsKmsKeyArn"), ""),
    "SecretsManager": "false",
    "OtherPorts": "",
}
"""What a platform team may bring, and nobody else has to."""
EVERYTHING_OWN = OWN_VPC | {
    "FileSystemId": "",
    "MoreSubnetIds": "subnet-0000000c,subnet-0000000d,subnet-0000000e",
    "AlarmTopicArn": OWN_TOPIC,
    "EarlyTopicArn": OWN_TOPIC,
    **dict.fromkeys(("FileSystemKmsKeyArn", "LogsKmsKeyArn", "QueueKmsKeyArn", "TopicsKmsKeyArn"), OWN_KEY),
}

_INLINE = OWN_VPC | {"EventBus": "house", "Publisher": "inline", "SnapStart": "queued"}

_SHAPES = {
    "direct": {"Delivery": "direct", "EventBus": "", "Publisher": "isolated", "SnapStart": "queued"},
    "direct, telling": {"Delivery": "direct", "EventBus": "house", "Publisher": "isolated", "SnapStart": "queued"},
    "queued": {"Delivery": "queued", "EventBus": "", "Publisher": "isolated", "SnapStart": "queued"},
    "queued, telling": {"Delivery": "queued", "EventBus": "house", "Publisher": "isolated", "SnapStart": "queued"},
    "direct, snapshots": {"Delivery": "direct", "EventBus": "", "Publisher": "isolated", "SnapStart": "always"},
    "direct, inline": _INLINE | {"Delivery": "direct"},
    "queued, inline": _INLINE | {"Delivery": "queued"},
    "queued, everything own": _INLINE | EVERYTHING_OWN | {"Delivery": "queued", "Publisher": "isolated"},
}
MODES = {name: _NOTHING_OWN | given | {"Monitoring": "full", "Dashboard": "true"} for name, given in _SHAPES.items()}
"""The parameters that decide which functions there are, and what each may use."""

# Nested JSON of any shape; each test looks at a few of its places.
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
    """`source` is the template as written, `plain` the transformed one. Both stay unchanged."""

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

    def under(self, given: Mapping[str, str]) -> "Stack":
        """Return the stack for the parameters `given`, without the resources that their conditions exclude.

        Conditions that other parameters decide stay, and so do the parameters; the given values become defaults.
        """
        found = {name: self._known(expression, given) for name, expression in self.plain["Conditions"].items()}
        decided = {name: truth for name, truth in found.items() if truth is not None}
        plain = _decide(copy.deepcopy(self.plain), decided)
        for section in ("Resources", "Outputs"):
            plain[section] = {
                name: item for name, item in plain[section].items() if decided.get(item.get("Condition"), True)
            }
        for name, value in given.items():
            plain["Parameters"][name]["Default"] = value
        return Stack(source=self.source, plain=plain)

    @property
    def is_queued(self) -> bool:
        """Whether there is a queue between webhook and worker; ask a stack `under` its mode."""
        return bool(self.of_type("AWS::SQS::Queue"))

    @property
    def is_isolated(self) -> bool:
        """Whether a function of its own has the mount; ask a stack `under` its mode."""
        return "PublisherFunction" in self.plain["Resources"]

    def mounts(self, function: str) -> bool:
        """Whether a function has the mount."""
        return "FileSystemConfigs" in self.plain["Resources"][function]["Properties"]

    def reconciles(self, function: str) -> bool:
        """Whether a function fetches and has it published: it has the mount itself, or invokes the publisher."""
        if function == "PublisherFunction":
            return False
        return self.mounts(function) or self.environment(function).get("GIT2EFS_PUBLISHER", "") != ""

    def role_of(self, function: str) -> str:
        """The logical id of the role that a function runs as."""
        role: str = self.plain["Resources"][function]["Properties"]["Role"]["Fn::GetAtt"][0]
        return role

    def environment(self, name: str) -> dict[str, Node]:
        """The environment of the function `name`, unresolved."""
        variables: dict[str, Node] = self.plain["Resources"][name]["Properties"]["Environment"]["Variables"]
        return variables

    def refusals(self, given: Mapping[str, str]) -> list[str]:
        """What CloudFormation says to the parameters `given`: the descriptions of the rules' assertions that fail.

        Of the built template, which lacks the rule that refuses the source.
        """
        names = PSEUDO_PARAMETERS | {name: str(item["Default"]) for name, item in self.parameters.items()} | dict(given)
        return [
            assertion["AssertDescription"]
            for name, rule in self.plain["Rules"].items()
            if name != SOURCE_RULE and self._truth(rule["RuleCondition"], names)
            for assertion in rule["Assertions"]
            if not self._truth(assertion["Assert"], names)
        ]

    def resolve(self, value: Node, given: Mapping[str, str] | None = None) -> Node:
        """Return the result of `value` for the parameters `given`, with defaults for the others.

        A resource's answer stands as `<LogicalId>` (a queue's URL as `https://<LogicalId>`) or
        `<LogicalId.Attribute>`; a function's ARN as one whose function is the LogicalId.
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
            return names.get(argument, f"{self._scheme(argument)}<{argument}>")
        if function == "Fn::GetAtt":
            return self._attribute(*argument)
        if function == "Fn::Split":
            return str(self._resolve(argument[1], names)).split(argument[0])
        if function == "Fn::Select" and isinstance(found := self._resolve(argument[1], names), list):
            return found[int(argument[0])]
        return {function: self._resolve(argument, names)}

    def _scheme(self, name: str) -> str:
        """Return the scheme of a resource's Ref: a queue's Ref is its URL."""
        kind = self.plain["Resources"].get(name, {}).get("Type")
        return "https://" if kind == "AWS::SQS::Queue" else ""

    def _attribute(self, name: str, attribute: str) -> str:
        """Return a resource's attribute; a function's ARN is one that the settings take."""
        kind = self.plain["Resources"].get(name, {}).get("Type")
        if kind == "AWS::Lambda::Function" and attribute == "Arn":
            return f"arn:aws:lambda:{REGION}:{PSEUDO_PARAMETERS['AWS::AccountId']}:function:{name}"
        return f"<{name}.{attribute}>"

    def holds(self, condition: str) -> bool:
        """Return whether a condition holds, by the parameters' defaults."""
        return self._holds(condition, {name: str(item["Default"]) for name, item in self.parameters.items()})

    def _holds(self, condition: str, names: Mapping[str, str]) -> bool:
        return self._truth(self.plain["Conditions"][condition], names)

    def _known(self, expression: Node, given: Mapping[str, str]) -> bool | None:
        """Return whether a condition holds; None where other parameters decide it."""
        ((function, argument),) = expression.items()
        if function == "Fn::Equals":
            return self._truth(expression, dict(given)) if parameters_in(expression) <= set(given) else None
        truths: set[bool | None] = {self._known(each, given) for each in argument}
        if function == "Fn::Not":
            (truth,) = truths
            return None if truth is None else not truth
        decisive: bool = function == "Fn::Or"
        if decisive in truths:
            return decisive
        return None if None in truths else not decisive

    def _truth(self, expression: Node, names: Mapping[str, str]) -> bool:
        ((function, argument),) = expression.items()
        if function == "Fn::Not":
            return not self._truth(argument[0], names)
        if function in ("Fn::And", "Fn::Or"):
            truths = [self._truth(each, names) for each in argument]
            return all(truths) if function == "Fn::And" else any(truths)
        assert function == "Fn::Equals", f"the tests cannot read {function}"
        left, right = (str(self._resolve(side, names)) for side in argument)
        return left == right


def parameters_in(value: Node) -> set[str]:
    """The names that `value` refers to, by Ref or in a Sub: parameters, pseudo parameters and resources."""
    if isinstance(value, list):
        return {name for item in value for name in parameters_in(item)}
    if not isinstance(value, dict):
        return set()
    found: set[str] = set()
    for key, item in value.items():
        if key == "Ref":
            found.add(item)
        elif key == "Fn::Sub":
            text, more = item if isinstance(item, list) else (item, {})
            found |= (set(re.findall(r"\$\{([^!}]+)\}", text)) - set(more)) | parameters_in(more)
        else:
            found |= parameters_in(item)
    return found


def _decide(value: Node, decided: Mapping[str, bool]) -> Node:
    """Return `value` with each Fn::If on a decided condition replaced by its branch, and AWS::NoValue removed."""
    if isinstance(value, list):
        items = [_decide(item, decided) for item in value]
        return [item for item in items if item != _NO_VALUE]
    if not isinstance(value, dict):
        return value
    if set(value) == {"Fn::If"} and value["Fn::If"][0] in decided:
        condition, yes, no = value["Fn::If"]
        return _decide(yes if decided[condition] else no, decided)
    if set(value) == {"Fn::If"}:
        condition, *branches = value["Fn::If"]
        return {"Fn::If": [condition, *(_decide(branch, decided) for branch in branches)]}
    known = {key: _decide(item, decided) for key, item in value.items()}
    return {key: item for key, item in known.items() if item != _NO_VALUE}


_NO_VALUE = {"Ref": "AWS::NoValue"}


def transform(source: Node) -> Node:
    """Return the transformed `source`. Works offline: looks up no managed policy, and names the region.

    Raises samtranslator's InvalidDocumentException for a template that SAM refuses.
    """
    packaged = copy.deepcopy(source)
    for resource in packaged["Resources"].values():
        if resource["Type"] == "AWS::Serverless::Function":
            # `sam package` puts the artefact's location here; the transform accepts nothing else.
            resource["Properties"]["CodeUri"] = "s3://artefacts/function"
    session = boto3.Session(region_name=REGION)
    return Translator({}, Parser(), boto_session=session).translate(packaged, {})


@cache
def read_stack() -> Stack:
    """The project's own template."""
    source = parse(TEMPLATE.read_text(encoding="utf-8"))
    return Stack(source=source, plain=transform(source))
