"""The operator's command: what stands, publish now, compare; on the command line, and as a function."""

import io
import json
import os
import subprocess
import sys
import threading
import tomllib
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import pytest

from handler import cli, operate
from handler.network.operations.stack import StackAddress
from testing import fake_lambda
from testing.deliveries import LambdaContext
from testing.loopback import LoopbackHandler, LoopbackServer
from testing.origin import GitOrigin
from testing.process import PROJECT
from testing.repositories import Upstream, archive
from testing.service import Service
from tests.functional.mounts import footprint

MAIN = "octo/site/main"


def target_of(content: dict[str, Any], path: str = MAIN) -> dict[str, Any]:
    """Return what a status tells of a target."""
    (found,) = [each for one in content["repositories"] for each in one["targets"] if each["path"] == path]
    assert isinstance(found, dict)
    return found


def in_no_time(action: str) -> dict[str, Any]:
    """Call the function when its time is up; return what it returns."""
    content: Any = operate.handler({"action": action}, LambdaContext(remaining_ms=0))
    assert isinstance(content, dict)
    return content


def run_process(service: Service, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command as a person does."""
    return subprocess.run(
        [sys.executable, "-m", "handler.operate", *arguments],
        cwd=PROJECT,
        env=os.environ | service.environment,
        capture_output=True,
        text=True,
        check=False,
    )


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command in this process, in the environment of the service that is started."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        try:
            code = cli.main(arguments)
        except SystemExit as ended:
            code = int(ended.code or 0)
    return subprocess.CompletedProcess(arguments, code, out.getvalue(), err.getvalue())


# -- status -----------------------------------------------------------------------------------------------------------


def test_a_status_tells_what_stands_and_what_is_behind(service: Service, upstream: Upstream) -> None:
    """Every target, with its releases and what they take; it changes nothing."""
    service.put_repository()
    first = upstream.commit({"a": b"12345", "b/c": b"678"})
    service.push(upstream)
    second = upstream.commit({"a": b"1"})
    service.push(upstream)
    before = footprint(service.mount)
    content = service.operate("status")
    assert footprint(service.mount) == before
    found = target_of(content)
    assert (content["exit_code"], found["state"], found["ref"]) == (0, "current", "refs/heads/main")
    assert (found["commit"], found["previous_commit"], found["tip"]) == (second, first, second)
    assert found["since"] == service.record()["published_at"]
    assert found["confirmed_at"] == service.record()["asked_at"]
    assert found["disk"] == {"files": 4, "bytes": 5 + 3 + 1 + 3}
    assert [(each["commit"], each["is_current"], each["files"]) for each in found["releases"]] == [
        (second, True, 2),
        (first, False, 2),
    ]
    assert content["repositories"][0]["mirror"]["files"] > 3
    third = upstream.commit({"a": b"3"})
    found = target_of(content := service.operate("status", "octo/site", no_disk=True))
    assert (content["exit_code"], found["state"], found["tip"], found["disk"]) == (1, "behind", third, None)
    found = target_of(content := service.operate("status", offline=True))
    assert (content["exit_code"], found["state"], found["tip"]) == (0, "published", None)
    service.run_schedule()
    assert target_of(service.operate("status"))["state"] == "current"
    later = json.loads((service.mount / ".git2efs/reconcile.json").read_text())["repositories"]["octo/site"]
    assert target_of(service.operate("status"))["confirmed_at"] >= later["confirmed_at"]


def test_a_status_tells_every_kind_of_trouble(service: Service, upstream: Upstream, origin: GitOrigin) -> None:
    """Each where it belongs, and none keeps another from being told."""
    rules = [{"ref": "refs/heads/main"}, {"ref": "refs/heads/pr/*", "path": "octo/site/pr/*"}, {"ref": "refs/heads/no"}]
    service.put_repository(publish=rules)
    service.put_repository_text("octo/broken", '{"depth": "x"}')
    service.put_repository_text("octo/gone", json.dumps({"url": origin.url("octo/nowhere")}))
    for branch in ("main", "pr/1", "pr/2"):
        upstream.commit({"a": b"1"}, branch)
        service.push(upstream, branch)
    upstream.delete("pr/1")
    service.run_schedule()
    upstream.commit({"a": b"2"}, "pr/3")
    (service.mount / MAIN / "releases" / str(service.current_commit()) / "new").write_bytes(b"")
    service.operate("hold", "octo/site/pr/2", by="mona", why="wait")
    content = service.operate("status")
    states = {each["path"]: each["state"] for one in content["repositories"] for each in one["targets"]}
    assert states == {
        MAIN: "current",
        "octo/site/no": "no ref",
        "octo/site/pr/1": "retiring",
        "octo/site/pr/2": "held",
        "octo/site/pr/3": "unpublished",
    }
    assert "was changed by somebody else" in target_of(content)["problems"][0]
    assert target_of(content, "octo/site/pr/2")["held"]["why"] == "wait"
    problems = {each["repository"]: " ".join(each["problems"]) for each in content["repositories"]}
    assert "depth" in problems["octo/broken"]
    assert "remote_refused" in problems["octo/gone"]
    assert content["exit_code"] == 1
    service.put_repository()
    assert target_of(service.operate("status"), "octo/site/pr/2")["state"] == "held"
    assert target_of(service.operate("status"), "octo/site/pr/1")["state"] == "retiring"
    service.operate("resume", "octo/site/pr/2")
    assert target_of(service.operate("status"), "octo/site/pr/2")["state"] == "left over"
    service.delete_repository("octo/site")
    found = next(each for each in service.operate("status")["repositories"] if each["repository"] == "octo/site")
    assert "no parameter any more" in found["problems"][0]
    assert len(found["targets"]) == 3


def test_a_remote_that_does_not_answer_leaves_what_stands(
    service: Service, upstream: Upstream, origin: GitOrigin
) -> None:
    """It is told as the repository's problem."""
    service.put_repository()
    upstream.commit({"a": b"1"})
    service.push(upstream)
    origin.fail_next(99)
    content = service.operate("status")
    assert (content["exit_code"], target_of(content)["state"]) == (1, "published")
    assert "remote_unavailable" in content["repositories"][0]["problems"][0]
    origin.clear_faults()


def test_a_status_of_very_many_targets_says_that_it_was_cut(
    service: Service, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lambda's answer has an end."""
    monkeypatch.setattr("handler.network.operations.operator.MAX_TARGETS", 2)
    service.put_repository(publish=[{"ref": "refs/heads/pr/*", "path": "octo/site/pr/*"}])
    for number in range(4):
        upstream.commit({"a": b"1"}, f"pr/{number}")
    content = service.operate("status", no_disk=True)
    assert len(content["repositories"][0]["targets"]) == 2
    assert content["problems"] == ["2 more targets are not shown: name a repository"]


def test_asking_and_counting_end_with_the_functions_time(service: Service, upstream: Upstream) -> None:
    """What was seen is told all the same."""
    service.put_repository()
    upstream.commit({"a": b"1"})
    service.push(upstream)
    content = in_no_time("status")
    assert content["exit_code"] == 1
    assert "not counted" in content["problems"][0]
    (repository,) = content["repositories"]
    assert "no time left" in repository["problems"][0]
    assert repository["targets"][0]["state"] == "published"
    doctor = in_no_time("doctor")
    assert doctor["checks"][-1]["verdict"] == "unknown"


# -- publish, verify --------------------------------------------------------------------------------------------------


def test_publish_brings_up_to_date_what_the_repository_publishes(service: Service, upstream: Upstream) -> None:
    """All its refs, or one by its short name; what is up to date stays as it is."""
    service.put_repository(publish=[{"ref": "refs/heads/main"}, {"ref": "refs/heads/pr/*", "path": "octo/site/pr/*"}])
    commits = {branch: upstream.commit({"a": branch.encode()}, branch) for branch in ("main", "pr/1")}
    only = service.operate("publish", "octo/site", ref="pr/1")
    assert [(each["path"], each["commit"]) for each in only["targets"]] == [("octo/site/pr/1", commits["pr/1"])]
    done = service.operate("publish", "octo/site")
    assert {each["path"]: each["outcome"] for each in done["targets"]} == {
        MAIN: "published",
        "octo/site/pr/1": "unchanged",
    }
    assert done["exit_code"] == 0
    assert service.tree() == archive(upstream, commits["main"])
    assert service.log_lines[-2]["event"] == "operator publish"
    service.operate("hold", MAIN)
    upstream.commit({"a": b"2"})
    held = service.operate("publish", "octo/site", ref="main")
    assert (held["exit_code"], held["targets"][0]["reason"]) == (1, "held")
    assert service.operate("publish", "octo/site", ref="nobodys")["exit_code"] == 1


def test_publish_tells_a_failure_with_its_reason(service: Service, upstream: Upstream, origin: GitOrigin) -> None:
    """A target's, the remote's, and a repository that there is none of."""
    service.put_repository()
    upstream.commit({"a": b"1"})
    origin.fail_next(99)
    failed = service.operate("publish", "octo/site")
    assert (failed["exit_code"], failed["reason"]) == (3, "remote_unavailable")
    origin.clear_faults()
    (service.mount / MAIN).mkdir(parents=True)
    (service.mount / MAIN / "current").write_bytes(b"mine")
    failed = service.operate("publish", "octo/site", ref="main")
    assert (failed["exit_code"], failed["targets"][0]["reason"]) == (3, "target_occupied")
    unknown = service.operate("publish", "octo/nobody")
    assert (unknown["exit_code"], unknown["reason"]) == (2, "repository_unknown")


@pytest.mark.parametrize("subject", [None, MAIN, "octo/site"])
def test_verify_says_what_differs_and_repairs_where_it_is_told_to(
    service: Service, upstream: Upstream, subject: str | None
) -> None:
    """Without being told it changes nothing, not even the seal."""
    service.put_repository()
    first = upstream.commit({"a": b"1", "deep/b": b"1"})
    service.push(upstream)
    second = upstream.commit({"a": b"2"})
    service.push(upstream)
    assert service.operate("verify", subject)["targets"][0]["reason"] == "verified"
    for commit in (first, second):
        (service.mount / MAIN / "releases" / commit / "deep/b").write_bytes(b"9")
    before = footprint(service.mount)
    content = service.operate("verify", subject)
    assert footprint(service.mount) == before
    found = content["targets"][0]
    assert (content["exit_code"], found["reason"]) == (1, "drifted")
    assert [note for note in found["notes"] if "deep/b" in note] == ["changed b'deep/b'"] * 2
    content = service.operate("verify", subject, repair=True)
    assert (content["exit_code"], content["targets"][0]["reason"]) == (0, "repaired")
    assert service.tree() == archive(upstream, second)
    refused = service.operate("rollback", MAIN)
    assert refused["reason"] == "release_unusable", "the kept one was set aside"
    assert service.operate("verify", subject)["exit_code"] == 1
    (service.mount / MAIN / "current").resolve().rename(service.mount / "elsewhere")
    assert service.operate("verify", subject)["targets"][0]["reason"] == "drifted"
    assert service.operate("verify", subject, repair=True)["targets"][0]["reason"] == "repaired"
    assert service.tree() == archive(upstream, second)


def test_verify_that_ends_early_says_so(service: Service, upstream: Upstream) -> None:
    """It is no success."""
    service.put_repository()
    upstream.commit({"a": b"1"})
    service.push(upstream)
    content = in_no_time("verify")
    assert (content["exit_code"], content["targets"][0]["reason"]) == (3, "out_of_time")


# -- the function -----------------------------------------------------------------------------------------------------

NONSENSE: list[Any] = [
    None,
    [],
    "status",
    7,
    {},
    {"action": "destroy"},
    {"action": ["status"]},
    {"action": "status", "task": "reconcile"},
    {"action": "status", "repository": 7},
    {"action": "status", "repository": "octo"},
    {"action": "status", "offline": "yes"},
    {"action": "rollback"},
    {"action": "rollback", "path": None},
    {"action": "rollback", "path": {"a": 1}},
    {"action": "rollback", "path": "../x"},
    {"action": "rollback", "path": MAIN, "to": "main"},
    {"action": "rollback", "path": MAIN, "why": "\x1b[2J"},
    {"action": "rollback", "path": MAIN, "by": "x" * 101},
    {"action": "publish", "repository": "octo/site", "ref": "refs/heads/../x"},
    {"action": "publish", "repository": "octo/site", "ref": "a b"},
    {"action": "publish", "repository": "../site"},
    {"action": "status", "repository": "\ud800/x"},
    {"action": "resume", "path": "\ud800"},
    {7: 8, "action": "doctor"},
]


@pytest.mark.parametrize("event", NONSENSE, ids=lambda event: ascii(event)[:60])
def test_an_event_that_is_none_of_ours_raises_nothing_and_does_nothing(service: Service, event: Any) -> None:
    """It is told what is wrong with it, and the answer can be told on."""
    before = footprint(service.mount)
    for context in (None, object(), LambdaContext()):
        content = operate.handler(event, context)
        assert (content["exit_code"], content["reason"]) == (2, "malformed")
        assert json.dumps(content).encode()
    assert footprint(service.mount) == before


def test_an_event_names_all_that_is_wrong_with_it() -> None:
    """At once."""
    content = operate.handler({"action": "rollback", "path": "/x", "to": "?", "more": 1}, None)
    assert str(content["detail"]).count(";") == 2


def test_defects_and_a_dead_mount_are_answers(
    service: Service, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With no text of somebody else's exception in them."""
    service.put_repository()
    upstream.commit({"a": b"1"})
    service.push(upstream)

    def fail(*arguments: object) -> None:
        raise RuntimeError("a secret text")

    monkeypatch.setattr("handler.mount.operations.rollback.choose_release", fail)
    content = service.operate("rollback", MAIN)
    assert (content["exit_code"], content["reason"]) == (3, "unexpected")
    assert "secret" not in json.dumps(content)
    service.configure(mount="/nowhere/at/all")
    for action, subject in (("status", None), ("rollback", MAIN), ("verify", None), ("doctor", None)):
        assert service.operate(action, subject)["exit_code"] in (1, 2, 3), action


def test_wrong_settings_are_an_answer_and_the_doctors_finding(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every problem of them."""
    operate.reset()
    monkeypatch.delenv("GIT2EFS_MOUNT")
    monkeypatch.setenv("GIT2EFS_LOCK_SECONDS", "x")
    content = operate.handler({"action": "status"}, None)
    assert (content["exit_code"], content["reason"]) == (3, "configuration_invalid")
    doctor: Any = operate.handler({"action": "doctor"}, None)
    assert doctor["exit_code"] == 1
    found = doctor["checks"][0]["found"]
    assert "GIT2EFS_MOUNT" in found
    assert "GIT2EFS_LOCK_SECONDS" in found


# -- the command line -------------------------------------------------------------------------------------------------


@fake_lambda.for_calls("the command is a process of its own, which finds no function here")
def test_the_command_is_for_people_and_for_programs(service: Service, upstream: Upstream) -> None:
    """A table without colours where no terminal is; JSON that is the function's answer; exit codes for both."""
    service.put_repository()
    first = upstream.commit({"a": b"1"})
    service.push(upstream)
    second = upstream.commit({"a": b"2"})
    service.push(upstream)
    shown = run_process(service, "status")
    head, row, *_ = shown.stdout.splitlines()
    assert head.split() == ["PATH", "COMMIT", "SINCE", "STATE", "CONFIRMED", "PREVIOUS", "RELEASES", "FILES", "SIZE"]
    assert row.split()[:2] == [MAIN, second[:12]]
    assert row.index("current") == head.index("STATE")
    assert (shown.returncode, "\x1b" in shown.stdout) == (0, False)
    assert "asking the remotes" in shown.stderr
    done = run("rollback", MAIN, "--why", "blank page", "--json")
    content = json.loads(done.stdout)
    assert (done.returncode, content["exit_code"], content["targets"][0]["commit"]) == (0, 0, first)
    assert service.record()["held"]["why"] == "blank page"
    assert service.record()["held"]["by"]
    shown = run("status", "--no-disk")
    assert shown.returncode == 1
    assert "blank page" in shown.stdout
    assert f"{MAIN}: refs/heads/main names {second[:12]}" in shown.stdout
    assert run("resume", MAIN).returncode == 0
    assert run("hold", MAIN, "--by", "mona").returncode == 0
    assert run("publish", "octo/site").returncode == 1
    assert run("verify").returncode == 0
    refused = run("rollback", MAIN, "--to", "abcdef0")
    assert refused.returncode == 2
    assert "what stands" in refused.stdout
    service.put_repository_text("octo/site", "{")
    assert run("publish", "octo/site").returncode == 3


@pytest.mark.parametrize(
    "arguments",
    [(), ("destroy",), ("rollback",), ("status", "--to", "x"), ("rollback", "../x"), ("publish", "octo"), ("hold", "")],
)
def test_wrong_usage_has_an_exit_code_of_its_own(service: Service, arguments: tuple[str, ...]) -> None:
    """2, as of every command."""
    assert run(*arguments).returncode == 2


def test_without_settings_the_command_says_which_are_missing(tmp_path: Path) -> None:
    """And that a function could be named."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT2EFS_")}
    environment["GIT2EFS_PARAMETER_PREFIX"] = "/git2efs/x"
    command = [sys.executable, "-m", "handler.operate", "status"]
    done = subprocess.run(command, cwd=PROJECT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 3
    assert "GIT2EFS_MOUNT is not set" in done.stdout
    assert "--function" in done.stdout
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("module", "name"), [("handler.operate", "python -m handler.operate"), ("handler.cli", "git2efs")]
)
def test_the_command_names_itself_as_it_was_called(service: Service, module: str, name: str) -> None:
    """What the help shows can be typed; the console script is the same `main`."""
    done = subprocess.run(
        [sys.executable, "-m", module, "rollback", "--help"], cwd=PROJECT, capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith(f"usage: {name} rollback")
    scripts = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]["scripts"]
    assert scripts == {"git2efs": "handler.cli:main"}
    assert callable(cli.main)


class _Lambda(LoopbackHandler):
    """Lambda's Invoke, with the operator's function behind it."""

    def do_POST(self) -> None:
        """Answer as the function `ops` does; `broken` ends with an error, of others there are none."""
        event = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        name = self.path.split("/")[-2]
        status, headers, content = 200, {}, b""
        if name == "ops":
            content = json.dumps(operate.handler(event, LambdaContext(remaining_ms=900_000))).encode()
        elif name in ("broken", "slow"):
            headers = {"X-Amz-Function-Error": "Unhandled"}
            content = json.dumps({"errorMessage": "Task timed out" if name == "slow" else "a secret"}).encode()
        elif name == "other":
            content = b'{"statusCode": 200}'
        else:
            code = "AccessDeniedException" if name == "closed" else "ResourceNotFoundException"
            status, headers = 403 if name == "closed" else 404, {"X-Amzn-ErrorType": code}
            content = b'{"Message": "a secret"}'
        self.send_response(status)
        for header, value in (headers | {"Content-Length": str(len(content))}).items():
            self.send_header(header, value)
        self.end_headers()
        self.wfile.write(content)


@pytest.fixture
def deployed(service: Service, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let clients of Lambda find the functions of `_Lambda`."""
    server = LoopbackServer(("127.0.0.1", 0), _Lambda)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("AWS_ENDPOINT_URL_LAMBDA", f"http://127.0.0.1:{server.server_port}")
    yield
    server.shutdown()
    server.server_close()


@pytest.mark.usefixtures("deployed")
def test_a_deployed_function_does_it_and_its_answer_is_shown_here(
    service: Service, upstream: Upstream, capsys: pytest.CaptureFixture[str]
) -> None:
    """The same table, the same exit codes; who asks is told to it."""
    service.put_repository()
    first = upstream.commit({"a": b"1"})
    service.push(upstream)
    upstream.commit({"a": b"2"})
    service.push(upstream)
    assert cli.main(["rollback", MAIN, "--by", "mona", "--function", "ops"]) == 0
    assert f"{MAIN}  published  rolled_back" in capsys.readouterr().out
    assert (service.current_commit(), service.record()["held"]["by"]) == (first, "mona")
    assert cli.main(["status", "--function", "ops"]) == 1
    assert "held" in capsys.readouterr().out


@pytest.mark.usefixtures("deployed")
@pytest.mark.parametrize("how", ["option", "variable", "default"])
def test_a_deployed_stack_is_found_by_its_name(
    service: Service,
    upstream: Upstream,
    how: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The option, else the variable, else the name that is deployed by default, where no mount is named."""
    service.put_repository()
    upstream.commit({"a": b"1"})
    asked = []

    def find_stack(name: str) -> StackAddress:
        asked.append(name)
        return StackAddress(prefix=service.prefix, operate_function="ops")

    monkeypatch.setattr("handler.cli.stacks.find_stack", find_stack)
    command = ["publish", "octo/site"]
    if how == "option":
        command += ["--stack", "mine"]
    elif how == "variable":
        monkeypatch.setenv("GIT2EFS_STACK", "mine")
    else:
        # The function has its settings already: a process of its own is somewhere else.
        assert cli.main([*command, "--function", "ops"]) == 0
        monkeypatch.delenv("GIT2EFS_MOUNT")
        monkeypatch.delenv("GIT2EFS_PARAMETER_PREFIX")
    assert cli.main(command) == 0
    assert asked == ["git2efs" if how == "default" else "mine"]
    assert MAIN in capsys.readouterr().out


@pytest.mark.usefixtures("deployed")
@pytest.mark.parametrize(
    ("function", "reason"),
    [
        ("broken", "configuration_invalid"),
        ("slow", "out_of_time"),
        ("other", "configuration_invalid"),
        ("nowhere", "configuration_invalid"),
        ("closed", "not_allowed"),
        ("a b", "configuration_invalid"),
    ],
)
def test_a_function_that_does_not_do_it_is_a_failure(
    service: Service, function: str, reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Said in a line, with nothing of what AWS quotes."""
    assert cli.main(["status", "--function", function, "--json"]) == 3
    out = capsys.readouterr().out
    assert json.loads(out)["reason"] == reason
    assert "secret" not in out
