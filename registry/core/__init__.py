"""Provide the base: errors, names, records, settings, files, sandboxes."""
