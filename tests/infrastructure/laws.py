"""The template's laws, each a function from a stack to the list of what breaks it. Pure: no I/O.

Those of rights are in rights.py, those of queues, times, schedules and routes in flow.py. test_template.py holds the
project's template to them in every mode, test_laws.py shows for each that it can be broken.
"""

from collections.abc import Mapping
from dataclasses import MISSING, fields

from handler.settings import ENVIRONMENT_PREFIX, Settings, read_settings, variable_of
from testing.stack import Node, Stack, parameters_in

NAMESPACE = "git2efs"
APART = frozenset({"queue_url", "dead_letter_url", "event_bus", "publisher", "ca", "https_proxy", "no_proxy"})
"""The settings that a function is given only if it has to do with them."""
NETWORK = frozenset(
    {"VPC", "Subnet", "RouteTable", "SubnetRouteTableAssociation", "SecurityGroup", "SecurityGroupIngress"}
)
"""What a stack may make of EC2: no gateway, no address, no route, no endpoint."""
PUBLISHER = "PublisherFunction"
OWN_TOPICS = frozenset({"AlarmTopicArn", "EarlyTopicArn"})
"""The parameters that name a topic of the user's."""


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
    """Every function's GIT2EFS_ variables are the settings' fields: each the field's default, or the function's own."""
    problems = []
    expected = {variable_of(field.name) for field in fields(Settings)}
    for name, _ in stack.functions():
        variables = stack.environment(name)
        ours = {variable for variable in variables if variable.startswith(ENVIRONMENT_PREFIX) or variable in expected}
        problems += [f"{name} sets {variable}, which is no setting" for variable in sorted(ours - expected)]
        problems += [f"{name} does not set {variable}" for variable in sorted(expected - ours)]
        if problems:
            continue
        settings = read_settings(stack.resolve(variables))
        defaults = {
            field.name: field.default
            for field in fields(Settings)
            if field.default is not MISSING and field.name not in APART
        }
        for field, value in (defaults | _own_settings(stack, name)).items():
            if getattr(settings, field) != value:
                problems.append(f"{name}: {field} is {getattr(settings, field)!r}, and should be {value!r}")
    return problems


def _own_settings(stack: Stack, name: str) -> dict[str, object]:
    """Of the settings in APART, what the function `name` has to know in the mode of `stack`."""
    consumers = {
        source["Properties"]["FunctionName"]["Ref"]
        for source in stack.of_type("AWS::Lambda::EventSourceMapping").values()
    }
    return {
        "queue_url": "https://<DeliveryQueue>" if stack.is_queued and name != PUBLISHER else "",
        "dead_letter_url": "https://<DeadLetterQueue>" if name in consumers else "",
        "event_bus": stack.resolve({"Ref": "EventBus"}) if stack.reconciles(name) or name == PUBLISHER else "",
        "publisher": stack.resolve({"Fn::GetAtt": [PUBLISHER, "Arn"]})
        if stack.reconciles(name) and stack.is_isolated
        else "",
        **_own_ways(stack, name),
    }


def _own_ways(stack: Stack, name: str) -> dict[str, object]:
    """How the function `name` reaches remotes: with a queue the webhook does not, and only then there is a choice."""
    is_told = stack.reconciles(name) and stack.is_queued
    ca = stack.resolve({"Ref": "CaName"})
    return {
        "ca": f"/git2efs/git2efs/ca/{ca}" if ca and is_told else "",
        "https_proxy": stack.resolve({"Ref": "HttpsProxy"}) if is_told else "",
        "no_proxy": stack.resolve({"Ref": "NoProxy"}) if is_told else "",
    }


def alarm_problems(stack: Stack, metrics: Mapping[str, tuple[str, ...]]) -> list[str]:
    """Every alarm tells the topic, says what silence means, and can fire: its metric is one that is measured.

    `metrics` maps the names of the metrics that the code emits to the names of their dimensions.
    """
    problems = []
    services = [stack.environment(name)["POWERTOOLS_SERVICE_NAME"] for name, _ in stack.functions()]
    given = {name for name in OWN_TOPICS if stack.parameters[name]["Default"]}
    namespaces = {stack.environment(name)["POWERTOOLS_METRICS_NAMESPACE"] for name, _ in stack.functions()}
    if namespaces != {NAMESPACE}:
        problems.append(f"the functions measure in {sorted(namespaces)}")
    for name, alarm in stack.of_type("AWS::CloudWatch::Alarm").items():
        properties = alarm["Properties"]
        topics = [action.get("Ref") for action in properties.get("AlarmActions", [])]
        if not topics or not set(topics) <= set(stack.of_type("AWS::SNS::Topic")) | given:
            problems.append(f"{name} tells no topic")
        if "TreatMissingData" not in properties:
            problems.append(f"{name} does not say what silence means")
        if not properties.get("AlarmDescription"):
            problems.append(f"{name} is not described")
        for metric in metrics_of(alarm):
            dimensions = {dimension["Name"]: dimension["Value"] for dimension in metric["Dimensions"]}
            if metric["Namespace"] == NAMESPACE:
                if set(dimensions) != set(metrics.get(metric["MetricName"], ())):
                    problems.append(f"{name} watches {metric['MetricName']} by {sorted(dimensions)}")
                if any(dimensions.get("service") != service for service in services):
                    problems.append(f"{name} watches the service {dimensions.get('service')}")
            else:
                strangers = [value for value in dimensions.values() if _owner(value) not in stack.plain["Resources"]]
                problems += [f"{name} watches {value}, not the stack's own" for value in strangers]
    return problems


