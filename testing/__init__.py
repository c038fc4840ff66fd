"""What the tests stand on: real origins and repositories, GitHub's deliveries, the service itself."""
