"""Every forge's deliveries: the same scenes for all, and each parser alone."""