def metrics_of(alarm: Node) -> list[Node]:
    """The metrics that an alarm watches: its own one, or those of its expression."""
    properties = alarm["Properties"]
    if "Metrics" not in properties:
        return [properties]
    return [query["MetricStat"]["Metric"] for query in properties["Metrics"] if "MetricStat" in query]


def _owner(value: Node) -> str | None:
    """The resource that a dimension names: by its Ref, or, since a queue's Ref is its URL, by its QueueName."""
    if "Ref" in value:
        return str(value["Ref"])
    name, attribute = value.get("Fn::GetAtt", [None, None]) if isinstance(value, dict) else (None, None)
    return name if attribute == "QueueName" else None


def watch_problems(stack: Stack) -> list[str]:
    """Functions that fail, queues that wait, dead letters and a silent schedule: each raises an alarm."""
    problems = []
    watched = {
        (metric["MetricName"], _owner(dimension["Value"]))
        for alarm in stack.of_type("AWS::CloudWatch::Alarm").values()
        for metric in metrics_of(alarm)
        for dimension in metric["Dimensions"]
        if isinstance(dimension["Value"], dict)
    }
    # The publisher's errors are failed outcomes of the functions that invoke it, which FailedOutcomes counts.
    wanted = {("Errors", name) for name, _ in stack.functions() if name != PUBLISHER}
    queues = stack.of_type("AWS::SQS::Queue")
    for name, queue in queues.items():
        is_last = "RedrivePolicy" not in queue["Properties"]
        wanted.add(("ApproximateNumberOfMessagesVisible" if is_last else "ApproximateAgeOfOldestMessage", name))
    for schedule in stack.of_type("AWS::Scheduler::Schedule").values():
        wanted.add(("Invocations", schedule["Properties"]["Target"]["Arn"]["Fn::GetAtt"][0]))
    problems += [f"nothing watches {metric} of {name}" for metric, name in sorted(wanted - watched)]
    for name, alarm in stack.of_type("AWS::CloudWatch::Alarm").items():
        is_silence = any(metric["MetricName"] == "Invocations" for metric in metrics_of(alarm))
        if is_silence != (alarm["Properties"].get("TreatMissingData") == "breaching"):
            problems.append(f"{name} takes silence for the wrong thing")
    return problems


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
    resolved = [str(stack.resolve(subnet)) for subnet in subnets]
    more = [name for name in str(stack.resolve({"Ref": "MoreSubnetIds"})).split(",") if name]
    if len(targets) != 2 + len(more[:4]) or len(set(resolved)) != len(resolved) or not set(more[:4]) <= set(resolved):
        problems.append("the mount targets are not in two subnets, or not in each")
    for name, properties in stack.functions():
        mounts = properties.get("FileSystemConfigs", [])
        if not mounts:
            continue
        elsewhere = set(more) - set(stack.resolve(properties["VpcConfig"]["SubnetIds"]))
        if elsewhere and name != "WebhookFunction":  # which stays in the first two: see the template
            problems.append(f"{name} is not in {sorted(elsewhere)}")
        missing = targets - parameters_in(stack.plain["Resources"][name]["Metadata"])
        problems += [f"{name} does not wait for {target}" for target in sorted(missing)]
        if mounts[0]["LocalMountPath"] != stack.environment(name)["GIT2EFS_MOUNT"]:
            problems.append(f"{name} mounts at one place and looks at another")
    for name, system in stack.of_type("AWS::EFS::FileSystem").items():
        if {system.get("DeletionPolicy"), system.get("UpdateReplacePolicy")} != {"Retain"}:
            problems.append(f"{name} dies with the stack")
        if system["Properties"].get("Encrypted") is not True:
            problems.append(f"{name} is not encrypted")
    return problems


