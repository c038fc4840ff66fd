"""The working-copy mode, held against what real git does."""
