"""What is fuzzed: each target reads bytes as the service reads them, and lets only our own refusals pass.

A target raises for a defect: an exception that is no refusal, or a promise that does not hold. Bytes that a checksum
covers get the right one, so that a mutation is not refused before it is read.
"""

import hashlib
import io
import json
import struct
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from types import MappingProxyType

from handler.config.names import is_full_name, ref_problem
from handler.config.repository import parameter_of, parse_repository
from handler.errors import (
    ConfigurationInvalid,
    CopyUnusable,
    Git2EfsError,
    Malformed,
    MirrorDamaged,
    ObjectTooLarge,
    PackInvalid,
    PackTooLarge,
    Rejected,
    SignatureInvalid,
    TreeUnsafe,
)
from handler.exchange.messages import decode_answer, decode_call, encode_call
from handler.model import Delivery, Forge
from handler.mount.git.ingest import PackSpool, index_pack
from handler.mount.git.objects import Objects, hash_object
from handler.mount.git.objects import resolve as resolve_object
from handler.mount.git.packs import NOT_A_PACK, RawObject, pack_of
from handler.mount.working_copy.index.index_file import IndexFile
from handler.network.aws.api_gateway import read_request, read_route
from handler.network.forges import bitbucket, gitea, gitlab, receiver_of
from handler.network.forges.github import read_delivery, read_full_name, read_payload, read_push, verify_signature
from handler.network.queue.message import decode_message, encode_message
from handler.network.remote.protocol import exact_reader, read_fetch, read_packets, read_refs
from handler.network.remote.protocol_v0 import read_advertisement
from tests.functional import bombs
from tests.functional.packs import signed

MAX_OBJECT_BYTES = 64 * 1024
MAX_BODY_BYTES = 64 * 1024
BASE: RawObject = (3, b"the base that a thin delta may name\n" * 4)
BASE_ID = hash_object(*BASE)
_TRAILER_BYTES = 20
_EVENTS = (
    *((Forge.GITLAB, name) for name in sorted(gitlab.PUSH_EVENTS)),
    *((Forge.GITEA, name) for name in sorted(gitea.PUSH_EVENTS)),
    *((Forge.BITBUCKET, name) for name in sorted(bitbucket.PUSH_EVENTS)),
)


@dataclass(frozen=True, slots=True)
class FuzzTarget:
    """`run` raises for a defect and for nothing else; `seeds` are well formed, and what the fuzzer begins with."""

    run: Callable[[bytes], None]
    seeds: Sequence[bytes]


# -- the webhook's door ------------------------------------------------------------------------------------------------


def event(content: bytes) -> None:
    """An event of API Gateway, as JSON: read, and refused by its signature."""
    with suppress(ValueError, RecursionError):
        found = json.loads(content)
        with suppress(Rejected):
            request = read_request(found, max_body_bytes=MAX_BODY_BYTES)
            assert len(request.body) <= MAX_BODY_BYTES
            read_route(request.path)
            with suppress(SignatureInvalid):
                verify_signature(request.body, request.headers, [b"secret"], allow_sha1=False)
                raise AssertionError("a signature that nobody made is valid")
            for forge in Forge:
                with suppress(SignatureInvalid):
                    receiver_of(forge).verify_signature(request.body, request.headers, [b"secret", b"whsec_c2VjcmV0"])
                    raise AssertionError("a signature that nobody made is valid")
            read_push(read_payload(read_delivery(request.headers, request.body)))


def payload(content: bytes) -> None:
    """The body of a delivery whose signature was right; the first byte chooses its media type."""
    media_type = "application/json" if content[:1] < b"\x80" else "application/x-www-form-urlencoded"
    delivery = read_delivery({"x-github-event": "push", "content-type": media_type}, content[1:])
    with suppress(Rejected):
        fields = read_payload(delivery)
        with suppress(Rejected):
            read_full_name(fields)
        read_push(fields)


def forge_payload(content: bytes) -> None:
    """The same of another forge; the first byte chooses the forge and its event."""
    forge, event_name = _EVENTS[(content[0] if content else 0) % len(_EVENTS)]
    delivery = Delivery(id="", event=event_name, media_type="application/json", body=content[1:], forge=forge)
    with suppress(Rejected):
        _, found = receiver_of(forge).read_pushed(delivery)
        assert all(is_full_name(each.repository) and not ref_problem(each.ref) for each in found)


# -- messages ----------------------------------------------------------------------------------------------------------


