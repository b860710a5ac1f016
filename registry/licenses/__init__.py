"""Check licences, and write attributions and bills of materials."""
