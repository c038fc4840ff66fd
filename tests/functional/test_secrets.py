"""A token and a webhook secret do their work and are seen nowhere: not in logs, answers, files, URLs, exceptions."""

import base64
import json
import traceback
from collections.abc import Callable
from typing import Any

import pytest

from testing.deliveries import JSON, push_payload, signature, webhook_request
from testing.origin import GitOrigin
from testing.repositories import Upstream, archive
from testing.service import Service

TOKEN = "ghp_Pr1vateTokenThatNobodyMaySee0123456789"
BASIC = base64.b64encode(f"x-access-token:{TOKEN}".encode()).decode()


def assert_nowhere(service: Service, origin: GitOrigin, *needles: str) -> None:
    """Hold output, answers, the mount, the URLs that were asked and git's own log to none of the texts in them."""
    for needle in needles:
        assert service.places_of(needle) == []
        assert not [record for record in origin.requests if needle in record.path + record.query]
        assert needle not in origin.log_text()


def private(service: Service, origin: GitOrigin, token: str = TOKEN, **fields: Any) -> None:
    """Configure `octo/site` with a token, and have the origin ask for TOKEN."""
    origin.require_token(TOKEN)
    service.put_repository(credentials=service.put_token(token), **fields)


@pytest.mark.parametrize("depth", [0, 1])
def test_a_private_repository_is_published_and_its_token_is_nowhere(
    service: Service, upstream: Upstream, origin: GitOrigin, depth: int
) -> None:
    """It goes into the Authorization header alone, of every request that is made."""
    private(service, origin, depth=depth, grace_seconds=0)
    for number in range(3):
        commit = upstream.commit({"a": b"%d" % number})
        assert service.push(upstream).outcome == "published"
        assert service.tree() == archive(upstream, commit)
    assert {record.authorization for record in origin.requests} == {f"Basic {BASIC}"}
    assert_nowhere(service, origin, TOKEN, BASIC)


def test_a_token_with_a_newline_at_its_end_works_and_is_told(
    service: Service, upstream: Upstream, origin: GitOrigin
) -> None:
    """Most ways to store one add it; in a header it would be an error, or a second header."""
    private(service, origin, TOKEN + "\n")
    upstream.commit({"a": b"a"})
    assert service.push(upstream).outcome == "published"
    assert any("ends with a newline" in str(line["message"]) for line in service.log_lines)
    assert_nowhere(service, origin, TOKEN, BASIC)


@pytest.mark.parametrize("wrong", ["ghp_WrongTokenOfSomebody", "x" * 4000])
def test_a_wrong_token_is_refused_and_shown_nowhere(
    service: Service, upstream: Upstream, origin: GitOrigin, wrong: str
) -> None:
    """500 remote_refused; what the log says is that the credentials do not open it."""
    private(service, origin, wrong)
    upstream.commit({"a": b"a"})
    answer = service.push(upstream)
    assert (answer.status, answer.reason) == (500, "remote_refused")
    assert "credentials" in service.log_lines[-1]["detail"]
    encoded = base64.b64encode(f"x-access-token:{wrong}".encode()).decode()
    assert_nowhere(service, origin, wrong, encoded, encoded[-30:])


@pytest.mark.parametrize("token", ["two\nlines", "with space", "grüße", "\x00nul", "bell\x07"])
def test_a_token_that_cannot_stand_in_a_header_is_unusable_and_not_shown(
    service: Service, upstream: Upstream, origin: GitOrigin, token: str
) -> None:
    """500 secret_unusable before anything is asked, so that it cannot become another header."""
    private(service, origin, token)
    upstream.commit({"a": b"a"})
    answer = service.push(upstream)
    assert (answer.status, answer.reason) == (500, "secret_unusable")
    assert not origin.requests
    assert_nowhere(service, origin, token)


@pytest.mark.parametrize("kind", ["missing", "blank", "closed"])
def test_a_token_that_cannot_be_read_stops_the_fetch(
    service: Service, upstream: Upstream, origin: GitOrigin, kind: str
) -> None:
    """An answer that names the parameter in the log; the private repository is not tried without its token."""
    private(service, origin)
    name = f"{service.prefix}/credentials/token"
    if kind == "missing":
        service.store.delete(name)
    elif kind == "blank":
        service.put_token(" \n")
    else:
        name = f"{service.prefix}/credentials/closed"
        service.put_repository(credentials=name, publish=[{"ref": "refs/heads/main"}])
    upstream.commit({"a": b"a"})
    answer = service.push(upstream)
    assert (answer.status, answer.outcome, answer.reason) == (500, "failed", "secret_unusable")
    assert not origin.requests
    assert name in service.log_lines[-1]["detail"]


