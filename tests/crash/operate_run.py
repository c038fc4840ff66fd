"""Carry out an operator's command, stopped at an operation: `python -m tests.crash.operate_run` tells its "content"."""

from handler import operate
from tests.crash.forks import answer


def _carry_out(event: object) -> dict[str, object]:
    return {"content": operate.handler(event, None)}


if __name__ == "__main__":
    answer(_carry_out)
