"""The network side: internet, AWS APIs, secrets. No mount."""
