"""A credential: its token, and where that may be sent."""

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from handler.config.credential import Credential, parse_credential
from handler.errors import ConfigurationInvalid, SecretUnusable
from handler.model import Repository

NAME = "/git2efs/prod/credentials/deploy"
TOKEN = "ghp_Pr1vateTokenThatNobodyMaySee"


def parse(stored: object, hosts: tuple[str, ...] = ("github.com",)) -> Credential:
    """Return what the parameter holds: a text as it is, anything else as JSON."""
    return parse_credential(NAME, stored if isinstance(stored, str) else json.dumps(stored), hosts)


def is_allowed(credential: Credential, url: str, full_name: str = "octo/site") -> bool:
    """Whether the credential may go to the url of a repository."""
    try:
        credential.refuse_others(NAME, Repository(full_name=full_name, url=url))
    except ConfigurationInvalid as error:
        assert full_name in str(error)
        assert NAME in str(error)
        assert TOKEN not in str(error)
        return False
    return True


@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
def test_plain_text_is_a_token_for_the_stacks_hosts(end: str) -> None:
    """Of any repository."""
    assert parse(TOKEN + end) == Credential(token=TOKEN, hosts=("github.com",))


def test_json_names_hosts_and_repositories() -> None:
    """In lower case, in which they are compared; what is missing is as for plain text."""
    assert parse({"token": TOKEN}) == Credential(token=TOKEN, hosts=("github.com",))
    fields = {"token": TOKEN, "hosts": ["Git.Example.com:8443", "[::1]"], "repositories": ["Octo/Site", "team/*"]}
    assert parse(fields) == Credential(
        token=TOKEN, hosts=("git.example.com:8443", "[::1]"), repositories=("octo/site", "team/*")
    )
    assert TOKEN not in repr(parse(fields))


@pytest.mark.parametrize(
    ("url", "hosts"),
    [
        ("https://github.com/octo/site.git", ["github.com"]),
        ("https://GitHub.com/octo/site.git", ["github.com"]),
        ("https://github.com:443/octo/site.git", ["github.com:443"]),
        ("https://git.example.com:8443/octo/site", ["git.example.com"]),
        ("https://git.example.com:8443/octo/site", ["a.example", "git.example.com:8443"]),
        ("http://[::1]:80/octo/site", ["[::1]"]),
        ("http://127.0.0.1:8000/octo/site", ["127.0.0.1"]),
    ],
)
def test_a_token_goes_to_its_hosts(url: str, hosts: list[str]) -> None:
    """A host without a port is one with any."""
    assert is_allowed(parse({"token": TOKEN, "hosts": hosts}), url)


@pytest.mark.parametrize(
    ("url", "hosts"),
    [
        ("https://evil.example/octo/site.git", ["github.com"]),
        ("https://github.com.evil.example/octo/site.git", ["github.com"]),
        ("https://agithub.com/octo/site.git", ["github.com"]),
        ("https://api.github.com/octo/site.git", ["github.com"]),
        ("https://github.com./octo/site.git", ["github.com"]),
        ("https://evil.example/github.com/site.git", ["github.com"]),
        ("https://git.example.com:8444/octo/site", ["git.example.com:8443"]),
        ("https://git.example.com/octo/site", ["git.example.com:8443"]),
        ("http://127.0.0.1:8000/octo/site", ["github.com"]),
        ("http://[::1]:80/octo/site", ["github.com"]),
    ],
)
def test_a_token_goes_to_no_other_host(url: str, hosts: list[str]) -> None:
    """However like it is spelled."""
    assert not is_allowed(parse({"token": TOKEN, "hosts": hosts}), url)
    assert not is_allowed(parse(TOKEN, tuple(hosts)), url)


