"""The working-copy mode: its parts against real git, and the whole."""
