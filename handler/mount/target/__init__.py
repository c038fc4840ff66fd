"""One target on the mount: what both modes share."""