@pytest.mark.parametrize(
    "name",
    [
        "{prefix}/webhook-secret",
        "{prefix}/webhook-secrets/octo/site",
        "{prefix}/tokens/token",
        "{prefix}/credentialsx/token",
        "{prefix}/credentials",
        "{prefix}/credentials/../webhook-secret",
        "{prefix}x/credentials/token",
        "/git2efs/other/credentials/token",
        "/credentials/token",
    ],
)
def test_only_what_is_below_credentials_is_sent(
    service: Service, upstream: Upstream, origin: GitOrigin, name: str
) -> None:
    """A parameter's writer could have the webhook's secret sent to a server: it is not even read."""
    full_name = name.format(prefix=service.prefix)
    service.store.put(full_name.replace("/../", "/"), "hunter2-secret", is_secure=True)
    service.put_repository(credentials=full_name)
    upstream.commit({"a": b"a"})
    request = service.push_request(upstream)
    if name.endswith("webhook-secret") and ".." not in name:
        request = service.push_request(upstream, secret="hunter2-secret")
    answer = service.send(request)
    assert (answer.status, answer.reason) == (500, "configuration_invalid")
    assert f"below {service.prefix}/credentials/: put the token there" in service.log_lines[-1]["detail"]
    assert not origin.requests
    assert_nowhere(service, origin, "hunter2")


@pytest.mark.parametrize(
    ("stored", "rule"),
    [
        (TOKEN, "host of its url"),
        ({"token": TOKEN}, "host of its url"),
        ({"token": TOKEN, "hosts": ["127.0.0.2"]}, "host of its url"),
        ({"token": TOKEN, "hosts": ["127.0.0.1:9"]}, "host of its url"),
        ({"token": TOKEN, "hosts": ["127.0.0.1"], "repositories": ["octo/other"]}, '"repositories"'),
        ({"token": TOKEN, "hosts": ["127.0.0.1"], "repositories": []}, "repositories is not a list"),
        ({"token": TOKEN, "hosts": ["127.0.0.1"], "repository": "octo/site"}, "another field"),
    ],
)
def test_a_token_is_not_sent_where_it_was_not_stored_for(
    service: Service, upstream: Upstream, origin: GitOrigin, stored: object, rule: str
) -> None:
    """Whatever the repository's url says. With AllowedHosts alone plain text goes to another host than github.com."""
    service.configure(allowed_hosts=None)
    private(service, origin, stored if isinstance(stored, str) else json.dumps(stored))
    upstream.commit({"a": b"a"})
    answer = service.push(upstream)
    assert (answer.status, answer.reason) == (500, "configuration_invalid")
    assert rule in service.log_lines[-1]["detail"]
    assert not origin.requests
    assert_nowhere(service, origin, TOKEN, BASIC)


@pytest.mark.parametrize("repositories", [None, ["octo/site"], ["octo/*"]])
def test_a_credential_may_name_its_hosts_and_repositories(
    service: Service, upstream: Upstream, origin: GitOrigin, repositories: list[str] | None
) -> None:
    """Then it needs no AllowedHosts."""
    service.configure(allowed_hosts=None)
    named = {} if repositories is None else {"repositories": repositories}
    private(service, origin, json.dumps({"token": TOKEN, "hosts": ["127.0.0.1"], **named}))
    upstream.commit({"a": b"a"})
    assert service.push(upstream).outcome == "published"
    assert {record.authorization for record in origin.requests} == {f"Basic {BASIC}"}
    assert_nowhere(service, origin, TOKEN, BASIC)


ECHOES = {
    "plain": TOKEN,
    "the header": f"Authorization: Basic {BASIC}",
    "cut in two": "x" * 190 + BASIC,
    "at another offset": base64.b64encode(f"user:{TOKEN}".encode()).decode(),
    "url's": base64.urlsafe_b64encode(f"??{TOKEN}".encode()).decode(),
    "base32": base64.b32encode(TOKEN.encode()).decode(),
    "hex": TOKEN.encode().hex(),
    "percent": "".join(f"%{byte:02x}" for byte in TOKEN.encode()),
    "backwards": TOKEN[::-1],
    "spaced": " ".join(TOKEN),
}


