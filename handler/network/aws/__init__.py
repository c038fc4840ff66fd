"""AWS: API Gateway's events, parameters."""
