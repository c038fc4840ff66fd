"""Objects: what the remote has, the mirror's packs, the difference between two trees. No AWS, no published files."""
