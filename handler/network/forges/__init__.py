"""Forges (GitHub): signatures, deliveries and payloads, which are pure; commit statuses."""
