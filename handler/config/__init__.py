"""What is published where. Pure: no I/O, no clock."""
