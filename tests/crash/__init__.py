"""The proof that a publish survives being stopped: killed, or refused by the mount, at each of its file operations."""
