"""Expand an index of version 4, whose paths share prefixes with the path before, to version 3. Pure."""

from handler.mount.working_copy.index.entry import EXTENDED, FIXED_BYTES
from handler.mount.working_copy.index.scan import CHECKSUM_BYTES, HEADER, damaged


def expand_v4(content: bytes, count: int) -> bytes:
    """Return the same index with whole paths, as versions 2 and 3 have them. Its checksum is not updated.

    Git reads any version and writes the one it finds, so `git update-index --index-version 4` restores this one. Raises
    CopyUnusable if the entries exceed the file.
    """
    at = HEADER.size
    path = b""
    pieces = [HEADER.pack(b"DIRC", 3, count)]
    body = content[:-CHECKSUM_BYTES]
    try:
        for _ in range(count):
            name_at = at + FIXED_BYTES + (2 if body[at + FIXED_BYTES - 2] & (EXTENDED >> 8) else 0)
            fixed = body[at:name_at]
            # How many bytes of the path before to drop: seven bits a byte, the highest first. Each further byte adds
            # one, so that every number has one encoding.
            byte = body[name_at]
            dropped = byte & 0x7F
            while byte & 0x80:
                name_at += 1
                byte = body[name_at]
                dropped = (dropped + 1) << 7 | byte & 0x7F
            if dropped > len(path):
                raise damaged("a path begins before its beginning")
            at = body.index(b"\0", name_at + 1)
            path = path[: len(path) - dropped] + body[name_at + 1 : at]
            pieces.append(b"%b%b%b" % (fixed, path, bytes(8 - (len(fixed) + len(path)) % 8)))
            at += 1
    except (IndexError, ValueError):
        raise damaged("its entries run over its end") from None
    return b"".join([*pieces, content[at:]])
