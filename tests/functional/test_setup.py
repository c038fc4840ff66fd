"""`git2efs add`, `secret` and `webhook`: from a deployed stack to the first push that is published, in one command.

Parameter Store is moto's, GitHub's API a stand-in, and CloudFormation's one answer is written here.
"""

import io
import json
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from typing import Any, NamedTuple
from urllib.parse import parse_qs
from xml.sax.saxutils import escape

import pytest

from handler import cli
from testing.github_hooks import TOKEN, HooksApi
from testing.loopback import LoopbackHandler, LoopbackServer
from testing.origin import GitOrigin
from testing.repositories import Upstream
from testing.service import Service

NAME, WEBHOOK = "octo/site", "https://abc.execute-api.us-east-1.amazonaws.com/github"


class Ran(NamedTuple):
    """What a command came to."""

    code: int
    out: str
    err: str

    @property
    def content(self) -> dict[str, Any]:
        """The output as JSON."""
        content = json.loads(self.out)
        assert isinstance(content, dict)
        return content

    @property
    def steps(self) -> list[tuple[str, str]]:
        """Each step, and what was done."""
        return [(each["step"], each["done"]) for each in self.content["steps"]]


Run = Callable[..., Ran]


class _CloudFormation(LoopbackHandler):
    """DescribeStacks, for the stacks of the server."""

    server: "_Stacks"

    def do_POST(self) -> None:
        """Answer one call of the query protocol."""
        asked = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
        name = asked["StackName"][0]
        self.server.asked.append(name)
        found = self.server.stacks.get(name)
        if self.server.is_denied:
            status, text = 403, _error("AccessDenied")
        else:
            status, text = (200, _stack(name, *found)) if found is not None else (400, _error("ValidationError"))
        self.send_response(status)
        self.send_header("Content-Type", "text/xml")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)


class _Stacks(LoopbackServer):
    """Stacks by name: their parameters and outputs."""

    def __init__(self) -> None:
        self.stacks: dict[str, tuple[dict[str, str], dict[str, str]]] = {}
        self.asked: list[str] = []
        self.is_denied = False
        super().__init__(("127.0.0.1", 0), _CloudFormation)


def _error(code: str) -> bytes:
    return f"<ErrorResponse><Error><Code>{code}</Code><Message>a secret</Message></Error></ErrorResponse>".encode()


def _stack(name: str, parameters: dict[str, str], outputs: dict[str, str]) -> bytes:
    def members(kind: str, entries: dict[str, str]) -> str:
        return "".join(
            f"<member><{kind}Key>{key}</{kind}Key><{kind}Value>{escape(value)}</{kind}Value></member>"
            for key, value in entries.items()
        )

    text = f"<Parameters>{members('Parameter', parameters)}</Parameters><Outputs>{members('Output', outputs)}</Outputs>"
    text = f"<member><StackName>{name}</StackName>{text}</member>"
    result = f"<DescribeStacksResult><Stacks>{text}</Stacks></DescribeStacksResult>"
    return f"<DescribeStacksResponse>{result}</DescribeStacksResponse>".encode()


@pytest.fixture
def hooks() -> Iterator[HooksApi]:
    """Return GitHub's API, with one repository without webhooks."""
    api = HooksApi()
    api.hooks[NAME] = []
    yield api
    api.stop()


