"""The mount side: the EFS mount. No network, no secret."""
