"""The working-copy mode: what is pulled into a plain repository that others use too, held against real git."""
