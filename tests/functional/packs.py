"""Ways to spoil the pack in a fetch's answer, with the protocol around it left sound. For `GitOrigin.rewrite_next`."""

import hashlib
import struct
import zlib
from collections.abc import Callable, Mapping
from types import MappingProxyType

Rewrite = Callable[[bytes], bytes]


def spoiling(change: Rewrite) -> Rewrite:
    """Return a rewriting of an answer's body that passes its pack through `change`."""

    def rewrite(body: bytes) -> bytes:
        before, marker, rest = body.partition(b"000dpackfile\n")
        if not marker:
            return body
        pack = b"".join(line[1:] for line in _lines(rest) if line[:1] == b"\1")
        changed = change(pack)
        parts = [changed[at : at + 60_000] for at in range(0, len(changed), 60_000)]
        return before + marker + b"".join(b"%04x\1%b" % (len(part) + 5, part) for part in parts) + b"0000"

    return rewrite


def _lines(body: bytes) -> list[bytes]:
    lines, at = [], 0
    while (length := int(body[at : at + 4], 16)) >= 4:
        lines.append(body[at + 4 : at + length])
        at += length
    return lines


def signed(content: bytes) -> bytes:
    """Return a pack's content with the checksum that it should have."""
    return content + hashlib.sha1(content).digest()


def pack_of(*blobs: bytes) -> bytes:
    """Return a sound pack of blobs (each shorter than 16 bytes)."""
    objects = b"".join(bytes([3 << 4 | len(blob)]) + zlib.compress(blob) for blob in blobs)
    return signed(b"PACK" + struct.pack(">LL", 2, len(blobs)) + objects)


def _flip(pack: bytes, at: int) -> bytes:
    return pack[:at] + bytes([pack[at] ^ 0x10]) + pack[at + 1 :]


SPOILED: Mapping[str, Rewrite] = MappingProxyType(
    {
        "a bit flipped": lambda pack: _flip(pack, len(pack) // 2),
        "a bit flipped under a right checksum": lambda pack: signed(_flip(pack[:-20], len(pack) // 2)),
        "a wrong checksum": lambda pack: pack[:-1] + bytes([pack[-1] ^ 1]),
        "truncated": lambda pack: pack[: len(pack) // 2],
        "truncated under a right checksum": lambda pack: signed(pack[: len(pack) // 2]),
        "without checksum": lambda pack: pack[:-20],
        "nothing": lambda _: b"",
        "a few bytes": lambda _: b"PACK\0\0",
        "no pack": lambda pack: b"<html>" * (len(pack) // 6),
        "another version": lambda pack: signed(pack[:4] + b"\0\0\0\x09" + pack[8:-20]),
        "too many objects promised": lambda pack: signed(pack[:8] + b"\0\xff\xff\xff" + pack[12:-20]),
        "too few objects promised": lambda pack: signed(pack[:8] + b"\0\0\0\1" + pack[12:-20]),
        "a tail after it": lambda pack: pack + b"tail" * 10,
        "no objects": lambda _: pack_of(),
        "other objects": lambda _: pack_of(b"unasked", b"for"),
        "a base that is nowhere": lambda _: signed(
            b"PACK" + struct.pack(">LL", 2, 1) + b"\x75" + b"\7" * 20 + zlib.compress(b"\5\5\x90\5")
        ),
    }
)
"""By what is wrong with the pack."""
