"""Raw files: what they are, and the rows that stand in them."""
