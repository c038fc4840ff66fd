"""What a remote that answers with something else than git means by it, and what to do.

Sources: GitHub's docs ("About authentication with SAML single sign-on", "Rate limits for the REST API"), RFC 9110
(Retry-After), RFC 7725 (451).
"""

import re
import ssl
from collections.abc import Mapping
from email.utils import parsedate_to_datetime

from urllib3 import BaseHTTPResponse
from urllib3.exceptions import HTTPError, ProxyError

from handler.errors import Git2EfsError, RemoteRefused, RemoteUnavailable, RemoteUnsupported, RemoteUntrusted
from handler.network.remote.authorization import Authorization
from handler.network.remote.protocol import RemoteFailed, RemoteSays, RetryLater, TokenRefused
from handler.network.remote.redirect import target_of

_BEGIN_BYTES = 2048
"""How much of a body is looked at."""

_SECONDS = re.compile(r"\d{1,9}")
_SAML = b"SAML SSO"
"""GitHub's own words, in the body of its answer to git."""


def failure_of(response: BaseHTTPResponse, asked: str, authorization: Authorization | None, now: float) -> Git2EfsError:
    """Return the failure that an HTTP answer to a request of the URL `asked` tells, and that is none of git's.

    `now` is in seconds since the epoch. Of the answer no word is in the message, which may echo the token, but where a
    redirection leads, if that may be told.
    """
    status, headers = response.status, response.headers
    after_seconds = _retry_after(headers.get("Retry-After", ""), now)
    if after_seconds is not None and status in (403, 429, 503):
        return RetryLater(
            f"the remote answered {status}, and asks to try again after {after_seconds:.0f} s", after_seconds
        )
    if status == 401:
        return TokenRefused(
            "the remote answered 401: it needs credentials, or these are not taken (expired or revoked?)"
        )
    if status == 403 and (_needs_sso(headers) or _SAML in _begin_of(response)):
        return RemoteRefused(
            "the remote answered 403: the organization demands SAML single sign-on. Authorize the token for it: in "
            "GitHub's settings of its owner, Developer settings, Personal access tokens, Configure SSO"
        )
    if status in (403, 404, 410):
        return RemoteRefused(f"the remote answered {status}: no such repository, or the credentials do not open it")
    if status == 451:
        return RemoteRefused("the remote answered 451: it may not give the repository out, for legal reasons")
    if 300 <= status < 400:
        url = target_of(asked, headers.get("Location"), authorization.secrets if authorization else ())
        where = f" to {url}" if url is not None else ""
        return RemoteRefused(
            f"the remote answered {status}: it has moved{where}. If the repository was renamed, publish it under its "
            "new name (`git2efs take-over`); else let its `url` follow"
        )
    if status == 500:
        return RemoteFailed("the remote answered 500")
    if status in (408, 425, 429) or status > 500:
        return RemoteUnavailable(f"the remote answered {status}")
    return RemoteUnsupported(f"the remote answered {status}, and not as a git server does")


def failure_to_connect(error: HTTPError) -> Git2EfsError:
    """Return the failure for a request that got no answer."""
    cause = error.args[0] if error.args else None
    if isinstance(cause, ssl.SSLCertVerificationError):
        # OpenSSL's words for its own codes, and our host: nothing that the remote wrote.
        return RemoteUntrusted(
            f"the remote's certificate is not trusted ({cause.verify_message}): where an authority of your own signed "
            "it, put its certificate into a parameter, and name that in the repository's `ca`; outside of Lambda, name "
            "a file with that one and the public ones in SSL_CERT_FILE"
        )
    if isinstance(error, ProxyError):
        return RemoteUnavailable("the remote cannot be reached: the proxy does not open a tunnel, or is away")
    # Only the exception's type: its text holds the URL's host, and in other versions more than that.
    return RemoteUnavailable(f"the remote cannot be reached ({type(error).__name__})")


def failure_within(error: RemoteSays | HTTPError, *, is_token_sent: bool) -> Git2EfsError:
    """Return the failure for an answer that broke off, or turned into an error in the remote's own words."""
    if isinstance(error, HTTPError):
        return RemoteUnavailable(f"the remote's answer broke off ({type(error).__name__})")
    if not is_token_sent:
        return error
    # An error page may echo the header, in any encoding and cut anywhere: no filter finds all forms.
    return RemoteUnavailable("the remote answered with an error; its text is not shown, because a token was sent to it")


def _begin_of(response: BaseHTTPResponse) -> bytes:
    try:
        return response.read(_BEGIN_BYTES)
    except HTTPError:
        return b""  # what the status says is enough


def _needs_sso(headers: Mapping[str, str]) -> bool:
    return headers.get("X-GitHub-SSO", "").strip().lower().startswith("required")


def _retry_after(value: str, now: float) -> float | None:
    """Return the seconds of a Retry-After header: a number, or a date; None for anything else."""
    if _SECONDS.fullmatch(value.strip()):
        return float(value)
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - now)
    except (ValueError, OverflowError):
        return None
