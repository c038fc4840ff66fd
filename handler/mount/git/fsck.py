"""Repair what git reads and a push does not: indexes of small packs, HEAD, the configuration, the file `shallow`.

A push works without them (see `open_pack`), and so would never notice their damage. But whoever opens the mirror with
git, to find a fault or to copy it elsewhere, must find a sound repository.
"""

import errno
import io
import os
import re
from collections.abc import Iterable, Iterator

from dulwich.pack import Pack, write_pack_index_v2

from handler.errors import MirrorDamaged
from handler.mount.fs.directories import make_directories
from handler.mount.fs.files import read_whole
from handler.mount.git.mirror import FILES, Mirror
from handler.mount.git.objects import COMMIT
from handler.mount.git.packs import NOT_A_PACK, SMALL_BYTES
from handler.mount.git.repack import all_objects

_SHALLOW = re.compile(rb"(?:[0-9a-f]{40}\n)*")


def repair(mirror: Mirror, commits: Iterable[str]) -> tuple[str, ...]:
    """Repair the mirror; return a phrase for each repair.

    `commits` are those of the releases. Raises MirrorDamaged if the index of a large pack is damaged: then only a fresh
    fetch helps.
    """
    return (*_repair_files(mirror), *_repair_indices(mirror), *_repair_shallow(mirror, commits))


def _repair_files(mirror: Mirror) -> Iterator[str]:
    make_directories(os.path.join(mirror.path, "refs", "heads"))
    for name, content in FILES:
        if _read(os.path.join(mirror.path, name)) != content:
            mirror.replace(name, content)
            yield f"mirror.git/{name} was not as it should be"


def _repair_indices(mirror: Mirror) -> Iterator[str]:
    for name, pack in list(mirror.packs.items()):
        stem = os.path.join("objects", "pack", name)
        if os.stat(os.path.join(mirror.path, stem + ".pack")).st_size > SMALL_BYTES:
            _check_index(name, pack)
            continue
        # Opening the pack has made this index from the pack itself.
        index = io.BytesIO()
        write_pack_index_v2(index, sorted(pack.index.iterentries()), pack.data.get_stored_checksum())
        if _read(os.path.join(mirror.path, stem + ".idx")) != index.getvalue():
            mirror.replace(stem + ".idx", index.getvalue())
            yield f"the index of {name} was not its own"


def _check_index(name: str, pack: Pack) -> None:
    try:
        pack.index.check()
        is_own = pack.index.get_pack_checksum() == pack.data.get_stored_checksum()
    except NOT_A_PACK as error:
        raise MirrorDamaged(f"the index of {name} cannot be read ({type(error).__name__})") from None
    if not is_own:
        raise MirrorDamaged(f"the index of {name} is not its own")


def _repair_shallow(mirror: Mirror, commits: Iterable[str]) -> Iterator[str]:
    content = _read(os.path.join(mirror.path, "shallow"))
    ends = {each.encode() for each in commits if each in mirror and not mirror.has_parents(each.encode())}
    if _SHALLOW.fullmatch(content or b"") and ends <= set((content or b"").split()):
        return
    # Read all objects: nothing else tells which commits are here.
    ends = {object_id.hex().encode() for object_id in all_objects(mirror.packs.values()) if _is_end(mirror, object_id)}
    mirror.write_shallow(ends)
    yield "mirror.git/shallow did not say where history ends"


def _is_end(mirror: Mirror, object_id: bytes) -> bool:
    kind, _ = mirror.read_raw(object_id)
    return kind == COMMIT and not mirror.has_parents(object_id.hex().encode())


def _read(path: str) -> bytes | None:
    """Return a file's content; None if there is no file that can be read, and it has to be written anew."""
    try:
        return read_whole(path)
    except OSError as error:
        if error.errno not in (errno.ELOOP, errno.ENXIO):
            raise
        return None
