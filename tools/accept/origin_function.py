"""The sample origin as a function behind an HTTP API: answers git clients with as many pushes as a parameter says.

It runs in the account, in Lambda. GIT2EFS_ACCEPT_PUSHES names the parameter: JSON, full name -> number of pushes.
"""

import base64
import json
import os
from collections.abc import Mapping
from typing import Any

import boto3

from tools.accept.sample import Repository

PUSHES_VARIABLE = "GIT2EFS_ACCEPT_PUSHES"
_repositories: dict[str, Repository] = {}
_parameters: list[Any] = []


def handler(event: Mapping[str, Any], context: object) -> dict[str, object]:
    """Answer one request: `/<owner>/<name>.git/info/refs` or `/<owner>/<name>.git/git-upload-pack`."""
    full_name, _, rest = str(event["rawPath"]).lstrip("/").partition(".git")
    pushes = _read_pushes()
    if full_name not in pushes:
        return {"statusCode": 404, "body": "no such repository\n"}
    repository = _repositories.setdefault(full_name, Repository(full_name))
    body = str(event.get("body") or "")
    content = base64.b64decode(body) if event.get("isBase64Encoded") else body.encode()
    encoding = event.get("headers", {}).get("content-encoding")
    status, media_type, answer = repository.respond(rest, content, push=pushes[full_name], encoding=encoding)
    return {
        "statusCode": status,
        "headers": {"content-type": media_type, "cache-control": "no-cache"},
        "body": base64.b64encode(answer).decode(),
        "isBase64Encoded": True,
    }


def _read_pushes() -> Mapping[str, int]:
    """Ask each time: a push has to be seen by every instance at once, as GitHub's are."""
    if not _parameters:
        _parameters.append(boto3.client("ssm"))
    value = _parameters[0].get_parameter(Name=os.environ[PUSHES_VARIABLE])["Parameter"]["Value"]
    return dict(json.loads(value))
