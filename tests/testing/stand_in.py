"""A handler that stands in for the product's, so that the support is tested without it.

An event is `{"do": ...}`: "log" writes a log line and a metric, "secret" reads the webhook secret, "network"
looks a host up, "raise" ends the process, anything else is echoed.
"""

import json
import logging
import os
import socket
import sys
from typing import Any

_kept: dict[str, Any] = {}


def reset() -> None:
    """Forget the logger, as the product forgets its own."""
    _kept.clear()


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Do what the event says."""
    done: Any = event
    match event.get("do"):
        case "log":
            _logger().info(json.dumps({"message": "done", "process": os.getpid()}))
            metric = {"CloudWatchMetrics": [{"Namespace": "n", "Dimensions": [[]], "Metrics": [{"Name": "Files"}]}]}
            print(json.dumps({"_aws": metric, "Files": 3}))
        case "secret":
            done = _read_secret()
        case "network":
            socket.getaddrinfo("github.com", 443)
        case "raise":
            os._exit(3)
    return {"statusCode": 200, "headers": {"Content-Type": "application/json"}, "body": json.dumps({"done": done})}


def _logger() -> logging.Logger:
    logger = logging.getLogger("stand-in")
    if "logger" not in _kept:
        # Bound to whatever standard output is at this moment, as Powertools' Logger does.
        logger.handlers = [logging.StreamHandler(sys.stdout)]
        logger.propagate = False
        logger.setLevel("INFO")
        _kept["logger"] = logger
    return logger


def _read_secret() -> list[Any]:
    import boto3

    client = boto3.client("ssm")
    name = os.environ["GIT2EFS_PARAMETER_PREFIX"] + "/webhook-secret"
    history = client.get_parameter_history(Name=name, WithDecryption=True)["Parameters"]
    value = client.get_parameter(Name=name, WithDecryption=True)["Parameter"]["Value"]
    return [value, [[entry["Value"], entry["LastModifiedDate"].timestamp()] for entry in history]]
