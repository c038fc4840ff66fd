"""The endpoint: routes, limits, odd requests, concurrency."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from typing import Any
from urllib.parse import urlsplit

import pytest

from local import github
from local.body import BodyRefused, read_body
from local.exchange import Request
from local.gateway import MAX_BODY_BYTES, Gateway, Handler, gateway_server, route_of
from tests.local.conftest import talk

Start = Callable[[Handler], str]


def echo(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Answer with what came."""
    return {"statusCode": 200, "headers": {"content-type": "text/plain"}, "body": event.get("body", "")}


def request(url: str, method: str, path: str, body: bytes | None = None) -> tuple[int, bytes]:
    """Return the status and body of one request."""
    connection = HTTPConnection(urlsplit(url).netloc, timeout=10.0)
    connection.request(method, path, body)
    response = connection.getresponse()
    answer = response.status, response.read()
    connection.close()
    return answer


def test_healthz_says_ok(gateway: Start) -> None:
    """Who waits for the service asks here."""
    assert request(gateway(echo), "GET", "/healthz") == (200, b"ok")


def test_healthz_waits_for_what_the_handler_needs() -> None:
    """503 until then, and again when it is gone."""
    ready = [False, True, False]
    door = Gateway(echo, is_ready=lambda: ready.pop(0))
    asked = Request("GET", "/healthz", "", (), b"", "127.0.0.1")
    assert [door.respond(asked).status for _ in range(3)] == [503, 200, 503]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/github"),
        ("GET", "/github/octo/site"),
        ("POST", "/github/octo/site/x"),
        ("POST", "/"),
        ("POST", "/github/"),
        ("POST", "/github/x"),
        ("POST", "/healthz"),
        ("BREW", "/github"),
        ("PUT", "/x"),
    ],
)
def test_any_other_route_is_not_found(gateway: Start, method: str, path: str) -> None:
    """In API Gateway's words."""
    assert request(gateway(echo), method, path) == (404, b'{"message":"Not Found"}')


def test_the_handler_gets_an_event_and_a_context(gateway: Start) -> None:
    """The context answers what Lambda's does."""
    seen: list[Any] = []

    def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
        seen.extend([event, context])
        return {"statusCode": 202, "body": "{}"}

    payload = github.push_payload("octocat/weather", "refs/heads/main", github.NO_COMMIT, "a" * 40)
    answer = github.send(gateway(handler) + "/github?x=1", payload, "s")
    event, context = seen
    assert answer.status == 202
    assert answer.headers["apigw-requestid"] == event["requestContext"]["requestId"]
    assert event["headers"]["x-hub-signature-256"] == github.sign(event["body"].encode(), "s")
    assert (len(context.aws_request_id), context.memory_limit_in_mb) == (36, 1024)
    assert context.invoked_function_arn.endswith(context.function_name)
    assert 890_000 < context.get_remaining_time_in_millis() <= 900_000


def test_a_repositorys_own_url_is_routed(gateway: Start) -> None:
    """With the route's key and variables, as an HTTP API tells them."""
    seen: list[dict[str, Any]] = []

    def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
        seen.append(event)
        return {"statusCode": 202, "body": "{}"}

    url = gateway(handler)
    assert request(url, "POST", "/github/octo/site", b"{}")[0] == 202
    assert request(url, "POST", "/github", b"{}")[0] == 202
    own, common = seen
    assert (own["rawPath"], own["requestContext"]["http"]["path"]) == ("/github/octo/site", "/github/octo/site")
    assert own["routeKey"] == own["requestContext"]["routeKey"] == "POST /github/{owner}/{name}"
    assert own["pathParameters"] == {"owner": "octo", "name": "site"}
    assert common["routeKey"] == "POST /github"
    assert "pathParameters" not in common


