"""Git's index: the only file of a working copy whose size grows with its tree."""
