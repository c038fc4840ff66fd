"""Where a redirection leads is told only where it is a plain URL, and never with what the remote was sent."""

import pytest

from handler.network.remote.redirect import target_of

ASKED = "https://git.example.com/octo/site.git/git-upload-pack"
NEW = "https://git.example.com/acme/web.git"


@pytest.mark.parametrize(
    ("location", "told"),
    [
        (f"{NEW}/git-upload-pack", NEW),
        (f"{NEW}/info/refs?service=git-upload-pack", NEW),
        ("/acme/web.git/git-upload-pack", NEW),
        ("http://127.0.0.1:8080/acme/web", "http://127.0.0.1:8080/acme/web"),
        ("https://[::1]:1/acme/web", "https://[::1]:1/acme/web"),
        (f"{NEW}?token=secret#secret", NEW),
        ("https://user:secret@git.example.com/acme/web.git", NEW),
        (None, None),
        ("", None),
        ("https://[/acme", None),
        ("ssh://git.example.com/acme/web", None),
        ("javascript:alert(1)", None),
        ("https://git.example.com/acme/\x1b[2J", None),
        ("https://git.example.com/acme/w\u00e9b", None),
        ("https://git.example.com/acme web", None),
        ("https://git.example.com/ghp-0123456789/web", None),
        (f"https://git.example.com/{'x' * 300}", None),
    ],
)
def test_a_plain_url_is_told(location: str | None, told: str | None) -> None:
    """And nothing else of it."""
    assert target_of(ASKED, location, ["ghp-0123456789"]) == told
