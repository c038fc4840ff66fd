"""What a pull makes of local commits: which they are, and how they come to stand upon the new tip."""