@pytest.mark.parametrize("forge", ["gitlab", "gitea", "bitbucket"])
def test_every_forge_has_its_two_routes(forge: str) -> None:
    """As the template has them."""
    assert route_of("POST", f"/{forge}") == f"POST /{forge}"
    assert route_of("POST", f"/{forge}/octo/site") == f"POST /{forge}/{{owner}}/{{name}}"
    assert route_of("GET", f"/{forge}") is route_of("POST", f"/{forge}/octo") is None


def test_a_body_over_10_mb_is_refused_and_the_client_hears_it(gateway: Start) -> None:
    """The answer arrives although the client was still writing."""
    answer = request(gateway(echo), "POST", "/github", b"x" * (MAX_BODY_BYTES + 1))
    assert answer == (413, b'{"message":"Request Entity Too Large"}')


def test_a_body_of_10_mb_passes(gateway: Start) -> None:
    """The bound itself is allowed."""
    status, body = request(
        gateway(lambda event, context: {"statusCode": 204}), "POST", "/github", b"x" * MAX_BODY_BYTES
    )
    assert (status, body) == (204, b"")


def test_a_handler_that_raises_is_a_500_without_detail(gateway: Start, capfd: pytest.CaptureFixture[str]) -> None:
    """The client learns nothing; standard error gets one line."""

    def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
        raise RuntimeError("the reason")

    url = gateway(handler)
    assert request(url, "POST", "/github", b"{}") == (500, b'{"message":"Internal Server Error"}')
    errors = capfd.readouterr().err
    assert "git2efs: RuntimeError: the reason\n" in errors
    assert "Traceback" not in errors


def test_requests_run_concurrently(gateway: Start) -> None:
    """Two calls that wait for each other both end."""
    both = threading.Barrier(2, timeout=10.0)

    def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
        both.wait()
        return {"statusCode": 200}

    url = gateway(handler)
    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(lambda _: request(url, "POST", "/github", b"{}"), range(2)))
    assert [status for status, _ in answers] == [200, 200]


def test_a_connection_is_kept_for_the_next_request(gateway: Start) -> None:
    """HTTP/1.1 keep-alive: three requests, one socket, an unrouted one among them."""
    connection = HTTPConnection(urlsplit(gateway(echo)).netloc, timeout=10.0)
    ports = []
    for path, expected in [("/github", 200), ("/other", 404), ("/github", 200)]:
        connection.request("POST", path, b"abc")
        response = connection.getresponse()
        response.read()
        assert response.status == expected
        assert connection.sock is not None
        ports.append(connection.sock.getsockname()[1])
    connection.close()
    assert len(set(ports)) == 1


def test_a_chunked_body_is_put_together(gateway: Start) -> None:
    """With chunk extensions and a trailer."""
    answer = talk(
        gateway(echo),
        b"POST /github HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: text/plain\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nA;x=y\r\n0123456789\r\n0\r\nX-T: 1\r\n\r\n",
    )
    assert answer.endswith(b"\r\n\r\nabc0123456789")


def test_a_request_without_a_length_has_no_body(gateway: Start) -> None:
    """The handler decides what that means."""
    answer = talk(gateway(echo), b"POST /github HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200 ")


