"""The shared directory: its layout, the lock, checking a tree out, releases and the flip. No git, no AWS."""
