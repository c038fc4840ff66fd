"""A working copy's git directory, in which other people's git works too: objects, refs, locks, configuration."""
