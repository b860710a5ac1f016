"""Serve models in a long-lived process: pooled, following an alias."""