@pytest.fixture
def stacks(service: Service, monkeypatch: pytest.MonkeyPatch) -> Iterator[_Stacks]:
    """Return the account's stacks, where the service's is one."""
    server = _Stacks()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("AWS_ENDPOINT_URL_CLOUDFORMATION", f"http://127.0.0.1:{server.server_port}")
    root, _, name = service.prefix.rpartition("/")
    outputs = {"OperateFunctionName": f"{name}-operate", "WebhookUrl": WEBHOOK}
    server.stacks[name] = {"ParameterRoot": root}, outputs
    server.stacks["other"] = {}, {"Bucket": "x"}
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def run(service: Service, hooks: HooksApi, stacks: _Stacks, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Return what runs a command on the deployed stack, as a person does who has set a token."""
    service.store.delete(f"{service.prefix}/webhook-secret")
    monkeypatch.setenv("GH_ENTERPRISE_TOKEN", TOKEN)
    monkeypatch.setenv("GIT2EFS_STACK", service.prefix.rpartition("/")[2])
    monkeypatch.setattr(sys, "stdin", io.StringIO())

    def run(*arguments: str) -> Ran:
        out, err = io.StringIO(), io.StringIO()
        with redirect_stdout(out), redirect_stderr(err):
            code = cli.main([*arguments, "--json"])
        ran = Ran(code, out.getvalue(), err.getvalue())
        assert TOKEN not in ran.out + ran.err
        return ran

    return run


def at(hooks: HooksApi, **fields: object) -> str:
    """Return a parameter whose host is the stand-in."""
    return json.dumps({"url": hooks.url(NAME), **fields})


def stored(service: Service, name: str) -> Any:
    """Return a parameter of the stack, as Parameter Store has it; None where there is none."""
    found = service.store.backend("ssm")._parameters.get(f"{service.prefix}/{name}")
    return found[-1] if found else None


def secret_of(service: Service, name: str = "webhook-secret") -> str:
    """Return a SecureString's value."""
    found = stored(service, name)
    assert found.parameter_type == "SecureString"
    return str(found.response_object(decrypt=True)["Value"])


def test_one_command_and_a_push_is_published(
    service: Service, upstream: Upstream, origin: GitOrigin, hooks: HooksApi, run: Run
) -> None:
    """Parameter, secret and webhook; then what GitHub signs with the webhook's secret is published."""
    done = run("add", NAME, "--parameter", at(hooks))
    assert (done.code, done.steps) == (0, [("parameter", "put"), ("secret", "put"), ("webhook", "made")])
    (hook,) = hooks.hooks[NAME]
    secret = hook["config"]["secret"]
    assert hook == {
        "id": 100,
        "name": "web",
        "active": True,
        "events": ["push"],
        "config": {"url": WEBHOOK, "content_type": "json", "secret": secret, "insecure_ssl": "0"},
    }
    assert secret_of(service) == secret
    assert len(secret) == 64
    assert secret not in done.out + done.err
    assert json.loads(stored(service, f"repositories/{NAME}").value) == {"url": hooks.url(NAME)}
    service.put_repository()  # from here on fetched from git's own origin
    service.secret = secret
    assert service.ping().reason == "pong"
    upstream.commit({"a": b"1"})
    assert service.push(upstream).outcome == "published"


def test_asked_again_it_keeps_what_is_there(service: Service, hooks: HooksApi, run: Run) -> None:
    """Nothing is written twice, and the webhook is the same one; another parameter has to be meant."""
    run("add", NAME, "--parameter", at(hooks))
    secret = secret_of(service)
    hooks.hooks[NAME][0]["events"] = ["push", "release"]
    for arguments in (("add", NAME), ("add", NAME, "--parameter", at(hooks)), ("webhook", NAME)):
        again = run(*arguments)
        assert again.code == 0
        assert again.steps[-2:] == [("secret", "kept"), ("webhook", "updated")]
    assert hooks.hooks[NAME][0]["events"] == ["push", "release"]
    assert len(hooks.hooks[NAME]) == 1
    refused = run("add", NAME, "--parameter", at(hooks, depth=3))
    assert (refused.code, refused.content["reason"], refused.steps) == (2, "malformed", [])
    assert "--replace" in refused.content["detail"]
    assert run("add", NAME, "--parameter", at(hooks, depth=3), "--replace").steps[0] == ("parameter", "replaced")
    assert secret_of(service) == secret
    assert stored(service, f"repositories/{NAME}").version == 2


def test_without_a_parameter_it_is_the_default_branch(service: Service, run: Run) -> None:
    """`{}`, and no webhook where none is wanted."""
    done = run("add", NAME, "--no-webhook")
    assert (done.code, done.steps) == (0, [("parameter", "put"), ("secret", "put")])
    assert stored(service, f"repositories/{NAME}").value == "{}"


def test_a_secret_is_replaced_when_it_is_meant(service: Service, hooks: HooksApi, run: Run) -> None:
    """And the webhook then gets the new one."""
    assert run("secret").steps == [("secret", "put")]
    first = secret_of(service)
    refused = run("secret")
    assert (refused.code, "--replace" in refused.content["detail"]) == (2, True)
    assert secret_of(service) == first
    run("add", NAME, "--parameter", at(hooks))
    assert run("secret", "--replace").steps == [("secret", "replaced")]
    second = secret_of(service)
    assert (second != first, hooks.hooks[NAME][0]["config"]["secret"]) == (True, first)
    assert run("webhook", NAME).code == 0
    assert hooks.hooks[NAME][0]["config"]["secret"] == second


def test_a_repository_with_a_secret_of_its_own_has_a_url_of_its_own(
    service: Service, hooks: HooksApi, run: Run
) -> None:
    """And the common secret is neither made nor sent."""
    done = run("add", NAME, "--parameter", at(hooks, own_secret=True))
    assert done.code == 0
    (hook,) = hooks.hooks[NAME]
    assert hook["config"]["url"] == f"{WEBHOOK}/{NAME}"
    assert hook["config"]["secret"] == secret_of(service, f"webhook-secrets/{NAME}")
    assert stored(service, "webhook-secret") is None
    assert run("secret", NAME, "--replace").steps == [("secret", "replaced")]


def test_a_webhook_on_a_later_page_is_found(hooks: HooksApi, run: Run) -> None:
    """Not made a second time."""
    hooks.hooks[NAME] = [
        {"id": number, "config": {"url": f"https://x/{number}"}, "events": []} for number in range(150)
    ]
    hooks.hooks[NAME][120] |= {"config": {"url": WEBHOOK}}
    assert run("add", NAME, "--parameter", at(hooks)).steps[-1] == ("webhook", "updated")
    assert len(hooks.hooks[NAME]) == 150


def test_secrets_are_encrypted_with_the_stacks_key(service: Service, stacks: _Stacks, run: Run) -> None:
    """Where it has one."""
    stacks.stacks[service.prefix.rpartition("/")[2]][0]["KmsKeyArn"] = "alias/stack"
    run("add", NAME, "--no-webhook")
    assert stored(service, "webhook-secret").keyid == "alias/stack"
    assert stored(service, f"repositories/{NAME}").keyid is None


# -- refused before anything ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments",
    [
        ("add", "oc:to"),
        ("add", "../x"),
        ("add", "octo/site:3"),
        ("webhook", "octo/site/x"),
        ("secret", "octo"),
        ("add", NAME, "--parameter", "{"),
        ("add", NAME, "--parameter", '{"depth": "x"}'),
        ("add", NAME, "--parameter", json.dumps({"url": "https://github.com/" + "x" * 5000})),
        ("add", NAME, "--url", "javascript:x"),
        ("take-over", NAME, "--from", NAME),
        ("rollback", "../x"),
    ],
)
def test_bad_names_are_refused_before_any_call(
    service: Service, hooks: HooksApi, stacks: _Stacks, run: Run, arguments: tuple[str, ...]
) -> None:
    """AWS and GitHub hear nothing of it."""
    service.store.calls.clear()
    refused = run(*arguments)
    assert (refused.code, refused.content["reason"]) == (2, "malformed")
    assert (service.store.calls, stacks.asked, hooks.requests) == ([], [], [])


