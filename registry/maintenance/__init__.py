"""Keep a registry sound: verify, remove, collect garbage, rebuild."""
