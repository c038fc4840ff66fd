"""Git's objects: receive a fetch's pack, read commits and trees, compare trees, keep the mirror. No published files.

Every function that touches the mount raises OSError for what the mount answers.
"""
