"""Open sessions on held models, prepared once and cached."""
