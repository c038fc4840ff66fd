"""The template's laws, each a function from a stack to the list of what breaks it. Pure: no I/O.

test_template.py holds the project's template to them, test_laws.py shows for each that it can be broken.
"""

from collections.abc import Iterator, Mapping
from dataclasses import MISSING, fields

from handler.settings import ENVIRONMENT_PREFIX, Settings, read_settings

from .stack import Node, Stack

NAMESPACE = "git2efs"
GATEWAY_SECONDS = 30
"""An HTTP API's integration may take no longer; the quota cannot be raised."""

_ENI_REASON = "Lambda asks before an interface exists, or no resource-level rights; denied to the code"
ALL_RESOURCES = {
    "ec2:CreateNetworkInterface": _ENI_REASON,
    "ec2:DescribeNetworkInterfaces": _ENI_REASON,
    "ec2:DescribeSubnets": _ENI_REASON,
    "ec2:DeleteNetworkInterface": _ENI_REASON,
    "ec2:AssignPrivateIpAddresses": _ENI_REASON,
    "ec2:UnassignPrivateIpAddresses": _ENI_REASON,
}
"""The actions that may be allowed on every resource, each with its reason."""


def parameter_problems(stack: Stack) -> list[str]:
    """Every parameter is described, has a default and a bound, and stands in one group of the form."""
    groups = stack.plain["Metadata"]["AWS::CloudFormation::Interface"]["ParameterGroups"]
    grouped = [name for group in groups for name in group["Parameters"]]
    problems = [f"the groups name {name}, which is none" for name in grouped if name not in stack.parameters]
    for name, parameter in stack.parameters.items():
        if grouped.count(name) != 1:
            problems.append(f"{name} stands in {grouped.count(name)} groups")
        if not parameter.get("Description", "").endswith("."):
            problems.append(f"{name} is not described in a sentence")
        if "Default" not in parameter:
            problems.append(f"{name} has no default")
        if not {"AllowedPattern", "AllowedValues", "MinValue"} & set(parameter):
            problems.append(f"{name} takes anything")
        if "AllowedPattern" in parameter and "ConstraintDescription" not in parameter:
            problems.append(f"{name} refuses with a pattern instead of words")
    return problems


def environment_problems(stack: Stack) -> list[str]:
    """Every function's GIT2EFS_ variables are the settings' fields, and each has the field's default."""
    problems = []
    expected = {ENVIRONMENT_PREFIX + field.name.upper() for field in fields(Settings)}
    for name, _ in stack.functions():
        variables = stack.environment(name)
        ours = {variable for variable in variables if variable.startswith(ENVIRONMENT_PREFIX)}
        problems += [f"{name} sets {variable}, which is no setting" for variable in sorted(ours - expected)]
        problems += [f"{name} does not set {variable}" for variable in sorted(expected - ours)]
        if not problems:
            settings = read_settings(stack.resolve(variables))
            problems += [
                f"{name}: {field.name} is {getattr(settings, field.name)}, its default {field.default}"
                for field in fields(Settings)
                if field.default is not MISSING and getattr(settings, field.name) != field.default
            ]
    return problems


def time_problems(stack: Stack) -> list[str]:
    """All waits of a run fit the shortest time-out allowed, and the lock's fits API Gateway's."""
    problems = []
    for name, properties in stack.functions():
        settings = read_settings(stack.resolve(stack.environment(name)))
        attempt = settings.connect_timeout_seconds + settings.read_timeout_seconds
        waits = settings.lock_seconds + settings.lag_seconds + settings.fetch_attempts * attempt
        shortest = stack.parameters[properties["Timeout"]["Ref"]]["MinValue"]
        if waits > shortest:
            problems.append(f"{name} may wait {waits:g} s, and be stopped after {shortest} s")
        if settings.lock_seconds >= GATEWAY_SECONDS:
            problems.append(f"{name} waits {settings.lock_seconds:g} s for the lock; nobody hears its answer")
    return problems


def alarm_problems(stack: Stack, metrics: Mapping[str, tuple[str, ...]]) -> list[str]:
    """Every alarm tells the topic, says what silence means, and can fire: its metric is one that is measured.

    `metrics` maps the names of the metrics that the code emits to the names of their dimensions.
    """
    problems = []
    services = [stack.environment(name)["POWERTOOLS_SERVICE_NAME"] for name, _ in stack.functions()]
    namespaces = {stack.environment(name)["POWERTOOLS_METRICS_NAMESPACE"] for name, _ in stack.functions()}
    if namespaces != {NAMESPACE}:
        problems.append(f"the functions measure in {sorted(namespaces)}")
    for name, alarm in stack.of_type("AWS::CloudWatch::Alarm").items():
        properties = alarm["Properties"]
        topics = [action.get("Ref") for action in properties.get("AlarmActions", [])]
        if not topics or not set(topics) <= set(stack.of_type("AWS::SNS::Topic")):
            problems.append(f"{name} tells no topic")
        if "TreatMissingData" not in properties:
            problems.append(f"{name} does not say what silence means")
        if not properties.get("AlarmDescription"):
            problems.append(f"{name} is not described")
        dimensions = {dimension["Name"]: dimension["Value"] for dimension in properties["Dimensions"]}
        if properties["Namespace"] == NAMESPACE:
            if set(dimensions) != set(metrics.get(properties["MetricName"], ())):
                problems.append(f"{name} watches {properties['MetricName']} by {sorted(dimensions)}")
            if dimensions.get("service") not in services:
                problems.append(f"{name} watches the service {dimensions.get('service')}")
        else:
            strangers = [value for value in dimensions.values() if "Ref" not in value]
            problems += [f"{name} watches {value}, not the stack's own" for value in strangers]
    return problems


