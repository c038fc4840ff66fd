"""The handler in a process of its own, which a test can kill: `python -m testing.child <fd> <module>`.

Reads events from standard input, one JSON object a line, and answers on the file descriptor, in the same way.
Standard output stays the handler's own.
"""

import importlib
import json
import os
import sys

from testing import fake_lambda
from testing.deliveries import LambdaContext
from testing.guards import forbid_network


def main() -> None:
    """Answer events until standard input ends."""
    forbid_network()
    fake_lambda.install()
    with os.fdopen(int(sys.argv[1]), "w", encoding="utf-8") as answers:
        entry = importlib.import_module(sys.argv[2])
        answers.write(json.dumps({"is_ready": True}) + "\n")
        answers.flush()
        for line in sys.stdin:
            asked = json.loads(line)
            response = entry.handler(asked["event"], LambdaContext(**asked.get("context", {})))
            sys.stdout.flush()
            answers.write(json.dumps({"number": asked["number"], "response": response}) + "\n")
            answers.flush()


if __name__ == "__main__":
    main()
