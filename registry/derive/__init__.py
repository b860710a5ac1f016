"""Derive variants from held ones: made, proven, kept with their lineage."""
