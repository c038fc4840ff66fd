"""The JSON Web Token by which a GitHub App says who it is, signed with its key (RS256).

Sources: GitHub's docs ("Generating a JSON Web Token (JWT) for a GitHub App"), RFC 7515 (the form), RFC 8017 and 5208
(the key's).
"""

import base64
import json

from handler.config.credential import AppKey
from handler.errors import SecretUnusable

SKEW_SECONDS = 60
"""GitHub refuses a JWT of the future, and its clock may be behind ours."""
VALID_SECONDS = 540
"""Ten minutes are the most, by GitHub's clock."""


def make_jwt(name: str, app: AppKey, now: int) -> str:
    """Return the JSON Web Token by which the App says who it is; `now` in seconds since the epoch.

    Raises SecretUnusable where the key, which the parameter `name` holds, is no RSA key.
    """
    claims = {"iat": now - SKEW_SECONDS, "exp": now + VALID_SECONDS, "iss": app.app_id}
    signed = ".".join(_encoded(json.dumps(part).encode()) for part in ({"alg": "RS256", "typ": "JWT"}, claims))
    # Imported when it is used: who has no App does not pay for it.
    from Crypto.Hash import SHA256
    from Crypto.PublicKey import RSA
    from Crypto.Signature import pkcs1_15

    try:
        # Not `RSA.import_key`: it loads ciphers for encrypted keys, which take longer than the signature.
        key = RSA.construct(_numbers_of(app.private_key))
        signature = pkcs1_15.new(key).sign(SHA256.new(signed.encode()))
    except (ValueError, IndexError, TypeError):
        # Without its text, which may quote what it could not read.
        raise SecretUnusable(f"the private_key in parameter {name} is not an RSA key, or is cut off") from None
    return f"{signed}.{_encoded(signature)}"


def _numbers_of(pem: str) -> tuple[int, ...]:
    """Return n, e, d, p and q of an RSA key: PKCS #1 as GitHub gives it out, or converted to PKCS #8 (RFC 8017, 5208).

    Raises ValueError, IndexError, TypeError.
    """
    from Crypto.Util.asn1 import DerOctetString, DerSequence

    fields = DerSequence().decode(base64.b64decode("".join(pem.strip().splitlines()[1:-1]), validate=True))
    if len(fields) == 3:
        fields = DerSequence().decode(DerOctetString().decode(fields[2]).payload)
    return tuple(int(fields[number]) for number in range(1, 6))


def _encoded(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()
