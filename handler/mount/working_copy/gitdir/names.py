"""Names as git stores them: bytes that need not be UTF-8. Pure."""


def encode_name(name: str) -> bytes:
    """Return the bytes of a name."""
    return name.encode("utf-8", "surrogateescape")


def decode_name(name: bytes) -> str:
    """Return a name as text, from which `encode_name` returns the same bytes."""
    return name.decode("utf-8", "surrogateescape")