@pytest.mark.parametrize(
    ("repositories", "full_name", "path", "allowed"),
    [
        (["octo/site"], "octo/site", "octo/site.git", True),
        (["octo/site"], "Octo/Site", "octo/site", True),
        (["octo/*"], "octo/site", "octo/site.git", True),
        (["octo/*", "x/y"], "octo/site", "octo/other.git", True),
        (["octo/site"], "octo/site", "octo/secret.git", False),
        (["octo/site"], "octo/other", "octo/site.git", False),
        (["octo/*"], "octopus/site", "octopus/site.git", False),
        (["octo/*"], "octo/site", "x/octo/site.git", False),
        (["oct/*"], "octo/site", "octo/site.git", False),
    ],
)
def test_a_token_is_for_its_repositories(repositories: list[str], full_name: str, path: str, *, allowed: bool) -> None:
    """By their name, and by the path of their url: who may write the one parameter, chooses the other."""
    credential = parse({"token": TOKEN, "repositories": repositories})
    assert is_allowed(credential, f"https://github.com/{path}", full_name) is allowed


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({}, "has no token"),
        ({"token": TOKEN, "ssh_key": TOKEN}, "has both a token and an ssh_key"),
        ({"known_hosts": ["x"]}, "has no ssh_key"),
        ({"ssh_key": TOKEN, "ca": "/x"}, "has a ca"),
        ({"ssh_key": TOKEN, "known_hosts": "x"}, "known_hosts is not a list"),
        ({"ssh_key": TOKEN, "known_hosts": [TOKEN]}, "known_hosts is not an entry"),
        ({"ssh_key": TOKEN, "known_hosts": [f"@revoked github.com ssh-ed25519 {TOKEN}"]}, "known_hosts is not an"),
        ({"token": 7}, "token is not text"),
        ({"token": TOKEN, "host": "github.com"}, "another field"),
        ({TOKEN: "token"}, "another field"),
        ({"token": TOKEN, "hosts": "github.com"}, "hosts is not a list"),
        ({"token": TOKEN, "hosts": []}, "hosts is not a list of 1 to"),
        ({"token": TOKEN, "hosts": ["https://github.com"]}, "hosts has an entry"),
        ({"token": TOKEN, "hosts": ["*"]}, "hosts has an entry"),
        ({"token": TOKEN, "hosts": [""]}, "hosts has an entry"),
        ({"token": TOKEN, "hosts": ["github.com/octo"]}, "hosts has an entry"),
        ({"token": TOKEN, "hosts": [TOKEN + "@x"]}, "hosts has an entry"),
        ({"token": TOKEN, "repositories": ["*"]}, "repositories has an entry"),
        ({"token": TOKEN, "repositories": ["octo"]}, "repositories has an entry"),
        ({"token": TOKEN, "repositories": ["*/site"]}, "repositories has an entry"),
        ({"token": TOKEN, "repositories": ["octo/si*"]}, "repositories has an entry"),
        ({"token": TOKEN, "repositories": [None]}, "repositories has an entry"),
        ({"token": TOKEN, "repositories": None}, "repositories is not a list"),
        ('{"token": "' + TOKEN, "is not JSON"),
        ('{"token": "x", "token": "' + TOKEN + '"}', "same key twice"),
    ],
)
def test_json_of_another_form_is_refused(fields: object, told: str) -> None:
    """And the message shows no value: the token may stand anywhere."""
    with pytest.raises(ConfigurationInvalid) as caught:
        parse(fields)
    assert told in str(caught.value)
    assert NAME in str(caught.value)
    assert TOKEN not in str(caught.value)


@pytest.mark.parametrize("token", ["", "two words", "two\nlines", "end\n", "grüße", "bell\x07"])
def test_a_token_in_json_that_cannot_stand_in_a_header_is_unusable(token: str) -> None:
    """As in plain text."""
    with pytest.raises(SecretUnusable):
        parse({"token": token})


anything: Any = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.just(TOKEN),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5) | st.just(TOKEN), inner, max_size=3)
    ),
    max_leaves=6,
)


@given(
    stored=st.text()
    | anything.map(json.dumps)
    | st.fixed_dictionaries(
        {"token": st.just(TOKEN)}, optional={"hosts": anything, "repositories": anything, "x": anything}
    ).map(json.dumps)
)
@example(stored="{")
@example(stored="[" * 100_000)
@example(stored='{"a":' * 100_000)
@example(stored='{"token": ' + "9" * 5000 + "}")
def test_any_text_is_a_credential_or_our_error(stored: str) -> None:
    """Nothing else is raised, no message shows the token, and what is taken can stand in a header."""
    try:
        credential = parse(stored)
    except (ConfigurationInvalid, SecretUnusable) as error:
        assert TOKEN not in str(error)
        return
    assert credential.token.isascii()
    assert credential.token.isprintable()
    assert " " not in credential.token
    assert credential.hosts
