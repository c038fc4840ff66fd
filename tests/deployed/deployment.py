"""`sam deploy`, `sam delete`: the commands that docs/deploy.md gives, run against the emulator with what was built."""

import json
import os
import platform
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from testing.deliveries import SECRET, WebhookRequest
from testing.stack import ROOT
from tests.deployed.bridges import add_routes, routes_of, write_bridged_template
from tests.deployed.emulator import ACCOUNT, REGION, Emulator

WAIT_SECONDS = 60.0
ARCHITECTURE = {"x86_64": "x86_64", "amd64": "x86_64", "aarch64": "arm64", "arm64": "arm64"}[platform.machine().lower()]


@dataclass(frozen=True)
class Sam:
    """SAM's command."""

    command: Path

    def run(self, *arguments: str | Path, environment: Mapping[str, str]) -> str:
        """Run the command in the project's directory; return what it wrote. Raises RuntimeError with it."""
        variables = {**environment, "SAM_CLI_TELEMETRY": "0", "AWS_DEFAULT_REGION": REGION}
        result = subprocess.run(
            [self.command, *arguments], cwd=ROOT, env=variables, capture_output=True, text=True, check=False
        )
        if result.returncode:
            raise RuntimeError(f"sam {arguments[0]} ended with {result.returncode}:\n{result.stdout}\n{result.stderr}")
        return result.stdout


