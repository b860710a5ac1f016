"""Open the places that models come from: the Hub, the web, folders, `.zoo` files."""
