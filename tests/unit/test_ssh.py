"""Urls for SSH and host keys, without a connection."""

import base64
import hashlib

import pytest

from handler.config.known_hosts import KINDS, keys_of, parse_host_key
from handler.config.ssh_url import parse_ssh_url, web_url
from handler.config.targets import refuse_other_forge
from handler.errors import RepositoryUnknown
from handler.model import Forge, Repository

ED25519 = base64.b64encode(b"\0\0\0\x0bssh-ed25519" + bytes(36)).decode()
PUBLISHED = {
    "github.com": {
        "ssh-ed25519": "+DiY3wvvV6TuJJhbpZisF/zLDA0zPMSvHdkr4UvCOqU",
        "ecdsa-sha2-nistp256": "p2QAMXNIC1TJYWeIOttrVc98/R1BUFWu3/LiyKgUfQM",
        "ssh-rsa": "uNiVztksCsDhcc0u9e8BujQXVUpKZIDTMczCvj3tD2s",
    },
    "gitlab.com": {
        "ssh-ed25519": "eUXGGm1YGsMAS7vkcx6JOJdOGHPem5gQp4taiCfCLB8",
        "ecdsa-sha2-nistp256": "HbW3g8zUjNSksFbqTiUWPWg2Bq1x8xdGUrliXFzSnUw",
        "ssh-rsa": "ROQFvPThGrW4RuWLoL9tq9I9zJ42fK4XywyRtbOz/EQ",
    },
    "bitbucket.org": {
        "ssh-ed25519": "ybgmFkzwOSotHTHLJgHO0QN8L0xErw6vd0VhFA9m3SM",
        "ecdsa-sha2-nistp256": "FC73VB6C4OQLSCrjEayhMp9UMxS97caD/Yyi2bhW/J0",
        "ssh-rsa": "46OSHA1Rmj8E8ERTC6xkNcmGOw9oFxYr0WF6zWW8l1E",
    },
}
"""The fingerprints that the three publish, beside their keys."""


@pytest.mark.parametrize(
    ("url", "place", "command"),
    [
        ("ssh://git@GitHub.com/octo/site.git", ("git", "github.com", 22), "git-upload-pack '/octo/site.git'"),
        ("git@github.com:octo/site.git", ("git", "github.com", 22), "git-upload-pack 'octo/site.git'"),
        ("ssh://git@host:2222/~ada/x", ("git", "host", 2222), "git-upload-pack '~ada/x'"),
        ("ssh://git@[::1]:2222/-x", ("git", "::1", 2222), "git-upload-pack '/-x'"),
        ("git@[::1]:/x", ("git", "::1", 22), "git-upload-pack '/x'"),
        ("git@host:it's!;$(x)", ("git", "host", 22), "git-upload-pack 'it'\\''s'\\!';$(x)'"),
    ],
)
def test_a_url_becomes_git_s_command(url: str, place: tuple[str, str, int], command: str) -> None:
    """Quoted as git quotes it: whatever a path holds, a shell there takes it for one word."""
    found = parse_ssh_url(url)
    assert (found.user, found.host, found.port) == place
    assert found.command == command


@pytest.mark.parametrize("host", PUBLISHED)
def test_the_built_in_keys_are_those_that_are_published(host: str) -> None:
    """On the usual port alone."""
    keys = keys_of(host, 22, ())
    fingerprints = {
        kind: base64.b64encode(hashlib.sha256(content).digest()).decode().rstrip("=")
        for kind, contents in keys.items()
        for content in contents
    }
    assert fingerprints == PUBLISHED[host]
    assert not keys_of(host, 2222, ())
    assert not keys_of(f"x.{host}", 22, ())


def test_own_entries_take_the_place_of_built_in_ones_for_their_host() -> None:
    """So a forge's new key is known on the day, and its old one is not any more."""
    own = [parse_host_key(f"github.com,[git.example.com]:2222 ssh-ed25519 {ED25519} a comment")]
    content = frozenset({base64.b64decode(ED25519)})
    assert keys_of("github.com", 22, own) == {"ssh-ed25519": content} == keys_of("git.example.com", 2222, own)
    assert not keys_of("git.example.com", 22, own)
    assert set(keys_of("gitlab.com", 22, own)) == set(PUBLISHED["gitlab.com"]) < set(KINDS)


@pytest.mark.parametrize(
    "line",
    [
        "",
        f"ssh-ed25519 {ED25519}",
        f"* ssh-ed25519 {ED25519}",
        f"*.example.com ssh-ed25519 {ED25519}",
        f"!a ssh-ed25519 {ED25519}",
        f"|1|c2FsdA==|aGFzaA== ssh-ed25519 {ED25519}",
        f"@cert-authority a ssh-ed25519 {ED25519}",
        f"a ssh-dss {ED25519}",
        f"a ssh-rsa {ED25519}",
        f"a ssh-ed25519 {ED25519[:-3]}",
        "a ssh-ed25519 not/base64!",
    ],
)
def test_what_is_no_entry_is_refused(line: str) -> None:
    """A pattern or a hashed name would have to be matched; a certificate's authority, to be asked."""
    with pytest.raises(ValueError, match="is not an entry of known_hosts"):
        parse_host_key(line)


@pytest.mark.parametrize(
    ("url", "web"),
    [
        ("git@gitlab.com:group/sub/site.git", "https://gitlab.com/group/sub/site.git"),
        ("ssh://git@git.example.com:2222/octo/site.git", "https://git.example.com/octo/site.git"),
        ("ssh://git@[::1]/octo/site", "https://[::1]/octo/site"),
        ("https://git.example.com:8443/octo/site", "https://git.example.com:8443/octo/site"),
    ],
)
def test_a_forge_s_own_pages_are_at_the_same_host(url: str, web: str) -> None:
    """Its webhooks are made there, and its deliveries are about that path."""
    assert web_url(url) == web
    repository = Repository(full_name="x/y", url=url, forge=Forge.GITLAB)
    path = web.partition("//")[2].partition("/")[2].removesuffix(".git")
    refuse_other_forge(repository, Forge.GITLAB, path)
    with pytest.raises(RepositoryUnknown):
        refuse_other_forge(repository, Forge.GITLAB, "another/site")
