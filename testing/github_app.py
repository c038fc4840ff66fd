"""GitHub's API for Apps, at the origin's own address: as an Enterprise Server has it, below /api/v3.

It judges what it is asked as GitHub does, by GitHub's own clock: the JWT's signature and times, the installation, the
repositories and the rights. The tokens that it gives out open the origin's repositories until they expire.
"""

import base64
import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from testing.origin import GitOrigin
from testing.origin_records import Answer, RequestRecord

APP_ID = 4711
_API = "/api/v3"
_LONGEST_JWT_SECONDS = 600


@cache
def make_key() -> rsa.RSAPrivateKey:
    """Return the App's key, one for this process: none lies in a file."""
    return rsa.generate_private_key(65537, 2048)


def pem_of(key: rsa.RSAPrivateKey, kind: str = "TraditionalOpenSSL") -> str:
    """Return a key as GitHub gives it out (PKCS #1), or of the kind PKCS8."""
    form = getattr(serialization.PrivateFormat, kind)
    return key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()).decode()


@dataclass(slots=True)
class Installation:
    """The App at one account; `repositories` are names without the owner."""

    number: int
    repositories: set[str]
    rights: dict[str, str]
    is_suspended: bool = False


@dataclass(slots=True)
class IssuedToken:
    """A token that was given out; `fields` are the request's."""

    value: str = field(repr=False)
    owner: str
    fields: dict[str, Any]
    expires_at: float


class GitHubApp:
    """Answers at the origin from now on.

    `installations` are by the owner's name, `issued` the tokens, `asked` each request's method and path, and `faults`
    the answers that the next requests get instead. `clock` is GitHub's own.
    """

    def __init__(self, origin: GitOrigin, clock: Callable[[], float] = time.time) -> None:
        """Take over what the origin would answer to the API, and to git without a token that was given out."""
        self.clock = clock
        self.keys = {make_key()}
        rights = {"contents": "write", "statuses": "write", "metadata": "read"}
        self.installations = {"octo": Installation(99, {"site"}, rights)}
        self.issued: list[IssuedToken] = []
        self.asked: list[tuple[str, str]] = []
        self.jwts: set[str] = set()
        self.faults: list[Answer] = []
        self.token_seconds = 3600
        self._refusal = origin.refusal
        self._lock = threading.Lock()
        origin.refusal = self._answer  # type: ignore[method-assign]

    def credential(self, **fields: object) -> str:
        """Return the text of a credential of this App."""
        return json.dumps({"app_id": APP_ID, "private_key": pem_of(make_key()), **fields})

    def revoke(self) -> None:
        """Let every token that was given out expire now."""
        for each in self.issued:
            each.expires_at = 0.0

    def replace_key(self) -> None:
        """Let only another key than `make_key`'s be the App's."""
        self.keys = {rsa.generate_private_key(65537, 2048)}

    def needles(self) -> list[str]:
        """Return what nobody may see: tokens and JWTs, parts of them and of the key, and a token's header in git."""
        key = pem_of(make_key()).splitlines()[1:-1]
        values = [each.value for each in self.issued]
        headers = [base64.b64encode(f"x-access-token:{value}".encode()).decode().rstrip("=") for value in values]
        parts = [part for jwt in self.jwts for part in jwt.split(".")[1:]]
        return [*values, *headers, *parts, key[0], key[len(key) // 2]]

    def _answer(self, record: RequestRecord) -> Answer | None:
        with self._lock:
            if record.path.startswith(f"{_API}/repos/") and "/statuses/" in record.path:
                return Answer(201, {"Content-Type": "application/json"}, b"{}")
            if record.path.startswith(_API):
                self.asked.append((record.method, record.path.removeprefix(_API)))
                return self.faults.pop(0) if self.faults else self._answer_api(record)
            if not self._opens(record):
                return Answer(401, {"WWW-Authenticate": 'Basic realm="GitHub"'}, b"Repository not found.\n")
            return self._refusal(record)

    def _opens(self, record: RequestRecord) -> bool:
        given = base64.b64decode((record.authorization or "").removeprefix("Basic ")).decode()
        owner, _, name = (record.repository or "").partition("/")
        return any(
            given == f"x-access-token:{each.value}"
            and self.clock() < each.expires_at
            and (each.owner, [name]) == (owner, each.fields["repositories"])
            for each in self.issued
        )

    def _answer_api(self, record: RequestRecord) -> Answer:
        if not self._is_signed((record.authorization or "").removeprefix("Bearer ")):
            return _said(401, {"message": "A JSON web token could not be decoded"})
        parts = record.path.removeprefix(_API).strip("/").split("/")
        if record.method == "GET" and parts[0] == "repos" and parts[3:] == ["installation"]:
            found = self.installations.get(parts[1])
            if found is None or parts[2] not in found.repositories:
                return _said(404, {"message": "Not Found"})
            return _said(200, {"id": found.number, "account": {"login": parts[1]}})
        if record.method == "POST" and parts[:2] == ["app", "installations"] and parts[3:] == ["access_tokens"]:
            return self._issue(int(parts[2]), json.loads(record.body))
        return _said(404, {"message": "Not Found"})

    def _issue(self, number: int, fields: dict[str, Any]) -> Answer:
        owner = next((owner for owner, each in self.installations.items() if each.number == number), None)
        if owner is None:
            return _said(404, {"message": "Not Found"})
        found = self.installations[owner]
        if found.is_suspended:
            return _said(403, {"message": "This installation has been suspended"})
        if not set(fields["repositories"]) <= found.repositories or any(
            found.rights.get(name, "") not in (wanted, "write") for name, wanted in fields["permissions"].items()
        ):
            return _said(422, {"message": "The permissions requested are not granted to this installation."})
        until = self.clock() + self.token_seconds
        issued = IssuedToken(f"ghs_{len(self.issued)}{'Secret' * 6}", owner, fields, until)
        self.issued.append(issued)
        at = datetime.fromtimestamp(until, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        return _said(201, {"token": issued.value, "expires_at": at, "permissions": fields["permissions"]})

    def _is_signed(self, jwt: str) -> bool:
        self.jwts.add(jwt)
        signed, _, signature = jwt.rpartition(".")
        head, claims = (json.loads(_decoded(part)) for part in signed.split("."))
        now = self.clock()
        return (
            head["alg"] == "RS256"
            and claims["iss"] == str(APP_ID)
            and claims["iat"] <= now < claims["exp"] <= now + _LONGEST_JWT_SECONDS
            and any(_verifies(key, signed, signature) for key in self.keys)
        )


def _verifies(key: rsa.RSAPrivateKey, signed: str, signature: str) -> bool:
    try:
        key.public_key().verify(_decoded(signature), signed.encode(), padding.PKCS1v15(), hashes.SHA256())
    except InvalidSignature:
        return False
    return True


def _decoded(part: str) -> bytes:
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


def _said(status: int, content: dict[str, Any]) -> Answer:
    return Answer(status, {"Content-Type": "application/json"}, json.dumps(content).encode())