def _statements(stack: Stack) -> Iterator[tuple[str, Node]]:
    """Every statement of every role's own policies, as `Role/Sid`."""
    for name, role in stack.of_type("AWS::IAM::Role").items():
        for policy in role["Properties"].get("Policies", []):
            for statement in policy["PolicyDocument"]["Statement"]:
                yield f"{name}/{statement.get('Sid')}", statement


def rights_problems(stack: Stack) -> list[str]:
    """One action a statement, on one resource; `*` only where ALL_RESOURCES says why, and denied to code."""
    problems = [
        f"{name} has rights from elsewhere"
        for name, role in stack.of_type("AWS::IAM::Role").items()
        if role["Properties"].get("ManagedPolicyArns")
    ]
    denied: set[str] = set()
    open_actions = set()
    for name, statement in _statements(stack):
        action = statement["Action"]
        if statement["Effect"] == "Deny":
            denied |= set(action)
            continue
        if not isinstance(action, str) or "*" in action:
            problems.append(f"{name} allows {action}: not one action")
            continue
        resource = stack.resolve(statement["Resource"])
        if not isinstance(resource, str):
            problems.append(f"{name} allows {action} on several resources")
        elif resource == "*":
            open_actions.add(action)
        elif resource.endswith(":key/*") and not _is_for_our_parameters(statement, stack):
            problems.append(f"{name} opens every key, to everything")
        if "Sid" not in statement:
            problems.append(f"{name} has no name: {action}")
    problems += [f"{action} is allowed on everything" for action in sorted(open_actions - set(ALL_RESOURCES))]
    problems += [f"{action} is not denied to the code" for action in sorted(open_actions - denied)]
    return problems


def _is_for_our_parameters(statement: Node, stack: Stack) -> bool:
    """Whether a key may be used by Parameter Store alone, and for parameters under one prefix."""
    condition = stack.resolve(statement.get("Condition", {}))
    through = condition.get("StringEquals", {}).get("kms:ViaService", "")
    names = condition.get("StringLike", {}).get("kms:EncryptionContext:PARAMETER_ARN", "*")
    return through.startswith("ssm.") and ":parameter/git2efs/git2efs/" in names


def parameter_rights_problems(stack: Stack) -> list[str]:
    """What may be read of Parameter Store is under the prefix that the function is given, nowhere else."""
    ((name, _),) = stack.functions()
    prefix = stack.resolve(stack.environment(name)["GIT2EFS_PARAMETER_PREFIX"])
    arn = stack.resolve({"Fn::Sub": "arn:${AWS::Partition}:ssm:${AWS::Region}:${AWS::AccountId}:parameter"})
    secret, repositories, credentials = (
        f"{arn}{prefix}/{leaf}" for leaf in ("webhook-secret", "repositories/*", "credentials/*")
    )
    needed = {
        ("ssm:GetParameter", secret),
        ("ssm:GetParameterHistory", secret),
        ("ssm:GetParameter", repositories),
        ("ssm:GetParameter", credentials),
    }
    allowed = {
        (statement["Action"], stack.resolve(statement["Resource"]))
        for _, statement in _statements(stack)
        if statement["Effect"] == "Allow" and statement["Action"].startswith("ssm:")
    }
    problems = [f"{action} on {resource} is missing" for action, resource in sorted(needed - allowed)]
    return problems + [f"{action} on {resource} is too much" for action, resource in sorted(allowed - needed)]


def log_problems(stack: Stack) -> list[str]:
    """Every log group ends what it keeps; every function and every stage of an API logs to one of them."""
    groups = stack.of_type("AWS::Logs::LogGroup")
    kept = {name: group["Properties"].get("RetentionInDays") for name, group in groups.items()}
    problems = [f"{name} keeps for ever" for name, days in kept.items() if days is None]
    for name, properties in stack.functions():
        if properties.get("LoggingConfig", {}).get("LogGroup", {}).get("Ref") not in groups:
            problems.append(f"{name} logs to a group that is not the stack's")
    for name, stage in stack.of_type("AWS::ApiGatewayV2::Stage").items():
        target = stage["Properties"].get("AccessLogSettings", {}).get("DestinationArn", {})
        if target.get("Fn::GetAtt", [None])[0] not in groups:
            problems.append(f"{name} has no access log")
    return problems


