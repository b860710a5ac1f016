"""Provide what everything rests on: errors, names, records, settings, files, sandboxes."""
