"""Records of a pack and names of an index, read faster than dulwich reads them, and to the same end."""

import io
import struct
import zlib

import pytest
from dulwich.object_format import SHA1
from dulwich.objects import RawObjectID
from dulwich.pack import Pack, PackIndex2, load_pack_index_file, obj_sha, unpack_object_at, write_pack_index_v2
from hypothesis import given
from hypothesis import strategies as st

from handler.mount.git import packs
from handler.mount.git.packs import checksum, inflate, inflate_parts, object_id, offset_in, record_at
from tests.functional.bombs import record

CONTENTS = st.one_of(st.binary(max_size=300), st.integers(0, 200_000).map(lambda size: b"ab" * size))


@given(contents=st.lists(CONTENTS, min_size=1, max_size=4), level=st.integers(0, 9), before=st.binary(max_size=9))
def test_a_record_is_what_dulwich_reads(contents: list[bytes], level: int, before: bytes) -> None:
    """Content, end, CRC-32 and id, wherever it lies, however well it is compressed."""
    pack, starts = before, []
    for content in contents:
        starts.append(len(pack))
        pack += record(3, len(content), zlib.compress(content, level))
    pack += bytes(20)  # the checksum: dulwich reads on until something follows
    for start, content in zip(starts, contents, strict=True):
        found = record_at(pack, start)
        parts, end = inflate_parts(pack, found)
        unpacked, wanted_end = unpack_object_at(pack, start, SHA1.hash_func, compute_crc32=True)
        assert b"".join(parts) == content == inflate(pack, found, len(content))
        assert end == wanted_end
        assert checksum(pack, start, end) == unpacked.crc32
        assert object_id(3, parts) == obj_sha(3, content)


@pytest.mark.parametrize("size", [10, 70_000, 300_000])
@pytest.mark.parametrize("off", [-1, 1])
def test_a_size_that_is_off_by_one_is_seen(size: int, off: int) -> None:
    """Neither cut nor filled up."""
    content = record(3, size + off, zlib.compress(b"x" * size))
    with pytest.raises(zlib.error):
        inflate_parts(content, record_at(content, 0))


@pytest.mark.parametrize("kept", [1, 0.99, 0.5, 0.0])
def test_a_record_that_is_cut_is_seen(kept: float) -> None:
    """In its middle, before its checksum, at its beginning; whole it is read."""
    stream = zlib.compress(b"".join(b"%d" % number for number in range(60_000)))
    whole = record(3, sum(len(b"%d" % number) for number in range(60_000)), stream)
    content = whole[: int(len(whole) - len(stream) * (1 - kept))]
    if kept == 1:
        assert inflate_parts(content, record_at(content, 0))[1] == len(whole)
    else:
        with pytest.raises(zlib.error):
            inflate_parts(content, record_at(content, 0))


def test_what_is_no_type_has_no_id() -> None:
    """Of a whole object; there are four."""
    with pytest.raises(KeyError):
        object_id(0, [b""])


def _pack(names: dict[bytes, int]) -> Pack:
    file = io.BytesIO()
    write_pack_index_v2(file, sorted((name, at, 0) for name, at in names.items()), b"\0" * 20)
    index = load_pack_index_file("pack.idx", io.BytesIO(file.getvalue()), SHA1)
    assert isinstance(index, PackIndex2)
    return Pack.from_lazy_objects(lambda: pytest.fail("the pack itself is not needed"), lambda: index)


@given(names=st.sets(st.binary(min_size=20, max_size=20), max_size=40), other=st.binary(min_size=20, max_size=20))
def test_every_name_is_found_and_no_other(names: set[bytes], other: bytes) -> None:
    """At the offset that was written."""
    pack = _pack({name: 12 + number for number, name in enumerate(sorted(names))})
    for number, name in enumerate(sorted(names)):
        assert offset_in(pack, RawObjectID(name)) == 12 + number
    if other not in names:
        with pytest.raises(KeyError):
            offset_in(pack, RawObjectID(other))


def test_no_name_is_found_across_two_others() -> None:
    """The end of one and the beginning of the next."""
    pack = _pack({b"\7" * 19 + b"\6": 1, b"\7" * 20: 2})
    assert offset_in(pack, RawObjectID(b"\7" * 20)) == 2
    with pytest.raises(KeyError):
        offset_in(pack, RawObjectID(b"\7" * 18 + b"\6\7"))


def test_a_large_offset_and_a_large_index_are_dulwichs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Past 2 GiB the offset stands in a table of its own."""
    names = {struct.pack(">20s", bytes([number]) * 20): 2**31 + number for number in range(9)}
    pack = _pack(names)
    assert [offset_in(pack, RawObjectID(name)) for name in names] == list(names.values())
    monkeypatch.setattr(packs, "_SCANNED_NAMES", 0)
    small = _pack({name: at - 2**31 for name, at in names.items()})
    assert [offset_in(small, RawObjectID(name)) for name in names] == list(range(9))
