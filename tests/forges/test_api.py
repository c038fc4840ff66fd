"""Each forge's API: commit statuses, webhooks, and the header with which git takes a token."""

import base64
import io
import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from handler import cli
from handler.config.credential import parse_credential
from handler.config.repository import parameter_of, parse_repository
from handler.errors import ConfigurationInvalid
from handler.model import Forge, Repository
from handler.network.forges import api_of, git_header_of
from handler.network.forges.hooks import Hooks
from testing.deliveries import NULL_OID
from testing.loopback import LoopbackHandler, LoopbackServer
from testing.origin import GitOrigin
from testing.origin_records import Answer, RequestRecord
from testing.repositories import Upstream
from testing.service import Service
from tests.forges.senders import SENDERS, Change
from tests.forges.test_scenes import World

TOKEN = "5ecre7T0ken5ecre7T0ken"
WEBHOOK = "https://abc.execute-api.us-east-1.amazonaws.com/github"
C = "c" * 40
HOSTED = "https://git.example.com:8443"

# -- requests ----------------------------------------------------------------------------------------------------------

PLACES = [
    ("github", "https://github.com/octo/site.git", "https://api.github.com/repos/octo/site/statuses/" + C),
    ("gitlab", "https://gitlab.com/octo/site.git", "https://gitlab.com/api/v4/projects/octo%2Fsite/statuses/" + C),
    ("gitlab", f"{HOSTED}/a/b/octo/site", f"{HOSTED}/api/v4/projects/a%2Fb%2Focto%2Fsite/statuses/" + C),
    ("gitea", "https://codeberg.org/octo/site.git", "https://codeberg.org/api/v1/repos/octo/site/statuses/" + C),
    ("gitea", f"{HOSTED}/git/octo/site.git", f"{HOSTED}/git/api/v1/repos/octo/site/statuses/" + C),
    (
        "bitbucket",
        "https://bitbucket.org/octo/site.git",
        f"https://api.bitbucket.org/2.0/repositories/octo/site/commit/{C}/statuses/build",
    ),
    (
        "bitbucket",
        f"{HOSTED}/scm/octo/site.git",
        f"{HOSTED}/rest/api/latest/projects/octo/repos/site/commits/{C}/builds",
    ),
    (
        "bitbucket",
        f"{HOSTED}/code/scm/~ada/site.git",
        f"{HOSTED}/code/rest/api/latest/projects/~ada/repos/site/commits/{C}/builds",
    ),
]


def repository(forge: str, url: str, full_name: str = "octo/site") -> Repository:
    """Return a repository of a forge."""
    return parse_repository(full_name, {"forge": forge, "url": url})


@pytest.mark.parametrize(("forge", "url", "api"), PLACES)
def test_a_status_goes_to_the_api_of_the_urls_host(forge: str, url: str, api: str) -> None:
    """And the token with it, in a header alone."""
    status = {"state": "error", "context": "git2efs/" + "x" * 240, "description": "Not published: x"}
    request = api_of(Forge(forge)).status_request(repository(forge, url), TOKEN, C, status)
    assert (request.method, request.url) == ("POST", api)
    assert TOKEN in request.headers["Authorization"]
    assert TOKEN not in json.dumps(request.fields)
    assert request.fields is not None
    assert len(str(request.fields.get("key", ""))) <= 40  # Bitbucket takes no longer one


@pytest.mark.parametrize(
    ("forge", "url", "token", "header"),
    [
        ("github", "https://github.com/o/n.git", TOKEN, f"x-access-token:{TOKEN}"),
        ("gitlab", "https://gitlab.com/o/n.git", TOKEN, f"x-access-token:{TOKEN}"),
        ("gitea", "https://codeberg.org/o/n.git", TOKEN, f"x-access-token:{TOKEN}"),
        ("bitbucket", "https://bitbucket.org/o/n.git", "ATCTT3x", "x-token-auth:ATCTT3x"),
        ("bitbucket", "https://bitbucket.org/o/n.git", "ATATT3x", "x-bitbucket-api-token-auth:ATATT3x"),
        ("bitbucket", "https://git.example.com/scm/o/n.git", TOKEN, None),
    ],
)
def test_git_takes_the_token_as_the_forge_wants_it(forge: str, url: str, token: str, header: str | None) -> None:
    """As a password beside a user, or as a bearer."""
    made = git_header_of(repository(forge, url))(token)
    scheme, _, value = made.partition(" ")
    assert (scheme, value) == (
        ("Bearer", token) if header is None else ("Basic", base64.b64encode(header.encode()).decode())
    )


@pytest.mark.parametrize(
    ("forge", "url"),
    [
        ("github", "https://github.com/octo/site.git"),
        ("gitlab", "https://gitlab.com/octo/site.git"),
        ("bitbucket", "https://bitbucket.org/octo/site.git"),
    ],
)
def test_a_forges_own_host_is_the_default(forge: str, url: str) -> None:
    """Gitea has none, and needs a url; a forge that is none is refused."""
    assert parse_repository("octo/site", {"forge": forge}).url == url
    wrongs: list[dict[str, object]] = [{"forge": "gitea"}, {"forge": "sourcehut"}, {"forge": 1}]
    for wrong in wrongs:
        with pytest.raises(ConfigurationInvalid):
            parse_repository("octo/site", wrong)