def message(content: bytes) -> None:
    """A message of the queue. What is taken, is written again as the same message."""
    with suppress(Malformed):
        found = decode_message(content.decode("utf-8", "surrogateescape"))
        assert decode_message(encode_message(found)) == found


def parameter(content: bytes) -> None:
    """A repository's parameter. What is taken, is written again as the same repository."""
    with suppress(ConfigurationInvalid):
        found = parse_repository("octo/site", content.decode("utf-8", "surrogateescape"))
        assert parse_repository("octo/site", json.dumps(parameter_of(found))) == found


def call(content: bytes) -> None:
    """A call of the mount side. What is taken, is written again as the same call."""
    with suppress(ValueError, RecursionError):
        plain = json.loads(content)
        with suppress(Malformed):
            found = decode_call(plain)
            again = decode_call(json.loads(encode_call(found.action, found.arguments)))
            assert again == found


def answer(content: bytes) -> None:
    """The mount side's answer; the first byte chooses of which call."""
    actions = ("publish", "look", "survey", "maintain", "target_statuses", "verify", "read_schedule_state")
    with suppress(Git2EfsError):
        decode_answer(actions[content[0] % len(actions)] if content else "publish", content[1:])


# -- git ---------------------------------------------------------------------------------------------------------------


def refs(content: bytes) -> None:
    """A remote's answer to `ls-refs`, in both of git's protocols."""
    with suppress(Git2EfsError):
        read_refs(_packets(content))
    with suppress(Git2EfsError):
        read_advertisement(exact_reader(io.BytesIO(content).read, _no_deadline))


def fetch(content: bytes) -> None:
    """A remote's answer to a fetch, up to the pack's bytes."""
    with suppress(Git2EfsError):
        read_fetch(_packets(content), io.BytesIO().write)


def pack(content: bytes) -> None:
    """A received pack, with the right checksum under it."""
    _take_pack(signed(content))


def deltas(content: bytes) -> None:
    """A pack whose records are what the bytes say, compressed; so that mutations get as far as the deltas."""
    records = list(_records(content))
    _take_pack(signed(b"PACK" + struct.pack(">LL", 2, len(records)) + b"".join(records)))


def pack_index(content: bytes) -> None:
    """A pack's index, which the mount may give back changed: no object is read that is not what its id says."""
    objects = Objects()
    try:
        objects.packs["fuzzed"] = pack_of(io.BytesIO(_a_pack()), content, "fuzzed")
    except NOT_A_PACK:
        return  # whoever opens an index says so
    for name in (hash_object(3, b"hello " * 9), BASE_ID):
        with suppress(MirrorDamaged, ObjectTooLarge, TreeUnsafe):
            assert hash_object(3, objects.read(name, 3)) == name


def copy_index(content: bytes) -> None:
    """A working copy's index, with the right checksum under it. It has to be read, and refused, in one way only."""
    with suppress(CopyUnusable):
        found = IndexFile.read(content + hashlib.sha1(content).digest(), 0)
        paths = found.paths_below(b"")
        found.entries(paths)
        # What reads it is to read what it writes.
        IndexFile.read(found.patch(dict.fromkeys(paths[:1])), 0)


def _packets(content: bytes) -> Iterator[bytes]:
    return read_packets(exact_reader(io.BytesIO(content).read, _no_deadline))


def _no_deadline() -> None:
    pass


def _read_base(object_id: bytes, /) -> RawObject:
    if object_id in (BASE_ID, bytes.fromhex(BASE_ID.decode())):
        return BASE
    raise KeyError(object_id)


def _held(object_id: bytes) -> RawObject | None:
    return BASE if object_id == bytes.fromhex(BASE_ID.decode()) else None


def _no_file() -> tuple[io.BytesIO, str]:
    raise AssertionError("a small pack is received into a file")


def _take_pack(content: bytes) -> None:
    """Receive and index a pack, and read each of its objects by the index: it is what its id says."""
    with suppress(PackInvalid, PackTooLarge, ObjectTooLarge, MirrorDamaged):
        spool = PackSpool(1024 * 1024, _no_file)
        spool.write(content)
        fresh: dict[bytes, RawObject] = {}
        indexed = index_pack(spool, _read_base, fresh, MAX_OBJECT_BYTES, _held)
        if indexed is None:
            return
        made = pack_of(io.BytesIO(spool.content()), indexed.index, "fuzzed")
        try:
            for name, offset, _ in made.index.iterentries():
                kind, found = resolve_object(made, offset, MAX_OBJECT_BYTES)
                assert len(found) <= MAX_OBJECT_BYTES
                assert hash_object(kind, found) == name.hex().encode()
                assert fresh.get(name.hex().encode(), (kind, found)) == (kind, found)
        finally:
            made.close()