def test_an_owners_name_alone_sets_up_a_rule_and_the_organisations_webhook(
    service: Service, hooks: HooksApi, run: Run
) -> None:
    """One parameter, the common secret, one webhook; a repository of the rule can have a webhook of its own."""
    hooks.hooks["octo"] = []
    text = json.dumps({"url": hooks.url("{owner}/{name}"), "exclude": ["old"]})
    done = run("add", "octo", "--parameter", text)
    assert (done.code, done.steps) == (0, [("parameter", "put"), ("secret", "put"), ("webhook", "made")])
    assert stored(service, "repositories/octo").value == text
    (hook,) = hooks.hooks["octo"]
    assert hook["config"]["secret"] == secret_of(service)
    hook["events"] = ["push", "release"]
    assert run("webhook", "octo").steps == [("secret", "kept"), ("webhook", "updated")]
    assert (hook["events"], hook["config"]["secret"]) == (["push", "release"], secret_of(service))
    assert run("webhook", NAME).steps == [("secret", "kept"), ("webhook", "made")]
    assert run("webhook", "octo/old").content["reason"] == "repository_unknown"
    wrong = run("add", "octo", "--replace", "--parameter", json.dumps({"url": hooks.url("octo/site")}))
    assert (wrong.code, wrong.content["reason"]) == (2, "malformed")
    own = json.dumps({"url": hooks.url("{owner}/{name}"), "own_secret": True})
    refused = run("add", "octo", "--replace", "--parameter", own)
    assert (refused.code, "--no-webhook" in refused.content["detail"], refused.steps) == (2, True, [])
    assert run("add", "octo", "--replace", "--no-webhook", "--parameter", own).steps == [("parameter", "replaced")]
    assert run("webhook", "octo").content["reason"] == "malformed"
    gitea = json.dumps({"forge": "gitea", "url": hooks.url("{owner}/{name}")})
    refused = run("add", "octo", "--replace", "--parameter", gitea)
    assert (refused.code, "Gitea itself" in refused.content["detail"]) == (2, True)
    del hooks.hooks["octo"]
    assert "admin:org_hook" in run("add", "octo", "--replace", "--parameter", text).content["detail"]


