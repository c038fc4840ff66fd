"""A working copy's git directory, which other people's git works in too: objects, refs, locks, configuration."""
