"""A proxy on a loopback port: it opens tunnels, as CONNECT asks for them, and remembers what it was told."""

import contextlib
import select
import socket
import threading

from testing.loopback import LoopbackHandler, LoopbackServer


class Proxy:
    """A context manager. `asked` are the tunnels' ends, `heads` all that was sent before the tunnels, as text.

    `authorization` is the Proxy-Authorization that it wants; None: any. `refusal` is what it answers then, or always.
    """

    def __init__(self) -> None:
        """Nothing listens before the block."""
        self.asked: list[str] = []
        self.heads = ""
        self.authorization: str | None = None
        self.refusal: int | None = None

    def __enter__(self) -> "Proxy":
        self._server = _Server(self)
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def address(self) -> str:
        """`127.0.0.1:<port>`."""
        return f"127.0.0.1:{self._server.server_port}"


class _Server(LoopbackServer):
    def __init__(self, proxy: Proxy) -> None:
        self.proxy = proxy
        super().__init__(("127.0.0.1", 0), _Handler)


class _Handler(LoopbackHandler):
    server: _Server
    connection: socket.socket

    def do_CONNECT(self) -> None:
        """Open a tunnel."""
        proxy = self.server.proxy
        proxy.asked.append(self.path)
        proxy.heads += f"{self.requestline}\n{self.headers}"
        wanted = proxy.authorization
        if proxy.refusal is not None or (wanted is not None and self.headers["Proxy-Authorization"] != wanted):
            self.send_error(proxy.refusal or 407)
            return
        host, _, port = self.path.rpartition(":")
        with socket.create_connection((host, int(port))) as far, contextlib.suppress(OSError):
            self.send_response(200)
            self.end_headers()
            _pass_on(self.connection, far)
        self.close_connection = True

    def do_GET(self) -> None:
        """Refuse to pass on what is not in a tunnel, and remember it."""
        self.server.proxy.heads += f"{self.requestline}\n{self.headers}"
        self.send_error(405)

    do_POST = do_GET


def _pass_on(near: socket.socket, far: socket.socket) -> None:
    while True:
        for one in select.select([near, far], [], [])[0]:
            content = one.recv(65_536)
            if not content:
                return
            (far if one is near else near).sendall(content)
