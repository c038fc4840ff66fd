"""`python -m testing.aws_command ssm put-parameter ...`: do what the AWS CLI does, which the tests do not have.

It takes single calls, as the pages show them, and asks the endpoint that AWS_ENDPOINT_URL names.
"""

import json
import sys
from collections.abc import Sequence

import boto3
import jmespath

from testing.documented import read_aws


def main(words: Sequence[str]) -> int:
    """Make the call, and print the answer, or what the query finds in it."""
    call = read_aws(["aws", *words])
    answer = getattr(boto3.client(call.service), call.operation)(**call.arguments)
    del answer["ResponseMetadata"]
    found = jmespath.search(call.query, answer) if call.query else answer
    json.dump(found, sys.stdout, default=str)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
