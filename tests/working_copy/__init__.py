"""The working-copy mode, held to real git."""
