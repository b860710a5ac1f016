"""Pin models in a lock file, and make a registry hold them."""
