"""Forges (GitHub): signatures, deliveries and payloads, which are pure; commit statuses; a repository's webhook."""
