"""`python -m local serve`: run the handler behind the loopback endpoint until a signal, then end cleanly."""

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from handler.settings import ENVIRONMENT_PREFIX
from local.gateway import FUNCTION_NAME, MANY, MEMORY_MIB, ROUTE, Handler, gateway_server
from local.mount_side import prepare_output
from local.operator_socket import operated
from local.options import SECRET_VARIABLE, ServeOptions
from local.parameters import embedded_parameters

if TYPE_CHECKING:
    from local.mount_process import MountProcess

FRONT_DOORS = 2
"""With a queue a request takes milliseconds; more threads would only wait for each other."""
GRACE_SECONDS = 30.0
"""How long requests in flight may take after the signal."""


def load_webhook() -> Handler:
    """Return the handler that Lambda runs. It is imported late, because it reads the environment."""
    from handler.webhook import handler

    return handler


def serve(options: ServeOptions, load_handler: Callable[[], Handler] = load_webhook) -> int:
    """Serve until SIGTERM or SIGINT; return the exit status.

    0 after a clean end, 1 if requests were still running after GRACE_SECONDS, 2 if the mount or the address cannot be
    used, or an isolated mount side does not start or is not isolated. Standard output carries the line that says
    "listening", with `--isolated` one about the two processes before it, then what CloudWatch would get.
    """
    prepare_output(sys.stdout)
    _prepare_environment(options)
    try:
        os.makedirs(options.mount, exist_ok=True)
    except OSError as error:
        return _fail(f"cannot use {options.mount} as the mount: {error.strerror}")
    with _stack(options) as mount_side:
        handler = load_handler()
        try:
            environments = FRONT_DOORS if options.is_queued else MANY
            is_ready = mount_side.is_ready if mount_side else lambda: True
            server = gateway_server(handler, options.host, options.port, environments, is_ready)
        except (OSError, UnicodeError) as error:
            why = getattr(error, "strerror", None) or "not an address"
            return _fail(f"cannot listen on {options.host} port {options.port}: {why}")
        wait_for_signal = _catch_signals()
        if mount_side and (problem := _show_isolation(mount_side, server.url)):
            return _fail(problem)
        server.start()
        print(f"git2efs: listening on {server.url}{ROUTE} (mount {options.mount})", flush=True)
        wait_for_signal()
        if server.stop(GRACE_SECONDS):
            return 0
        print(f"git2efs: requests were still running after {GRACE_SECONDS:.0f} s", file=sys.stderr, flush=True)
        return 1


@contextmanager
def _stack(options: ServeOptions) -> "Iterator[MountProcess | None]":
    """Run what the handler needs: Parameter Store, an isolated mount side, with `--queued` the queue and the worker.

    Yields the mount side where it is isolated.
    """
    with ExitStack() as stack:
        if options.is_queued:
            from local.aws import embedded_aws

            queues = stack.enter_context(
                embedded_aws(options.prefix, options.secret, options.repositories, options.secure)
            )
            os.environ["GIT2EFS_QUEUE_URL"] = queues.url
            os.environ["GIT2EFS_DEAD_LETTER_URL"] = queues.dead_letter_url
        else:
            stack.enter_context(
                embedded_parameters(options.prefix, options.secret, options.repositories, options.secure)
            )
        mount_side = None
        if options.is_isolated:
            from local.mount_process import isolated

            mount_side = stack.enter_context(isolated())
        if options.is_queued:
            from local.worker import working

            stack.enter_context(working())
        stack.enter_context(operated(options.mount, options.prefix))
        yield mount_side


def _show_isolation(mount_side: "MountProcess", url: str) -> str:
    """Let the mount side try to connect to this process; print the line about it, or return what is wrong."""
    from local.lambda_api import FunctionFailed

    address = urlsplit(url)
    try:
        found = mount_side.probe(address.hostname or "", address.port or 0)
    except FunctionFailed as error:
        return f"the mount side does not start: {error}"
    if not found.refused:
        return "the mount side has a network"
    how = "network namespace of its own, sockets forbidden" if found.has_namespace else "sockets forbidden"
    print(
        f"git2efs: process {os.getpid()} fetches, process {mount_side.pid} publishes, without a network ({how}): "
        f"its connection to {url} fails ({found.refused})",
        flush=True,
    )
    return ""


def _prepare_environment(options: ServeOptions) -> None:
    """Set the variables that Lambda sets; remove the secret, which Parameter Store holds from now on."""
    os.environ.pop(SECRET_VARIABLE, None)
    os.environ.update(options.environment)
    # Which function publishes is up to `--isolated` alone.
    os.environ.pop(ENVIRONMENT_PREFIX + "PUBLISHER", None)
    os.environ["GIT2EFS_PARAMETER_PREFIX"] = options.prefix
    # This process goes on between requests, which Lambda's does not.
    os.environ.setdefault(ENVIRONMENT_PREFIX + "BACKGROUND", "true")
    os.environ["AWS_LAMBDA_FUNCTION_NAME"] = FUNCTION_NAME
    os.environ["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"] = str(MEMORY_MIB)


def _catch_signals() -> Callable[[], None]:
    """Handle SIGTERM and SIGINT; return a function that waits for the first of them.

    Not an Event that the handler sets: Python runs handlers in the main thread only, and a signal that the kernel
    delivers to another thread does not wake a main thread that waits for a lock; it was seen to wait for ever.
    Python writes to the wake-up descriptor in whichever thread the signal arrives.
    """
    read_end, write_end = os.pipe()
    os.set_blocking(write_end, False)
    signal.set_wakeup_fd(write_end, warn_on_full_buffer=False)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, frame: None)

    def wait() -> None:
        os.read(read_end, 1)
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # a second Ctrl-C ends the process at once

    return wait


def _fail(text: str) -> int:
    print(f"git2efs: {text}", file=sys.stderr, flush=True)
    return 2
