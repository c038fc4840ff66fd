"""New objects in memory over those of a store: what a merge and a replay work on."""

from handler.mount.git.commit import tree_in
from handler.mount.git.objects import COMMIT, Objects, hash_object
from handler.mount.git.packs import RawObject


class MemoryOverlay:
    """Reads from the store and from `added`. The caller writes `added` at once, when the whole replay has succeeded."""

    def __init__(self, base: Objects) -> None:
        """Begin with nothing added to the store `base`."""
        self._base = base
        self.added: dict[bytes, RawObject] = {}

    def read(self, object_id: bytes, kind: int) -> bytes:
        """Return the content of an object (40 hex digits) of this kind. Raises MirrorDamaged, TreeUnsafe."""
        found = self.added.get(object_id)
        return found[1] if found is not None and found[0] == kind else self._base.read(object_id, kind)

    def size_of(self, object_id: bytes) -> int:
        """Return how many bytes an object (40 hex digits) has. Raises MirrorDamaged, ObjectTooLarge."""
        found = self.added.get(object_id)
        return len(found[1]) if found is not None else self._base.size_of(object_id)

    def tree_of(self, commit: str) -> bytes:
        """Return the id (40 hex digits) of a commit's tree. Raises MirrorDamaged, TreeUnsafe."""
        return tree_in(self.read(commit.encode(), COMMIT))

    def add(self, kind: int, content: bytes) -> bytes:
        """Add an object; returns its id (40 hex digits)."""
        object_id = hash_object(kind, content)
        self.added[object_id] = (kind, content)
        return object_id
