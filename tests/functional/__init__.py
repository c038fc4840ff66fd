"""The service in this process on a real directory, with real git behind HTTP and AWS played by moto."""
