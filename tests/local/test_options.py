"""Arguments: what they become, and how a wrong one is refused."""

import json
from pathlib import Path

import pytest

from local.options import ServeOptions, build_parser, serve_options


def parse(*arguments: str, environment: dict[str, str] | None = None) -> ServeOptions:
    """Return the options of a command line."""
    parser = build_parser()
    parsed = parser.parse_args(["serve", "--root", "mount", *arguments])
    return serve_options(parser, parsed, environment or {})


def test_a_full_command_line_becomes_settings_and_parameters(tmp_path: Path) -> None:
    """The URL is merged over the fields of --configure."""
    token = tmp_path / "token"
    token.write_text("t0ken\n")
    options = parse(
        "--port", "0", "--secret", "s", "--allow-sha1", "--set", "lag_seconds=0.5",
        "--repository", "o/n=http://127.0.0.1:1/o/n.git?a=b", "--configure", 'o/n={"depth":0,"url":"x"}',
        "--configure", 'o/m={"keep_releases":2}', "--secure", f"tokens/o={token}",
    )  # fmt: skip
    assert (options.host, options.port, options.secret) == ("127.0.0.1", 0, "s")
    assert options.mount == str(Path("mount").absolute())
    assert {name: json.loads(text) for name, text in options.repositories.items()} == {
        "o/n": {"depth": 0, "url": "http://127.0.0.1:1/o/n.git?a=b"},
        "o/m": {"keep_releases": 2},
    }
    assert options.secure == {"tokens/o": "t0ken"}
    assert options.environment == {
        "GIT2EFS_MOUNT": options.mount, "GIT2EFS_ALLOW_SHA1": "true", "GIT2EFS_LAG_SECONDS": "0.5",
    }  # fmt: skip


def test_where_trees_are_published_is_a_switch() -> None:
    """And not a setting, which would name a function that nobody runs here."""
    assert parse("--secret", "s", "--isolated").is_isolated
    assert not parse("--secret", "s").is_isolated
    with pytest.raises(SystemExit):
        parse("--secret", "s", "--set", "publisher=git2efs-publisher")


def test_the_secret_may_come_from_a_file_or_the_environment(tmp_path: Path) -> None:
    """One line end of the file is not part of it; a space is."""
    file = tmp_path / "secret"
    file.write_bytes(b"from file \r\n")
    variable = {"GIT2EFS_LOCAL_SECRET": "from environment"}
    assert parse("--secret-file", str(file), environment=variable).secret == "from file "
    assert parse(environment=variable).secret == "from environment"


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--secret", ""], "secret is missing"),
        ([], "secret is missing"),
        (["--secret-file", "/no/such"], "No such file"),
        (["--secret", "s", "--secret-file", "x"], "not allowed with"),
        (["--secret", "s", "--port", "x"], "invalid int value"),
        (["--secret", "s", "--port", "70000"], "0 to 65535"),
        (["--secret", "s", "--repository", "o/n"], "--repository must look like OWNER/NAME=URL"),
        (["--secret", "s", "--repository", "name=http://x"], "OWNER/NAME"),
        (["--secret", "s", "--repository", "o/n=a", "--repository", "o/n=b"], "given twice"),
        (["--secret", "s", "--configure", "o/n={"], "not JSON"),
        (["--secret", "s", "--configure", "o/n=[]"], "JSON object"),
        (["--secret", "s", "--configure", 'o/n={"a":"' + "x" * 5000 + '"}'], "4096 bytes"),
        (["--secret", "s", "--set", "lag=1"], "no such setting; there are all_metrics, allow_sha1, "),
        (["--secret", "s", "--set", "lag_seconds=long"], "GIT2EFS_LAG_SECONDS must be a number"),
        (["--secret", "s", "--set", "mount=/x"], "no such setting"),
        (["--secret", "s", "--secure", "a b=c"], "not a parameter's name"),
        (["--secret", "s", "--nonsense"], "unrecognized arguments"),
    ],
)
def test_a_wrong_argument_is_named_and_ends_with_2(
    capsys: pytest.CaptureFixture[str], arguments: list[str], text: str
) -> None:
    """One clear line on standard error, after the usage."""
    with pytest.raises(SystemExit) as ended:
        parse(*arguments)
    assert ended.value.code == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert "error: " in last
    assert text in last


def test_a_wrong_inherited_setting_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    """The caller's own GIT2EFS_ variables count, and are checked before anything starts."""
    with pytest.raises(SystemExit):
        parse("--secret", "s", environment={"GIT2EFS_LOCK_SECONDS": "-1"})
    assert "GIT2EFS_LOCK_SECONDS must be from 0" in capsys.readouterr().err