def test_the_mount_side_is_not_told_of_a_forge() -> None:
    """A repository without url goes there, and Gitea's is none without."""
    whole = repository("gitea", "https://codeberg.org/octo/site.git")
    assert parse_repository("octo/site", parameter_of(whole)) == whole
    assert parameter_of(replace(whole, url="")) == {}


@pytest.mark.parametrize(
    ("forge", "url", "full_name"),
    [
        ("gitlab", "https://git.example.com/group/sub/site.git", "group.sub/site"),
        ("bitbucket", "https://git.example.com/scm/OCTO/site.git", "OCTO/site"),
        ("bitbucket", "https://git.example.com/scm/~ada/site.git", "ada/site"),
        ("gitea", "https://git.example.com/octo/site.git", "octo/site"),
    ],
)
def test_a_token_is_for_the_repositories_that_it_names(forge: str, url: str, full_name: str) -> None:
    """By their names here, whatever stands in the url; and for no other."""
    stored = {"token": TOKEN, "hosts": ["git.example.com"], "repositories": [full_name]}
    credential = parse_credential("deploy", json.dumps(stored), ())
    credential.refuse_others("deploy", repository(forge, url, full_name))
    for other in (url.replace("site", "secrets"), url.replace("com/", "com/x/")):
        with pytest.raises(ConfigurationInvalid):
            credential.refuse_others("deploy", repository(forge, other, full_name))


# -- statuses ----------------------------------------------------------------------------------------------------------

STATES = {
    "gitlab": ["pending", "success"],
    "gitea": ["pending", "success"],
    "bitbucket data center": ["INPROGRESS", "SUCCESSFUL"],
}


@pytest.mark.parametrize("name", STATES)
def test_a_publish_is_told_to_the_forge(service: Service, upstream: Upstream, origin: GitOrigin, name: str) -> None:
    """Pending, then a success, on the pushed commit; and git's own requests carry the forge's header."""
    world = World(service, upstream, SENDERS[name])
    world.put_secret(world.sender.secret)
    world.configure(commit_status=True, credentials=service.put_token(TOKEN))
    posted: list[RequestRecord] = []
    refusal = origin.refusal

    def answer(record: RequestRecord) -> Answer | None:
        if not record.path.startswith(("/api/", "/rest/")):
            return refusal(record)
        posted.append(record)
        return Answer(204 if record.path.startswith("/rest/") else 201, {}, b"")

    origin.refusal = answer  # type: ignore[method-assign]
    commit = upstream.commit({"a": b"1"})
    assert world.push(Change("refs/heads/main", NULL_OID, commit))[0].outcome == "published"
    assert [json.loads(each.body)["state"] for each in posted] == STATES[name]
    assert all(commit in each.path and TOKEN in str(each.authorization) for each in posted)
    assert [line for line in service.log_lines if line["level"] == "WARNING"] == []
    git = {str(each.authorization).partition(" ")[0] for each in origin.requests if each not in posted}
    assert git == {"Bearer" if name.startswith("bitbucket") else "Basic"}
    assert service.places_of(TOKEN) == []


# -- webhooks ----------------------------------------------------------------------------------------------------------


class _Server(LoopbackServer):
    """A forge's API for webhooks: keeps them, and answers as the forge does."""

    def __init__(self, forge: Forge) -> None:
        self.forge = forge
        self.hooks: list[dict[str, Any]] = []
        self.asked: list[str] = []
        super().__init__(("127.0.0.1", 0), _Handler)


class _Handler(LoopbackHandler):
    server: _Server

    def _answer(self) -> None:
        server, fields = self.server, json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or b"0")
        parts = urlsplit(self.path)
        server.asked.append(f"{self.command} {parts.path}")
        asked = parse_qs(parts.query)
        if TOKEN not in self.headers["Authorization"]:
            status, content = 401, None
        elif self.command == "GET":
            size = int((asked.get("per_page") or asked["limit"])[0])
            start = int(asked["start"][0]) if "start" in asked else (int(asked["page"][0]) - 1) * size
            listed = server.hooks[start : start + size]
            status, content = 200, {"values": listed} if server.forge is Forge.BITBUCKET else listed
        elif self.command == "POST":
            server.hooks.append({"id": 1000 + len(server.hooks), **fields})
            status, content = 201, server.hooks[-1]
        else:
            found = next(each for each in server.hooks if each["id"] == int(parts.path.rpartition("/")[2]))
            found |= fields
            status, content = 200, found
        text = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    do_GET = do_POST = do_PATCH = do_PUT = _answer


@pytest.fixture
def server(forge: Forge) -> Iterator[_Server]:
    """Return a forge's API, on a loopback port."""
    server = _Server(forge)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


