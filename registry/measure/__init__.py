"""Measure variants: speed, memory, drift, reference tests."""