def _records(content: bytes) -> Iterator[bytes]:
    """Yield the records that the bytes describe: kind, how far back or which base, a length, and as many bytes."""
    at, last = 0, b""
    while at + 3 <= len(content):
        head, distance, length = content[at : at + 3]
        at += 3
        part = content[at : at + length]
        at += length
        kind, size = head & 7, len(part) if head < 0xF0 else len(part) * distance
        if kind == 6:
            # The record just before, or so many bytes back, which may be inside of one.
            each = bombs.record(kind, size, zlib.compress(part, 1), len(last) if distance == 0 else distance)
        elif kind == 7:
            named = bytes.fromhex(BASE_ID.decode()) if distance < 0x80 else hashlib.sha1(part).digest()
            each = bombs.record(kind, size, named + zlib.compress(part, 1))
        else:
            each = bombs.record(kind, size, zlib.compress(part, 1))
        last = each
        yield each


# -- what the fuzzer begins with ---------------------------------------------------------------------------------------

_ID = "ab" * 20
_PUSH = {
    "ref": "refs/heads/main",
    "before": _ID,
    "after": "cd" * 20,
    "deleted": False,
    "repository": {"full_name": "octo/site", "default_branch": "main", "pushed_at": 1_700_000_000},
    "commits": [{"id": "cd" * 20, "timestamp": "2026-01-01T00:00:00Z"}],
    "head_commit": {"id": "cd" * 20, "timestamp": "2026-01-01T00:00:00+01:00"},
}
_REF_CHANGE = {"ref": {"id": "refs/heads/main"}, "fromHash": _ID, "toHash": "cd" * 20, "type": "UPDATE"}
_END = {"type": "branch", "name": "main", "target": {"hash": _ID, "date": "2026-01-01T00:00:00+00:00"}}
_OF_GITLAB = {
    "ref": "refs/heads/main",
    "before": _ID,
    "after": "cd" * 20,
    "checkout_sha": "cd" * 20,
    "project": {"path_with_namespace": "group/sub/site", "default_branch": "main"},
    "commits": [{"id": "cd" * 20, "timestamp": "2026-01-01T00:00:00Z"}],
}
_PUSHES = (
    _OF_GITLAB,
    _OF_GITLAB | {"ref": "refs/tags/v1"},
    {"ref": "main", "ref_type": "branch", "repository": {"full_name": "octo/site"}},
    _PUSH,
    {
        "repository": {"full_name": "octo/site"},
        "push": {"changes": [{"old": _END, "new": _END, "forced": False, "truncated": False, "commits": [{}]}]},
    },
    {
        "date": "2026-01-01T10:00:00+1000",
        "repository": {"slug": "site", "project": {"key": "~OCTO"}},
        "changes": [_REF_CHANGE],
    },
)
"""One for each of `_EVENTS`."""
_EVENT = {
    "version": "2.0",
    "rawPath": "/github/octo/site",
    "headers": {"X-Hub-Signature-256": "sha256=" + "0" * 64, "X-GitHub-Event": "push", "content-type": "a/b; c=d"},
    "body": "e30=",
    "isBase64Encoded": True,
}
_MESSAGE = {
    "version": 1,
    "cause": "push",
    "repository": "octo/site",
    "ref": "refs/heads/main",
    "before": _ID,
    "after": "cd" * 20,
    "is_single": True,
    "is_deleted": False,
    "pushed_at": 1_700_000_000,
    "committed_at": 1_700_000_000.5,
    "delivery": "72d3162e-cc78-11e3-81ab-4c9367dc0958",
    "received_at": 1_700_000_001.5,
}
_PARAMETER = {
    "url": "https://github.com/octo/site.git",
    "publish": [
        {"ref": "refs/heads/main", "path": "octo/site/main", "mode": "working-copy"},
        {"ref": "refs/tags/v*", "latest": True},
        {"ref": "refs/heads/*", "path": "sites/*"},
    ],
    "credentials": "/git2efs/git2efs/credentials/deploy",
    "keep_releases": 3,
    "grace_seconds": 300,
    "depth": 1,
    "max_tree_bytes": 1_000_000,
}


def _json(value: object) -> bytes:
    return json.dumps(value).encode()


def _lines(*lines: bytes) -> bytes:
    return b"".join(b"%04x%b" % (len(line) + 4, line) for line in lines)


