"""Detect the framework of a file or folder, without loading it."""
