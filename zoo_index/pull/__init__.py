"""Pull models: plan, fetch, verify and publish them."""
