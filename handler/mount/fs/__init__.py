"""POSIX on a slow, shared, hostile mount: files, directories, the lock, threads, the check-out. No git, no target.

Every function that touches the mount raises OSError for what the mount answers.
"""