def _a_pack() -> bytes:
    whole = bombs.whole(b"hello " * 9)
    return bombs.pack([whole, bombs.on_the_last(bombs.delta(54, 60, b"!"), whole)])


def _an_index_of_a_pack() -> bytes:
    spool = PackSpool(1024, _no_file)
    spool.write(_a_pack())
    indexed = index_pack(spool, _read_base, {}, MAX_OBJECT_BYTES, _held)
    assert indexed is not None
    return indexed.index


def _an_index_of_a_copy(version: int) -> bytes:
    stat = struct.pack(">10L", 1, 2, 3, 4, 5, 6, 0o100644, 8, 9, 10) + bytes(20)
    if version == 4:
        return b"DIRC" + struct.pack(">LL", 4, 1) + stat + struct.pack(">H", 3) + b"\0abc\0"
    entries = b""
    for path in (b"a/b", b"c"):
        entry = stat + struct.pack(">H", len(path)) + path
        entries += entry + bytes(8 - len(entry) % 8)
    tree = b"\0-1 1\na\x001 0\n" + bytes(20)
    return b"DIRC" + struct.pack(">LL", version, 2) + entries + b"TREE" + struct.pack(">L", len(tree)) + tree


_ADVERTISED = _lines(
    _ID.encode() + b" HEAD\0multi_ack symref=HEAD:refs/heads/main\n", _ID.encode() + b" refs/heads/main\n"
)
_LOOK = {"target": {"ref": "refs/heads/main", "path": "octo/site/main"}, "repository": "octo/site"}

TARGETS = MappingProxyType(
    {
        "event": FuzzTarget(event, (_json(_EVENT), _json(_EVENT | {"multiValueHeaders": {"A": ["b", "c"]}}))),
        "payload": FuzzTarget(
            payload, (b"\0" + _json(_PUSH), b"\xffpayload=%7B%22ref%22%3A%22refs%2Fheads%2Fmain%22%7D")
        ),
        "forges": FuzzTarget(
            forge_payload, tuple(bytes([number]) + _json(seed) for number, seed in enumerate(_PUSHES))
        ),
        "message": FuzzTarget(message, (_json(_MESSAGE), _json(_MESSAGE | {"cause": "schedule"}))),
        "parameter": FuzzTarget(parameter, (b"{}", _json(_PARAMETER))),
        "call": FuzzTarget(
            call,
            (
                _json({"version": 1, "action": "look", "arguments": _LOOK}),
                _json(
                    {
                        "version": 1,
                        "action": "receive",
                        "arguments": {"repository": "octo/site", "transfer": "ab" * 16, "offset": 0, "content": "AAAA"},
                    }
                ),
            ),
        ),
        "answer": FuzzTarget(
            answer,
            (
                b"\1" + _json({"version": 1, "result": {"kind": "unchanged", "reason": "seen"}}),
                b"\0" + _json({"version": 1, "failure": {"reason": "mount_full", "message": "no room"}}),
            ),
        ),
        "refs": FuzzTarget(
            refs,
            (
                _lines(
                    _ID.encode() + b" HEAD symref-target:refs/heads/main\n",
                    _ID.encode() + b" refs/tags/v1 peeled:" + _ID.encode() + b"\n",
                )
                + b"0000",
                _lines(b"# service=git-upload-pack\n") + b"0000" + _ADVERTISED + b"0000",
            ),
        ),
        "fetch": FuzzTarget(
            fetch,
            (
                _lines(b"shallow-info\n", b"shallow " + _ID.encode())
                + b"0001"
                + _lines(b"packfile\n", b"\2progress", b"\1PACK")
                + b"0000",
                _lines(b"ERR upload-pack: not our ref " + _ID.encode()),
            ),
        ),
        "pack": FuzzTarget(pack, (_a_pack()[:-_TRAILER_BYTES], bombs.comb(40, 2)[:-_TRAILER_BYTES])),
        "deltas": FuzzTarget(
            deltas,
            (
                b"\3\0\6abcdef" + b"\6\0\5\6\6\x90\6\0",
                b"\7\0\4\x90\1\2\x90",
                b"\2\0\0\1\0\3abc\6\7\3\3\3\1a",
            ),
        ),
        "pack_index": FuzzTarget(pack_index, (_an_index_of_a_pack(),)),
        "copy_index": FuzzTarget(copy_index, tuple(map(_an_index_of_a_copy, (2, 3, 4)))),
    }
)
"""By name."""
