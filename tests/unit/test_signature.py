"""The signature is the only door: what opens it, and what must not."""

import hashlib
import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handler.errors import Git2EfsError, SecretUnusable, SignatureInvalid
from handler.network.forges.github import SignatureMismatch, verify_signature

# GitHub's documented vector: docs.github.com/webhooks/using-webhooks/validating-webhook-deliveries
SECRET = b"It's a Secret to Everybody"
BODY = b"Hello, World!"
SHA256 = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
SHA1 = "sha1=" + hmac.new(SECRET, BODY, hashlib.sha1).hexdigest()


def verify(headers: dict[str, str], *, secrets: tuple[bytes, ...] = (SECRET,), allow_sha1: bool = False) -> None:
    """Verify BODY."""
    verify_signature(BODY, headers, secrets, allow_sha1=allow_sha1)


def test_githubs_documented_vector_verifies() -> None:
    """The one published example of secret, body and signature holds."""
    verify({"x-hub-signature-256": SHA256})


@pytest.mark.parametrize("secrets", [(SECRET, b"other"), (b"other", SECRET), (b"a", SECRET, b"b")])
def test_any_of_the_secrets_verifies(secrets: tuple[bytes, ...]) -> None:
    """During a rotation the signer may hold the old secret or the new one."""
    verify({"x-hub-signature-256": SHA256}, secrets=secrets)


def test_every_secret_is_tried_even_after_a_match(monkeypatch: pytest.MonkeyPatch) -> None:
    """The time does not tell which of the secrets fits."""
    tried: list[bytes] = []
    real = hmac.digest

    def recorded(key: bytes, body: bytes, algorithm: str) -> bytes:
        tried.append(key)
        return real(key, body, algorithm)

    monkeypatch.setattr(hmac, "digest", recorded)
    verify({"x-hub-signature-256": SHA256}, secrets=(SECRET, b"old", b"older"))
    assert tried == [SECRET, b"old", b"older"]


@pytest.mark.parametrize("body", [BODY + b"\n", BODY[:-1], b"", BODY.lower()])
def test_other_bytes_are_a_mismatch(body: bytes) -> None:
    """One byte more or less is another body."""
    with pytest.raises(SignatureMismatch):
        verify_signature(body, {"x-hub-signature-256": SHA256}, (SECRET,), allow_sha1=True)


def test_another_secret_is_a_mismatch_with_the_status_of_an_invalid_signature() -> None:
    """A mismatch can be told apart by the code, and not by the requester."""
    with pytest.raises(SignatureMismatch) as caught:
        verify({"x-hub-signature-256": SHA256}, secrets=(b"other",))
    assert (caught.value.status, caught.value.reason) == (401, SignatureInvalid.reason)


@pytest.mark.parametrize(
    "value",
    [
        "",
        "sha256=",
        SHA256.removeprefix("sha256="),
        SHA256.upper(),
        "sha256=" + SHA256[7:].upper(),
        SHA256 + "\n",
        " " + SHA256,
        SHA256 + " ",
        SHA256[:-1],
        SHA256 + "0",
        f"{SHA256},{SHA256}",
        f"{SHA256}, {SHA256}",
        SHA256.replace("sha256", "sha512"),
        SHA1,
        "sha256=" + "é" * 64,
        "sha256=" + "\u0661" * 64,
        "sha256=" + "\ud800" * 64,
        "sha256=0x" + "0" * 62,
    ],
)
def test_a_malformed_header_is_refused_and_is_no_mismatch(value: str) -> None:
    """Strictly `sha256=` and 64 lower-case hex digits; text that is not ASCII must not crash the comparison."""
    with pytest.raises(SignatureInvalid, match="malformed") as caught:
        verify({"x-hub-signature-256": value})
    assert not isinstance(caught.value, SignatureMismatch)


@pytest.mark.parametrize("allow_sha1", [True, False])
def test_a_missing_signature_is_refused(allow_sha1: bool) -> None:
    """No header is no signature, whatever is allowed."""
    with pytest.raises(SignatureInvalid, match="missing"):
        verify({"content-type": "application/json"}, allow_sha1=allow_sha1)


def test_sha1_verifies_where_it_is_allowed() -> None:
    """Old GitHub Enterprise signs with sha1 alone."""
    verify({"x-hub-signature": SHA1}, allow_sha1=True)


def test_sha1_is_refused_by_default_even_when_it_is_right() -> None:
    """Taking the sha256 header away must not open an easier door."""
    with pytest.raises(SignatureInvalid, match="missing"):
        verify({"x-hub-signature": SHA1})


@pytest.mark.parametrize("strong", ["", "nonsense", "sha256=" + "0" * 64])
def test_sha1_is_no_fallback_beside_a_wrong_sha256(strong: str) -> None:
    """A right sha1 does not help where a sha256 header is there at all."""
    with pytest.raises(SignatureInvalid):
        verify({"x-hub-signature-256": strong, "x-hub-signature": SHA1}, allow_sha1=True)


def test_sha1_must_match_too() -> None:
    """An allowed sha1 header of other bytes is a mismatch."""
    with pytest.raises(SignatureMismatch):
        verify({"x-hub-signature": "sha1=" + "0" * 40}, allow_sha1=True)


@pytest.mark.parametrize("secrets", [(), (b"",), (b" \n",), (SECRET, b"")])
def test_without_a_secret_nothing_verifies(secrets: tuple[bytes, ...]) -> None:
    """Not even a signature made with the empty secret: a missing secret is no open door."""
    value = "sha256=" + hmac.new(b"", BODY, hashlib.sha256).hexdigest()
    with pytest.raises(SecretUnusable):
        verify({"x-hub-signature-256": value}, secrets=secrets)


def test_messages_show_neither_secret_nor_signature() -> None:
    """What is refused goes to the log by its message."""
    for value in ("sha256=" + "0" * 64, "sha256=abcdef-looks-secret"):
        with pytest.raises(SignatureInvalid) as caught:
            verify({"x-hub-signature-256": value})
        assert value[7:] not in str(caught.value)
        assert SECRET.decode() not in str(caught.value)


@given(body=st.binary(), secret=st.binary(min_size=1).filter(bytes.strip), others=st.lists(st.just(b"other")))
def test_what_the_secret_signed_verifies(body: bytes, secret: bytes, others: list[bytes]) -> None:
    """Any bytes, any secret, in any company."""
    value = "sha256=" + hmac.new(secret, body, hashlib.sha256).hexdigest()
    verify_signature(body, {"x-hub-signature-256": value}, [*others, secret], allow_sha1=False)


@given(
    headers=st.dictionaries(st.sampled_from(["x-hub-signature-256", "x-hub-signature"]), st.text()),
    secrets=st.lists(st.binary(), max_size=3),
    allow_sha1=st.booleans(),
)
def test_nothing_else_verifies_or_crashes(headers: dict[str, str], secrets: list[bytes], allow_sha1: bool) -> None:
    """Whatever the headers hold, it is one of our errors."""
    with pytest.raises(Git2EfsError):
        verify_signature(b"body", headers, secrets, allow_sha1=allow_sha1)