def mount_problems(stack: Stack) -> list[str]:
    """A function with the mount waits for all mount targets, and mounts where its settings look."""
    problems = []
    targets = set(stack.of_type("AWS::EFS::MountTarget"))
    subnets = [stack.plain["Resources"][name]["Properties"]["SubnetId"] for name in sorted(targets)]
    if len(targets) != 2 or subnets[0] == subnets[1]:
        problems.append("the mount targets are not in two subnets")
    for name, properties in stack.functions():
        mounts = properties.get("FileSystemConfigs", [])
        if not mounts:
            continue
        waits = stack.plain["Resources"][name].get("DependsOn", [])
        missing = targets - {waits} if isinstance(waits, str) else targets - set(waits)
        problems += [f"{name} does not wait for {target}" for target in sorted(missing)]
        if mounts[0]["LocalMountPath"] != stack.environment(name)["GIT2EFS_MOUNT"]:
            problems.append(f"{name} mounts at one place and looks at another")
    for name, system in stack.of_type("AWS::EFS::FileSystem").items():
        if {system.get("DeletionPolicy"), system.get("UpdateReplacePolicy")} != {"Retain"}:
            problems.append(f"{name} dies with the stack")
        if system["Properties"].get("Encrypted") is not True:
            problems.append(f"{name} is not encrypted")
    return problems


def file_system_policy_problems(stack: Stack) -> list[str]:
    """Clients without rights of their own use a mount target, read, and write where a parameter says so."""
    problems = []
    for name, system in stack.of_type("AWS::EFS::FileSystem").items():
        for choice, expected in (("false", {"ClientMount"}), ("true", {"ClientMount", "ClientWrite"})):
            given = {"ConsumersMayWrite": choice}
            policy = stack.resolve(system["Properties"].get("FileSystemPolicy"), given)
            statements = policy["Statement"] if policy else []
            allowed = {statement["Action"].removeprefix("elasticfilesystem:") for statement in statements}
            if allowed != expected:
                problems.append(f"{name} lets clients do {sorted(allowed)} with ConsumersMayWrite={choice}")
            through = {"Bool": {"elasticfilesystem:AccessedViaMountTarget": "true"}}
            unbound = [item["Sid"] for item in statements if item.get("Condition") != through]
            problems += [f"{name}/{sid} is open" for sid in unbound]
    return problems


def network_problems(stack: Stack) -> list[str]:
    """In comes only NFS, from groups; out go HTTPS to anywhere and NFS; a named VPC gets nothing new."""
    problems = []
    groups = stack.of_type("AWS::EC2::SecurityGroup")
    apart = stack.of_type("AWS::EC2::SecurityGroupIngress")
    rules = [(name, rule["Properties"]) for name, rule in apart.items()]
    for name, group in groups.items():
        rules += [(name, rule) for rule in group["Properties"].get("SecurityGroupIngress", [])]
        leaving = group["Properties"].get("SecurityGroupEgress", [])
        if not leaving:
            problems.append(f"{name} lets everything out")
        for rule in leaving:
            if rule.get("CidrIp") == "0.0.0.0/0" and (rule.get("FromPort"), rule.get("ToPort")) != (443, 443):
                problems.append(f"{name} lets more than HTTPS out")
    for name, rule in rules:
        if {"CidrIp", "CidrIpv6", "SourcePrefixListId"} & set(rule):
            problems.append(f"{name} lets addresses in")
        if (rule["FromPort"], rule["ToPort"]) != (2049, 2049):
            problems.append(f"{name} lets in what is not NFS")
    for name, resource in stack.of_type("AWS::EC2::").items():
        is_group = resource["Type"].startswith("AWS::EC2::SecurityGroup")
        if not is_group and resource.get("Condition") != "MakesVpc":
            problems.append(f"{name} is made, and paid, in a VPC that the user named")
    return problems


def route_problems(stack: Stack) -> list[str]:
    """The API has one route, throttled by its own limits."""
    problems = []
    for name, api in stack.of_type("AWS::ApiGatewayV2::Api").items():
        routes = {
            f"{method.upper()} {path}"
            for path, methods in api["Properties"]["Body"]["paths"].items()
            for method in methods
        }
        if routes != {"POST /github"}:
            problems.append(f"{name} has the routes {sorted(routes)}")
        for stage in stack.of_type("AWS::ApiGatewayV2::Stage").values():
            for route in sorted(routes):
                limits = stage["Properties"].get("RouteSettings", {}).get(route, {})
                if not {"ThrottlingRateLimit", "ThrottlingBurstLimit"} <= set(limits):
                    problems.append(f"{route} is not throttled")
    return problems
