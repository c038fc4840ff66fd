"""`python -m local serve`: run the handler behind the loopback endpoint until a signal, then end cleanly."""

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TextIO

from local.gateway import FUNCTION_NAME, MANY, MEMORY_MIB, ROUTE, Handler, gateway_server
from local.lambda_api import FunctionDied, LambdaFunction, publisher_environment, serving
from local.options import SECRET_VARIABLE, ServeOptions
from local.parameters import embedded_parameters

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

    0 after a clean end, 1 if requests were still running after GRACE_SECONDS, 2 if the mount or the address
    cannot be used. Standard output carries the line that says "listening", then what CloudWatch would get.
    """
    _prepare_output(sys.stdout)
    _prepare_environment(options)
    try:
        os.makedirs(options.mount, exist_ok=True)
    except OSError as error:
        return _fail(f"cannot use {options.mount} as the mount: {error.strerror}")
    with ExitStack() as stack:
        stack.enter_context(_stack(options))
        if options.is_isolated:
            try:
                print(f"git2efs: the mount side is {stack.enter_context(_isolated())}", flush=True)
            except FunctionDied as error:
                return _fail(f"the mount side does not start: {error}")
        handler = load_handler()
        try:
            environments = FRONT_DOORS if options.is_queued else MANY
            server = gateway_server(handler, options.host, options.port, environments)
        except (OSError, UnicodeError) as error:
            why = getattr(error, "strerror", None) or "not an address"
            return _fail(f"cannot listen on {options.host} port {options.port}: {why}")
        wait_for_signal = _catch_signals()
        server.start()
        print(f"git2efs: listening on {server.url}{ROUTE} (mount {options.mount})", flush=True)
        wait_for_signal()
        if server.stop(GRACE_SECONDS):
            return 0
        print(f"git2efs: requests were still running after {GRACE_SECONDS:.0f} s", file=sys.stderr, flush=True)
        return 1


@contextmanager
def _stack(options: ServeOptions) -> Iterator[None]:
    """Run what the handler needs: Parameter Store, and with `--queued` the queue and the worker."""
    if not options.is_queued:
        with embedded_parameters(options.prefix, options.secret, options.repositories, options.secure):
            yield
        return
    from local.aws import embedded_aws
    from local.worker import working

    with embedded_aws(options.prefix, options.secret, options.repositories, options.secure) as queues:
        os.environ["GIT2EFS_QUEUE_URL"] = queues.url
        os.environ["GIT2EFS_DEAD_LETTER_URL"] = queues.dead_letter_url
        with working():
            yield


@contextmanager
def _isolated() -> Iterator[str]:
    """Run the mount side in a process of its own, started before anything is answered; yield a sentence about it."""
    function = LambdaFunction(publisher_environment(os.environ))
    with serving(function) as url:
        os.environ["AWS_ENDPOINT_URL_LAMBDA"] = url
        os.environ["GIT2EFS_PUBLISHER"] = function.name
        yield function.start()


def _prepare_output(stream: TextIO) -> None:
    """Flush each line, even into a pipe: readers wait for lines, not for a full buffer."""
    reconfigure = getattr(stream, "reconfigure", None)
    if reconfigure is not None:
        reconfigure(line_buffering=True)


def _prepare_environment(options: ServeOptions) -> None:
    """Set the variables that Lambda sets; remove the secret, which Parameter Store holds from now on."""
    os.environ.pop(SECRET_VARIABLE, None)
    os.environ.update(options.environment)
    os.environ["GIT2EFS_PARAMETER_PREFIX"] = options.prefix
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
