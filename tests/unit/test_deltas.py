"""Indexing a pack and reading its objects within a bound: what dulwich finds without one."""

import io
import zlib
from collections.abc import Sequence

import pytest
from dulwich.object_format import SHA1
from dulwich.pack import Pack, PackData, load_pack_index_file, write_pack_index_v2
from hypothesis import given
from hypothesis import strategies as st

from handler.errors import MirrorDamaged, ObjectTooLarge
from handler.mount.git.deltas import object_size
from handler.mount.git.ingest import index_entries
from handler.mount.git.objects import Objects, hash_object, resolve
from handler.mount.git.packs import NOT_A_PACK, RawObject, pack_of, record_at
from tests.functional.bombs import delta, pack, record, whole

_ON_OFFSET, _ON_NAME, _BLOB = 6, 7, 3


def none(object_id: bytes, /) -> RawObject:
    """There are no other objects."""
    raise KeyError(object_id)


@st.composite
def forests(draw: st.DrawFn) -> tuple[bytes, list[bytes]]:
    """Make a pack of blobs, some of which are deltas upon earlier ones, by offset or by id; and their contents."""
    records: list[bytes] = []
    offsets: list[int] = []
    contents: list[bytes] = []
    at = 12
    for number in range(draw(st.integers(1, 12))):
        base = draw(st.none() | st.integers(0, number - 1)) if number else None
        if base is None:
            content = b"%03d" % number + draw(st.binary(max_size=60))
            each = whole(content)
        else:
            insert = b"%03d" % number
            size = draw(st.integers(len(insert), 300))
            changes = delta(len(contents[base]), size, insert)
            source = contents[base]
            content = (source * (size // len(source) + 1))[: size - 3] + insert
            if draw(st.booleans()):
                each = record(_ON_OFFSET, len(changes), zlib.compress(changes), at - offsets[base])
            else:
                name = bytes.fromhex(_object_id(contents[base]))
                each = record(_ON_NAME, len(changes), name + zlib.compress(changes))
        records.append(each)
        offsets.append(at)
        contents.append(content)
        at += len(each)
    return pack(records), contents


def _object_id(content: bytes) -> str:
    return hash_object(_BLOB, content).decode()


def _data(content: bytes) -> PackData:
    return PackData("received", SHA1, file=io.BytesIO(content))


def _opened(content: bytes, entries: Sequence[tuple[bytes, int, int | None]]) -> Pack:
    index = io.BytesIO()
    write_pack_index_v2(index, sorted(entries), content[-20:])
    return Pack.from_objects(_data(content), load_pack_index_file("received", io.BytesIO(index.getvalue()), SHA1))


@given(forest=forests(), most=st.integers(900, 3000))
def test_the_index_is_dulwichs_and_every_object_reads_as_it_was_made(
    forest: tuple[bytes, list[bytes]], most: int
) -> None:
    """However little may stay in memory: what had to make room is made again."""
    content, contents = forest
    entries, external = index_entries(_data(content), none, {}, most)
    assert not external
    assert sorted(entries) == sorted(_data(content).iterentries())
    opened = _opened(content, entries)
    by_id = {name.hex(): offset for name, offset, _ in entries}
    for each in contents:
        offset = by_id[_object_id(each)]
        assert resolve(opened, offset, most) == (_BLOB, each)
        assert object_size(content, record_at(content, offset)) == len(each)


@given(forest=forests(), less=st.integers(1, 50))
def test_an_object_over_the_bound_is_never_made(forest: tuple[bytes, list[bytes]], less: int) -> None:
    """Neither at the fetch nor when it is read: whole or a delta, wherever in the chain."""
    content, contents = forest
    largest = max(map(len, contents))
    bound = max(largest - less, 0)
    with pytest.raises(ObjectTooLarge):
        index_entries(_data(content), none, {}, bound)
    entries, _ = index_entries(_data(content), none, {}, 10_000)
    offset = {name.hex(): at for name, at, _ in entries}[_object_id(max(contents, key=len))]
    with pytest.raises(ObjectTooLarge):
        resolve(_opened(content, entries), offset, bound)


@given(forest=forests(), at=st.integers(0), byte=st.integers(0, 255))
def test_a_byte_changed_anywhere_is_a_known_failure(forest: tuple[bytes, list[bytes]], at: int, byte: int) -> None:
    """Nothing else is raised than what becomes an outcome."""
    at = 12 + at % (len(forest[0]) - 32)
    content = forest[0][:at] + bytes([byte]) + forest[0][at + 1 :]
    try:
        entries, _ = index_entries(_data(content), none, {}, 1000)
        opened = _opened(content, entries)
        for _, offset, _ in entries:
            resolve(opened, offset, 1000)
            object_size(content, record_at(content, offset))
    except (ObjectTooLarge, *NOT_A_PACK):
        pass


def test_a_chain_that_leads_round_in_a_circle_ends() -> None:
    """Two deltas that name each other by id, in a pack with an index that somebody made up."""
    changes = zlib.compress(delta(5, 5, b"01234"))
    names = b"a" * 20, b"b" * 20
    records = [record(_ON_NAME, 8, names[1 - number] + changes) for number in range(2)]
    content = pack(records)
    opened = _opened(content, [(names[0], 12, 0), (names[1], 12 + len(records[0]), 0)])
    with pytest.raises(NOT_A_PACK):
        resolve(opened, 12, 1000)


def test_an_index_that_leads_beyond_its_names_is_damage() -> None:
    """Also where only the base of a delta is looked up there. `make fuzz` found it."""
    for number in range(50):
        base = b"base %d" % number
        name = bytes.fromhex(_object_id(base))
        made = delta(len(base), 9, b"!")
        content = pack([whole(base), record(_ON_NAME, len(made), name + zlib.compress(made))])
        entries, _ = index_entries(PackData("p", SHA1, file=io.BytesIO(content)), none, {}, 1000)
        (other,) = (each for each, _, _ in entries if each != name)
        if other[0] not in (name[0], name[0] + 1):
            break
    index = io.BytesIO()
    write_pack_index_v2(index, sorted(entries), content[-20:])
    damaged = bytearray(index.getvalue())
    # The fan-out table: how many names begin with this byte or a smaller one.
    damaged[8 + 4 * name[0] : 12 + 4 * name[0]] = (1_000_000).to_bytes(4, "big")
    objects = Objects()
    objects.packs["p"] = pack_of(io.BytesIO(content), bytes(damaged), "p")
    with pytest.raises(MirrorDamaged):
        objects.read_raw(other)
    objects.packs["p"].close()