HEAD = b"POST /github HTTP/1.1\r\nHost: x\r\n"


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (HEAD + b"Content-Length: abc\r\n\r\n", 400),
        (HEAD + b"Content-Length: -5\r\n\r\n", 400),
        (HEAD + b"Content-Length: +5\r\n\r\n", 400),
        (HEAD + "Content-Length: ٣\r\n\r\n".encode(), 400),
        (HEAD + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n12", 400),
        (HEAD + b"Content-Length: 99999999999999999999999\r\n\r\n", 400),
        (HEAD + b"Content-Length: 10\r\n\r\nabc", 400),
        (HEAD + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        (HEAD + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 400),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\nxyz\r\n", 400),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n-1\r\n", 400),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\nab", 400),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n2\r\nabX\r\n", 400),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\nFFFFFFFF\r\n", 413),
        (HEAD + b"Content-Length: 999999999\r\n\r\n", 413),
        (HEAD + b"Expect: 100-continue\r\nContent-Length: 999999999\r\n\r\n", 413),
        (b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n", 400),
        (b"GET\r\n\r\n", 400),
        (b"GET /healthz HTTP/9.9\r\n\r\n", 505),
        (b"GET /" + b"x" * 70_000 + b" HTTP/1.1\r\n\r\n", 414),
        (HEAD + b"X: " + b"x" * 70_000 + b"\r\n\r\n", 431),
        (HEAD + b"".join(b"X-%d: 1\r\n" % index for index in range(200)) + b"\r\n", 431),
    ],
)
def test_an_odd_request_gets_a_clear_answer(
    gateway: Start, capfd: pytest.CaptureFixture[str], sent: bytes, status: int
) -> None:
    """A status line and JSON, the connection closed, nothing on standard error that looks like a defect."""
    answer = talk(gateway(echo), sent, half_close=True)
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 %d " % status)
    assert b"\r\nConnection: close" in head
    assert body.startswith(b'{"message":')
    errors = capfd.readouterr().err
    assert "Traceback" not in errors
    assert "failed" not in errors


def test_a_client_that_waits_to_be_asked_is_asked(gateway: Start) -> None:
    """`Expect: 100-continue` with an acceptable length."""
    head = HEAD + b"Connection: close\r\nExpect: 100-continue\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\n"
    answer = talk(gateway(echo), head, b"ok")
    assert answer.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 ")
    assert answer.endswith(b"ok")


def test_a_client_that_goes_away_disturbs_nobody(gateway: Start, capfd: pytest.CaptureFixture[str]) -> None:
    """Its answer has no reader; the next request is answered and standard error stays free of tracebacks."""
    entered, release = threading.Event(), threading.Event()

    def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
        entered.set()
        release.wait(10.0)
        return {"statusCode": 200, "body": "x" * 1_000_000}

    url = gateway(handler)
    connection = HTTPConnection(urlsplit(url).netloc, timeout=10.0)
    connection.request("POST", "/github", b"{}")
    assert entered.wait(10.0)
    connection.close()
    release.set()
    assert request(url, "GET", "/healthz") == (200, b"ok")
    assert "Traceback" not in capfd.readouterr().err


def test_stopping_waits_for_requests_in_flight_and_accepts_no_more() -> None:
    """The request that was inside is answered; a new connection is refused."""
    entered, release = threading.Event(), threading.Event()

    def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
        entered.set()
        release.wait(10.0)
        return {"statusCode": 200, "body": "late"}

    server = gateway_server(handler)
    server.start()
    url = server.url
    with ThreadPoolExecutor(2) as pool:
        answer = pool.submit(request, url, "POST", "/github", b"{}")
        assert entered.wait(10.0)
        assert server.stop(0.0) is False
        with pytest.raises(ConnectionError):
            request(url, "GET", "/healthz")
        release.set()
        assert answer.result(10.0) == (200, b"late")


def test_a_path_cannot_forge_a_line_of_the_log(gateway: Start, capfd: pytest.CaptureFixture[str]) -> None:
    """Control characters of a request line are written as escapes."""
    talk(gateway(echo), b"GET /\x1b[31mx HTTP/1.1\r\nConnection: close\r\n\r\n")
    errors = capfd.readouterr().err
    assert "\x1b" not in errors
    assert "\\x1b[31m" in errors


def test_a_body_that_does_not_come_is_refused_with_408() -> None:
    """Whatever the framing: a silent client must not hold a thread for ever."""

    class Silent:
        def read(self, size: int, /) -> bytes:
            raise TimeoutError

        def readline(self, limit: int, /) -> bytes:
            raise TimeoutError

    for header in [("Content-Length", "5"), ("Transfer-Encoding", "chunked")]:
        with pytest.raises(BodyRefused) as refused:
            read_body(Silent(), [header], 100)
        assert refused.value.status == 408
