"""List the models that can be pulled: the shipped index, its update, private ones."""
