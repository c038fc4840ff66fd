"""A run killed, or refused by the mount, at its file operations: readers see whole trees, and the next run heals."""
