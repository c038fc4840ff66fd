"""The publisher, which hangs in the middle of a check-out until Lambda's own time-out kills it.

A run stops by itself before its function's time-out, so a short one alone kills nothing: this one is not told of it.
It runs in the account, for one push. GIT2EFS_ACCEPT_FILES says after how many created files it hangs.
"""

import os
import sys
import threading

from handler.publisher import handler as publish

FILES_VARIABLE = "GIT2EFS_ACCEPT_FILES"
_lock = threading.Lock()
_created = 0


def _count(event: str, arguments: tuple[object, ...]) -> None:
    global _created
    if event != "open" or not isinstance(arguments[2], int) or not arguments[2] & os.O_CREAT:
        return
    with _lock:
        _created += 1
        hangs = _created - int(os.environ[FILES_VARIABLE])
    if hangs == 1:
        print("the publisher hangs in a check-out", flush=True)
    if hangs > 0:
        threading.Event().wait()


def handler(event: object, context: object) -> dict[str, object]:
    """Do what the publisher does, for as long as it goes."""
    return publish(event, None)


# Interpreters keep an audit hook for good: this module is imported in that one function alone.
if os.environ.get(FILES_VARIABLE):
    sys.addaudithook(_count)
