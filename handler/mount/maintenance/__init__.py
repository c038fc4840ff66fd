"""Daily maintenance, audits of releases, drift detection, and the schedule's state on the mount."""
