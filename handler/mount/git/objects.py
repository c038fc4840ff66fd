"""Read objects from the open packs, and check them against their ids."""

from collections.abc import Container

from dulwich.errors import ApplyDeltaError
from dulwich.objects import RawObjectID
from dulwich.pack import Pack, PackData

from handler.errors import Git2EfsError, MirrorDamaged, NotACommit, ObjectTooLarge, TreeUnsafe
from handler.mount.git.commit import object_in, parse_commit, tree_in
from handler.mount.git.deltas import object_size, patch
from handler.mount.git.packs import (
    NOT_A_PACK,
    PAGES_BYTES,
    TYPE_NAMES,
    RawObject,
    as_binary,
    check_record,
    check_size,
    forget_pages,
    inflate,
    offset_in,
    record_at,
    unreadable,
)
from handler.mount.git.packs import object_id as id_of

COMMIT, TREE, BLOB, TAG = 1, 2, 3, 4
MAX_OBJECT_BYTES = 100 * 1024 * 1024
"""GitHub takes no larger file; the bound of a store that is not told another one."""
_MAX_TAG_DEPTH = 10
_LFS_VERSION = b"version https://git-lfs.github.com/spec/v1\n"
_LFS_BYTES = 1024
"""A pointer is smaller. Source: git-lfs's docs/spec.md."""

_FAULT_BYTES = 64 * 1024
"""What Linux maps around the page that is read."""

Fresh = dict[bytes, RawObject]
"""A fetch's objects by their hex ids, inflated and hashed: most of them are read next."""


class Objects:
    """The objects of some packs. `read` and `read_raw` are safe for threads as long as no pack comes or goes."""

    def __init__(self) -> None:
        self.max_object_bytes = MAX_OBJECT_BYTES
        """No larger object is received, read, or made from a delta."""
        self.packs: dict[str, Pack] = {}
        self.fresh: Fresh = {}
        self._bytes_read = 0

    def __contains__(self, object_id: str) -> bool:
        """Whether the object is in a pack."""
        binary = as_binary(object_id.encode())
        return any(_offset(pack, binary) is not None for pack in self.packs.values())

    def holds(self, object_id: str) -> bool:
        """Whether the object is certainly here, so that a fetch may build on it."""
        return object_id in self

    def read_raw(self, object_id: bytes, /) -> RawObject:
        """Return type and content of an object.

        Raises KeyError if it is missing, MirrorDamaged if it is unreadable, ObjectTooLarge.
        """
        pack, offset = self._locate(object_id)
        try:
            kind, content = resolve(pack, offset, self.max_object_bytes)
        except NOT_A_PACK as error:
            raise unreadable(error, "an object") from None
        self._count_pages(pack, len(content))
        return kind, content

    def held(self, object_id: bytes) -> RawObject | None:
        """Return an object that a pack holds (40 hex digits or binary), sound; None where it is missing or damaged."""
        try:
            # Not `self.read_raw`: where that looks beyond the packs, it costs round trips for each object that is new.
            kind, content = Objects.read_raw(self, object_id)
        except (KeyError, MirrorDamaged, ObjectTooLarge):
            return None
        return (kind, content) if as_binary(hash_object(kind, content)) == as_binary(object_id) else None

    def size_of(self, object_id: bytes) -> int:
        """Return how many bytes the object (40 hex digits) has, from the headers alone: it is not inflated.

        Raises MirrorDamaged if it is missing or unreadable, ObjectTooLarge if it is over the bound.
        """
        if fresh := self.fresh.get(object_id):
            return len(fresh[1])
        try:
            size = self._size_of(object_id)
        except KeyError:
            raise MirrorDamaged(f"object {object_id.decode()} is missing") from None
        check_size(size, self.max_object_bytes)
        return size

    def _size_of(self, object_id: bytes) -> int:
        pack, offset = self._locate(object_id)
        try:
            contents = pack.data._buffer()
            size = object_size(contents, record_at(contents, offset))
        except NOT_A_PACK as error:
            raise unreadable(error, "an object") from None
        self._count_pages(pack, _FAULT_BYTES)
        return size

    def _count_pages(self, pack: Pack, count: int) -> None:
        self._bytes_read += count
        if self._bytes_read > PAGES_BYTES:
            self._bytes_read = 0
            forget_pages(pack.data)

    def _locate(self, object_id: bytes) -> tuple[Pack, int]:
        """Return the pack that has the object (a hex or binary id), and where. Raises KeyError."""
        binary = as_binary(object_id)
        # Newest first: most of what a push needs came with the pushes just before it.
        for pack in reversed(list(self.packs.values())):
            offset = _offset(pack, binary)
            if offset is not None:
                return pack, offset
        raise KeyError(object_id)

    def read(self, object_id: bytes, kind: int) -> bytes:
        """Return the content of the object `object_id` (40 hex digits) of this kind, checked against its id.

        Safe for threads. Raises MirrorDamaged where it is missing, unreadable or not what its id says; ObjectTooLarge.
        """
        if fresh := self.fresh.get(object_id):
            return self._of_kind(object_id, *fresh, kind)
        try:
            found, content = self.read_raw(object_id)
        except KeyError:
            raise MirrorDamaged(f"object {object_id.decode()} is missing") from None
        if hash_object(found, content) != object_id:
            raise MirrorDamaged(f"object {object_id.decode()} is not what its id says")
        return self._of_kind(object_id, found, content, kind)

    @staticmethod
    def _of_kind(object_id: bytes, found: int, content: bytes, kind: int) -> bytes:
        if found != kind:
            raise TreeUnsafe(f"object {object_id.decode()} is not a {TYPE_NAMES[kind].decode()}")
        return content

    def tree_of(self, commit: str) -> bytes:
        """Return the id (hex) of a commit's tree."""
        return tree_in(self.read(commit.encode(), COMMIT))

    def committed_at(self, commit: str) -> int:
        """Return when a commit says that it was made, in seconds since the epoch; 0 where it says nothing readable."""
        content = self.read(commit.encode(), COMMIT)
        try:
            return parse_commit(content).committed_at
        except TreeUnsafe:
            return 0

    def peel(self, object_id: str) -> str:
        """Return the commit that an object (commit or annotated tag, however deep) names.

        Raises KeyError where the object is missing, and NotACommit for a tag of something else.
        """
        current = object_id.encode()
        for _ in range(_MAX_TAG_DEPTH):
            kind, content = self.read_raw(current)
            if kind == COMMIT:
                return current.decode()
            if kind != TAG:
                break
            current = object_in(content)
        raise NotACommit(f"{object_id} names a {TYPE_NAMES[kind].decode()} and no commit")

    def has_parents(self, commit: bytes, among: Container[bytes] | None = None) -> bool:
        """Whether all parents of a commit are here, or `among` these binary ids."""
        try:
            parents = parse_commit(self.read(commit, COMMIT)).parents
        except Git2EfsError:
            return False
        if among is not None:
            return all(as_binary(parent) in among for parent in parents)
        return all(self.holds(parent.decode()) for parent in parents)