def test_without_a_token_nothing_is_written(
    service: Service, hooks: HooksApi, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is missing is said; a token for github.com goes to no other host."""
    monkeypatch.delenv("GH_ENTERPRISE_TOKEN")
    monkeypatch.setenv("GITHUB_TOKEN", TOKEN)
    refused = run("add", NAME, "--parameter", at(hooks))
    assert (refused.code, refused.steps) == (2, [])
    assert "GH_ENTERPRISE_TOKEN" in refused.content["detail"]
    monkeypatch.setenv("GH_ENTERPRISE_TOKEN", f"{TOKEN}\nX-Other: header")
    assert run("add", NAME, "--parameter", at(hooks)).code == 2
    assert stored(service, f"repositories/{NAME}") is None
    assert hooks.requests == []


def test_a_webhook_needs_a_parameter_and_an_address(
    service: Service, hooks: HooksApi, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On this host's mount nobody knows the address that GitHub reaches."""
    missing = run("webhook", NAME)
    assert (missing.code, missing.content["reason"]) == (2, "repository_unknown")
    assert f"git2efs add {NAME}" in missing.content["detail"]
    monkeypatch.delenv("GIT2EFS_STACK")
    refused = run("add", NAME, "--parameter", at(hooks))
    assert (refused.code, "--url" in refused.content["detail"], refused.steps) == (2, True, [])
    done = run("add", NAME, "--parameter", at(hooks), "--url", "https://git.example.com/github")
    assert (done.code, hooks.hooks[NAME][0]["config"]["url"]) == (0, "https://git.example.com/github")


# -- failures ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "headers", "reason", "said"),
    [
        (401, {}, "remote_refused", "the token is wrong"),
        (403, {"X-GitHub-SSO": "required; url=https://x"}, "remote_refused", "single sign-on"),
        (403, {"X-RateLimit-Remaining": "0"}, "remote_unavailable", "in a while"),
        (404, {}, "remote_refused", "admin:repo_hook"),
        (301, {"Location": "/elsewhere"}, "remote_refused", "renamed"),
        (422, {}, "configuration_invalid", "twenty"),
        (503, {}, "remote_unavailable", "in a while"),
        (200, {}, "remote_unavailable", "no list"),
    ],
)
def test_what_github_refuses_is_named(
    service: Service, hooks: HooksApi, run: Run, status: int, headers: dict[str, str], reason: str, said: str
) -> None:
    """With what to do, without its words; the steps before it are done and told, and asked again it goes on."""
    hooks.fault = (status, headers)
    failed = run("add", NAME, "--parameter", at(hooks))
    assert (failed.code, failed.content["reason"]) == (3, reason)
    assert said in failed.content["detail"]
    assert "a secret, and" not in failed.out
    assert failed.steps == [("parameter", "put"), ("secret", "put")]
    hooks.fault = None
    assert run("add", NAME).steps == [("parameter", "kept"), ("secret", "kept"), ("webhook", "made")]


def test_a_host_that_does_not_answer_is_a_failure(hooks: HooksApi, run: Run) -> None:
    """Not a traceback."""
    hooks.stop()
    assert run("add", NAME, "--parameter", at(hooks)).content["reason"] == "remote_unavailable"


def test_a_stack_that_cannot_be_asked_is_named(
    service: Service, stacks: _Stacks, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Missing, another's, denied, or no profile of that name: each says what to do."""
    nowhere = run("add", NAME, "--no-webhook", "--stack", "nowhere")
    assert (nowhere.code, nowhere.content["reason"]) == (3, "configuration_invalid")
    assert "there is no stack nowhere" in nowhere.content["detail"]
    assert "is none of git2efs" in run("status", "--stack", "other").content["detail"]
    profile = run("status", "--profile", "nobody")
    assert (profile.code, "nobody" in profile.content["detail"]) == (3, True)
    stacks.is_denied = True
    denied = run("secret")
    assert (denied.code, denied.content["reason"]) == (3, "not_allowed")
    assert "a secret" not in denied.out
    monkeypatch.setenv("AWS_ENDPOINT_URL_CLOUDFORMATION", "http://127.0.0.1:9")
    assert run("doctor").content["reason"] == "queue_unavailable"
