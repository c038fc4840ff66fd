"""Deltas: the size of what they make, what they make, and all of a received pack, with a bound on what is in memory."""

import zlib
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from dulwich.errors import ApplyDeltaError
from dulwich.objects import RawObjectID
from dulwich.pack import UnresolvedDeltas, apply_delta

from handler.mount.git.packs import MAX_SHIFT, Contents, PackRecord, ReadRaw, check_size, inflate, object_id, record_at

Entry = tuple[bytes, int, int | None]
"""What an index holds of an object: binary id, offset, CRC-32 of its record."""

OnObject = Callable[[bytes, int, Sequence[bytes]], None]
"""Is told each object of a pack while its content is in memory: binary id, type, content in parts."""


_BLOB = 3
_MAX_DELTA_HEAD = 20
"""The two sizes at a delta's start, each at most ten bytes."""
_INPUT_BYTES = 512


def object_size(contents: Contents, record: PackRecord) -> int:
    """Return how many bytes the record's object has. Of a delta only the first bytes are inflated."""
    if record.base is None:
        return record.size
    inflater, head, at = zlib.decompressobj(), b"", record.start
    while len(head) < _MAX_DELTA_HEAD and not inflater.eof:
        # The header of a zlib stream may be longer than what a step feeds.
        step = inflater.unconsumed_tail or contents[at : at + _INPUT_BYTES]
        if not step:
            raise zlib.error("the pack ends within a delta")
        at += 0 if inflater.unconsumed_tail else len(step)
        head += inflater.decompress(step, _MAX_DELTA_HEAD - len(head))
    return _target_size(head)


def _target_size(delta: bytes) -> int:
    """Return the second of the two sizes at a delta's start: how many bytes it makes."""
    at = size = 0
    for _ in range(2):
        size = shift = 0
        while True:
            if at >= len(delta) or shift > MAX_SHIFT:
                raise ApplyDeltaError("a delta's sizes cannot be read")
            byte = delta[at]
            size |= (byte & 0x7F) << shift
            at, shift = at + 1, shift + 7
            if not byte & 0x80:
                break
    return size


def patch(kind: int, base: bytes, delta: bytes, max_bytes: int) -> bytes:
    """Return what the delta makes of its base, an object of this type. Raises ObjectTooLarge before it makes it."""
    check_size(_target_size(delta), max_bytes)
    content = b"".join(apply_delta(base, delta))
    # As dulwich has it: parsers take an empty commit, tree or tag, which git calls damage.
    if not content and kind != _BLOB:
        raise ApplyDeltaError("a delta makes an empty object")
    return content


@dataclass(slots=True, kw_only=True, eq=False)
class _Base:
    """An object that deltas build on: in the pack (`offset`), or elsewhere, by its binary id alone.

    `parent` is what it builds on itself. `waiting` deltas still need it. `content` is None while it is not in memory.
    """

    name: bytes
    kind: int
    offset: int | None
    waiting: int
    parent: "_Base | None" = None
    content: bytes | None = None


@dataclass(slots=True, kw_only=True)
class DeltaChains:
    """The deltas of the pack `contents`. No object of more than `max_bytes` is made.

    `read_raw` finds bases that are not in the pack; `external` names those that it found (binary ids). `on_object` is
    told each object that a delta makes, and what it raises is raised.
    """

    contents: Contents
    read_raw: ReadRaw
    max_bytes: int
    on_object: OnObject | None = None
    external: list[bytes] = field(default_factory=list)
    _checksums: dict[int, int | None] = field(default_factory=dict)
    _on_offset: dict[int, list[int]] = field(default_factory=lambda: defaultdict(list))
    _on_name: dict[bytes, list[int]] = field(default_factory=lambda: defaultdict(list))
    _held: dict[int, _Base] = field(default_factory=dict)
    _held_bytes: int = 0

    def add(self, offset: int, record: PackRecord, checksum: int | None) -> None:
        """Note a delta."""
        self._checksums[offset] = checksum
        if isinstance(record.base, int):
            self._on_offset[record.base].append(offset)
        elif record.base is not None:
            self._on_name[record.base].append(offset)

    def resolve(self, whole: dict[int, tuple[bytes, int, int | None]]) -> Iterator[Entry]:
        """Yield the index's entry of each delta. `whole` are the other objects: id, type and CRC-32 by offset.

        Raises ObjectTooLarge before it makes an object over the bound, UnresolvedDeltas where a base is missing, and
        errors of `NOT_A_PACK`.
        """
        for offset, (name, kind, _) in whole.items():
            yield from self._follow(name, kind, offset)
        for name in sorted(self._on_name):
            if name in self._on_name:
                try:
                    kind, _ = self.read_raw(name)
                except KeyError:
                    continue  # it may be a delta itself, upon an external base that comes later in this order
                self.external.append(name)
                yield from self._follow(name, kind, None)
        if self._on_name:
            raise UnresolvedDeltas([RawObjectID(name) for name in self._on_name])
        if self._on_offset:
            raise ValueError("a delta's base is no object of the pack")

    def _follow(self, name: bytes, kind: int, offset: int | None) -> Iterator[Entry]:
        """Yield what builds on one base, however deep."""
        children = self._take(name, offset)
        root = _Base(name=name, kind=kind, offset=offset, waiting=len(children))
        pending = [(child, root) for child in children]
        while pending:
            at, base = pending.pop()
            content = self._patched(at, kind, self._content(base))
            name = object_id(kind, (content,))
            if self.on_object is not None:
                self.on_object(name, kind, (content,))
            base.waiting -= 1
            if not base.waiting:
                self._drop(base)
            if children := self._take(name, at):
                made = _Base(name=name, kind=kind, offset=at, waiting=len(children), parent=base)
                self._hold(made, content)
                pending += [(child, made) for child in children]
            # Not until the next one is there: that would be one more object in memory.
            del content
            yield name, at, self._checksums[at]
        self._drop(root)

    def _take(self, name: bytes, offset: int | None) -> list[int]:
        children = self._on_name.pop(name, [])
        if offset is not None:
            children = self._on_offset.pop(offset, []) + children
        # The last is taken first: those on which nothing builds, so that their base is not needed after a deep chain.
        return sorted(children, key=lambda child: child not in self._on_offset)

    def _content(self, base: _Base) -> bytes:
        """Return a base's content, made again if it had to make room."""
        missing = []
        node = base
        while node.content is None and node.parent is not None:
            missing.append(node)
            node = node.parent
        content = node.content
        if content is None:
            content = self._read(node)
        for each in reversed(missing):
            assert each.offset is not None
            content = self._patched(each.offset, each.kind, content)
        if base.content is None:
            self._hold(base, content)
        return content

    def _read(self, root: _Base) -> bytes:
        if root.offset is None:
            return self.read_raw(root.name)[1]
        return inflate(self.contents, record_at(self.contents, root.offset), self.max_bytes)

    def _patched(self, offset: int, kind: int, content: bytes) -> bytes:
        delta = inflate(self.contents, record_at(self.contents, offset), self.max_bytes)
        return patch(kind, content, delta, self.max_bytes)

    def _hold(self, base: _Base, content: bytes) -> None:
        """Keep a base in memory. Those that were kept first make room: what is needed soonest came last."""
        base.content = content
        self._held[id(base)] = base
        self._held_bytes += len(content)
        while self._held_bytes > self.max_bytes and len(self._held) > 1:
            self._drop(next(iter(self._held.values())))

    def _drop(self, base: _Base) -> None:
        if base.content is not None:
            self._held_bytes -= len(base.content)
            base.content = None
            del self._held[id(base)]
