"""Two real NFS mounts of one file system: what another host sees, and two hosts that publish at once."""
