"""What the emulator lacks of AWS, and what stands in for it. Nothing here changes what the functions run.

- It has no elastic addresses, NAT gateways and ingress rules of their own: the stack is deployed into a VPC that is
  there, as the template allows, and without its two ingress rules, on which nothing else depends. Nor saved queries.
- It mounts nothing: the functions look for the file system in a directory of this machine.
- It does not read the routes in an HTTP API's definition: they are made one by one after the deployment, to the
  integrations that the definition names.
- It judges a listing of parameters as one of everything, where AWS judges the path: that one right is given so.
- It compares no element of a list in a condition: so MoreSubnetIds get no mount targets of the stack's.
- It has no alarms on expressions: such a one watches the first of its metrics.
- It moves no dead letters: a test does what the task would do (`Deployment.redrive`).
- Of a FIFO queue's groups it works on one batch at a time, where Lambda works on as many as WorkerConcurrency says.
"""

import json
from pathlib import Path
from typing import Any

from testing.stack import Node, parse, transform

MISSING_TYPES = frozenset({"AWS::EC2::SecurityGroupIngress", "AWS::Logs::QueryDefinition"})
"""What the emulator refuses, and the template has in a VPC that exists; nothing else depends on it."""


def bridged_template(built: Path, mount: Path) -> Node:
    """Return the template that `sam build` made, without what is missing, and with the mount at `mount`."""
    template = parse(built.read_text(encoding="utf-8"))
    refused = [name for name, item in template["Resources"].items() if item["Type"] in MISSING_TYPES]
    for name in refused:
        del template["Resources"][name]
    variables = template["Globals"]["Function"]["Environment"]["Variables"]
    variables["GIT2EFS_MOUNT"] = str(mount)
    # The emulator says itself where it is, and an empty one would hide that.
    del variables["AWS_ENDPOINT_URL"]
    (listing,) = [
        statement
        for policy in template["Resources"]["ScheduleRole"]["Properties"]["Policies"]
        if "PolicyDocument" in policy
        for statement in policy["PolicyDocument"]["Statement"]
        if statement["Action"] == "ssm:GetParametersByPath"
    ]
    listing["Resource"] = "*"
    for name, expression in template["Conditions"].items():
        if "Fn::Select" in json.dumps(expression):
            template["Conditions"][name] = {"Fn::Equals": ["", "an element"]}
    for item in template["Resources"].values():
        if item["Type"] == "AWS::CloudWatch::Alarm" and "Metrics" in item["Properties"]:
            _watch_one_metric(item["Properties"])
    return template


def _watch_one_metric(alarm: Node) -> None:
    """Take the first metric of an alarm's expression for the expression."""
    query = next(each["MetricStat"] for each in alarm.pop("Metrics") if "MetricStat" in each)
    alarm.update(query["Metric"], Period=query["Period"], Statistic=query["Stat"])


def write_bridged_template(built: Path, mount: Path, *, has_routes: bool = False) -> Path:
    """Write the bridged template beside the built one, whose paths to the artefacts it has; return where.

    With `has_routes` the API's routes are resources of it, for who deploys it and makes none afterwards.
    """
    path = built.with_name(f"bridged-{mount.name}.json")
    template = bridged_template(built, mount)
    if has_routes:
        template["Resources"] |= _route_resources(routes_of(built))
    path.write_text(json.dumps(template), encoding="utf-8")
    return path


def _route_resources(routes: list[str]) -> Node:
    """Return the integration of the alias, and a route to it each."""
    api = {"ApiId": {"Ref": "HttpApi"}}
    alias = {"IntegrationType": "AWS_PROXY", "IntegrationUri": {"Ref": "WebhookFunction.Alias"}}
    target = {"Target": {"Fn::Sub": "integrations/${BridgedIntegration}"}}
    found = {
        f"BridgedRoute{number}": {
            "Type": "AWS::ApiGatewayV2::Route",
            "Properties": {**api, "RouteKey": route, **target},
        }
        for number, route in enumerate(routes)
    }
    integration = {**api, **alias, "PayloadFormatVersion": "2.0"}
    return {"BridgedIntegration": {"Type": "AWS::ApiGatewayV2::Integration", "Properties": integration}} | found


def routes_of(built: Path) -> list[str]:
    """Return the routes that SAM's transform puts into the API's definition: `POST /github`, ..."""
    template = transform(parse(built.read_text(encoding="utf-8")))
    paths = template["Resources"]["HttpApi"]["Properties"]["Body"]["paths"]
    return [f"{method.upper()} {path}" for path, methods in paths.items() for method in methods]


def add_routes(gateway: Any, api: str, alias: str, routes: list[str]) -> None:
    """Make the API's routes, all to the alias that the definition names; those that are there stay."""
    if {item["RouteKey"] for item in gateway.get_routes(ApiId=api)["Items"]} >= set(routes):
        return
    integration = gateway.create_integration(
        ApiId=api, IntegrationType="AWS_PROXY", IntegrationUri=alias, PayloadFormatVersion="2.0"
    )
    for route in routes:
        gateway.create_route(ApiId=api, RouteKey=route, Target=f"integrations/{integration['IntegrationId']}")
