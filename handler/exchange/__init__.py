"""What passes between the network side and the mount side. Pure: no I/O, no clock."""
