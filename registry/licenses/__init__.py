"""Check licences, and write what they ask for."""