def is_lfs_pointer(content: bytes) -> bool:
    """Whether a file is a Git LFS pointer: three lines that stand for a content which is elsewhere."""
    return len(content) < _LFS_BYTES and content.startswith(_LFS_VERSION)


def hash_object(kind: int, content: bytes) -> bytes:
    """Return the id (40 hex digits) that an object of this type and content has; nothing for no type."""
    return id_of(kind, (content,)).hex().encode() if kind in TYPE_NAMES else b""


def _offset(pack: Pack, binary: RawObjectID) -> int | None:
    try:
        return offset_in(pack, binary)
    except KeyError:
        return None
    except NOT_A_PACK as error:
        raise unreadable(error, "a pack's index") from None


def resolve(pack: Pack, offset: int, max_bytes: int) -> RawObject:
    """Return the object at `offset`. Raises ObjectTooLarge where it, or what it builds on, is over the bound.

    It holds one object and one delta of the chain at a time; dulwich's own holds every delta of it.
    """
    data, deltas = pack.data, []
    contents = data._buffer()
    while (found := _cached(data, offset)) is None:
        record = record_at(contents, offset)
        check_record(record, max_bytes)
        if record.base is None:
            found = record.kind, inflate(contents, record, max_bytes)
            break
        deltas.append((offset, record))
        if len(deltas) > len(data):
            raise ApplyDeltaError("a chain of deltas leads round in a circle")
        offset = record.base if isinstance(record.base, int) else offset_in(pack, RawObjectID(record.base))
    kind, content = found
    for at, record in reversed(deltas):
        content = patch(kind, content, inflate(contents, record, max_bytes), max_bytes)
        data._cache_object_at(at, kind, [content])
    return kind, content


def _cached(data: PackData, offset: int) -> RawObject | None:
    try:
        kind, content = data._get_cached_object_at(offset)
    except KeyError:
        return None
    return kind, b"".join(content)  # type: ignore[arg-type]
