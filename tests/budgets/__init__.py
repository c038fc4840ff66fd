"""How many file operations, requests, bytes and imports a push may cost."""
