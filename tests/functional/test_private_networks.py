"""Remotes in a private network: a certificate that an authority of one's own signed, a proxy, a port of one's own."""

import base64
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from testing.authority import Authority, authority
from testing.github_app import GitHubApp
from testing.origin import GitOrigin
from testing.proxy import Proxy
from testing.repositories import Upstream, archive
from testing.service import Service
from tests.functional.test_secrets import BASIC, TOKEN, assert_nowhere


@pytest.fixture
def origin(tmp_path: Path) -> Iterator[GitOrigin]:
    """One that speaks TLS, with a certificate that nobody knows."""
    with GitOrigin(tmp_path / "origin", tls=authority().server_context()) as started:
        started.root.mkdir()
        yield started


@pytest.fixture
def proxy(service: Service) -> Iterator[Proxy]:
    """The proxy of the stack."""
    with Proxy() as started:
        # All tests run without any.
        service.configure(https_proxy=f"http://{started.address}", no_proxy="example.com")
        yield started


def put_ca(service: Service, pem: str | None = None) -> str:
    """Write the authority's certificate; return its parameter's name."""
    name = f"{service.prefix}/ca/corp"
    service.store.put(name, authority().pem if pem is None else pem)
    return name


def put(service: Service, origin: GitOrigin, **fields: Any) -> None:
    """Configure `octo/site` with the token that the origin asks for."""
    origin.require_token(TOKEN)
    service.put_repository(credentials=service.put_token(TOKEN), **fields)


def test_without_its_authority_a_remote_is_not_trusted(service: Service, upstream: Upstream, origin: GitOrigin) -> None:
    """And is sent no token; the log says what to set."""
    put(service, origin)
    upstream.commit({"a": b"a"})
    assert service.push(upstream).reason == "remote_untrusted"
    assert "`ca`" in service.log_lines[-1]["detail"]
    assert not origin.requests


@pytest.mark.parametrize("where", ["repository", "repository without a token", "credential", "stack"])
def test_an_authority_may_be_named_at_each_place(
    service: Service, upstream: Upstream, origin: GitOrigin, where: str
) -> None:
    """The parameter holds its certificate."""
    name = put_ca(service)
    if where == "repository":
        put(service, origin, ca=name)
    elif where == "credential":
        origin.require_token(TOKEN)
        text = f'{{"token": "{TOKEN}", "ca": "{name}"}}'
        service.put_repository(credentials=service.put_token(text))
    else:
        service.put_repository(**({} if where == "stack" else {"ca": name}))
        service.configure(ca=name if where == "stack" else None)
    commit = upstream.commit({"a": b"a"})
    assert service.push(upstream).outcome == "published"
    assert service.tree() == archive(upstream, commit)
    assert_nowhere(service, origin, TOKEN, BASIC)


@pytest.mark.parametrize("case", ["another's", "no certificate", "missing", "elsewhere"])
def test_a_wrong_authority_is_told(service: Service, upstream: Upstream, origin: GitOrigin, case: str) -> None:
    """Another one's certificate is as good as none; what is no certificate is a mistake in the configuration."""
    pems = {"another's": Authority("somebody else").pem, "no certificate": "-----BEGIN CERTIFICATE-----"}
    name = put_ca(service, pems.get(case))
    names = {"missing": f"{service.prefix}/ca/other", "elsewhere": f"{service.prefix}/webhook-secret"}
    put(service, origin, ca=names.get(case, name))
    upstream.commit({"a": b"a"})
    expected = "remote_untrusted" if case == "another's" else "configuration_invalid"
    assert service.push(upstream).reason == expected
    assert not origin.requests


def test_a_proxy_gets_no_token(service: Service, upstream: Upstream, origin: GitOrigin, proxy: Proxy) -> None:
    """It is asked for a tunnel alone, in which TLS hides the rest; its own password goes to it and nowhere else."""
    proxy.authorization = "Basic " + base64.b64encode(b"me:Pr0xyWord").decode()
    service.configure(https_proxy=f"http://me:Pr0xyWord@{proxy.address}")
    put(service, origin, ca=put_ca(service))
    upstream.commit({"a": b"a"})
    assert service.push(upstream).outcome == "published"
    assert set(proxy.asked) == {origin.address.removeprefix("https://")}
    assert proxy.authorization in proxy.heads
    for secret in (TOKEN, BASIC, "octo/site"):
        assert secret not in proxy.heads
    assert {record.authorization for record in origin.requests} == {f"Basic {BASIC}"}
    assert_nowhere(service, origin, TOKEN, BASIC, "Pr0xyWord", proxy.authorization)


