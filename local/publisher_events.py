"""Messages of the network side to the publisher, made from a commit, as ready events: the first publish, and a part.

Nothing of the clock, of chance or of zlib is in them: the same commit makes the same bytes.
"""

import hashlib
import json
import struct
import zlib
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from dulwich.object_store import BaseObjectStore, iter_tree_contents
from dulwich.objects import Commit, ObjectID, ShaFile, Tree

from handler.config.repository import parse_repository
from handler.exchange.answers import Answers, PackAnswer, RefsAnswer
from handler.exchange.messages import encode_call
from handler.exchange.publisher import PublishRequest
from handler.exchange.remote import FetchQuery
from handler.model import PushEvent, Target, Tip


def first_publish(push: PushEvent, pack: bytes, *, delivery: str, asked_at: float) -> dict[str, Any]:
    """Return the call that publishes a push where nothing is published yet, with a pack of the pushed commit alone.

    The remote was asked at `asked_at`, in seconds since the epoch. A publisher whose clock is a minute further takes no
    such answer, and asks for another one.
    """
    repository = replace(parse_repository(push.repository, "{}"), url="")
    branch = push.ref.removeprefix("refs/heads/")
    request = PublishRequest(
        repository=repository,
        target=Target(ref=push.ref, path=f"{push.repository}/{branch}"),
        push=push,
        delivery=delivery,
        received_at=asked_at,
        answers=Answers(
            (
                RefsAnswer(
                    ref=push.ref, asked_at=asked_at, answered_at=asked_at, tip=Tip(push.ref, push.after, push.after)
                ),
            ),
            (
                PackAnswer(
                    query=FetchQuery(push.after, None, repository.depth),
                    asked_at=asked_at,
                    size=len(pack),
                    shallow=(push.after,),
                    pack=pack,
                ),
            ),
            len(pack),
        ),
        makes_spares=True,
    )
    return _message("publish", request=request)


def first_part(repository: str, pack: bytes, transfer: str) -> dict[str, Any]:
    """Return the call that sends the first part of a pack; `transfer` has 32 hex digits."""
    return _message("receive", repository=repository, transfer=transfer, offset=0, content=pack)


def _message(action: str, **arguments: object) -> dict[str, Any]:
    message: dict[str, Any] = json.loads(encode_call(action, arguments))
    return message


def pack_of(store: BaseObjectStore, commit: str) -> bytes:
    """Return a pack of a commit without its parents, each object whole. Every object has less than 64 KiB."""
    objects = list(_objects(store, ObjectID(commit.encode())))
    body = b"PACK" + struct.pack(">II", 2, len(objects))
    body += b"".join(_head(each) + _stored(each.as_raw_string()) for each in objects)
    return body + hashlib.sha1(body, usedforsecurity=False).digest()


def _objects(store: BaseObjectStore, commit_id: ObjectID) -> Iterator[ShaFile]:
    commit = store[commit_id]
    assert isinstance(commit, Commit)
    yield commit
    root = store[commit.tree]
    assert isinstance(root, Tree)
    yield root
    ids = {entry.sha for entry in iter_tree_contents(store, commit.tree, include_trees=True)} - {commit.tree}
    yield from (store[each] for each in sorted(ids))


def _head(packed: ShaFile) -> bytes:
    """Return an object's type and size as a pack has them: four bits, then seven a byte, the low ones first."""
    size = len(packed.as_raw_string())
    found = [packed.type_num << 4 | size & 0x0F]
    size >>= 4
    while size:
        found[-1] |= 0x80
        found.append(size & 0x7F)
        size >>= 7
    return bytes(found)


def _stored(content: bytes) -> bytes:
    """Return the content as a zlib stream of one stored block: compressors differ, and versions of one do."""
    assert len(content) < 65_536
    head = b"\x78\x01\x01" + struct.pack("<HH", len(content), len(content) ^ 0xFFFF)
    return head + content + struct.pack(">I", zlib.adler32(content))
