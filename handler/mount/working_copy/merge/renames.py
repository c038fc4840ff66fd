"""Detect renames, as git's `ort` strategy pairs removed files with added ones.

Files with equal contents are paired first, then files that kept their name and are similar by three quarters, then
those that are similar by half, the most similar first. A removed file is relevant only if the other side modified it
too, or if it tells where a directory went to which the other side added files.
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field

from handler.mount.git.objects import BLOB
from handler.mount.git.tree import TreeEntry
from handler.mount.working_copy.index.entry import EMPTY_BLOB
from handler.mount.working_copy.merge.similarity import MAX_SCORE, Fingerprint
from handler.mount.working_copy.merge.work_budget import BudgetExceeded, WorkBudget
from handler.mount.working_copy.overlay import MemoryOverlay

MAX_PAIRS = 40_000
"""The most pairs of files that are compared by content. Git's bound is 49 million."""
MAX_WORK = 10_000_000
"""The most lines that are compared: some seconds' worth."""
_MIN_SCORE = MAX_SCORE // 2
_MIN_SCORE_SAME_NAME = MAX_SCORE * 3 // 4
_CANDIDATES = 4

File = tuple[bytes, TreeEntry]
"""A path and its entry, never a directory."""


@dataclass(slots=True)
class Side:
    """What one side changed from the base: removed and added files, in git's order, and removed directories.

    `relevant` are the removed files whose new path has to be known.
    """

    removed: list[File] = field(default_factory=list)
    added: list[File] = field(default_factory=list)
    removed_directories: set[bytes] = field(default_factory=set)
    relevant: set[bytes] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class Renames:
    """The new path of each renamed file, by its old one. `unknown` are relevant files that exceeded the bounds."""

    new_paths: dict[bytes, bytes]
    unknown: frozenset[bytes] = frozenset()


def find_renames(side: Side, objects: MemoryOverlay) -> Renames:
    """Return the renames of a side. Contents come from `objects`. Raises MirrorDamaged, TreeUnsafe."""
    search = _Search(side, objects)
    search.match_equal()
    unknown: Collection[bytes] = ()
    try:
        search.match_names()
        search.match_similar()
    except BudgetExceeded:
        unknown = side.relevant.difference(search.found.values())
    return Renames({old: new for new, old in search.found.items()}, frozenset(unknown))


def directories_renamed(new_paths: Iterable[tuple[bytes, bytes]], wanted: Collection[bytes]) -> set[bytes]:
    """Return which of the `wanted` directories were renamed, judging by the (old, new) paths of files.

    From `a/b/c/file`, renamed to `x/b/c/file`, follows that `a/b/c`, `a/b` and `a` were renamed.
    """
    found: set[bytes] = set()
    for old, new in new_paths:
        old_parts, new_parts = old.split(b"/")[:-1], new.split(b"/")[:-1]
        while old_parts:
            found.add(b"/".join(old_parts))
            if not new_parts or old_parts.pop() != new_parts.pop():
                break
    return found & set(wanted)


