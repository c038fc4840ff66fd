"""What a remote means by an answer that is none of git's: waited for, mended by a fresh token, or told what to do."""

import datetime
import ipaddress
import ssl
import threading
from collections.abc import Iterator
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from handler.errors import RemoteRefused, RemoteUnavailable, RemoteUnsupported, RemoteUntrusted
from handler.network.remote.client import RemotePool
from handler.settings import Settings
from testing.origin import GitOrigin
from testing.repositories import Upstream
from testing.service import Service

MAIN = "refs/heads/main"
OLD, NEW = "ghp_the0old0one", "ghp_the0new0one"


@pytest.fixture
def pauses() -> list[float]:
    """Return how long each pause was asked to be."""
    return []


@pytest.fixture
def pool(pauses: list[float]) -> Iterator[RemotePool]:
    """Return connections that note their pauses and do not make them."""
    remotes = RemotePool(Settings(parameter_prefix="/unused", mount="/unused"), sleep=pauses.append)
    yield remotes
    remotes.close()


# -- a rate limit -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [403, 429, 503])
def test_a_remote_that_asks_to_wait_is_waited_for(
    pool: RemotePool, pauses: list[float], upstream: Upstream, origin: GitOrigin, status: int
) -> None:
    """GitHub's rate limits answer 403 too: it passes, and no token is wrong."""
    commit = upstream.commit({"a": b"1"})
    origin.fail_next(1, status, headers={"Retry-After": "7"})
    assert pool.at(origin.url(upstream.full_name), None).refs([MAIN]).tips[MAIN].commit == commit
    assert len(pauses) == 1
    assert 7 < pauses[0] < 8


def test_a_date_to_wait_for_is_one_too(
    pool: RemotePool, pauses: list[float], upstream: Upstream, origin: GitOrigin
) -> None:
    """RFC 9110 allows both."""
    upstream.commit({"a": b"1"})
    at = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=40)
    origin.fail_next(1, 429, headers={"Retry-After": format_datetime(at, usegmt=True)})
    pool.at(origin.url(upstream.full_name), None).refs([MAIN])
    assert 35 < pauses[0] < 42


@pytest.mark.parametrize("after", ["301", "999999999"])
def test_a_wait_that_the_run_has_no_time_for_is_transient_at_once(
    pool: RemotePool, pauses: list[float], upstream: Upstream, origin: GitOrigin, after: str
) -> None:
    """The queue and the schedule come again by themselves."""
    origin.fail_next(1, 403, headers={"Retry-After": after})
    with pytest.raises(RemoteUnavailable, match=f"403, and asks to try again after {after} s"):
        pool.at(origin.url(upstream.full_name), None).refs([MAIN])
    assert pauses == []


@pytest.mark.parametrize("after", ["", "-1", "soon", "9" * 30, "Mon, 99 Foo 2026 00:00:00 GMT"])
def test_a_wait_that_cannot_be_read_is_none(
    pool: RemotePool, upstream: Upstream, origin: GitOrigin, after: str
) -> None:
    """Then a 403 is what it says."""
    origin.fail_next(1, 403, headers={"Retry-After": after})
    with pytest.raises(RemoteRefused):
        pool.at(origin.url(upstream.full_name), None).refs([MAIN])


# -- a token ----------------------------------------------------------------------------------------------------------


def test_a_token_that_was_replaced_is_read_afresh_once(service: Service, upstream: Upstream, origin: GitOrigin) -> None:
    """A warm process has the old one for minutes; nobody has to redeliver for that."""
    origin.require_token(OLD)
    service.put_repository(credentials=service.put_token(OLD), publish=[{"ref": MAIN}])
    upstream.commit({"a": b"1"})
    assert service.push(upstream).outcome == "published"
    origin.require_token(NEW)
    service.put_token(NEW)
    service.store.reset()
    commit = upstream.commit({"a": b"2"})
    assert service.push(upstream).outcome == "published"
    assert service.current_commit() == commit
    assert sum(name.endswith("/credentials/token") for _, name in service.store.calls) == 1
    upstream.commit({"a": b"3"})
    assert service.push(upstream).outcome == "published"
    assert sum(name.endswith("/credentials/token") for _, name in service.store.calls) == 1
    assert OLD not in service.text
    assert NEW not in service.text


