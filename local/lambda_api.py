"""Lambda's Invoke on loopback: one function in processes of its own, invoked synchronously as boto3 invokes it.

As in Lambda, a process serves one invocation at a time and is kept for the next; as many run as there are invocations
at once. Messages are bounded both ways; a process that dies, or is over its time, is killed, and the next invocation
starts another. `AWS_ENDPOINT_URL_LAMBDA` leads boto3 here.
"""

import json
import os
import re
import select
import subprocess
import sys
import threading
import urllib.parse
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import MappingProxyType

from local.exchange import Request, Response
from local.isolated import receive, send
from local.server import LoopbackServer

MAX_PAYLOAD_BYTES = 6 * 1024 * 1024
"""Lambda's bound for a synchronous invocation, in either direction."""
PUBLISHER = "git2efs-publisher"
START_SECONDS = 30.0
END_SECONDS = 5.0

_PROJECT = Path(__file__).resolve().parent.parent
_INVOKE = re.compile(r"/2015-03-31/functions/([^/]+)/invocations")
_STATUSES: Mapping[str, int] = MappingProxyType(
    {
        "AccessDeniedException": 403,
        "RequestTooLargeException": 413,
        "ResourceNotFoundException": 404,
        "TooManyRequestsException": 429,
    }
)
_SETTINGS = "GIT2EFS_"
_NOT_GIVEN = frozenset({f"{_SETTINGS}{name}" for name in ("PUBLISHER", "QUEUE_URL", "DEAD_LETTER_URL", "LOCAL_SECRET")})
_GIVEN = frozenset({"PATH", "LANG", "LC_ALL", "TZ", "TMPDIR", "LD_LIBRARY_PATH", "VIRTUAL_ENV", "SYSTEMROOT"})


class FunctionDied(Exception):
    """The process of the function ended, or was killed at the end of its time."""