@dataclass
class Deployment:
    """A stack in the emulator, and what a test does with it. `mount` plays the file system."""

    emulator: Emulator
    sam: Sam
    name: str
    mount: Path
    outputs: dict[str, str] = field(default_factory=dict)
    deployed: Mapping[str, str] | None = None

    def deploy(self, built: Path, **parameters: str) -> None:
        """`sam deploy` with these parameters, into a VPC that is there; then what the emulator lacks.

        Does nothing where that is what was deployed last.
        """
        if self.deployed == parameters:
            return
        self.mount.mkdir(parents=True, exist_ok=True)
        ec2 = self.emulator.client("ec2")
        subnets = ec2.describe_subnets()["Subnets"]
        vpc = subnets[0]["VpcId"]
        private = [subnet["SubnetId"] for subnet in subnets if subnet["VpcId"] == vpc]
        network = {"VpcId": vpc, "SubnetIdA": private[0], "SubnetIdB": private[1]}
        overrides = {"Architecture": ARCHITECTURE, **network, **parameters}
        self.sam.run(
            *("deploy", "--template-file", write_bridged_template(built, self.mount), "--stack-name", self.name),
            *("--resolve-s3", "--capabilities", "CAPABILITY_IAM", "--no-confirm-changeset", "--no-progressbar"),
            "--no-fail-on-empty-changeset",
            *("--parameter-overrides", *(f"{key}='{value}'" for key, value in overrides.items())),
            environment={**os.environ, **self.emulator.credentials},
        )
        self.find(built)
        self.deployed = parameters

    def find(self, built: Path) -> None:
        """Read the outputs of a stack that was deployed; give its API the routes that the emulator lacks."""
        formation = self.emulator.client("cloudformation")
        (stack,) = formation.describe_stacks(StackName=self.name)["Stacks"]
        self.outputs = {item["OutputKey"]: item["OutputValue"] for item in stack["Outputs"]}
        add_routes(self.emulator.client("apigatewayv2"), self.api, self.alias, routes_of(built))

    def delete(self) -> None:
        """`sam delete`."""
        self.deployed = None
        self.sam.run(
            *("delete", "--stack-name", self.name, "--no-prompts", "--region", REGION),
            environment={**os.environ, **self.emulator.credentials},
        )

    @property
    def api(self) -> str:
        """The id of the HTTP API."""
        return self.outputs["WebhookUrl"].removeprefix("https://").partition(".")[0]

    @property
    def alias(self) -> str:
        """The ARN of the alias that the API calls."""
        found = self.emulator.client("lambda").get_alias(FunctionName=self.outputs["FunctionName"], Name="live")
        return str(found["AliasArn"])

    # -- parameters -----------------------------------------------------------------------------------------

    def put_secret(self, value: str = SECRET, repository: str | None = None) -> None:
        """Put the webhook's secret, or one repository's own."""
        leaf = f"webhook-secrets/{repository}" if repository else "webhook-secret"
        self._put(leaf, value, "SecureString")

    def put_repository(self, full_name: str, **fields: object) -> None:
        """Put a repository's parameter."""
        self._put(f"repositories/{full_name}", json.dumps(fields), "String")

    def _put(self, leaf: str, value: str, kind: str) -> None:
        ssm = self.emulator.client("ssm")
        ssm.put_parameter(Name=f"/git2efs/{self.name}/{leaf}", Value=value, Type=kind, Overwrite=True)

    # -- deliveries -----------------------------------------------------------------------------------------

    def send(self, request: WebhookRequest, path: str = "/github") -> tuple[int, dict[str, Any]]:
        """POST a webhook's request to the API, as GitHub does; return status and the answer."""
        status, text = self.emulator.post(self.api, path, request.headers, request.body)
        answer = json.loads(text) if text else {}
        assert isinstance(answer, dict), text
        return status, answer

    def run_schedule(self, task: str) -> dict[str, Any]:
        """Start what the deployed schedule of `task` starts, with its input; return the function's answer."""
        target = self.schedule(task)["Target"]
        answer = self.emulator.client("lambda").invoke(FunctionName=target["Arn"], Payload=target["Input"].encode())
        text = answer["Payload"].read().decode()
        assert "FunctionError" not in answer, text
        result = json.loads(text)
        return result if isinstance(result, dict) else {}

    def let_the_scheduler_start(self, task: str) -> None:
        """Have the scheduler itself start the schedule of `task` once, within seconds: what is deployed is too rare."""
        deployed = self.schedule(task)
        at = datetime.now(UTC).strftime("at(%Y-%m-%dT%H:%M:%S)")
        self.emulator.client("scheduler").create_schedule(
            Name=f"once-{uuid.uuid4().hex[:8]}",
            ScheduleExpression=at,
            ActionAfterCompletion="DELETE",
            FlexibleTimeWindow=deployed["FlexibleTimeWindow"],
            Target=deployed["Target"],
        )

    def schedule(self, task: str) -> dict[str, Any]:
        """Return the deployed schedule whose input asks for `task`."""
        scheduler = self.emulator.client("scheduler")
        for summary in scheduler.list_schedules()["Schedules"]:
            found: dict[str, Any] = scheduler.get_schedule(Name=summary["Name"])
            is_ours = self.outputs["ScheduleFunctionName"] in found["Target"]["Arn"]
            if is_ours and json.loads(found["Target"]["Input"]) == {"task": task}:
                return found
        raise LookupError(f"no schedule asks for {task}")

    def wait_until(self, condition: Callable[[], bool], what: str, seconds: float = WAIT_SECONDS) -> float:
        """Wait until `condition` holds; return how many seconds that took. Raises TimeoutError with the log's end."""
        started = time.monotonic()
        while not condition():
            if time.monotonic() > started + seconds:
                raise TimeoutError(f"not within {seconds:g} s: {what}\n{self.emulator.log_text()[-6000:]}")
            time.sleep(0.05)
        return time.monotonic() - started

    # -- what is there --------------------------------------------------------------------------------------

    def current_commit(self, path: str) -> str | None:
        """Return the commit that a target's `current` names, None where there is none."""
        link = self.mount / path / "current"
        return os.path.basename(os.readlink(link)) if link.is_symlink() else None

    def waiting(self, output: str = "QueueUrl") -> int:
        """Return how many messages a queue holds, those that are being worked on among them."""
        names = ("ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible")
        found = self.emulator.client("sqs").get_queue_attributes(
            QueueUrl=self.outputs[output], AttributeNames=list(names)
        )["Attributes"]
        return sum(int(found[name]) for name in names)

    def log_lines(self, output: str, delivery: str) -> list[dict[str, Any]]:
        """Return the lines of a function's log group, named by an output, that tell of a delivery."""
        events = self.emulator.client("logs").filter_log_events(logGroupName=self.outputs[output])["events"]
        texts = [line for event in events for line in event["message"].splitlines() if line.startswith("{")]
        lines = [json.loads(text) for text in texts if delivery in text]
        return [line for line in lines if line.get("correlation_id") == delivery]

    def dead_letters(self) -> list[dict[str, Any]]:
        """Take up to ten messages from the dead letters: body, attributes, message attributes."""
        answer = self.emulator.client("sqs").receive_message(
            QueueUrl=self.outputs["DeadLetterQueueUrl"],
            MaxNumberOfMessages=10,
            VisibilityTimeout=0,
            AttributeNames=["All"],
            MessageAttributeNames=["All"],
        )
        return list(answer.get("Messages", []))

    def redrive(self) -> None:
        """Do what RedriveCommand starts (the emulator has no such task): every dead letter goes to its destination."""
        words = self.outputs["RedriveCommand"].split()
        source, destination = (words[words.index(name) + 1] for name in ("--source-arn", "--destination-arn"))
        sqs = self.emulator.client("sqs")
        urls = {arn: sqs.get_queue_url(QueueName=arn.rpartition(":")[2])["QueueUrl"] for arn in (source, destination)}
        while messages := sqs.receive_message(QueueUrl=urls[source], AttributeNames=["All"]).get("Messages"):
            for message in messages:
                group = message["Attributes"]["MessageGroupId"]
                sqs.send_message(
                    QueueUrl=urls[destination],
                    MessageBody=message["Body"],
                    MessageGroupId=group,
                    MessageDeduplicationId=uuid.uuid4().hex,
                )
                sqs.delete_message(QueueUrl=urls[source], ReceiptHandle=message["ReceiptHandle"])

    # -- rights ---------------------------------------------------------------------------------------------

    def role_of(self, output: str) -> str:
        """Return the ARN of the role of the function that an output names."""
        found = self.emulator.client("lambda").get_function_configuration(FunctionName=self.outputs[output])
        return str(found["Role"])

    def may(self, output: str, action: str, resource: str) -> bool:
        """Ask IAM whether a function may do something; `resource` is an ARN, or what follows the account in one."""
        arn = resource if resource.startswith("arn:") else f"arn:aws:ssm:{REGION}:{ACCOUNT}:{resource}"
        (result,) = self.emulator.client("iam").simulate_principal_policy(
            PolicySourceArn=self.role_of(output), ActionNames=[action], ResourceArns=[arn]
        )["EvaluationResults"]
        return bool(result["EvalDecision"] == "allowed")

    @contextmanager
    def without_policy(self, output: str, policy: str) -> Iterator[None]:
        """Take one of its role's own policies from a function while the block runs."""
        iam, role = self.emulator.client("iam"), self.role_of(output).rpartition("/")[2]
        document = iam.get_role_policy(RoleName=role, PolicyName=policy)["PolicyDocument"]
        iam.delete_role_policy(RoleName=role, PolicyName=policy)
        try:
            yield
        finally:
            iam.put_role_policy(RoleName=role, PolicyName=policy, PolicyDocument=json.dumps(document))

    @contextmanager
    def without_shared_policy(self, output: str, policy: str) -> Iterator[None]:
        """Take a policy that roles share, by its logical id, from a function while the block runs."""
        iam, role = self.emulator.client("iam"), self.role_of(output).rpartition("/")[2]
        attached = iam.list_attached_role_policies(RoleName=role)["AttachedPolicies"]
        (arn,) = [item["PolicyArn"] for item in attached if policy in item["PolicyName"]]
        iam.detach_role_policy(RoleName=role, PolicyArn=arn)
        try:
            yield
        finally:
            iam.attach_role_policy(RoleName=role, PolicyArn=arn)
