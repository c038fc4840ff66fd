"""What the entry points share: when the app is made, what is warned of, how a failure is recorded."""

from collections.abc import Callable
from types import SimpleNamespace

import pytest

from handler.deadline import Deadline
from handler.errors import ConfigurationInvalid
from handler.network.aws.telemetry import Telemetry
from handler.runtime import Runtime, request_id_of
from handler.settings import Settings

ENVIRONMENT = {"GIT2EFS_PARAMETER_PREFIX": "/git2efs/x", "GIT2EFS_MOUNT": "/mnt/x"}


class App:
    """Counts what is asked of it."""

    def __init__(self) -> None:
        """Nothing was asked."""
        self.closed = 0
        self.prepared = 0
        self.problems: tuple[str, ...] = ()

    def close(self) -> None:
        """Count."""
        self.closed += 1

    def prepare(self) -> None:
        """Count."""
        self.prepared += 1

    def secret_problems(self) -> tuple[str, ...]:
        """Return what the test set."""
        return self.problems


class Maker:
    """Makes apps, or fails as often as told."""

    def __init__(self, failures: int = 0) -> None:
        """`failures` is how often it fails first."""
        self.made: list[App] = []
        self.calls = 0
        self._failures = failures

    def __call__(self, settings: Settings, telemetry: Telemetry) -> App:
        """Return an app."""
        self.calls += 1
        if self.calls <= self._failures:
            raise ConfigurationInvalid("not yet")
        self.made.append(App())
        return self.made[-1]


def test_the_app_is_made_once_at_the_first_invocation() -> None:
    """And not before: a wrong environment is an answer, and no failed start."""
    make = Maker()
    runtime = Runtime(make)
    assert make.calls == 0
    assert runtime.app(ENVIRONMENT) is runtime.app(ENVIRONMENT)
    assert make.calls == 1


def test_a_wrong_environment_is_found_by_each_invocation() -> None:
    """Until it is right."""
    make = Maker()
    runtime = Runtime(make)
    for _ in range(2):
        with pytest.raises(ConfigurationInvalid):
            runtime.app({})
    assert runtime.app(ENVIRONMENT) is make.made[0]


@pytest.mark.parametrize(("kind", "made", "prepared"), [(None, 0, 0), ("on-demand", 1, 0), ("snap-start", 1, 1)])
def test_lambda_makes_the_app_while_it_initialises(kind: str | None, made: int, prepared: int) -> None:
    """Elsewhere it waits; what a snapshot needs is only prepared for one."""
    make = Maker()
    environment = ENVIRONMENT | ({"AWS_LAMBDA_INITIALIZATION_TYPE": kind} if kind else {})
    Runtime.initialised(make, environment, before_snapshot=App.prepare)
    assert (len(make.made), sum(app.prepared for app in make.made)) == (made, prepared)


def test_a_failed_initialisation_is_left_to_the_first_invocation() -> None:
    """It may go well there, or it answers with the failure."""
    make = Maker(failures=1)
    runtime = Runtime.initialised(make, ENVIRONMENT | {"AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand"})
    assert make.made == []
    assert runtime.app(ENVIRONMENT) is make.made[0]


def test_what_looks_wrong_with_secrets_is_warned_of_once(caplog: pytest.LogCaptureFixture) -> None:
    """Also after a failure; again only in a new process, or once all is forgotten."""
    make = Maker()
    runtime = Runtime(make)

    def fail(app: App) -> None:
        app.problems = ("/x ends with a newline.",)
        raise ValueError

    def pass_by(app: App) -> None:
        app.problems = ("/x ends with a newline.", "/y has quotes around it.")

    steps: tuple[Callable[[App], None], ...] = (fail, pass_by, pass_by)
    for step in steps:
        try:
            with runtime.serving(ENVIRONMENT) as app:
                step(app)
        except ValueError:
            pass
    assert caplog.messages == ["/x ends with a newline.", "/y has quotes around it."]
    runtime.close()
    assert make.made[0].closed == 1
    with runtime.serving(ENVIRONMENT) as app:
        pass_by(app)
    assert len(make.made) == 2
    assert len(caplog.messages) == 4


def test_a_failed_invocation_is_one_line_with_its_reason(caplog: pytest.LogCaptureFixture) -> None:
    """A defect too, without its text."""
    runtime = Runtime(Maker())
    request_id = request_id_of(SimpleNamespace(aws_request_id="r-1"))
    assert runtime.record_failure(ConfigurationInvalid("x is missing"), request_id).reason == "configuration_invalid"
    assert runtime.record_failure(ValueError("a secret"), request_id, event="chores").reason == "unexpected"
    first, second = (vars(record) for record in caplog.records)
    assert (first["reason"], first["detail"]) == ("configuration_invalid", "x is missing")
    assert (second["reason"], second["event"]) == ("unexpected", "chores")
    assert first["function_request_id"] == second["function_request_id"] == "r-1"
    assert "a secret" not in str(second)


def test_outside_lambda_an_invocation_has_no_id_and_no_deadline() -> None:
    """A shell, or a test."""
    assert (request_id_of(None), Deadline.of_context(None).at) == ("", None)
