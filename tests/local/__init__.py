"""What runs on this machine: `make run`, `make serve`, the queue's worker, the sample origin, the stand-ins for AWS."""
