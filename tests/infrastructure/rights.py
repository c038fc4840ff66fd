"""The laws of rights: what each role may do is what its function needs, in each mode, and no more. Pure: no I/O."""

from collections.abc import Iterator

from testing.stack import Node, Stack

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

Right = tuple[str, str]
"""An action and the resource it is for."""


def _documents(stack: Stack, role: str) -> Iterator[Node]:
    """The role's own policies, and those of the stack's managed ones that it has."""
    properties = stack.plain["Resources"][role]["Properties"]
    yield from (policy["PolicyDocument"] for policy in properties.get("Policies", []))
    managed = stack.of_type("AWS::IAM::ManagedPolicy")
    for arn in properties.get("ManagedPolicyArns", []):
        if isinstance(arn, dict) and arn.get("Ref") in managed:
            yield managed[arn["Ref"]]["Properties"]["PolicyDocument"]


def statements_of(stack: Stack, role: str) -> Iterator[tuple[str, Node]]:
    """Every statement that holds for a role, as `Role/Sid`."""
    for document in _documents(stack, role):
        for statement in document["Statement"]:
            yield f"{role}/{statement.get('Sid')}", statement


def rights_problems(stack: Stack) -> list[str]:
    """One action a statement, on one resource; `*` only where ALL_RESOURCES says why, and denied to code."""
    problems = []
    managed = stack.of_type("AWS::IAM::ManagedPolicy")
    for role, resource in stack.of_type("AWS::IAM::Role").items():
        arns = resource["Properties"].get("ManagedPolicyArns", [])
        if any(not isinstance(arn, dict) or arn.get("Ref") not in managed for arn in arns):
            problems.append(f"{role} has rights from elsewhere")
        denied: set[str] = set()
        open_actions = set()
        for name, statement in statements_of(stack, role):
            action = statement["Action"]
            if statement["Effect"] == "Deny":
                denied |= set(action)
                continue
            problems += _statement_problems(stack, name, statement)
            if stack.resolve(statement["Resource"]) == "*":
                open_actions.add(action)
        strange = open_actions - set(ALL_RESOURCES)
        problems += [f"{role}: {action} is allowed on everything" for action in sorted(map(str, strange))]
        problems += [
            f"{role}: {action} is not denied to the code" for action in sorted(map(str, open_actions - denied))
        ]
    return problems


def _statement_problems(stack: Stack, name: str, statement: Node) -> Iterator[str]:
    action, resource = statement["Action"], stack.resolve(statement["Resource"])
    if "Sid" not in statement:
        yield f"{name} has no name: {action}"
    if not isinstance(action, str) or "*" in action:
        yield f"{name} allows {action}: not one action"
    elif not isinstance(resource, str):
        yield f"{name} allows {action} on several resources"
    elif resource.endswith(":key/*") and not _decrypts(stack, statement):
        yield f"{name} opens every key, to everything"


def _decrypts(stack: Stack, statement: Node) -> set[str]:
    """The parameters that a statement lets be decrypted, through Parameter Store alone; empty where it does not say."""
    condition = stack.resolve(statement.get("Condition", {}))
    if not condition.get("StringEquals", {}).get("kms:ViaService", "").startswith("ssm."):
        return set()
    names = condition.get("StringLike", {}).get("kms:EncryptionContext:PARAMETER_ARN", [])
    return {names} if isinstance(names, str) else set(names)


def needed_rights(stack: Stack, name: str) -> set[Right]:
    """What the function `name` needs in the mode of `stack`, but for keys and network interfaces."""
    properties = stack.plain["Resources"][name]["Properties"]
    entry = properties["Handler"].split(".")[1]
    parameter = _parameters(stack)
    log = stack.resolve({"Fn::GetAtt": [properties["LoggingConfig"]["LogGroup"]["Ref"], "Arn"]})
    rights = {("logs:CreateLogStream", log), ("logs:PutLogEvents", log)}
    if stack.mounts(name):
        system = stack.resolve(_file_system(stack))
        rights |= {(f"elasticfilesystem:{action}", system) for action in ("ClientMount", "ClientWrite")}
    if entry == "publisher":
        return rights
    for secret in ("webhook-secret", "webhook-secrets/*"):
        if entry in ("webhook", "operate"):  # whose doctor looks whether they are there and sane
            rights.add(("ssm:GetParameter", parameter + secret))
        if entry == "webhook":
            rights.add(("ssm:GetParameterHistory", parameter + secret))
    rights.add(("ssm:GetParameter", parameter + "repositories/*"))
    if entry in ("schedule", "operate"):
        rights.add(("ssm:GetParametersByPath", parameter + "repositories"))
    if entry in ("webhook", "schedule") and stack.is_queued:
        rights.add(("sqs:SendMessage", "<DeliveryQueue.Arn>"))
    if entry == "operate" and stack.is_queued:
        rights.add(("sqs:GetQueueAttributes", "<DeliveryQueue.Arn>"))
    if entry == "worker":
        taking = ("ReceiveMessage", "DeleteMessage", "GetQueueAttributes", "ChangeMessageVisibility")
        rights |= {(f"sqs:{action}", "<DeliveryQueue.Arn>") for action in taking}
        rights.add(("sqs:SendMessage", "<DeadLetterQueue.Arn>"))
    if key := _queue_key(stack, entry):
        rights |= {("kms:GenerateDataKey", key)}
    if stack.reconciles(name):
        rights |= {("ssm:GetParameter", parameter + kind) for kind in ("credentials/*", "ca/*")}
        if secret := _secrets(stack):
            rights.add(("secretsmanager:GetSecretValue", secret))
        if stack.is_isolated:
            rights.add(("lambda:InvokeFunction", stack.resolve({"Fn::GetAtt": ["PublisherFunction", "Arn"]})))
        bus = stack.resolve({"Ref": "EventBus"})
        if bus:
            arn = stack.resolve({"Fn::Sub": "arn:${AWS::Partition}:events:${AWS::Region}:${AWS::AccountId}:event-bus/"})
            rights.add(("events:PutEvents", arn + bus))
            if entry == "operate":
                rights.add(("events:DescribeEventBus", arn + bus))
    return rights