def test_a_token_that_stays_wrong_is_refused_as_before(service: Service, upstream: Upstream, origin: GitOrigin) -> None:
    """One read more, and no request more."""
    origin.require_token(NEW)
    service.put_repository(credentials=service.put_token(OLD), publish=[{"ref": MAIN}])
    upstream.commit({"a": b"1"})
    for _ in range(3):
        assert service.push(upstream).reason == "remote_refused"
    assert sum(name.endswith("/credentials/token") for _, name in service.store.calls) == 2
    assert origin.counts["ls-refs"] == 3
    assert "401" in service.log_lines[-1]["detail"]


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ({"X-GitHub-SSO": "required; url=https://github.com/orgs/octo/sso?authorization_request=AZ"}, b""),
        ({}, b"remote: The `octo' organization has enabled or enforced SAML SSO. To access\nremote: this"),
    ],
)
def test_single_sign_on_is_told_with_what_to_do(
    service: Service, upstream: Upstream, origin: GitOrigin, headers: dict[str, str], body: bytes
) -> None:
    """By GitHub's header or its text, of which no word is repeated."""
    origin.answer_next(9, status=403, headers=headers, body=body)
    service.put_repository(credentials=service.put_token(OLD), publish=[{"ref": MAIN}])
    upstream.commit({"a": b"1"})
    assert service.push(upstream).reason == "remote_refused"
    detail = service.log_lines[-1]["detail"]
    assert "SAML single sign-on" in detail
    assert "Configure SSO" in detail
    assert "AZ" not in detail


# -- a certificate ----------------------------------------------------------------------------------------------------


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """Return a certificate for 127.0.0.1 that no authority signed, with its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name, now = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")]), datetime.datetime.now(datetime.UTC)
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem, form, plain = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    path = tmp_path / "certificate.pem"
    path.write_bytes(made.public_bytes(pem) + key.private_bytes(pem, form, plain))
    return path


class _Page(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        """Answer with a page."""
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def url(certificate: Path) -> Iterator[str]:
    """Return the address of a server over TLS that has the certificate."""
    server = HTTPServer(("127.0.0.1", 0), _Page)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    yield f"https://127.0.0.1:{server.server_port}/octo/site.git"
    server.shutdown()
    server.server_close()


def test_an_unknown_authority_is_a_failure_of_its_own(
    pool: RemotePool, pauses: list[float], url: str, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It needs a person, is not asked for again, and says what to set; which then helps."""
    with pytest.raises(RemoteUntrusted, match=r"self.signed certificate.*SSL_CERT_FILE"):
        pool.at(url, None).refs([MAIN])
    assert pauses == []
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    again = RemotePool(Settings(parameter_prefix="/unused", mount="/unused"))
    with pytest.raises(RemoteUnsupported):  # the page
        again.at(url, None).refs([MAIN])
    again.close()


def test_a_push_from_an_untrusted_remote_has_its_own_reason(service: Service, upstream: Upstream, url: str) -> None:
    """500 remote_untrusted."""
    upstream.commit({"a": b"1"})
    service.put_repository(url=url, publish=[{"ref": MAIN}])
    answer = service.push(upstream)
    assert (answer.status, answer.reason) == (500, "remote_untrusted")


# -- a name -----------------------------------------------------------------------------------------------------------


def test_a_repository_that_is_configured_in_lower_case_is_hinted_at(service: Service, upstream: Upstream) -> None:
    """In the log; the answer says no more than of any other unknown name."""
    service.put_repository()
    upstream.commit({"a": b"1"})
    upstream.full_name = "Octo/Site"
    answer = service.push(upstream)
    assert (answer.status, answer.reason) == (404, "repository_unknown")
    assert set(answer.content) == {"outcome", "reason", "duration_ms"}
    assert "there is one of octo/site: letter case counts" in service.log_lines[-1]["detail"]


def test_an_operator_is_told_of_any_other_spelling(service: Service) -> None:
    """Who may list the parameters need not guess."""
    service.put_repository("Octo/Site")
    content = service.operate("publish", "octo/site")
    assert (content["exit_code"], content["reason"]) == (2, "repository_unknown")
    assert "Octo/Site: letter case counts" in content["detail"]
    checks = service.operate("doctor", "octo/site")["checks"]
    assert [each["todo"] for each in checks if each["name"] == "repository"] == [
        "there is one of Octo/Site: letter case counts, name it as GitHub does"
    ]
