"""Daily maintenance and drift detection of a repository on the mount."""
