"""A target that is kept as a git working copy: what `git pull --rebase` does, without its dangers.

pull       one run: fetch, decide, look what is in the way, carry out
create     the copy is not there yet
changes    what a pull does to each path, and what may be in its way
autostash  uncommitted changes in the way are carried over
carrying   files, index, refs, in this order; a journal first, so that a killed run is finished or undone
recovery   what it left is brought to its end, or back
"""
