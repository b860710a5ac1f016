"""Write and read `.zoo` files."""
