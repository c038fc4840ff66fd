"""The pages say what the code does: every setting, reason, metric, event and test that they name."""
