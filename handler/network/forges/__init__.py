"""What GitHub says: signatures, deliveries and payloads. Pure."""