def publisher_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Return what the mount side gets of an environment: its settings; no secret, no credential, no address of AWS."""
    return {
        name: value
        for name, value in environment.items()
        if name in _GIVEN or (name.startswith((_SETTINGS, "PYTHON", "COV")) and name not in _NOT_GIVEN)
    }


class _Process:
    """One environment of the function."""

    def __init__(self, environment: Mapping[str, str], module: str) -> None:
        """Start it, and wait until it has imported the function. Raises FunctionDied."""
        read_end, write_end = os.pipe()
        self._answers = os.fdopen(read_end, "rb")
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "local.isolated", str(write_end), module],
                cwd=_PROJECT,
                env=dict(environment),
                stdin=subprocess.PIPE,
                pass_fds=[write_end],
                start_new_session=True,
            )
        finally:
            os.close(write_end)
        self.environment = environment
        self.pid = self._process.pid
        self.about, _ = self._answer(START_SECONDS)

    def invoke(self, payload: bytes, seconds: float) -> tuple[str, bytes]:
        """Return what FunctionError says ('' where the function returned), and the payload. Raises FunctionDied."""
        assert self._process.stdin
        try:
            send(self._process.stdin, {"request_id": str(uuid.uuid4()), "seconds": seconds}, payload)
        except OSError:
            self.kill()
            raise FunctionDied("Runtime exited") from None
        fields, content = self._answer(seconds)
        return str(fields["error"]), content

    def _answer(self, seconds: float) -> tuple[dict[str, object], bytes]:
        is_answered = bool(select.select([self._answers], [], [], seconds)[0])
        found = receive(self._answers) if is_answered else None
        if found is None:
            self.kill()
            raise FunctionDied("Runtime exited" if is_answered else f"Task timed out after {seconds:.2f} seconds")
        return found

    def end(self) -> None:
        """Let it finish what it is at; kill it after END_SECONDS."""
        assert self._process.stdin
        with suppress(OSError):
            self._process.stdin.close()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(END_SECONDS)
        self.kill()

    def kill(self) -> None:
        """End it at once."""
        self._process.kill()
        self._process.wait()
        self._answers.close()
        if self._process.stdin:
            with suppress(OSError):
                self._process.stdin.close()


class LambdaFunction:
    """A function of that name, whose `handler` is the module's. Safe for threads."""

    def __init__(
        self,
        environment: Mapping[str, str],
        *,
        name: str = PUBLISHER,
        module: str = "handler.publisher",
        timeout_seconds: float = 900.0,
    ) -> None:
        """`environment` is all that its processes get; see `publisher_environment`."""
        self.name = name
        self.refusals: list[str] = []
        """Lambda's codes with which the next invocations are refused, one each: `TooManyRequestsException`."""
        self.invocations = 0
        self._environment = environment
        self._module = module
        self._timeout_seconds = timeout_seconds
        self._lock = threading.Lock()
        self._idle: list[_Process] = []
        self._busy: set[_Process] = set()

    def start(self) -> str:
        """Start a process before it is needed; return a sentence about it. Raises FunctionDied."""
        process = _Process(self._environment, self._module)
        with self._lock:
            self._idle.append(process)
        where = "in a network namespace of its own" if process.about["has_namespace"] else "forbidden to use sockets"
        return f"process {process.pid}, {where}; a connection from there: {process.about['connection']}"

    def pids(self) -> list[int]:
        """Return the ids of its processes."""
        with self._lock:
            return [process.pid for process in (*self._idle, *self._busy)]

    def respond(self, request: Request) -> Response:
        """Answer as Lambda does."""
        found = _INVOKE.fullmatch(request.path)
        if request.method != "POST" or found is None:
            return _refused("ResourceNotFoundException")
        with self._lock:
            refusal = self.refusals.pop(0) if self.refusals else ""
        if refusal:
            return _refused(refusal)
        if urllib.parse.unquote(found[1]) != self.name:
            return _refused("ResourceNotFoundException")
        if len(request.body) > MAX_PAYLOAD_BYTES:
            return _refused("RequestTooLargeException")
        error, content = self._invoke(request.body)
        headers = {"Content-Type": "application/json", "X-Amz-Executed-Version": "$LATEST"}
        return Response(200, content, headers | ({"X-Amz-Function-Error": error} if error else {}))

    def _invoke(self, payload: bytes) -> tuple[str, bytes]:
        try:
            with self._environment_of_its_own() as process:
                error, content = process.invoke(payload, self._timeout_seconds)
        except FunctionDied as died:
            return "Unhandled", _error("Sandbox.Ended", str(died))
        if len(content) > MAX_PAYLOAD_BYTES:
            return "Unhandled", _error("Function.ResponseSizeTooLarge", "Response payload size exceeded maximum")
        return error, content

    @contextmanager
    def _environment_of_its_own(self) -> Iterator[_Process]:
        with self._lock:
            self.invocations += 1
            process = self._idle.pop() if self._idle else None
        process = process or _Process(self._environment, self._module)
        with self._lock:
            self._busy.add(process)
        is_alive = False
        try:
            yield process
            is_alive = True
        finally:
            with self._lock:
                self._busy.discard(process)
                is_current = process.environment is self._environment
                if is_alive and is_current:
                    self._idle.append(process)
            if is_alive and not is_current:
                process.end()

    def redeploy(self, environment: Mapping[str, str]) -> None:
        """Give the processes of the next invocations another environment; none of today's serves them."""
        with self._lock:
            self._environment = environment
            idle, self._idle = self._idle, []
        for process in idle:
            process.end()

    def stop(self) -> None:
        """End its processes."""
        with self._lock:
            idle, self._idle = self._idle, []
            busy = list(self._busy)
        for process in (*idle, *busy):
            process.end()


def api_server(function: LambdaFunction) -> LoopbackServer:
    """Return the API on a free port of loopback, bound and not yet started."""
    # More than Lambda's bound: what is over it gets Lambda's answer, and not the server's.
    return LoopbackServer("127.0.0.1", 0, function.respond, 2 * MAX_PAYLOAD_BYTES)


@contextmanager
def serving(function: LambdaFunction) -> Iterator[str]:
    """Serve a function on loopback until the block ends, and end it then; yield the address for boto3."""
    server = api_server(function)
    server.start()
    try:
        yield server.url
    finally:
        server.stop(END_SECONDS)
        function.stop()


def _refused(code: str) -> Response:
    content = json.dumps({"Type": "User", "Message": code}).encode()
    return Response(_STATUSES[code], content, {"Content-Type": "application/json", "X-Amzn-Errortype": code})


def _error(kind: str, text: str) -> bytes:
    return json.dumps({"errorMessage": text, "errorType": kind}).encode()
