"""A run's stacks, which are made of what `make build` made."""

import io
import json
import time
import zipfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from botocore.exceptions import ClientError

from tools.accept.account import Account
from tools.accept.report import StepFailed

PREFIX = "git2efs-accept-"
TAG = "git2efs-accept"
PARAMETER_ROOT = "/git2efs-accept"
"""Its stacks' parameters are below this, and not where those of stacks in use are."""
PROJECT = Path(__file__).resolve().parents[2]
CREATE_SECONDS, DELETE_SECONDS = 1800, 4200
"""Lambda gives the network interfaces of a deleted function back within 40 minutes."""
_REPORT_SECONDS = 20.0

Say = Callable[[str], None]


@dataclass(frozen=True)
class Stacks:
    """Makes and deletes what belongs to the run named `name`; `say` is told of progress.

    `role` is the ARN of the role that CloudFormation uses; None means the caller's own rights.
    """

    account: Account
    name: str
    say: Say
    role: str | None = None

    @property
    def tags(self) -> list[dict[str, str]]:
        """The tag of everything that this run makes."""
        return [{"Key": TAG, "Value": self.name}]

    def make_bucket(self, number: str) -> str:
        """Make the bucket for the artefacts; `number` is the account's. Return its name."""
        bucket = f"{self.name}-{number}"
        s3, region = self.account.client("s3"), self.account.region
        elsewhere = {"CreateBucketConfiguration": {"LocationConstraint": region}} if region != "us-east-1" else {}
        s3.create_bucket(Bucket=bucket, **elsewhere)
        s3.put_bucket_tagging(Bucket=bucket, Tagging={"TagSet": self.tags})
        return bucket

    def upload(self, bucket: str, key: str, content: bytes) -> str:
        """Put an object there; return its URL as SAM's templates have it."""
        self.account.client("s3").put_object(Bucket=bucket, Key=key, Body=content)
        return f"s3://{bucket}/{key}"

    def create(self, name: str, template: Mapping[str, Any], bucket: str, parameters: Mapping[str, str]) -> None:
        """Create a stack, and wait for it. Raises StepFailed with the first resource that failed."""
        key = f"{name}.json"
        self.upload(bucket, key, json.dumps(template).encode())
        formation = self.account.client("cloudformation")
        host = self.account.client("s3").meta.endpoint_url
        formation.create_stack(
            StackName=name,
            TemplateURL=f"{host}/{bucket}/{key}",
            Parameters=[{"ParameterKey": key, "ParameterValue": value} for key, value in parameters.items()],
            Capabilities=["CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"],
            # Deleted by the run's end in any case; until then its events say what went wrong.
            OnFailure="DO_NOTHING",
            Tags=self.tags,
            **self._with_role,
        )
        status = self._wait(name, CREATE_SECONDS)
        if status != "CREATE_COMPLETE":
            raise StepFailed(f"the stack {name} is {status}: {self._first_failure(name)}")

    def _wait(self, name: str, seconds: float) -> str:
        """Wait until nothing is in progress; return the status, or DELETE_COMPLETE where there is no such stack."""
        formation = self.account.client("cloudformation")
        deadline, told = time.monotonic() + seconds, time.monotonic()
        while True:
            try:
                (found,) = formation.describe_stacks(StackName=name)["Stacks"]
            except ClientError as error:
                if "does not exist" in str(error):
                    return "DELETE_COMPLETE"
                raise
            status = str(found["StackStatus"])
            if not status.endswith("_IN_PROGRESS") or time.monotonic() > deadline:
                return status
            if time.monotonic() > told + _REPORT_SECONDS:
                told = time.monotonic()
                self.say(f"  {name}: {status}")
            time.sleep(0.3 if self.account.is_emulator else 5)

    def _first_failure(self, name: str) -> str:
        events = self.account.client("cloudformation").describe_stack_events(StackName=name)["StackEvents"]
        failed = [event for event in reversed(events) if event["ResourceStatus"].endswith("_FAILED")]
        return "; ".join(
            f"{event['LogicalResourceId']}: {event.get('ResourceStatusReason', '')}" for event in failed[:1]
        )

    def outputs(self, name: str) -> dict[str, str]:
        """Return a stack's outputs."""
        (found,) = self.account.client("cloudformation").describe_stacks(StackName=name)["Stacks"]
        return {item["OutputKey"]: item["OutputValue"] for item in found.get("Outputs", ())}

    def begin_to_delete(self, name: str) -> None:
        """Have CloudFormation delete a stack."""
        self.account.client("cloudformation").delete_stack(StackName=name, **self._with_role)

    def await_deletion(self, name: str) -> None:
        """Wait until a stack is deleted; try again where something was still in use. Raises StepFailed."""
        for tries in range(3):
            if tries:
                # A network interface, say, may be free by now.
                self.begin_to_delete(name)
            status = self._wait(name, DELETE_SECONDS)
            if status == "DELETE_COMPLETE":
                return
        raise StepFailed(f"it is {status}: {self._first_failure(name)}")

    @property
    def _with_role(self) -> dict[str, str]:
        return {"RoleARN": self.role} if self.role else {}


# -- what is built --------------------------------------------------------------------------------------------------


def pack(directory: Path, more: Iterable[str] = ()) -> bytes:
    """Return a function's package: what is in the directory, and files of the project by their paths in it."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for path in sorted(directory.rglob("*")):
            if path.is_file():
                archive.write(path, path.relative_to(directory))
        for name in more:
            archive.write(PROJECT / name, name)
    return content.getvalue()


def read_template(path: Path) -> dict[str, Any]:
    """Return a built template; SAM writes it without CloudFormation's tags."""
    template: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return template


def code_directories(template: Mapping[str, Any], path: Path) -> dict[str, Path]:
    """Return where the code of each function is, by its name in the template that lies at `path`."""
    return {
        name: path.parent / resource["Properties"]["CodeUri"]
        for name, resource in template["Resources"].items()
        if resource["Type"] == "AWS::Serverless::Function"
    }


def with_code(template: dict[str, Any], urls: Mapping[str, str]) -> dict[str, Any]:
    """Return the template with the code of each function where it was uploaded."""
    for name, url in urls.items():
        template["Resources"][name]["Properties"]["CodeUri"] = url
    return template
