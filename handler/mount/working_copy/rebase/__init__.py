"""Find the local commits of a pull, and replay them onto the new tip."""
