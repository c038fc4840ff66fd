"""A range of lines in two versions of a file. Pure."""

from typing import NamedTuple


class Hunk(NamedTuple):
    """The old file's lines `old_start` to `old_end` stand against the new file's `new_start` to `new_end`.

    Lines count from 0, and the end is excluded.
    """

    old_start: int
    old_end: int
    new_start: int
    new_end: int

    @property
    def is_two_sided(self) -> bool:
        """Whether it has lines of both files."""
        return self.old_start < self.old_end and self.new_start < self.new_end