def _queue_key(stack: Stack, entry: str) -> str:
    """The key of the user's that the function with this entry point needs to send or to receive; empty for none."""
    uses = stack.is_queued and entry in ("webhook", "schedule", "worker")
    return str(stack.resolve({"Ref": "QueueKmsKeyArn"})) if uses else ""


def _secrets(stack: Stack) -> str:
    """The ARN pattern of Secrets Manager's secrets that hold credentials; empty where the stack reads none."""
    if stack.resolve({"Ref": "SecretsManager"}) != "true":
        return ""
    arn = "arn:${AWS::Partition}:secretsmanager:${AWS::Region}:${AWS::AccountId}:secret:${ParameterRoot}/"
    return str(stack.resolve({"Fn::Sub": arn + "${AWS::StackName}/credentials/*"}))


def _file_system(stack: Stack) -> Node:
    """The ARN of the file system that the functions mount: the stack's, or the one that the user named."""
    if stack.of_type("AWS::EFS::FileSystem"):
        return {"Fn::GetAtt": ["FileSystem", "Arn"]}
    arn = "arn:${AWS::Partition}:elasticfilesystem:${AWS::Region}:${AWS::AccountId}:file-system/${FileSystemId}"
    return {"Fn::Sub": arn}


def _parameters(stack: Stack) -> str:
    """The beginning of the ARNs of the stack's own parameters."""
    root = "arn:${AWS::Partition}:ssm:${AWS::Region}:${AWS::AccountId}:parameter${ParameterRoot}/${AWS::StackName}/"
    return str(stack.resolve({"Fn::Sub": root}))


def function_rights_problems(stack: Stack) -> list[str]:
    """Every function may do what it needs and nothing else; two stacks cannot read each other's parameters."""
    problems = []
    for name, properties in stack.functions():
        statements = [item for _, item in statements_of(stack, stack.role_of(name)) if item["Effect"] == "Allow"]
        allowed = {
            (str(item["Action"]), str(stack.resolve(item["Resource"])))
            for item in statements
            if item["Action"] != "kms:Decrypt" and item["Action"] not in ALL_RESOURCES
        }
        needed = needed_rights(stack, name)
        problems += [f"{name}: {action} on {resource} is missing" for action, resource in sorted(needed - allowed)]
        problems += [f"{name}: {action} on {resource} is too much" for action, resource in sorted(allowed - needed)]
        problems += _secret_problems(stack, name, needed, statements)
        problems += _secrets_key_problems(stack, name, statements)
        problems += _queue_key_problems(stack, properties["Handler"].split(".")[1], statements)
        interfaces = {item["Action"] for item in statements} >= set(ALL_RESOURCES)
        if "VpcConfig" in properties and not interfaces:
            problems.append(f"{name} cannot be put into the VPC")
    return problems


def _secret_problems(stack: Stack, name: str, needed: set[Right], statements: list[Node]) -> Iterator[str]:
    """A function decrypts what it reads: the secrets or the tokens, and repositories stored as SecureStrings."""
    readable = {resource for action, resource in needed if action == "ssm:GetParameter"}
    opened = {arn for item in statements if item["Action"] == "kms:Decrypt" for arn in _decrypts(stack, item)}
    if opened != readable:
        yield f"{name} decrypts {sorted(opened)} and reads {sorted(readable)}"


