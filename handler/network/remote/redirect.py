"""Where a remote's redirection leads, as far as it may be told: it is never followed. Pure: no I/O, no clock.

GitHub answers so for a repository that was renamed or transferred. Anybody's server may answer anything, so the URL is
told only where it is plain: neither a token nor a control sequence reaches a log line or a terminal.
"""

import re
from collections.abc import Sequence
from urllib.parse import urljoin, urlsplit

MAX_URL_CHARACTERS = 300
_PLAIN = re.compile(r"https?://[A-Za-z0-9.:\[\]-]+/[A-Za-z0-9._~/-]*")
_SERVICES = ("/info/refs", "/git-upload-pack")


def target_of(asked: str, location: str | None, secrets: Sequence[str]) -> str | None:
    """Return the repository's URL in `location`, the header's value, which answered a request of the URL `asked`.

    None where there is none, or where it may not be told: it is no plain http(s) URL, or holds one of `secrets`.
    """
    if not location or len(location) > MAX_URL_CHARACTERS:
        return None
    try:
        # Without user, query and fragment, in which a server may repeat what it was sent.
        parts = urlsplit(urljoin(asked, location))
        host = parts.netloc.rpartition("@")[2]
    except ValueError:
        return None
    url = f"{parts.scheme}://{host}{parts.path}"
    for service in _SERVICES:
        url = url.removesuffix(service)
    is_plain = _PLAIN.fullmatch(url) is not None and not any(secret in url for secret in secrets)
    return url if is_plain else None
