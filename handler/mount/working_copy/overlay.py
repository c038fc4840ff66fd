"""Objects that were made and are not written yet, over those that are: what a replay works on."""

from handler.mount.git.objects import COMMIT, Objects, hash_object, tree_in
from handler.mount.git.packs import RawObject


class MemoryOverlay:
    """Reads what is there or was added. `added` is written all at once, when the whole replay went well."""

    def __init__(self, base: Objects) -> None:
        """Nothing is added yet."""
        self._base = base
        self.added: dict[bytes, RawObject] = {}

    def read(self, object_id: bytes, kind: int) -> bytes:
        """Return the content of an object (40 hex digits) of this kind. Raises MirrorDamaged, TreeUnsafe."""
        found = self.added.get(object_id)
        return found[1] if found is not None and found[0] == kind else self._base.read(object_id, kind)

    def tree_of(self, commit: str) -> bytes:
        """Return the id (hex) of a commit's tree. Raises MirrorDamaged, TreeUnsafe."""
        return tree_in(self.read(commit.encode(), COMMIT))

    def add(self, kind: int, content: bytes) -> bytes:
        """Add an object; returns its id (40 hex digits)."""
        object_id = hash_object(kind, content)
        self.added[object_id] = (kind, content)
        return object_id
