"""GitHub's API for webhooks, on a loopback port: as an Enterprise Server has it, below /api/v3 of its own address."""

import json
import threading
from typing import Any

from testing.loopback import LoopbackHandler, LoopbackServer

TOKEN = "ghp_0123456789abcdefABCDEF"


class HooksApi:
    """Keeps the webhooks of repositories and organisations, by their names, and every request.

    `fault` (status and headers) answers all that come.
    """

    def __init__(self) -> None:
        """Listen."""
        self.hooks: dict[str, list[dict[str, Any]]] = {}
        self.requests: list[tuple[str, str]] = []
        self.fault: tuple[int, dict[str, str]] | None = None
        self._server = _Server(self)
        threading.Thread(target=self._server.serve_forever, name="hooks", daemon=True).start()

    def stop(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()

    @property
    def address(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self._server.server_port}"

    def url(self, full_name: str) -> str:
        """Return a repository's url on the same host."""
        return f"{self.address}/{full_name}.git"

    def answer(self, method: str, path: str, token: str | None, fields: Any) -> tuple[int, dict[str, str], Any]:
        """Answer one request as GitHub does."""
        self.requests.append((method, path))
        if self.fault is not None:
            return *self.fault, {"message": f"a secret, and {token}"}
        if token != f"Bearer {TOKEN}":
            return 401, {}, {"message": "Bad credentials"}
        path, _, query = path.partition("?")
        place, slash, rest = path.removeprefix("/api/v3/").partition("/hooks")
        of, _, name = place.partition("/")
        hooks = self.hooks.get(name)
        if hooks is None or not slash or of != ("repos" if "/" in name else "orgs"):
            return 404, {}, {"message": "Not Found"}
        if method == "GET":
            asked = dict(each.split("=") for each in query.split("&"))
            size, page = int(asked["per_page"]), int(asked["page"])
            return 200, {}, hooks[(page - 1) * size : page * size]
        if method == "POST":
            hooks.append({"id": 100 + len(hooks), **fields})
            return 201, {}, hooks[-1]
        found = next(each for each in hooks if each["id"] == int(rest.split("/")[1]))
        if rest.endswith("/config"):
            found["config"] = fields
            return 200, {}, fields
        found |= {"active": fields["active"], "config": fields["config"]}
        found["events"] = sorted({*found["events"], *fields["add_events"]})
        return 200, {}, found


class _Server(LoopbackServer):
    def __init__(self, api: HooksApi) -> None:
        self.api = api
        super().__init__(("127.0.0.1", 0), _Handler)


class _Handler(LoopbackHandler):
    server: _Server

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        token = self.headers.get("Authorization")
        status, headers, content = self.server.api.answer(self.command, self.path, token, json.loads(body or b"null"))
        text = json.dumps(content).encode()
        self.send_response(status)
        for name, value in (headers | {"Content-Type": "application/json", "Content-Length": str(len(text))}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(text)

    do_GET = do_POST = do_PATCH = _answer
