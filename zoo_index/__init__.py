"""Indexes of models that can be pulled, and the sources their bytes come from."""
