"""How much of a file is in another one, by git's estimate. Pure."""

import re
from collections import Counter

MAX_SCORE = 60_000
"""The score of equal files; git counts in these."""
_CHUNK = re.compile(rb"[^\n]{0,63}\n|[^\n]{64}|[^\n]+")
_BINARY_BYTES = 8000


class Fingerprint:
    """A file's size and how many bytes of it are in each of its lines, of which long ones count in pieces of 64."""

    def __init__(self, content: bytes) -> None:
        """Take the fingerprint. Git's own is of hashes, which hardly ever collide; this one is of the lines."""
        self.size = len(content)
        if b"\0" not in content[:_BINARY_BYTES]:
            content = content.replace(b"\r\n", b"\n")
        self._bytes: Counter[bytes] = Counter()
        for chunk, times in Counter(_CHUNK.findall(content)).items():
            self._bytes[chunk] = len(chunk) * times

    def __len__(self) -> int:
        """Return how many different chunks the file has."""
        return len(self._bytes)

    def score(self, other: "Fingerprint", min_score: int) -> int:
        """Return how similar two files are, 0 to `MAX_SCORE`; 0 where their sizes alone keep them below `min_score`."""
        larger, smaller = max(self.size, other.size), min(self.size, other.size)
        if smaller == 0 or larger * (MAX_SCORE - min_score) < (larger - smaller) * MAX_SCORE:
            return 0
        few, many = sorted((self._bytes, other._bytes), key=len)
        shared = sum(min(size, many[chunk]) for chunk, size in few.items() if chunk in many)
        return shared * MAX_SCORE // larger
