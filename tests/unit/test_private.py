"""Which remotes are asked through the proxy."""

import pytest

from handler.network.remote.private import proxy_for
from handler.settings import Settings

PROXY = "http://proxy.example.com:3128"


@pytest.mark.parametrize(
    ("url", "no_proxy", "is_direct"),
    [
        ("https://github.com/o/r.git", "", False),
        ("https://github.com/o/r.git", "*", True),
        ("https://github.com/o/r.git", "GitHub.com", True),
        ("https://github.com/o/r.git", "github.com:443", True),
        ("https://github.com/o/r.git", "github.com:8443", False),
        ("https://git.corp.example.com:8443/o/r.git", ".example.com", True),
        ("https://git.corp.example.com:8443/o/r.git", " a.example , corp.example.com:8443 ", True),
        ("https://gitcorp.example.com/o/r.git", "corp.example.com", False),
        ("https://[::1]:8443/o/r.git", "[::1]:8443", True),
        ("https://[::1]:8443/o/r.git", ", ,:", False),
        ("http://127.0.0.1:8000/o/r.git", "", True),
    ],
)
def test_no_proxy_names_hosts_and_all_below_them(url: str, no_proxy: str, is_direct: bool) -> None:
    """As other programs read it; and without TLS nothing goes through a proxy."""
    settings = Settings(parameter_prefix="/p", mount="/m", https_proxy=PROXY, no_proxy=no_proxy)
    assert proxy_for(url, settings) == (None if is_direct else PROXY)
    assert proxy_for(url, Settings(parameter_prefix="/p", mount="/m")) is None
