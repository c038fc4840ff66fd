"""Verify that a body was signed with our secret. Pure: no I/O, no clock.

GitHub signs the exact bytes of the body: HMAC-SHA256, keyed with the secret as UTF-8, as `sha256=<hex>` in
X-Hub-Signature-256 (https://docs.github.com/webhooks/using-webhooks/validating-webhook-deliveries). So nothing may
decode the body before it is verified.
"""

import hmac
import re
from collections.abc import Mapping, Sequence

from handler.errors import SecretUnusable, SignatureInvalid

SHA256_HEADER = "x-hub-signature-256"
SHA1_HEADER = "x-hub-signature"

# `re.ASCII` is not needed: the classes name their characters. A header that was sent twice arrives joined by a comma,
# and does not match.
_FORMS = {
    SHA256_HEADER: ("sha256", re.compile(r"sha256=([0-9a-f]{64})")),
    SHA1_HEADER: ("sha1", re.compile(r"sha1=([0-9a-f]{40})")),
}


class SignatureMismatch(SignatureInvalid):
    """The signature is well formed, but of another secret or other bytes. Only here a fresh secret may help."""


def verify_signature(body: bytes, headers: Mapping[str, str], secrets: Sequence[bytes], *, allow_sha1: bool) -> None:
    """Return if one of `secrets` signed `body`; `headers` have lower-case names.

    The legacy sha1 header counts only with `allow_sha1`, and where there is no sha256 header at all, not even a wrong
    one: otherwise an attacker who strips or spoils the strong signature could choose the weak one.

    Raises SecretUnusable (no secret, or a blank one), SignatureInvalid (missing, malformed), SignatureMismatch.
    """
    if not secrets or not all(secret.strip() for secret in secrets):
        raise SecretUnusable("there is no webhook secret, or it is empty")
    algorithm, signature = _read_signature(headers, allow_sha1)
    # Bytes, because compare_digest raises TypeError for text that is not ASCII. A list, so that the time does not tell
    # which secret matched.
    matches = [hmac.compare_digest(hmac.digest(secret, body, algorithm), signature) for secret in secrets]
    if not any(matches):
        raise SignatureMismatch("the signature does not match the body and the secret")


def _read_signature(headers: Mapping[str, str], allow_sha1: bool) -> tuple[str, bytes]:
    """Return the algorithm's name and the digest in the header."""
    if SHA256_HEADER in headers:
        name = SHA256_HEADER
    elif allow_sha1 and SHA1_HEADER in headers:
        name = SHA1_HEADER
    elif SHA1_HEADER in headers:
        raise SignatureInvalid("the signature is missing: only a sha1 one came, and sha1 is not allowed")
    else:
        raise SignatureInvalid("the signature is missing")
    algorithm, form = _FORMS[name]
    match = form.fullmatch(headers[name])
    if match is None:
        raise SignatureInvalid(f"the {name} header is malformed")
    return algorithm, bytes.fromhex(match[1])
