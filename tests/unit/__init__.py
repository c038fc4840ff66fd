"""What needs neither a mount nor a remote: rules, parsers, values, and the laws of the source itself."""