def _secrets_key_problems(stack: Stack, name: str, statements: list[Node]) -> Iterator[str]:
    """Whoever reads Secrets Manager's secrets opens these with the stack's own key, and nothing else."""
    opened = set()
    for item in statements:
        condition = stack.resolve(item.get("Condition", {}))
        if condition.get("StringEquals", {}).get("kms:ViaService", "").startswith("secretsmanager."):
            named = condition.get("StringLike", {}).get("kms:EncryptionContext:SecretARN")
            opened.add((item["Action"], stack.resolve(item["Resource"]), named))
    key, secrets = stack.resolve({"Ref": "KmsKeyArn"}), _secrets(stack)
    needed = {("kms:Decrypt", key, secrets)} if key and secrets and stack.reconciles(name) else set()
    if opened != needed:
        yield f"{name} opens secrets as {sorted(map(str, opened))}, and needs {sorted(map(str, needed))}"


def _queue_key_problems(stack: Stack, entry: str, statements: list[Node]) -> Iterator[str]:
    """Whoever sends or receives may use the queue's key, through SQS alone; nobody else, and no other way."""
    found = set()
    for item in statements:
        via = stack.resolve(item.get("Condition", {})).get("StringEquals", {}).get("kms:ViaService", "")
        if item["Action"].startswith("kms:") and not via.startswith(("ssm.", "secretsmanager.")):
            found.add((item["Action"], stack.resolve(item["Resource"]), via))
    key, through = _queue_key(stack, entry), stack.resolve({"Fn::Sub": "sqs.${AWS::Region}.${AWS::URLSuffix}"})
    needed = {(action, key, through) for action in ("kms:GenerateDataKey", "kms:Decrypt") if key}
    if found != needed:
        yield f"{entry} uses keys as {sorted(map(str, found))}, and needs {sorted(map(str, needed))}"


def prefix_problems(stack: Stack) -> list[str]:
    """What may be read of Parameter Store is under the prefix that every function is given."""
    problems = []
    for name, _ in stack.functions():
        prefix = stack.resolve(stack.environment(name)["GIT2EFS_PARAMETER_PREFIX"])
        if not _parameters(stack).endswith(f":parameter{prefix}/"):
            problems.append(f"{name} looks for its parameters below {prefix}")
    return problems


def trust_problems(stack: Stack) -> list[str]:
    """Lambda runs the functions; what else may take a role, may for this account alone."""
    problems = []
    roles = {stack.role_of(name) for name, _ in stack.functions()}
    for name, role in stack.of_type("AWS::IAM::Role").items():
        for statement in role["Properties"]["AssumeRolePolicyDocument"]["Statement"]:
            if name in roles:
                if statement["Principal"] != {"Service": "lambda.amazonaws.com"}:
                    problems.append(f"{name} is for {statement['Principal']}")
            elif statement.get("Condition") != {"StringEquals": {"aws:SourceAccount": {"Ref": "AWS::AccountId"}}}:
                problems.append(f"{name} may be taken for another account")
    return problems


def publisher_problems(stack: Stack) -> list[str]:
    """The publisher may mount, write and log, and nothing else; it is given no address of anything."""
    problems = []
    for name, properties in stack.functions():
        if properties["Handler"] != "handler.publisher.handler":
            continue
        statements = [item for _, item in statements_of(stack, stack.role_of(name)) if item["Effect"] == "Allow"]
        actions = {str(item["Action"]) for item in statements} - set(ALL_RESOURCES)
        rights = {"elasticfilesystem:ClientMount", "elasticfilesystem:ClientWrite"}
        strange = actions - rights - {"logs:CreateLogStream", "logs:PutLogEvents"}
        problems += [f"{name} may {action}" for action in sorted(strange)]
        for item in statements:
            condition = stack.resolve(item.get("Condition", {}))
            through = condition.get("StringEquals", {}).get("elasticfilesystem:AccessPointArn", "")
            if item["Action"] in rights and not through:
                problems.append(f"{name} mounts more than its access point")
        for variable, value in stack.environment(name).items():
            if "://" in str(stack.resolve(value)) or "arn:" in str(stack.resolve(value)):
                problems.append(f"{name} is told of something to call: {variable}")
    return problems


def invoker_problems(stack: Stack) -> list[str]:
    """Nobody outside invokes the publisher; and no function invokes anything else."""
    problems = [
        f"{name} lets others invoke the publisher"
        for name, permission in stack.of_type("AWS::Lambda::Permission").items()
        if "PublisherFunction" in str(permission["Properties"]["FunctionName"])
    ]
    publisher = {"Fn::GetAtt": ["PublisherFunction", "Arn"]}
    for function, _ in stack.functions():
        for name, item in statements_of(stack, stack.role_of(function)):
            if (
                item["Effect"] == "Allow"
                and item["Action"] == "lambda:InvokeFunction"
                and item["Resource"] != publisher
            ):
                problems.append(f"{name} invokes {item['Resource']}")
    return problems
