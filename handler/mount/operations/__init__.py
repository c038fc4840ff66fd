"""The operator's commands that need the mount."""
