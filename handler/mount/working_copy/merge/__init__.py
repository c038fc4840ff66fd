"""Merge as git does: file contents line by line, and trees with renames."""
