"""What runs made: finding it, whoever made it, and deleting it.

Everything that a run makes has a name that begins with the run's (RUN); stacks bear TAG too. So another run finds all
of it, and nothing else.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from tools.accept.account import Account
from tools.accept.report import StepFailed
from tools.accept.stacks import PARAMETER_ROOT, PREFIX, TAG, Stacks

RUN = re.compile(r"git2efs-accept-\d{8}-\d{6}-[0-9a-f]{4}")
"""A run's name: when it began, in UTC, and four digits by chance."""
ONCE = "-once"
"""The end of the name of the schedule that a run makes beside its stack."""


@dataclass(frozen=True)
class Leftovers:
    """What runs made and did not delete, by name or id. `unknown` says what could not be asked for, and why."""

    stacks: Sequence[str] = ()
    file_systems: Sequence[str] = ()
    parameters: Sequence[str] = ()
    schedules: Sequence[str] = ()
    buckets: Sequence[str] = ()
    unknown: Sequence[str] = ()

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


def find(account: Account, prefix: str) -> Leftovers:
    """Return what is there of the runs whose names begin with `prefix`, which begins with PREFIX.

    Never raises an error of AWS's: what cannot be listed keeps nothing else from being found.
    """
    if not prefix.startswith(PREFIX):
        raise ValueError(f"{prefix} is not a run of this command")
    unknown: list[str] = []

    def names(kind: str, listed: Iterator[str]) -> list[str]:
        try:
            return list(listed)
        except (BotoCoreError, ClientError) as error:
            unknown.append(f"{kind} cannot be listed: {error}")
            return []

    return Leftovers(
        stacks=names("stacks", _stacks(account, prefix)),
        file_systems=names("file systems", _file_systems(account, prefix)),
        parameters=names("parameters", _parameters(account, prefix)),
        schedules=names("schedules", _schedules(account, prefix)),
        buckets=names("buckets", _buckets(account, prefix)),
        unknown=unknown,
    )


def _stacks(account: Account, prefix: str) -> Iterator[str]:
    for stack in _all(account, "cloudformation", "describe_stacks", "Stacks"):
        if _is_ours(stack["StackName"], prefix) and any(tag["Key"] == TAG for tag in stack.get("Tags", ())):
            yield stack["StackName"]


def _file_systems(account: Account, prefix: str) -> Iterator[str]:
    for system in _all(account, "efs", "describe_file_systems", "FileSystems"):
        # The template gives it the stack's name.
        if _is_ours(system.get("Name") or "", prefix) and system["LifeCycleState"] not in ("deleting", "deleted"):
            yield system["FileSystemId"]


def _parameters(account: Account, prefix: str) -> Iterator[str]:
    below = {"Path": PARAMETER_ROOT, "Recursive": True, "WithDecryption": False}
    for parameter in _all(account, "ssm", "get_parameters_by_path", "Parameters", **below):
        if _is_ours(parameter["Name"].removeprefix(f"{PARAMETER_ROOT}/"), prefix):
            yield parameter["Name"]


def _schedules(account: Account, prefix: str) -> Iterator[str]:
    for schedule in _all(account, "scheduler", "list_schedules", "Schedules", NamePrefix=prefix):
        # The stack's own go with it.
        if _is_ours(schedule["Name"], prefix) and schedule["Name"].endswith(ONCE):
            yield schedule["Name"]


def _buckets(account: Account, prefix: str) -> Iterator[str]:
    for bucket in account.client("s3").list_buckets()["Buckets"]:
        if _is_ours(bucket["Name"], prefix):
            yield bucket["Name"]


def _all(account: Account, service: str, operation: str, key: str, **arguments: Any) -> Iterator[Any]:
    """Yield what all pages of an answer have under `key`."""
    for page in account.client(service).get_paginator(operation).paginate(**arguments):
        yield from page[key]


def _is_ours(name: str, prefix: str) -> bool:
    return name.startswith(prefix) and RUN.match(name) is not None


def delete(stacks: Stacks, found: Leftovers) -> list[str]:
    """Delete all of it; return what could not be deleted, as sentences. Never raises an error of AWS's."""
    problems = list(found.unknown)
    for title, do in _deletions(stacks, found):
        try:
            stacks.say(f"  deleting {title}")
            do()
        except (BotoCoreError, ClientError, StepFailed) as error:
            problems.append(f"{title}: {error}")
    return problems


def _deletions(stacks: Stacks, found: Leftovers) -> Iterator[tuple[str, Callable[[], object]]]:
    client = stacks.account.client
    for name in found.schedules:
        yield f"schedule {name}", partial(client("scheduler").delete_schedule, Name=name)
    # All are begun before the first is waited for.
    for name in found.stacks:
        yield f"stack {name}", partial(stacks.begin_to_delete, name)
    for name in found.stacks:
        yield f"stack {name}, waiting", partial(stacks.await_deletion, name)
    # Not before the stacks, whose mount targets use them.
    for system in found.file_systems:
        yield f"file system {system}", partial(client("efs").delete_file_system, FileSystemId=system)
    # Parameter Store deletes ten at a time.
    for start in range(0, len(found.parameters), 10):
        some = list(found.parameters[start : start + 10])
        yield f"{len(some)} parameters", partial(client("ssm").delete_parameters, Names=some)
    for bucket in found.buckets:
        yield f"bucket {bucket}", partial(_delete_bucket, stacks.account, bucket)


def _delete_bucket(account: Account, bucket: str) -> None:
    s3 = account.client("s3")
    for item in s3.list_objects_v2(Bucket=bucket).get("Contents", ()):
        s3.delete_object(Bucket=bucket, Key=item["Key"])
    s3.delete_bucket(Bucket=bucket)