@pytest.mark.parametrize("where", ["ERR", "side band", "section"])
@pytest.mark.parametrize("echo", ECHOES.values(), ids=ECHOES)
def test_what_a_remote_echoes_is_not_shown(
    service: Service, upstream: Upstream, origin: GitOrigin, echo: str, where: str
) -> None:
    """No filter knows every encoding: where a token was sent, the remote's own words are not told at all."""
    private(service, origin, publish=[{"ref": "refs/heads/main"}])
    service.configure(fetch_attempts=1)
    upstream.commit({"a": b"a"})
    line = {"ERR": f"ERR said {echo}", "side band": f"\x03said {echo}", "section": echo}[where].encode()
    ahead = b"000dpackfile\n" if where == "side band" else b""
    origin.answer_next(
        9,
        headers={"Content-Type": "application/x-git-upload-pack-result"},
        body=ahead + b"%04x%s" % (len(line) + 4, line) + b"0000",
    )
    assert service.push(upstream).outcome == "failed"
    assert_nowhere(service, origin, TOKEN, BASIC, echo, echo[-12:], echo[:12] if echo[0] != "x" else echo)


@pytest.mark.parametrize("name", [TOKEN, BASIC.rstrip("="), f"a/{TOKEN}/b"])
def test_a_ref_that_holds_the_token_is_not_published(
    service: Service, upstream: Upstream, origin: GitOrigin, name: str
) -> None:
    """A pattern would make a path of it, which every reader sees."""
    private(service, origin, publish=[{"ref": "refs/heads/*"}])
    upstream.commit({"a": b"a"})
    ref = f"refs/heads/{name}"
    line = f"{upstream.tip()} {ref}\n".encode()
    origin.answer_next(
        9,
        headers={"Content-Type": "application/x-git-upload-pack-result"},
        body=b"%04x%s" % (len(line) + 4, line) + b"0000",
    )
    assert service.run_schedule()["behind"] == 0
    assert_nowhere(service, origin, TOKEN, BASIC)


@pytest.mark.parametrize("url", ["https://x-access-token:{}@github.com/octo/site.git", "https://{}@github.com/o/s"])
def test_a_token_in_the_url_is_refused_and_not_shown(service: Service, url: str) -> None:
    """A configuration error that says where the token belongs."""
    service.put_repository(url=url.format(TOKEN))
    answer = service.send(webhook_request("push", push_payload("octo/site", "refs/heads/main", "a" * 40, "b" * 40)))
    assert answer.reason == "configuration_invalid"
    assert service.origin is not None
    assert_nowhere(service, service.origin, TOKEN)


def test_a_token_written_where_its_parameters_name_belongs_is_not_shown(service: Service, upstream: Upstream) -> None:
    """The likely slip: `credentials` holds the token itself."""
    service.put_repository(credentials=TOKEN)
    upstream.commit({"a": b"a"})
    assert service.push(upstream).reason == "configuration_invalid"
    assert service.origin is not None
    assert_nowhere(service, service.origin, TOKEN)


@pytest.mark.parametrize("status", [301, 302, 307])
def test_the_token_is_not_sent_to_where_a_redirect_leads(
    service: Service, upstream: Upstream, origin: GitOrigin, status: int
) -> None:
    """Nobody follows it."""
    with GitOrigin(origin.root) as elsewhere:
        private(service, origin)
        upstream.commit({"a": b"a"})
        origin.fail_next(10, status, headers={"Location": elsewhere.url("octo/site")})
        assert service.push(upstream).reason == "remote_refused"
        assert not elsewhere.requests


