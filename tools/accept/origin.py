"""Where a run's commits come from: the sample origin, in a stack of its own; or a repository that is given."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Protocol
from urllib.parse import urlsplit

from dulwich.client import HttpGitClient
from dulwich.refs import Ref

from tools.accept.account import Account
from tools.accept.origin_function import PUSHES_VARIABLE
from tools.accept.sample import REF, Repository
from tools.accept.stacks import PARAMETER_ROOT

CODE = (
    "local/__init__.py",
    "local/upload_pack.py",
    "tools/__init__.py",
    "tools/accept/__init__.py",
    "tools/accept/sample.py",
    "tools/accept/origin_function.py",
)
"""What the function needs of this project besides the packages of the webhook's."""


class Origin(Protocol):
    """What can be fetched. `takes_pushes` says whether a push changes what `ref`, a full name, names."""

    takes_pushes: bool
    ref: str

    def push(self, full_names: Sequence[str]) -> Mapping[str, str]:
        """Push to repositories where it takes pushes; return the commit that each one's ref names."""
        ...

    def parameter(self, full_name: str) -> Mapping[str, object]:
        """Return what the repository's parameter has to say."""
        ...


class SampleOrigin:
    """The sample's repositories, served by the function at `url`. Each push is one more in the parameter `name`."""

    takes_pushes = True
    ref = REF

    def __init__(self, account: Account, name: str, url: str) -> None:
        self._account = account
        self._name = name
        self._url = account.reach(url)
        self._pushes: dict[str, int] = {}
        self._repositories: dict[str, Repository] = {}

    def push(self, full_names: Sequence[str]) -> Mapping[str, str]:
        """See `Origin.push`."""
        for name in full_names:
            self._pushes[name] = self._pushes.get(name, 0) + 1
        self._account.client("ssm").put_parameter(
            Name=self._name, Value=json.dumps(self._pushes), Type="String", Overwrite=True
        )
        made = {name: self._repositories.setdefault(name, Repository(name)) for name in full_names}
        return {name: repository.commit(self._pushes[name]) for name, repository in made.items()}

    def parameter(self, full_name: str) -> Mapping[str, object]:
        """See `Origin.parameter`."""
        return {"url": f"{self._url}/{full_name}.git"}


class GivenOrigin:
    """The repository at `url`, that nobody may push to: every name of the run's is that one.

    Raises dulwich's errors and OSError where it cannot be asked, and ValueError where it has no default branch.
    """

    takes_pushes = False

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        found = HttpGitClient(f"{parts.scheme}://{parts.netloc}").get_refs(parts.path.encode())
        head = found.symrefs.get(Ref(b"HEAD"))
        tip = found.refs.get(head) if head else None
        if head is None or tip is None:
            raise ValueError("it has no default branch")
        self._url = url
        self.ref = head.decode()
        self._tip = tip.decode()

    def push(self, full_names: Sequence[str]) -> Mapping[str, str]:
        """See `Origin.push`."""
        return dict.fromkeys(full_names, self._tip)

    def parameter(self, full_name: str) -> Mapping[str, object]:
        """See `Origin.parameter`."""
        return {"url": self._url}


def pushes_parameter(stack: str) -> str:
    """Return the name of the parameter that says how many pushes there were."""
    return f"{PARAMETER_ROOT}/{stack}-origin/pushes"


def origin_template(code: Mapping[str, str], parameter: str, architecture: str, boundary: str) -> dict[str, Any]:
    """Return the sample origin's stack; `code` has S3Bucket and S3Key, `boundary` a managed policy's name, or ''."""
    of_account = "${AWS::Region}:${AWS::AccountId}"
    rights = [
        ("ssm:GetParameter", {"Fn::Sub": f"arn:${{AWS::Partition}}:ssm:{of_account}:parameter{parameter}"}),
        ("logs:CreateLogStream", {"Fn::GetAtt": ["Log", "Arn"]}),
        ("logs:PutLogEvents", {"Fn::GetAtt": ["Log", "Arn"]}),
    ]
    role: dict[str, Any] = {
        "AssumeRolePolicyDocument": _policy(
            [{"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}]
        ),
        "Policies": [
            {
                "PolicyName": "origin",
                "PolicyDocument": _policy(
                    [{"Effect": "Allow", "Action": action, "Resource": resource} for action, resource in rights]
                ),
            }
        ],
    }
    if boundary:
        role["PermissionsBoundary"] = {"Fn::Sub": "arn:${AWS::Partition}:iam::${AWS::AccountId}:policy/" + boundary}
    function = {
        "Runtime": "python3.13",
        "Architectures": [architecture],
        "Handler": "tools.accept.origin_function.handler",
        "Code": dict(code),
        "MemorySize": 1769,
        "Timeout": 29,
        "Role": {"Fn::GetAtt": ["Role", "Arn"]},
        # Lambda would make one of its own, which no stack deletes.
        "LoggingConfig": {"LogGroup": {"Ref": "Log"}},
        "Environment": {"Variables": {PUSHES_VARIABLE: parameter}},
    }
    permission = {
        "Action": "lambda:InvokeFunction",
        "FunctionName": {"Ref": "Function"},
        "Principal": "apigateway.amazonaws.com",
        "SourceArn": {"Fn::Sub": "arn:${AWS::Partition}:execute-api:${AWS::Region}:${AWS::AccountId}:${Api}/*"},
    }
    integration = {
        "ApiId": {"Ref": "Api"},
        "IntegrationType": "AWS_PROXY",
        "IntegrationUri": {"Fn::GetAtt": ["Function", "Arn"]},
        "PayloadFormatVersion": "2.0",
    }
    route = {"ApiId": {"Ref": "Api"}, "RouteKey": "$default", "Target": {"Fn::Sub": "integrations/${Integration}"}}
    resources = {
        "Log": ("AWS::Logs::LogGroup", {"LogGroupName": {"Fn::Sub": "/${AWS::StackName}"}, "RetentionInDays": 1}),
        "Role": ("AWS::IAM::Role", role),
        "Function": ("AWS::Lambda::Function", function),
        "Api": ("AWS::ApiGatewayV2::Api", {"Name": {"Ref": "AWS::StackName"}, "ProtocolType": "HTTP"}),
        "Permission": ("AWS::Lambda::Permission", permission),
        "Integration": ("AWS::ApiGatewayV2::Integration", integration),
        "Route": ("AWS::ApiGatewayV2::Route", route),
        "Stage": ("AWS::ApiGatewayV2::Stage", {"ApiId": {"Ref": "Api"}, "StageName": "$default", "AutoDeploy": True}),
    }
    return {
        "AWSTemplateFormatVersion": "2010-09-09",
        "Description": "The sample origin of an acceptance run of git2efs",
        "Resources": {name: {"Type": kind, "Properties": value} for name, (kind, value) in resources.items()},
        "Outputs": {"Url": {"Value": {"Fn::Sub": "https://${Api}.execute-api.${AWS::Region}.${AWS::URLSuffix}"}}},
    }


def _policy(statements: list[dict[str, Any]]) -> dict[str, Any]:
    return {"Version": "2012-10-17", "Statement": statements}