class _Search:
    def __init__(self, side: Side, objects: MemoryOverlay) -> None:
        # Empty files are all equal, which says nothing.
        self.sources = [file for file in side.removed if file[1].id != EMPTY_BLOB]
        self.targets = [file for file in side.added if file[1].id != EMPTY_BLOB]
        self.relevant = side.relevant
        self.removed_directories = side.removed_directories
        self.found: dict[bytes, bytes] = {}
        """Old paths by new ones."""
        self._objects = objects
        self._budget = WorkBudget(MAX_WORK)
        self._fingerprints: dict[bytes, Fingerprint] = {}

    def match_equal(self) -> None:
        """Pair files of equal content. Of several it takes one that kept its name, else the first that is left."""
        by_id: defaultdict[bytes, list[File]] = defaultdict(list)
        for source in self.sources:
            by_id[source[1].id].append(source)
        for path, entry in self.targets:
            fitting = [
                file
                for file in by_id.get(entry.id, ())
                if file[1].mode == entry.mode or (file[1].is_file and entry.is_file)
            ]
            if fitting:
                chosen = next((file for file in fitting if _name(file[0]) == _name(path)), fitting[0])
                by_id[entry.id].remove(chosen)
                self.found[path] = chosen[0]

    def match_names(self) -> None:
        """Pair files whose names are unique among those left, or that went where their directory's other files did."""
        sources, targets = self._unmatched()
        source_names = Counter(_name(path) for path, _ in sources)
        target_names = Counter(_name(path) for path, _ in targets)
        by_name = {_name(path): (path, entry) for path, entry in targets}
        by_path = dict(targets)
        guesses = self._guess_directories()
        for path, entry in sources:
            name = _name(path)
            if path not in self.relevant or name not in by_name:
                continue
            if source_names[name] == target_names[name] == 1:
                target, other = by_name[name]
            else:
                directory = guesses.get(_directory(path))
                if directory is None:
                    continue
                target = directory + b"/" + name if directory else name
                if target not in by_path:
                    continue
                other = by_path[target]
            if target not in self.found and self._score(entry, other) >= _MIN_SCORE_SAME_NAME:
                self.found[target] = path

    def _guess_directories(self) -> dict[bytes, bytes]:
        """Return where removed directories seem to have gone, judging by the pairs so far."""
        asked = {_directory(path) for path in self.relevant} & self.removed_directories
        votes: defaultdict[bytes, Counter[bytes]] = defaultdict(Counter)
        for new, old in self.found.items():
            if _directory(old) in asked:
                votes[_directory(old)][_directory(new)] += 1
        return {directory: counted.most_common(1)[0][0] for directory, counted in votes.items()}

    def match_similar(self) -> None:
        """Pair the most similar of what is left. Raises BudgetExceeded, as does all that compares contents."""
        sources, targets = self._unmatched()
        sources = [file for file in sources if file[0] in self.relevant]
        if len(sources) * len(targets) > MAX_PAIRS:
            raise BudgetExceeded
        candidates: list[tuple[int, bool, bytes, bytes]] = []
        for target, entry in targets:
            candidates += self._best_for(target, entry, sources)
        used: set[bytes] = set()
        # A stable sort, as git's: of equal scores the first target's wins.
        for _, _, target, source in sorted(candidates, key=lambda found: found[:2], reverse=True):
            if target not in self.found and source not in used:
                self.found[target] = source
                used.add(source)

    def _best_for(
        self, target: bytes, entry: TreeEntry, sources: Sequence[File]
    ) -> list[tuple[int, bool, bytes, bytes]]:
        scored = [
            (score, _name(path) == _name(target), target, path)
            for path, source in sources
            if (score := self._score(source, entry)) >= _MIN_SCORE
        ]
        return sorted(scored, key=lambda found: found[:2], reverse=True)[:_CANDIDATES]

    def _unmatched(self) -> tuple[list[File], list[File]]:
        used = set(self.found.values())
        sources = [file for file in self.sources if file[0] not in used]
        return sources, [file for file in self.targets if file[0] not in self.found]

    def _score(self, source: TreeEntry, target: TreeEntry) -> int:
        if not (source.is_file and target.is_file):
            return 0  # links and submodules are renamed only if they are equal
        one, two = self._fingerprint(source.id), self._fingerprint(target.id)
        self._budget.consume(min(len(one), len(two)))
        return one.score(two, _MIN_SCORE)

    def _fingerprint(self, blob: bytes) -> Fingerprint:
        found = self._fingerprints.get(blob)
        if found is None:
            content = self._objects.read(blob, BLOB)
            self._budget.consume(len(content) // 32)
            found = self._fingerprints[blob] = Fingerprint(content)
        return found


def _name(path: bytes) -> bytes:
    return path.rpartition(b"/")[2]


def _directory(path: bytes) -> bytes:
    return path.rpartition(b"/")[0]