def test_no_failure_of_the_remote_shows_the_token(service: Service, upstream: Upstream, origin: GitOrigin) -> None:
    """Unreachable, broken off, ill, nonsense: the log line of each is free of it."""
    private(service, origin)
    service.configure(fetch_attempts=1)
    upstream.commit({"a": b"a"})
    service.push(upstream)
    orders: list[Callable[[], None]] = [
        lambda: origin.drop_next(5, after=0.0),
        lambda: origin.drop_next(5, after=0.5),
        lambda: origin.fail_next(5, 500),
        lambda: origin.answer_next(5, body=TOKEN.encode()),
        lambda: origin.rewrite_next(lambda body: body.replace(b"PACK", b"KCAP"), 5),
        lambda: origin.answer_next(
            5,
            headers={"Content-Type": "application/x-git-upload-pack-result"},
            body=b"0030ERR the header said Authorization Basic\n0000",
        ),
    ]
    for number, order in enumerate(orders):
        upstream.commit({"a": b"%d" % number})
        order()
        assert service.push(upstream).outcome == "failed"
        origin.clear_faults()
        assert_nowhere(service, origin, TOKEN, BASIC)


def test_secret_and_signatures_are_nowhere(service: Service, upstream: Upstream, origin: GitOrigin) -> None:
    """Neither of good requests nor of forged ones, whose signature may be right for another body."""
    service.put_secret("correct-horse-battery-staple")
    service.put_repository()
    upstream.commit({"a": b"a"})
    good = service.push_request(upstream)
    forged = [good.with_body(good.body + b" "), good.with_header("X-Hub-Signature-256", None)]
    for request in (good, *forged, good.with_header("X-GitHub-Event", None), good.with_header("Content-Type", "x/y")):
        service.send(request)
    digests = [signature(service.secret, good.body, kind).partition("=")[2] for kind in ("sha256", "sha1")]
    assert_nowhere(service, origin, "correct-horse", *digests)


def test_the_body_is_nowhere(service: Service, upstream: Upstream, origin: GitOrigin) -> None:
    """A payload holds names and addresses of people: of well formed ones and of others nothing is written down."""
    service.put_repository()
    upstream.commit({"a": b"a"})
    service.push(upstream, message="a message nobody has to see")
    body = b'{"ref": "a message nobody has to see'
    service.send(webhook_request("push", body))
    service.send(webhook_request("push", push_payload("octo/site", "a message nobody has to see", "a" * 40, "b" * 40)))
    assert_nowhere(service, origin, "a message nobody", "ada@example.com")


def test_a_defect_is_told_without_the_texts_that_it_holds(
    service: Service, upstream: Upstream, origin: GitOrigin, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Any exception of anybody's may quote a header: the log gets its kind and place, the answer not even that."""
    private(service, origin)
    upstream.commit({"a": b"a"})

    def broken(*_: object, **__: object) -> None:
        raise RuntimeError(f"with Authorization: Basic {BASIC} for {TOKEN}")

    monkeypatch.setattr("handler.network.remote.client.protocol.ls_refs_request", broken)
    answer = service.push(upstream)
    assert (answer.status, answer.outcome, answer.reason) == (500, "failed", "unexpected")
    assert "RuntimeError" in service.log_lines[-1]["detail"]
    assert "RuntimeError" not in answer.text
    assert_nowhere(service, origin, TOKEN, BASIC)


def test_our_own_exceptions_hold_no_secret(service: Service, upstream: Upstream, origin: GitOrigin) -> None:
    """Not in their text, and not in what Python would print of them with all their causes."""
    from handler.errors import Git2EfsError
    from handler.network.remote.client import RemotePool
    from handler.settings import read_settings

    origin.require_token("another")
    remotes = RemotePool(read_settings(service.environment), sleep=lambda _: None)
    for url in (upstream_url := origin.url(upstream.full_name), "http://127.0.0.1:1/x.git", f"{upstream_url}/nowhere"):
        with pytest.raises(Git2EfsError) as caught:
            remotes.at(url, TOKEN).refs(["refs/heads/main"])
        printed = "".join(traceback.format_exception(caught.value)) + repr(caught.value)
        assert TOKEN not in printed
        assert BASIC not in printed
    remotes.close()


def test_the_content_type_of_the_deliveries_makes_no_difference(
    service: Service, upstream: Upstream, origin: GitOrigin
) -> None:
    """A form's body holds the same payload: it is as little seen."""
    private(service, origin)
    upstream.commit({"a": b"a"})
    for media_type in (JSON, "application/x-www-form-urlencoded"):
        assert service.push(upstream, media_type=media_type).status == 200
    assert_nowhere(service, origin, TOKEN, BASIC, "ada@example.com", "ada%40example.com")
