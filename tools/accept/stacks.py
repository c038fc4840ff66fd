"""The run's two stacks: what `make build` made, and the sample origin; and deleting all that a run made.

Everything that a run makes has a name that begins with the run's (RUN); stacks bear TAG too. So another run finds all
of it, and nothing else.
"""

import io
import json
import re
import time
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from botocore.exceptions import BotoCoreError, ClientError

from tools.accept.account import Account
from tools.accept.report import StepFailed

PREFIX = "git2efs-accept-"
RUN = re.compile(r"git2efs-accept-\d{8}-\d{6}-[0-9a-f]{4}")
"""A run's name: when it began, in UTC, and four digits by chance."""
TAG = "git2efs-accept"
PARAMETER_ROOT = "/git2efs-accept"
"""Its stacks' parameters are below this, and not where those of stacks in use are."""
PROJECT = Path(__file__).resolve().parents[2]
ONCE = "-once"
"""The end of the name of the schedule that a run makes beside its stack."""
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
            **({"RoleARN": self.role} if self.role else {}),
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

    # -- deleting ---------------------------------------------------------------------------------------------------

    def find(self, prefix: str) -> "Leftovers":
        """Return what is there of the runs whose names begin with `prefix`, which begins with PREFIX."""
        if not prefix.startswith(PREFIX):
            raise ValueError(f"{prefix} is not a run of this command")
        stacks = [
            stack["StackName"]
            for stack in self._all("cloudformation", "describe_stacks", "Stacks")
            if _is_ours(stack["StackName"], prefix) and any(tag["Key"] == TAG for tag in stack.get("Tags", ()))
        ]
        systems = [
            system["FileSystemId"]
            # The template gives it the stack's name.
            for system in self._all("efs", "describe_file_systems", "FileSystems")
            if _is_ours(system.get("Name") or "", prefix) and system["LifeCycleState"] not in ("deleting", "deleted")
        ]
        below = {"Path": PARAMETER_ROOT, "Recursive": True, "WithDecryption": False}
        parameters = [
            parameter["Name"]
            for parameter in self._all("ssm", "get_parameters_by_path", "Parameters", **below)
            if _is_ours(parameter["Name"].removeprefix(f"{PARAMETER_ROOT}/"), prefix)
        ]
        schedules = [
            schedule["Name"]
            for schedule in self._all("scheduler", "list_schedules", "Schedules", NamePrefix=prefix)
            # The stack's own go with it.
            if _is_ours(schedule["Name"], prefix) and schedule["Name"].endswith(ONCE)
        ]
        buckets = [
            bucket["Name"]
            for bucket in self.account.client("s3").list_buckets()["Buckets"]
            if _is_ours(bucket["Name"], prefix)
        ]
        return Leftovers(stacks, systems, parameters, schedules, buckets)

    def _all(self, service: str, operation: str, key: str, **arguments: Any) -> Iterator[Any]:
        """Yield what all pages of an answer have under `key`."""
        for page in self.account.client(service).get_paginator(operation).paginate(**arguments):
            yield from page[key]

    def delete(self, found: "Leftovers") -> list[str]:
        """Delete all of it; return what could not be deleted, as sentences. Never raises an error of AWS's."""
        problems: list[str] = []

        def attempt(title: str, do: Callable[[], object]) -> None:
            try:
                self.say(f"  deleting {title}")
                do()
            except (BotoCoreError, ClientError, StepFailed) as error:
                problems.append(f"{title}: {error}")

        client = self.account.client
        for name in found.schedules:
            attempt(f"schedule {name}", lambda name=name: client("scheduler").delete_schedule(Name=name))  # type: ignore[misc]
        # All are begun before the first is waited for.
        for name in found.stacks:
            attempt(f"stack {name}", lambda name=name: self._begin_to_delete(name))  # type: ignore[misc]
        for name in found.stacks:
            attempt(f"stack {name}, waiting", lambda name=name: self._await_deletion(name))  # type: ignore[misc]
        for system in found.file_systems:
            attempt(f"file system {system}", lambda each=system: client("efs").delete_file_system(FileSystemId=each))  # type: ignore[misc]
        for names in _tens(found.parameters):
            attempt(f"{len(names)} parameters", lambda names=names: client("ssm").delete_parameters(Names=names))  # type: ignore[misc]
        for bucket in found.buckets:
            attempt(f"bucket {bucket}", lambda bucket=bucket: self._delete_bucket(bucket))  # type: ignore[misc]
        return problems

    def _begin_to_delete(self, name: str) -> None:
        role = {"RoleARN": self.role} if self.role else {}
        self.account.client("cloudformation").delete_stack(StackName=name, **role)

    def _await_deletion(self, name: str) -> None:
        for _ in range(2):
            status = self._wait(name, DELETE_SECONDS)
            if status == "DELETE_COMPLETE":
                return
            # What was still in use, a network interface say, may be free by now.
            self._begin_to_delete(name)
        status = self._wait(name, DELETE_SECONDS)
        if status != "DELETE_COMPLETE":
            raise StepFailed(f"is {status}: {self._first_failure(name)}")

    def _delete_bucket(self, bucket: str) -> None:
        s3 = self.account.client("s3")
        for item in s3.list_objects_v2(Bucket=bucket).get("Contents", ()):
            s3.delete_object(Bucket=bucket, Key=item["Key"])
        s3.delete_bucket(Bucket=bucket)


@dataclass(frozen=True)
class Leftovers:
    """What runs made and did not delete, by name or id."""

    stacks: Sequence[str] = ()
    file_systems: Sequence[str] = ()
    parameters: Sequence[str] = ()
    schedules: Sequence[str] = ()
    buckets: Sequence[str] = ()

    def names(self) -> list[str]:
        """Return a line for each."""
        return [f"{kind} {name}" for kind, names in self._kinds().items() for name in names]

    def counts(self) -> str:
        """Return how many there are of each kind."""
        return ", ".join(f"{kind}s: {len(names)}" for kind, names in self._kinds().items() if names)

    def _kinds(self) -> Mapping[str, Sequence[str]]:
        return {
            "stack": self.stacks,
            "file system": self.file_systems,
            "parameter": self.parameters,
            "schedule": self.schedules,
            "bucket": self.buckets,
        }


def _is_ours(name: str, prefix: str) -> bool:
    return name.startswith(prefix) and RUN.match(name) is not None


def _tens(names: Sequence[str]) -> list[list[str]]:
    """Parameter Store deletes ten at a time."""
    return [list(names[start : start + 10]) for start in range(0, len(names), 10)]


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
