"""Publish a target as releases: complete trees, and one link that leads to the current one."""
