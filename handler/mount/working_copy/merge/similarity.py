"""Estimate how similar two files are, as git does. Pure."""

import re
from collections import Counter

from handler.mount.working_copy.merge.contents import is_binary

MAX_SCORE = 60_000
"""The score of equal files, as in git."""
_CHUNK = re.compile(rb"[^\n]{0,63}\n|[^\n]{64}|[^\n]+")


class Fingerprint:
    """A file's size, and how many bytes are in each of its lines. Lines longer than 64 bytes count in pieces of 64."""

    def __init__(self, content: bytes) -> None:
        """Take the fingerprint. Git takes hashes of the lines, which hardly ever collide; this one takes the lines."""
        self.size = len(content)
        if not is_binary(content):
            content = content.replace(b"\r\n", b"\n")
        self._bytes: Counter[bytes] = Counter()
        for chunk, times in Counter(_CHUNK.findall(content)).items():
            self._bytes[chunk] = len(chunk) * times

    def __len__(self) -> int:
        """Return the number of different chunks."""
        return len(self._bytes)

    def score(self, other: "Fingerprint", min_score: int) -> int:
        """Return how similar two files are, 0 to `MAX_SCORE`; 0 if their sizes alone keep them below `min_score`."""
        larger, smaller = max(self.size, other.size), min(self.size, other.size)
        if smaller == 0 or larger * (MAX_SCORE - min_score) < (larger - smaller) * MAX_SCORE:
            return 0
        few, many = sorted((self._bytes, other._bytes), key=len)
        shared = sum(min(size, many[chunk]) for chunk, size in few.items() if chunk in many)
        return shared * MAX_SCORE // larger
