"""Git remotes over smart HTTP."""
