"""Container images: their roles, the one recipe, what goes into them, and what is in them."""
