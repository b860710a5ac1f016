"""Make sample inputs for a model, like its real ones in size and value."""
