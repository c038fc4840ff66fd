"""The tests: they need the git binary and no network; the product needs neither git nor these."""