@pytest.mark.parametrize("refusal", [403, 407, 502])
def test_a_proxy_that_refuses_is_told_without_its_password(
    service: Service, upstream: Upstream, origin: GitOrigin, proxy: Proxy, refusal: int
) -> None:
    """503: a proxy that is down comes up again."""
    proxy.refusal = refusal
    service.configure(https_proxy=f"http://me:Pr0xyWord@{proxy.address}", fetch_attempts=1)
    put(service, origin, ca=put_ca(service))
    upstream.commit({"a": b"a"})
    assert service.push(upstream).reason == "remote_unavailable"
    assert "proxy" in service.log_lines[-1]["detail"]
    assert_nowhere(service, origin, "Pr0xyWord", base64.b64encode(b"me:Pr0xyWord").decode())


@pytest.mark.parametrize("no_proxy", ["127.0.0.1", "example.com,127.0.0.1:{port}", "*"])
def test_what_no_proxy_names_is_asked_directly(
    service: Service, upstream: Upstream, origin: GitOrigin, proxy: Proxy, no_proxy: str
) -> None:
    """With a port or without."""
    service.configure(no_proxy=no_proxy.format(port=origin.address.rpartition(":")[2]))
    put(service, origin, ca=put_ca(service))
    upstream.commit({"a": b"a"})
    assert service.push(upstream).outcome == "published"
    assert not proxy.asked


def test_what_is_asked_for_without_tls_goes_through_no_proxy(
    service: Service, tmp_path: Path, upstream: Upstream, proxy: Proxy
) -> None:
    """It would read the token. Only loopback is asked so."""
    with GitOrigin(tmp_path / "origin") as plain:
        plain.require_token(TOKEN)
        service.put_repository(credentials=service.put_token(TOKEN), url=plain.url("octo/site"))
        upstream.commit({"a": b"a"})
        assert service.push(upstream).outcome == "published"
    assert proxy.heads == ""


def test_an_apps_api_and_statuses_take_the_same_way(
    service: Service, upstream: Upstream, origin: GitOrigin, proxy: Proxy
) -> None:
    """An Enterprise Server has its API at its own address, behind the same certificate."""
    app = GitHubApp(origin)
    service.put_repository(credentials=service.put_token(app.credential()), ca=put_ca(service), commit_status=True)
    upstream.commit({"a": b"a"})
    assert service.push(upstream).outcome == "published"
    assert [record.path for record in origin.requests if "/statuses/" in record.path]
    assert len(proxy.asked) >= 2
    assert not [needle for needle in app.needles() if needle in proxy.heads]
    assert_nowhere(service, origin, *app.needles())


@pytest.mark.skipif(shutil.which("tinyproxy") is None, reason="Debian's tinyproxy is not installed")
def test_a_real_proxy_opens_the_tunnel(service: Service, upstream: Upstream, origin: GitOrigin, tmp_path: Path) -> None:
    """With a password of its own, and a port for tunnels that it was told of."""
    port = free_port()
    configuration = tmp_path / "tinyproxy.conf"
    configuration.write_text(
        f"Port {port}\nListen 127.0.0.1\nAllow 127.0.0.1\nBasicAuth me Pr0xyWord\n"
        f'ConnectPort {origin.address.rpartition(":")[2]}\nLogFile "{tmp_path}/log"\nLogLevel Connect\n'
    )
    with subprocess.Popen(["tinyproxy", "-d", "-c", configuration]) as process:
        try:
            wait_for_port(port)
            service.configure(https_proxy=f"http://me:Pr0xyWord@127.0.0.1:{port}", no_proxy="example.com")
            put(service, origin, ca=put_ca(service))
            upstream.commit({"a": b"a"})
            assert service.push(upstream).outcome == "published"
        finally:
            process.terminate()
    log = (tmp_path / "log").read_text()
    assert "CONNECT" in log
    assert TOKEN not in log
    assert_nowhere(service, origin, TOKEN, BASIC, "Pr0xyWord")


def free_port() -> int:
    """Return a loopback port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_for_port(port: int) -> None:
    """Wait until somebody listens on it."""
    for _ in range(200):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    pytest.fail("nobody listens")
