"""Git's index: the one file of a working copy that grows with its tree."""