def side_problems(stack: Stack) -> list[str]:
    """Isolated: the publisher alone has the mount and a VPC; inline: whoever publishes has both, and there is none."""
    problems = []
    for name, properties in stack.functions():
        has = {"a VPC": "VpcConfig" in properties, "the mount": "FileSystemConfigs" in properties}
        ought = name == PUBLISHER if stack.is_isolated else stack.reconciles(name)
        problems += [f"{name} has {what}" for what, there in has.items() if there and not ought]
        problems += [f"{name} has not {what}" for what, there in has.items() if not there and ought]
    return problems


def file_system_policy_problems(stack: Stack) -> list[str]:
    """Clients without rights use a mount target, read, and write where a parameter says so; nobody does without TLS."""
    problems = []
    choices: dict[tuple[str, str], set[str]] = {
        ("ConsumersMayWrite", "false"): {"ClientMount"},
        ("ConsumersMayWrite", "true"): {"ClientMount", "ClientWrite"},
        ("ConsumersNeedIam", "true"): set(),
        ("RequireTls", "false"): {"ClientMount"},
    }
    for name, system in stack.of_type("AWS::EFS::FileSystem").items():
        for (parameter, choice), expected in choices.items():
            policy = stack.resolve(system["Properties"].get("FileSystemPolicy"), {parameter: choice})
            statements = policy["Statement"] if policy else []
            allowed = [item for item in statements if item["Effect"] == "Allow"]
            actions = {item["Action"].removeprefix("elasticfilesystem:") for item in allowed}
            if actions != expected or not statements:
                problems.append(f"{name} lets clients do {sorted(actions)} with {parameter}={choice}")
            through = {"Bool": {"elasticfilesystem:AccessedViaMountTarget": "true"}}
            problems += [f"{name}/{item['Sid']} is open" for item in allowed if item.get("Condition") != through]
            denied = [(item["Action"], item.get("Condition")) for item in statements if item["Effect"] == "Deny"]
            in_the_clear = ("elasticfilesystem:Client*", {"Bool": {"aws:SecureTransport": "false"}})
            if (in_the_clear in denied) is (parameter == "RequireTls"):
                problems.append(f"{name} takes TLS for the wrong thing with {parameter}={choice}")
    return problems


def network_problems(stack: Stack) -> list[str]:
    """In comes only NFS, from groups; out goes NFS, inline HTTPS too; no way leads out; a named VPC gets no more."""
    problems = []
    groups = stack.of_type("AWS::EC2::SecurityGroup")
    apart = stack.of_type("AWS::EC2::SecurityGroupIngress")
    rules = [(name, rule["Properties"]) for name, rule in apart.items()]
    for name, group in groups.items():
        rules += [(name, rule) for rule in group["Properties"].get("SecurityGroupIngress", [])]
        leaving = group["Properties"].get("SecurityGroupEgress", [])
        if not leaving:
            problems.append(f"{name} lets everything out")
        problems += [f"{name} lets out {rule}" for rule in leaving if not _may_leave(stack, rule)]
    for name, rule in rules:
        if {"CidrIp", "CidrIpv6", "SourcePrefixListId"} & set(rule):
            problems.append(f"{name} lets addresses in")
        if (rule["FromPort"], rule["ToPort"]) != (2049, 2049):
            problems.append(f"{name} lets in what is not NFS")
    for name, resource in stack.of_type("AWS::EC2::").items():
        if resource["Type"].removeprefix("AWS::EC2::") not in NETWORK:
            problems.append(f"{name} is a {resource['Type']}, which the publisher needs not")
        is_group = resource["Type"].startswith("AWS::EC2::SecurityGroup")
        if not is_group and resource.get("Condition") != "MakesVpc":
            problems.append(f"{name} is made, and paid, in a VPC that the user named")
    return problems


def _open_ports(stack: Stack) -> set[tuple[int, ...]]:
    """HTTPS's port, and those that the user named, each as a range."""
    return {(port, port) for port in (443, *map(int, filter(None, stack.resolve({"Ref": "OtherPorts"}).split(","))))}


def _may_leave(stack: Stack, rule: Node) -> bool:
    """Whether a group may let this out: NFS to the mount targets, nothing at all, and, inline, HTTPS."""
    if rule.get("CidrIp") == "127.0.0.1/32":
        return True
    ports = tuple(int(stack.resolve(rule.get(end, 0))) for end in ("FromPort", "ToPort"))
    if "DestinationSecurityGroupId" in rule:
        target = stack.resolve(rule["DestinationSecurityGroupId"])
        return ports == (2049, 2049) and target in ("<MountTargetSecurityGroup.GroupId>", "sg-01234567")
    return not stack.is_isolated and rule.get("CidrIp") == "0.0.0.0/0" and ports in _open_ports(stack)
