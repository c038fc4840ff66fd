"""Objects: what the remote has, the mirror's packs, the difference between two trees. No AWS, no published files.

replaying    what a pull makes of local commits
merging      what two changes of one version come to
index        git's index, a working copy's own list of its files
repository   a working copy's git directory, which other people's git works in too
"""