OTHERS = [Forge.GITLAB, Forge.GITEA, Forge.BITBUCKET]
PATHS = {
    Forge.GITLAB: "/api/v4/projects/octo%2Fsite/hooks",
    Forge.GITEA: "/api/v1/repos/octo/site/hooks",
    Forge.BITBUCKET: "/rest/api/latest/projects/octo/repos/site/webhooks",
}


def url_of(server: _Server) -> str:
    """Return a repository's url at the server."""
    before = "/scm" if server.forge is Forge.BITBUCKET else ""
    return f"http://127.0.0.1:{server.server_port}{before}/octo/site.git"


@pytest.mark.parametrize("forge", OTHERS)
def test_a_webhook_is_made_once_and_then_given_the_secret_of_now(server: _Server, forge: Forge) -> None:
    """Found among many by its address, and with all that a push needs."""
    hooks = Hooks(repository(forge, url_of(server)), TOKEN)
    server.hooks += [
        {"id": number, "url": f"https://x/{number}", "config": {"url": "https://x"}} for number in range(60)
    ]
    assert hooks.ensure(WEBHOOK, "one") is True
    made = server.hooks[-1]
    assert "one" in json.dumps(made)
    wanted = {
        Forge.GITLAB: {"push_events": True, "tag_push_events": True, "enable_ssl_verification": True, "token": "one"},
        Forge.GITEA: {"type": "gitea", "events": ["push", "delete"], "active": True},
        Forge.BITBUCKET: {"events": ["repo:refs_changed"], "active": True, "configuration": {"secret": "one"}},
    }[forge]
    assert made.items() >= wanted.items()
    assert hooks.ensure(WEBHOOK, "two") is False
    assert "two" in json.dumps(server.hooks[-1])
    assert len(server.hooks) == 61
    assert {each.split(" ")[1].removesuffix(f"/{made['id']}") for each in server.asked} == {PATHS[forge]}


def test_bitbucket_clouds_webhook_is_asked_for_at_its_api() -> None:
    """Below the API's own host, and by its uuid."""
    api, cloud = api_of(Forge.BITBUCKET), repository("bitbucket", "https://bitbucket.org/octo/site.git")
    base = "https://api.bitbucket.org/2.0/repositories/octo/site/hooks"
    assert api.hooks_request(cloud, TOKEN, 2, 50).url == f"{base}?pagelen=50&page=2"
    found = api.leads_to({"uuid": "{a-1}", "url": WEBHOOK}, WEBHOOK)
    request = api.put_request(cloud, TOKEN, found, WEBHOOK, "s")
    assert (request.method, request.url) == ("PUT", base + "/{a-1}")
    assert request.fields is not None
    assert (request.fields["secret"], request.fields["events"]) == ("s", ["repo:push"])


def test_a_signing_token_is_given_to_gitlab_as_one() -> None:
    """As the secret in Parameter Store says."""
    request = api_of(Forge.GITLAB).put_request(
        repository("gitlab", "https://gitlab.com/o/n"), TOKEN, None, WEBHOOK, "whsec_eA=="
    )
    assert request.fields is not None
    assert (request.fields["signing_token"], "token" in request.fields) == ("whsec_eA==", False)


@pytest.mark.parametrize("forge", [Forge.GITEA])
def test_the_command_makes_the_secret_and_the_webhook_of_a_forge(
    service: Service, server: _Server, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the forge's route in the address and a secret that is not GitHub's, which no answer holds."""
    from handler.cli import command_line
    from handler.network.operations.stack import StackAddress, StackParameters

    class Stack:
        def address(self) -> StackAddress:
            return StackAddress(prefix=service.prefix, webhook_url=WEBHOOK)

        def parameters(self, address: StackAddress) -> StackParameters:
            return StackParameters()

    monkeypatch.setattr(command_line, "choose_stack", lambda parsed, environment: Stack())
    monkeypatch.setenv("GITEA_TOKEN", TOKEN)
    monkeypatch.setattr("sys.stdin", io.StringIO())
    parameter = json.dumps({"forge": "gitea", "url": url_of(server)})
    assert cli.main(["add", "octo/site", "--parameter", parameter, "--json"]) == 0
    steps = json.loads(capsys.readouterr().out)["steps"]
    secret = server.hooks[0]["config"]["secret"]
    assert [(each["step"], each["done"]) for each in steps] == [
        ("parameter", "put"),
        ("secret", "put"),
        ("webhook", "made"),
    ]
    assert steps[1]["name"] == f"{service.prefix}/webhook-secrets/gitea"
    assert server.hooks[0]["config"]["url"] == WEBHOOK.replace("github", "gitea")
    assert secret not in json.dumps(steps)
    assert cli.main(["secret", "--forge", "gitea", "--replace", "--json"]) == 0
    assert cli.main(["webhook", "octo/site", "--json"]) == 0
    assert server.hooks[0]["config"]["secret"] != secret
    capsys.readouterr()
    for wrong in (["--forge", "sourcehut"], ["octo/site", "--forge", "gitea"]):
        assert cli.main(["secret", *wrong, "--json"]) == 2
