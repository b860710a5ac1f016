"""Resolve a reference to the variant that it means."""
