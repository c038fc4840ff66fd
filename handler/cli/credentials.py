"""The token for a forge's API: from the environment, or typed at a prompt. Never an argument, never shown.

The variables are those of GitHub's own CLI, which keeps apart what is for github.com and for another host; other forges
have one each.
"""

import getpass
import sys
from collections.abc import Mapping
from types import MappingProxyType
from urllib.parse import urlsplit

from handler.errors import Malformed
from handler.model import Forge, Repository

GITHUB = ("GH_TOKEN", "GITHUB_TOKEN")
ENTERPRISE = ("GH_ENTERPRISE_TOKEN", "GITHUB_ENTERPRISE_TOKEN")
OTHERS: Mapping[Forge, tuple[str, ...]] = MappingProxyType(
    {Forge.GITLAB: ("GITLAB_TOKEN",), Forge.GITEA: ("GITEA_TOKEN",), Forge.BITBUCKET: ("BITBUCKET_TOKEN",)}
)


def find_token(repository: Repository, environment: Mapping[str, str]) -> str:
    """Return the token for the repository's host. Raises Malformed where there is none, or it can be none."""
    host = (urlsplit(repository.url).hostname or "").lower()
    is_github = host in ("github.com", "www.github.com") or host.endswith(".ghe.com")
    names = OTHERS.get(repository.forge) or (GITHUB if is_github else ENTERPRISE)
    token = next((environment[name] for name in names if environment.get(name)), None)
    if token is None:
        if not sys.stdin.isatty():
            raise Malformed(
                f"no token for {host}: set {names[0]}, whose token may write webhooks; or make none (--no-webhook)"
            )
        token = getpass.getpass(f"Token for {host}, which may write webhooks (not shown): ")
    token = token.strip()
    # It goes into a header: a line end in it would be another header.
    if not token or not all("!" <= each <= "~" for each in token):
        raise Malformed(f"what was given as the token for {host} can be none")
    return token
